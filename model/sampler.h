/* sampler: logits -> token.
 *
 * The chain, in this order: repetition penalty, min-p, top-k, top-p, temperature, draw; each filter
 * sees what the one before it left. temperature 0 takes the most likely token (the lowest id among
 * equals) after the penalty. */
#ifndef LONGHAND_MODEL_SAMPLER_H
#define LONGHAND_MODEL_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/candidates.h"

struct sampler_options {
    float temperature;    /* >= 0 */
    int top_k;            /* 0: off */
    float top_p;          /* (0, 1]; 1: off */
    float min_p;          /* [0, 1): drops tokens below min_p times the most likely one; 0: off */
    float repeat_penalty; /* > 0; 1: off (Keskar et al. 2019, CTRL) */
    int repeat_last;      /* tokens that the penalty looks back on */
    uint64_t seed;
};

extern const struct sampler_options sampler_defaults;

/* Logits are looked at in blocks, of which most have nothing that matters. */
enum { SAMPLER_BLOCK = 64 };

struct sampler {
    struct sampler_options options;
    uint64_t rng[4]; /* xoshiro256** */
    int vocab_size;
    struct candidate *candidates; /* (vocab_size) scratch */
    float *weights;               /* (vocab_size) scratch */
    float *logits;                /* (vocab_size) blocks of logits after the penalty ... */
    bool *changed;                /* (blocks) ... for those that have tokens with one */
    float *largest;               /* (blocks) logit of each */
    int32_t *recent;              /* ring of repeat_last tokens */
    int64_t n_recent;             /* tokens ever accepted */
};

/* Options out of range are an error that names the option, what was found and what is allowed. */
int sampler_check(const struct sampler_options *options, struct error *err);

/* Checks the options, too. */
int sampler_open(struct sampler *sampler, const struct sampler_options *options, int vocab_size,
                 struct error *err);
void sampler_close(struct sampler *sampler);

/* Tells the sampler of a token of the text (prompt or reply), for the repetition penalty. */
void sampler_accept(struct sampler *sampler, int32_t id);
/* The text is ids[n] now: what the penalty looks back on is that. */
void sampler_look_back(struct sampler *sampler, const int32_t *ids, int64_t n);

/* Draws the next token from logits (vocab_size). NaN counts as minus infinity. */
int32_t sampler_next(struct sampler *sampler, const float *logits);

#endif
