/* bpe: byte-level BPE. Text is split into pieces by the pre-tokenizer that the file names; in each,
 * the pair that comes first in the list of merges joins first.
 *
 * The vocabulary writes every byte as a printable character ("Ġ" is a space); pieces here are the
 * bytes themselves, so neither text nor pieces are ever translated. Nothing is normalised. A run of
 * bytes that are not UTF-8 is one piece of its own, outside the patterns, and comes back as it went
 * in. */
#include <string.h>

#include "base/size.h"
#include "tokenizer/internal.h"
#include "tokenizer/utf8.h"

/* Printable Latin-1 stands for itself; the other 68 bytes, in order, are U+0100 to U+0143. */
static int byte_of_character(unsigned c)
{
    if ((c >= '!' && c <= '~') || (c >= 0xA1 && c <= 0xFF && c != 0xAD))
        return (int)c;
    if (c < 0x100 || c > 0x143)
        return -1;
    unsigned k = c - 0x100;
    return (int)(k <= 0x20 ? k : k == 0x21 ? 0x7F : k <= 0x42 ? k - 0x22 + 0x80 : 0xAD);
}

size_t bpe_decode(struct text raw, char *out)
{
    size_t n = 0;
    for (size_t at = 0; at < raw.length;) {
        unsigned c = (unsigned char)raw.bytes[at++];
        if (c > ' ' && c < 0x7F) {
            out[n++] = (char)c;
            continue;
        }
        if (c < 0xC2 || c > 0xC5 || at == raw.length)
            return SIZE_MAX;
        int byte = byte_of_character((c & 0x1F) << 6 | ((unsigned char)raw.bytes[at++] & 0x3F));
        if (byte < 0)
            return SIZE_MAX;
        out[n++] = (char)byte;
    }
    return n;
}

static size_t hash_pair(int32_t left, int32_t right)
{
    uint64_t hash = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return (size_t)(hash >> 32 ^ hash >> 15);
}

/* The slot of a pair, or the empty one where it belongs. */
static struct bpe_merge *find_pair(const struct tokenizer *tokenizer, int32_t left, int32_t right)
{
    size_t at = hash_pair(left, right) & tokenizer->merge_mask;
    for (;; at = (at + 1) & tokenizer->merge_mask) {
        struct bpe_merge *merge = &tokenizer->merges[at];
        if (merge->left < 0 || (merge->left == left && merge->right == right))
            return merge;
    }
}

bool bpe_find_merge(const struct tokenizer *tokenizer, const struct span *spans, uint32_t left,
                    uint32_t right, struct merge_candidate *candidate)
{
    if (spans[left].id < 0 || spans[right].id < 0)
        return false;
    const struct bpe_merge *merge = find_pair(tokenizer, spans[left].id, spans[right].id);
    if (merge->left < 0)
        return false;
    candidate->id = merge->id;
    candidate->order = merge->order;
    return true;
}

/* A merge usually makes the token after the one that the merge before it made: look there first. */
static int32_t find_whole(const struct vocabulary *vocabulary, const char *bytes, size_t length,
                          int32_t *guess)
{
    int32_t id = *guess;
    bool hit = !vocabulary->has_duplicates && id < vocabulary->n_tokens &&
               vocabulary->pieces[id].length == length &&
               memcmp(vocabulary->pieces[id].bytes, bytes, length) == 0 &&
               vocabulary_is_text(vocabulary, id);
    if (!hit)
        id = vocabulary_find_text(vocabulary, bytes, length);
    if (id >= 0)
        *guess = id + 1;
    return id;
}

/* The index and the table of pairs exceed the near caches and every look-up is a miss, so merges go
 * in batches: the lines of a whole batch are on their way while its first is being handled. */
enum { BATCH = 32 };
struct batch {
    struct {
        const char *bytes; /* left and right, decoded, in the buffer */
        size_t n_left, n_right;
        uint32_t order;
        int32_t left, right, id;
    } items[BATCH];
    size_t n;
    char *buffer;
    size_t used;
    int32_t guess;
};

static void flush_batch(struct tokenizer *tokenizer, struct batch *batch)
{
    const struct vocabulary *vocabulary = &tokenizer->vocabulary;
    for (size_t i = 0; i < batch->n; i++) {
        const char *bytes = batch->items[i].bytes;
        size_t n_left = batch->items[i].n_left, n_right = batch->items[i].n_right;
        batch->items[i].id = find_whole(vocabulary, bytes, n_left + n_right, &batch->guess);
        batch->items[i].left = vocabulary_find_text(vocabulary, bytes, n_left);
        batch->items[i].right = vocabulary_find_text(vocabulary, bytes + n_left, n_right);
        size_t slot =
            hash_pair(batch->items[i].left, batch->items[i].right) & tokenizer->merge_mask;
        __builtin_prefetch(&tokenizer->merges[slot]);
    }
    for (size_t i = 0; i < batch->n; i++) {
        int32_t left = batch->items[i].left, right = batch->items[i].right, id = batch->items[i].id;
        if (left < 0 || right < 0 || id < 0)
            continue;
        struct bpe_merge *merge = find_pair(tokenizer, left, right);
        if (merge->left < 0)
            *merge = (struct bpe_merge){left, right, id, batch->items[i].order};
    }
    batch->n = 0;
    batch->used = 0;
}

/* "Ġ t": a merge whose parts or whole are no tokens cannot make one and is left out; of equal ones
 * the first counts. */
