/* generate: the loop. Prompt in, tokens out, one call of `emit` a token.
 *
 * With `lookup` it feeds what may come next along with each token and takes as much of it as the
 * sampler then draws, one by one, from the logits of the true text: the draws are those of decoding
 * token by token, whatever was guessed. What was guessed wrong is taken back. The text is the same
 * where a batch has the bits of single tokens (the scalar tier, and others as far as kernels.h
 * promises), and otherwise differs at most as another rounding of logits makes it; guesses depend
 * on the tokens only, so it is the same on every run and for any number of threads in any case. */
#ifndef LONGHAND_MODEL_GENERATE_H
#define LONGHAND_MODEL_GENERATE_H

#include <stdbool.h>

#include "model/lookup.h"
#include "model/sampler.h"
#include "model/session.h"

struct generate {
    struct session *session;
    struct sampler *sampler;
    struct lookup *lookup; /* knows the text so far; NULL: one token after the other */
    int64_t max_tokens;    /* of the continuation; < 0: no bound */
    /* After every batch of the prompt; false stops. May be NULL. */
    bool (*progress)(void *context, int64_t done, int64_t total);
    /* Every sampled token before it is fed; false stops (an end token, a stop string, Ctrl-C).
     * Meanwhile the session may hold guesses. */
    bool (*emit)(void *context, int32_t id);
    void *context;
    /* results */
    int64_t prompt_tokens;   /* fed */
    int64_t new_tokens;      /* emitted */
    int64_t guessed_tokens;  /* fed before they were drawn ... */
    int64_t accepted_tokens; /* ... and then drawn */
    double prompt_seconds;
    double new_seconds;
};

/* Feeds prompt[n] (n > 0) and continues. Every emitted token but the last has been fed, and nothing
 * else, so the next call may go on with that token in front of its prompt. */
int generate(struct generate *run, const int32_t *prompt, int64_t n, struct error *err);

#endif
