/* query: one head of one token as attention sees it: what of the cache it sees, how keys meet it,
 * and its running softmax. Used by attention only. */
#ifndef LONGHAND_MODEL_QUERY_H
#define LONGHAND_MODEL_QUERY_H

#include "model/fold.h"

struct query {
    const struct session *session;
    const struct position *position;
    int head;
    int token; /* of the batch */
    int64_t at;
    struct segment segments[SEGMENTS_MAX];
    struct softmax softmax;
    float *base;     /* (head_dim) scaled, as it meets keys before rotation */
    float *turned;   /* (head_dim) rotated for the segment at hand */
    float *block;    /* (head_dim) the same, as the block at hand meets it */
    float *relative; /* (head_dim) as it meets vectors by distance */
    float *out;      /* (head_dim) of the softmax */
    float *content;  /* what content decides by */
    double state;    /* of the same */
};

/* Floats of memory that one query needs. */
size_t query_floats(const struct model *model);

/* Token `token` of the batch, head `head` of layer `layer`, from activations.qkv. */
void query_open(struct query *query, const struct session *session, int layer, int head, int token,
                float *memory);

/* Head `head` of token `token` as it meets keys before rotation, and as it meets vectors by
 * distance: y[head_dim]. */
void query_scaled(const struct session *session, int layer, int head, int token, float *y);
void query_relative(const struct session *session, int layer, int head, int token, float *y);
/* What content decides by, row[row_length]. */
void query_content(const struct session *session, int layer, int head, int token, float *row);
/* Rotates y, which met keys before rotation, for those of segment s. */
void query_rotate(const struct session *session, const struct position *position, int token, int s,
                  float *y);

/* Turns a query for the keys of segment s. */
void query_turn(struct query *query, int s);
/* The same, for the block of them whose first key is at `start`. */
const float *query_for_block(struct query *query, int s, int64_t start);

/* The lanes [begin, end) that a segment has of the block whose first key is at `start`. */
void query_visible(const struct segment *segment, int64_t start, size_t *begin, size_t *end);

#endif
