/* lookup: guesses what comes next from the text so far: what followed the last time when it went
 * as it goes now. Guesses are cheap to check, since a batch of a few tokens costs little more than
 * a single one, and who checks them (model/generate.h) takes only what the sampler says, so that
 * the text is that of decoding token by token.
 *
 * It remembers the last LOOKUP_TOKENS tokens in a ring, and by the hash of three tokens where they
 * stood before. It watches how often it is right, by the length of the match, also while nobody
 * asks, and guesses as many tokens as make the expected number of tokens per cost largest. All of
 * that depends on the tokens alone, never on a clock: the same text gives the same guesses.
 *
 * Sources: Yang et al. 2023 (arXiv:2304.04487), Saxena 2023 (prompt lookup decoding), Leviathan et
 * al. 2023 (2211.17192, the expected gain). */
#ifndef LONGHAND_MODEL_LOOKUP_H
#define LONGHAND_MODEL_LOOKUP_H

#include <stdint.h>

#include "base/error.h"

enum {
    LOOKUP_TOKENS = 1 << 18, /* that are remembered */
    LOOKUP_HASHES = 1 << 16,
    LOOKUP_LONGEST = 32, /* match that is told from longer ones */
    LOOKUP_RECORDS = 6,  /* of matches of 3, 4 to 7, 8 to 15, 16 to 31 and 32 tokens, by log2 */
    LOOKUP_DRAFT = 7     /* guesses at most: with the token before them, a batch of 8 */
};

/* How often matches of like length were right about the next token; old ones count less. */
struct lookup_record {
    float right;
    float all;
};

struct lookup {
    int32_t *tokens;    /* (LOOKUP_TOKENS) ring: token i at i % LOOKUP_TOKENS */
    uint32_t *previous; /* (LOOKUP_TOKENS) ring: what `latest` said before token i came */
    uint32_t *latest;   /* (LOOKUP_HASHES) by three tokens: the place behind them; 0: none */
    float *logits;      /* (LOOKUP_DRAFT + 1, vocab_size) of a draft that is checked */
    uint32_t n;         /* tokens so far; wraps around, as all places do */
    uint32_t source;    /* the `length` tokens before this place are those at the end */
    uint32_t length;    /* 0: no match */
    struct lookup_record records[LOOKUP_RECORDS];
};

int lookup_open(struct lookup *lookup, int vocab_size, struct error *err);
void lookup_close(struct lookup *lookup); /* accepts a zeroed struct */

/* The text goes on with `id`. */
void lookup_add(struct lookup *lookup, int32_t id);

/* Writes up to `most` tokens, LOOKUP_DRAFT at most, that may come next; returns how many are worth
 * checking, 0 where none are. */
int lookup_draft(const struct lookup *lookup, int64_t most, int32_t draft[LOOKUP_DRAFT]);

#endif
