/* fold: a block's scores become weights, and results are put together: one row of scores into the
 * running softmax of its query, with what the scheme adds by distance or content; and the softmax
 * of a part into that of the whole. Used by attention only. */
#ifndef LONGHAND_MODEL_FOLD_H
#define LONGHAND_MODEL_FOLD_H

#include "model/session.h"

/* A softmax over keys so far. */
struct softmax {
    float max;
    float sum;
    float *out; /* (head_dim) the weighted sum of values */
};

/* The keys of a block in one form, as all queries meet them. */
struct fold {
    const struct session *session;
    const struct position *position;
    const struct position_table *table;
    const struct kernels *k;
    size_t dim;
    int form;
    int64_t start;     /* position of the first key */
    const float *keys; /* (head_dim, CACHE_BLOCK), or NULL where the scheme does not need them */
    bool straight;     /* neighbours are one place apart throughout ... */
    double place;      /* ... from this place on */
};

/* A query that meets them. */
struct row {
    int head;
    double place;
    const float *relative; /* (head_dim) as it meets vectors by distance, or NULL */
    const float *content;  /* what content decides by, or NULL */
    double *state;         /* of the same */
};

struct fold fold_open(const struct session *session, const struct position *position, int form,
                      int64_t start, const float *keys);

/* Scores (CACHE_BLOCK) of which the query sees lanes [begin, end) become weights. Those of lanes
 * [first, last) that it does not see become 0. */
void fold_row(const struct fold *fold, const struct row *row, size_t first, size_t last,
              size_t begin, size_t end, float *scores, struct softmax *softmax);

/* Starts a softmax over no keys, whose values gather in out[dim]. */
void fold_start(struct softmax *softmax, float *out, size_t dim);
/* total += part */
void fold_merge(const struct kernels *k, struct softmax *total, const struct softmax *part,
                size_t dim);

#endif