static void add_merge(struct tokenizer *tokenizer, struct batch *batch, struct text left,
                      struct text right, uint32_t order)
{
    const struct vocabulary *vocabulary = &tokenizer->vocabulary;
    char *bytes = batch->buffer + batch->used;
    if (left.length > 2 * vocabulary->longest || right.length > 2 * vocabulary->longest)
        return;
    size_t n_left = bpe_decode(left, bytes);
    size_t n_right = n_left == SIZE_MAX ? SIZE_MAX : bpe_decode(right, bytes + n_left);
    if (n_right == SIZE_MAX || n_left + n_right > vocabulary->longest)
        return;
    vocabulary_prefetch(vocabulary, bytes, n_left);
    vocabulary_prefetch(vocabulary, bytes + n_left, n_right);
    size_t n = batch->n++;
    batch->used += n_left + n_right;
    batch->items[n].bytes = bytes;
    batch->items[n].n_left = n_left;
    batch->items[n].n_right = n_right;
    batch->items[n].order = order;
    if (batch->n == BATCH)
        flush_batch(tokenizer, batch);
}

static int add_merges(struct tokenizer *tokenizer, struct cursor *items, uint64_t count,
                      const char *place, struct error *err)
{
    /* A batch of whole tokens, and behind it a merge of up to twice and twice the longest one. */
    struct batch batch = {.buffer = size_alloc(tokenizer->vocabulary.longest, BATCH + 4)};
    if (!batch.buffer)
        return error_memory(err, "the merges", tokenizer->vocabulary.longest * (BATCH + 4));
    int result = 0;
    for (uint64_t i = 0; i < count && result == 0; i++) {
        struct text text = metadata_next_text(items);
        const char *space = text.length > 1 ? memchr(text.bytes + 1, ' ', text.length - 1) : NULL;
        size_t n_left = space ? (size_t)(space - text.bytes) : 0;
        if (!space || n_left + 1 == text.length)
            result = error_set(err,
                               "%s: \"tokenizer.ggml.merges\": item %llu is \"%s\", expected two "
                               "tokens with a space between",
                               place, (unsigned long long)i, text_printable(text).chars);
        else
            add_merge(tokenizer, &batch, (struct text){text.bytes, n_left},
                      (struct text){space + 1, text.length - n_left - 1}, (uint32_t)i);
    }
    flush_batch(tokenizer, &batch);
    free(batch.buffer);
    return result;
}

int bpe_open(struct tokenizer *tokenizer, const struct metadata *metadata, struct error *err)
{
    struct cursor items;
    uint64_t count;
    if (metadata_array(metadata, "tokenizer.ggml.merges", REQUIRED, METADATA_STRING, &items, &count,
                       err) != 0)
        return -1;
    if (count > cursor_left(&items) / 8 || count > INT32_MAX)
        return error_set(err, "%s: \"tokenizer.ggml.merges\" has %llu items in %zu bytes",
                         metadata->place, (unsigned long long)count, cursor_left(&items));
    size_t n_slots = 16;
    while (n_slots < (size_t)count * 3 / 2)
        n_slots *= 2;
    tokenizer->merges = size_alloc(n_slots, sizeof *tokenizer->merges);
    if (!tokenizer->merges)
        return error_memory(err, "the merges", n_slots * sizeof *tokenizer->merges);
    memset(tokenizer->merges, 0xFF, n_slots * sizeof *tokenizer->merges);
    tokenizer->merge_mask = n_slots - 1;
    return add_merges(tokenizer, &items, count, metadata->place, err);
}

static int add_symbol(struct encoder *encoder, const char *piece, uint32_t length, int32_t id)
{
    if (id < 0)
        return tokenizer_encode_unknown(encoder, piece, length);
    return token_list_add(encoder->ids, id, encoder->err);
}

static int encode_part(struct encoder *encoder, const char *part, size_t n_bytes)
{
    const struct vocabulary *vocabulary = &encoder->tokenizer->vocabulary;
    if (merge_reserve(encoder, n_bytes) != 0)
        return -1;
    struct span *spans = encoder->spans;
    for (size_t i = 0; i < n_bytes; i++)
        spans[i] = (struct span){
            .length = 1, .before = 1, .id = vocabulary->bytes[(unsigned char)part[i]]};
    merge_run(encoder, part, n_bytes);
    for (uint32_t at = 0; at < n_bytes; at += spans[at].length) {
        if (add_symbol(encoder, part + at, spans[at].length, spans[at].id) != 0)
            return -1;
    }
    return 0;
}

static int encode_piece(void *context, const char *piece, size_t n_bytes)
{
    struct encoder *encoder = context;
    if (encoder->tokenizer->ignore_merges) {
        int32_t id = vocabulary_find_text(&encoder->tokenizer->vocabulary, piece, n_bytes);
        if (id >= 0)
            return token_list_add(encoder->ids, id, encoder->err);
    }
    size_t start = 0;
    for (size_t at = 1; at <= n_bytes; at++) {
        if (at < n_bytes && merge_may_join(encoder->tokenizer, piece[at - 1], piece[at]))
            continue;
        if (encode_part(encoder, piece + start, at - start) != 0)
            return -1;
        start = at;
    }
    return 0;
}

int bpe_encode(struct encoder *encoder, const char *text, size_t length)
{
    const struct pretokenizer *pretokenizer = &encoder->tokenizer->pretokenizer;
    for (size_t at = 0; at < length;) {
        size_t valid = utf8_valid_prefix(text + at, length - at);
        if (valid > 0 && pretokenizer_split(pretokenizer, &encoder->scratch, text + at, valid,
                                            encode_piece, encoder, encoder->err) != 0)
            return -1;
        at += valid;
        size_t invalid = utf8_invalid_prefix(text + at, length - at);
        if (invalid > 0 && encode_piece(encoder, text + at, invalid) != 0)
            return -1;
        at += invalid;
    }
    return 0;
}
