/* position: where a token is. All that attention and the embedding know of position schemes.
 *
 * Every scheme is a sum of at most three mechanisms - rotation of q and k, a bias by distance added
 * to the score, relative vectors - or an absolute embedding added at the input. A scheme is one row
 * of the table in position.c and one file of this folder; a hook that it does not have is NULL. */
#ifndef LONGHAND_MODEL_POSITION_POSITION_H
#define LONGHAND_MODEL_POSITION_POSITION_H

#include <stdint.h>

#include "base/error.h"
#include "kernels/kernels.h"
#include "model/checkpoint.h"
#include "model/config.h"

struct position; /* a scheme with its parameters, below */

struct position_scheme {
    const char *name; /* "rope", for info */
    /* Reads what it needs; position->scheme, ->config are set. */
    int (*open)(struct position *position, const struct checkpoint *checkpoint, struct error *err);
    /* x[dim] += the embedding of `at` (0 <= at < position->limit). */
    void (*embed)(const struct position *position, int64_t at, float *x);
    /* cos[rotated / 2], sin[rotated / 2] of the rotation of place `at`; angles in double. */
    void (*angles)(const struct position *position, int64_t at, float *cos, float *sin);
    /* scores[j] += bias of `head` at distance `distance - j`, j < n <= distance + 1. */
    void (*add_bias)(const struct position *position, int head, int64_t distance, int n,
                     float *scores);
};

/* Const once open. */
struct position {
    const struct position_scheme *scheme;
    const struct config *config;
    int64_t limit;              /* places there are: INT64_MAX unless a table ends */
    int rotated;                /* dimensions of a head that are rotated; 0: none */
    enum rope_pairs pairs;      /* of the rotation */
    double *frequency;          /* (rotated / 2) radians a place */
    float *slope;               /* (n_heads) ALiBi's m, > 0 */
    const struct tensor *table; /* (limit, dim) learned embeddings */
};

/* Opens the scheme that the configuration names. `config` and the checkpoint must outlive it. */
int position_open(struct position *position, const struct config *config,
                  const struct checkpoint *checkpoint, struct error *err);
void position_close(struct position *position);

/* Turns the heads of one token, x (n_heads, head_dim), by the angles given. */
void position_rotate(const struct position *position, const struct kernels *kernels, float *x,
                     int n_heads, const float *cos, const float *sin);

extern const struct position_scheme position_none;
extern const struct position_scheme position_learned;
extern const struct position_scheme position_rope;
extern const struct position_scheme position_alibi;

#endif
