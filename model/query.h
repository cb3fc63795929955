/* query: one head of one token as attention sees it: what of the cache it sees, how keys meet it,
 * and its running softmax. Used by attention only. */
#ifndef LONGHAND_MODEL_QUERY_H
#define LONGHAND_MODEL_QUERY_H

#include "model/session.h"

struct query {
    const struct session *session;
    const struct position *position;
    int head;
    int token; /* of the batch */
    int64_t at;
    struct segment segments[SEGMENTS_MAX];
    float max;
    float sum;
    float *base;     /* (head_dim) scaled, as it meets keys before rotation */
    float *turned;   /* (head_dim) rotated for the segment at hand */
    float *block;    /* (head_dim) the same, as the block at hand meets it */
    float *relative; /* (head_dim) as it meets vectors by distance */
    float *out;      /* (head_dim) the weighted sum of values so far */
    float *row;      /* what content decides by */
    double state;    /* of the same */
};

/* Floats of memory that one query needs. */
size_t query_floats(const struct model *model);

/* Token `token` of the batch, head `head` of layer `layer`, from activations.qkv. */
void query_open(struct query *query, const struct session *session, int layer, int head, int token,
                float *memory);

/* Turns it for the keys of segment s. */
void query_turn(struct query *query, int s);
/* The same, for the block of them whose first key is at `start`. */
const float *query_for_block(struct query *query, int s, int64_t start);

/* The lanes [begin, end) of that block that segment s has. */
void query_visible(const struct query *query, int s, int64_t start, size_t *begin, size_t *end);

#endif
