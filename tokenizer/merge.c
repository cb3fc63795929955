/* merge: joins the symbols of a piece, best pair first, until no pair makes a token. A heap holds
 * the pairs; one that has gone stale (either symbol has grown or been swallowed since) shows in its
 * length and is skipped. n log n whatever the text. */
#include "base/size.h"
#include "tokenizer/internal.h"

/* Four children to a node, each family in one cache line: node i of the heap is heap[i + 3], its
 * children are heap[4 * i + 4 ...]. */
enum { HEAP_ROOT = 3 };
_Static_assert(4 * sizeof(struct merge_candidate) == CACHE_LINE, "a family fills a line");

int merge_reserve(struct encoder *encoder, size_t n_bytes)
{
    if (n_bytes <= encoder->room)
        return 0;
    if (n_bytes >= INT32_MAX)
        return error_set(
            encoder->err,
            "text holds a piece of %zu bytes that cannot be split, expected less than 2 GiB",
            n_bytes);
    size_t room = n_bytes > 2 * encoder->room ? n_bytes : 2 * encoder->room;
    room = room < 256 ? 256 : room;
    free(encoder->spans);
    free(encoder->heap);
    /* A piece of n symbols has n - 1 pairs, and each of its at most n - 1 joins takes one candidate
     * and brings at most two: never 2n at once. */
    encoder->spans = size_alloc(room, sizeof *encoder->spans);
    encoder->heap = size_alloc(2 * room + HEAP_ROOT, sizeof *encoder->heap);
    encoder->room = encoder->spans && encoder->heap ? room : 0;
    if (encoder->room == 0)
        return error_memory(encoder->err, "a piece of text",
                            room * (sizeof *encoder->spans + 2 * sizeof *encoder->heap));
    return 0;
}

static uint64_t priority(const struct merge_candidate *candidate)
{
    return (uint64_t)candidate->order << 32 | candidate->left;
}

static void heap_push(struct encoder *encoder, struct merge_candidate candidate)
{
    struct merge_candidate *heap = encoder->heap + HEAP_ROOT;
    size_t at = encoder->n_heap++;
    for (; at > 0 && priority(&candidate) < priority(&heap[(at - 1) / 4]); at = (at - 1) / 4)
        heap[at] = heap[(at - 1) / 4];
    heap[at] = candidate;
}

static struct merge_candidate heap_pop(struct encoder *encoder)
{
    struct merge_candidate *heap = encoder->heap + HEAP_ROOT;
    struct merge_candidate top = heap[0], last = heap[--encoder->n_heap];
    size_t n = encoder->n_heap, at = 0;
    for (size_t child = 1; child < n; child = 4 * at + 1) {
        size_t best = child, end = child + 4 < n ? child + 4 : n;
        for (size_t i = child + 1; i < end; i++)
            best = priority(&heap[i]) < priority(&heap[best]) ? i : best;
        if (priority(&last) <= priority(&heap[best]))
            break;
        heap[at] = heap[best];
        at = best;
    }
    heap[at] = last;
    return top;
}

static void push_pair(struct encoder *encoder, const char *piece, uint32_t left, uint32_t right)
{
    const struct tokenizer *tokenizer = encoder->tokenizer;
    const struct span *spans = encoder->spans;
    struct merge_candidate candidate = {.left = left,
                                        .length = spans[left].length + spans[right].length};
    bool found = tokenizer->model == TOKENIZER_SPM
                     ? spm_find_merge(tokenizer, piece, spans, left, right, &candidate)
                     : bpe_find_merge(tokenizer, spans, left, right, &candidate);
    if (found)
        heap_push(encoder, candidate);
}

void merge_run(struct encoder *encoder, const char *piece, size_t n_bytes)
{
    struct span *spans = encoder->spans;
    encoder->n_heap = 0;
    for (uint32_t at = 0; at + spans[at].length < n_bytes; at += spans[at].length)
        push_pair(encoder, piece, at, at + spans[at].length);
    while (encoder->n_heap > 0) {
        struct merge_candidate best = heap_pop(encoder);
        struct span *left = &spans[best.left];
        uint32_t right = best.left + left->length;
        if (left->length == 0 || right >= n_bytes ||
            left->length + spans[right].length != best.length)
            continue;
        left->length = best.length;
        left->id = best.id;
        spans[right].length = 0;
        uint32_t next = best.left + best.length;
        if (best.left > 0)
            push_pair(encoder, piece, best.left - left->before, best.left);
        if (next < n_bytes) {
            spans[next].before = best.length;
            push_pair(encoder, piece, best.left, next);
        }
    }
}

/* Which bytes may stand next to each other inside a token. */
int merge_find_joins(struct tokenizer *tokenizer, struct error *err)
{
    const struct vocabulary *vocabulary = &tokenizer->vocabulary;
    tokenizer->joins = calloc(256, 256 / 8);
    if (!tokenizer->joins)
        return error_memory(err, "the tokenizer", 256 * 256 / 8);
    for (int32_t id = 0; id < vocabulary->n_tokens; id++) {
        struct text piece = vocabulary->pieces[id];
        if (!vocabulary_is_text(vocabulary, id))
            continue;
        for (size_t i = 1; i < piece.length; i++) {
            unsigned char left = (unsigned char)piece.bytes[i - 1],
                          right = (unsigned char)piece.bytes[i];
            tokenizer->joins[left * 32 + right / 8] |= (uint8_t)(1 << right % 8);
        }
    }
    return 0;
}

bool merge_may_join(const struct tokenizer *tokenizer, char left, char right)
{
    unsigned char l = (unsigned char)left, r = (unsigned char)right;
    return tokenizer->joins[l * 32 + r / 8] >> (r % 8) & 1;
}

void encoder_free(struct encoder *encoder)
{
    free(encoder->spans);
    free(encoder->heap);
    free(encoder->prefixed);
    pretokenizer_scratch_free(&encoder->scratch);
    *encoder = (struct encoder){0};
}
