/* generate: the loop. Prompt in, tokens out, one call of `emit` a token. */
#ifndef LONGHAND_MODEL_GENERATE_H
#define LONGHAND_MODEL_GENERATE_H

#include <stdbool.h>

#include "model/sampler.h"
#include "model/session.h"

struct generate {
    struct session *session;
    struct sampler *sampler;
    int64_t max_tokens; /* of the continuation; < 0: no bound */
    /* After every batch of the prompt; false stops. May be NULL. */
    bool (*progress)(void *context, int64_t done, int64_t total);
    /* Every sampled token before it is fed; false stops (an end token, a stop string, Ctrl-C). */
    bool (*emit)(void *context, int32_t id);
    void *context;
    /* results */
    int64_t prompt_tokens; /* fed */
    int64_t new_tokens;    /* emitted */
    double prompt_seconds;
    double new_seconds;
};

/* Feeds prompt[n] (n > 0) and continues. Every emitted token but the last has been fed, so the next
 * call may go on with that token in front of its prompt. */
int generate(struct generate *run, const int32_t *prompt, int64_t n, struct error *err);

#endif
