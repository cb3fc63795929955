/* lookup: see lookup.h. */
#include "model/lookup.h"

#include <stdlib.h>

#include "base/size.h"
#include "kernels/kernels.h"

/* So that a draft that is checked has the logits that its tokens have one by one. */
_Static_assert(LOOKUP_DRAFT + 1 <= ROW_TOKENS_MAX, "a draft is one batch of rows");

enum {
    GRAM = 3,        /* tokens that are hashed: the shortest match */
    CANDIDATES = 64, /* earlier places looked at per token */
};

/* What checking one more token adds to the cost of a step, which is mostly reading weights: 0.02 to
 * 0.11 were measured. On slower kernels it is more, and a wrong guess then costs more than it
 * should; but what is guessed must not depend on the machine. */
static const float cost_of_guess = 0.1F;

/* What is believed of matches before any has been seen. */
static const float at_first[LOOKUP_RECORDS] = {0, 0.3F, 0.5F, 0.7F, 0.8F, 0.9F};

static int record_of(uint32_t length)
{
    int log2 = 0;
    while (length >>= 1)
        log2++;
    return log2;
}

int lookup_open(struct lookup *lookup, int vocab_size, struct error *err)
{
    *lookup = (struct lookup){0};
    size_t row = (size_t)vocab_size * sizeof *lookup->logits;
    lookup->tokens = size_alloc(LOOKUP_TOKENS, sizeof *lookup->tokens);
    lookup->previous = size_alloc(LOOKUP_TOKENS, sizeof *lookup->previous);
    lookup->latest = calloc(LOOKUP_HASHES, sizeof *lookup->latest);
    lookup->logits = size_alloc(LOOKUP_DRAFT + 1, row);
    if (!lookup->tokens || !lookup->previous || !lookup->latest || !lookup->logits) {
        lookup_close(lookup);
        return error_memory(err, "lookup", (LOOKUP_DRAFT + 1) * row);
    }
    for (int i = 0; i < LOOKUP_RECORDS; i++)
        lookup->records[i] = (struct lookup_record){4 * at_first[i], 4};
    return 0;
}

void lookup_close(struct lookup *lookup)
{
    free(lookup->tokens);
    free(lookup->previous);
    free(lookup->latest);
    free(lookup->logits);
    *lookup = (struct lookup){0};
}

static int32_t token_at(const struct lookup *lookup, uint32_t place)
{
    return lookup->tokens[place % LOOKUP_TOKENS];
}

/* Whether the match was right about the token that has come. */
static void watch(struct lookup *lookup, int32_t id)
{
    enum { MEMORY = 64 };
    struct lookup_record *record = &lookup->records[record_of(lookup->length)];
    if (record->all >= MEMORY) {
        record->right /= 2;
        record->all /= 2;
    }
    bool right = token_at(lookup, lookup->source) == id;
    record->right += right ? 1 : 0;
    record->all += 1;
    lookup->source++;
    lookup->length += lookup->length < LOOKUP_LONGEST;
    if (!right)
        lookup->length = 0;
}

/* How many tokens before `place` are those at the end of the text. */
static uint32_t match(const struct lookup *lookup, uint32_t place)
{
    uint32_t remembered = LOOKUP_TOKENS - (lookup->n - place);
    uint32_t most = place < remembered ? place : remembered;
    uint32_t length = 0;
    while (length < most && length < LOOKUP_LONGEST &&
           token_at(lookup, place - 1 - length) == token_at(lookup, lookup->n - 1 - length))
        length++;
    return length;
}

static uint32_t *latest_of_end(const struct lookup *lookup)
{
    uint32_t hash = 0;
    for (uint32_t i = 1; i <= GRAM; i++)
        hash = (hash ^ (uint32_t)token_at(lookup, lookup->n - i)) * 0x9E3779B1U;
    return &lookup->latest[hash >> 16];
}

/* Takes up the longest match, the latest of several; the one that has been followed so far is
 * given up for a longer one only. */
static void find(struct lookup *lookup, uint32_t place)
{
    for (int i = 0; i < CANDIDATES && lookup->length < LOOKUP_LONGEST; i++) {
        if (place == 0 || lookup->n - place >= LOOKUP_TOKENS)
            break;
        uint32_t length = match(lookup, place);
        if (length >= GRAM && length > lookup->length) {
            lookup->source = place;
            lookup->length = length;
        }
        place = lookup->previous[place % LOOKUP_TOKENS];
    }
}

void lookup_add(struct lookup *lookup, int32_t id)
{
    if (lookup->length > 0)
        watch(lookup, id);
    lookup->tokens[lookup->n++ % LOOKUP_TOKENS] = id;
    if (lookup->n < GRAM)
        return;
    uint32_t *latest = latest_of_end(lookup);
    lookup->previous[lookup->n % LOOKUP_TOKENS] = *latest;
    find(lookup, *latest);
    *latest = lookup->n;
}

int lookup_draft(const struct lookup *lookup, int64_t most, int32_t draft[LOOKUP_DRAFT])
{
    if (lookup->length == 0)
        return 0;
    /* If each token of the draft is right with some probability, given those before it, a step
     * yields 1 + p1 + p1 p2 + ... tokens. */
    float all_right = 1;
    float tokens = 1;
    float best = 1;
    int n = 0;
    for (int i = 0; i < LOOKUP_DRAFT && i < most; i++) {
        uint32_t length = lookup->length + (uint32_t)i;
        const struct lookup_record *record =
            &lookup->records[record_of(length < LOOKUP_LONGEST ? length : LOOKUP_LONGEST)];
        all_right *= record->right / record->all;
        tokens += all_right;
        float rate = tokens / (1 + cost_of_guess * (float)(i + 1));
        if (rate > best) {
            best = rate;
            n = i + 1;
        }
    }
    /* What follows the match may reach the end of the text, and goes on with itself. */
    uint32_t known = lookup->n - lookup->source;
    for (uint32_t i = 0; i < (uint32_t)n; i++)
        draft[i] = i < known ? token_at(lookup, lookup->source + i) : draft[i - known];
    return n;
}
