/* limits: what the machine allows: how fast it reads memory and multiplies, measured, and how fast
 * a model could run if nothing else took time. */
#ifndef LONGHAND_COMMANDS_LIMITS_H
#define LONGHAND_COMMANDS_LIMITS_H

#include "model/session.h"

/* A second of all threads together. */
struct limits {
    double bytes;    /* read from memory */
    double floats;   /* multiply-adds of floats */
    double integers; /* multiply-adds of 8-bit integers; 0 where the kernels do not do these */
    double tiles;    /* multiply-adds of tiles of bf16; likewise */
};

/* Multiply-adds of one token's products with weights, but for the logits, and of its attention: of
 * the token at a position, in all layers. */
double limits_products(const struct model *model);
double limits_attention(const struct session *session, int64_t at);

int limits_measure(struct limits *limits, const struct kernels *kernels, struct error *err);

/* What feeding tokens takes at the least: seconds of reading and of multiplying. */
struct least {
    double reading;
    double multiplying;
};

/* Of `tokens` tokens after `depth` others, `batch` of them at a time, in a session of that policy
 * and cache type: each batch reads the weights once, and the keys and values that its last token
 * sees. */
struct least limits_least(const struct limits *limits, const struct session *session, int depth,
                          int tokens, int batch);

#endif
