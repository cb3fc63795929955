/* attend: a few queries over a part of the cache, whose keys they read as they are stored. One item
 * of work is a key-value head and the queries that read it: the heads of its group, of one or more
 * neighbouring tokens. Used by attention only. */
#ifndef LONGHAND_MODEL_ATTEND_H
#define LONGHAND_MODEL_ATTEND_H

#include "model/parts.h"
#include "model/query.h"

struct item {
    const struct session *session;
    const struct position *position;
    const struct kernels *k;
    int layer;
    int kv_head;
    size_t dim;
    int m;
    struct query queries[QUERIES_MAX];
    struct part segments[SEGMENTS_MAX]; /* what any of them sees */
    float *scores;                      /* (QUERIES_MAX, CACHE_BLOCK) */
    float *keys;                        /* (head_dim, CACHE_BLOCK) unpacked */
    float *raw;                         /* the same, before they are turned; or values */
    float *table;                       /* of turning */
    float *vectors;                     /* the queries' */
};

/* Floats of scratch that one item needs. */
size_t attend_scratch(const struct model *model);

/* Takes `heads` query heads from `head` on, all reading one key-value head, of `tokens` tokens of
 * the batch from `token` on: at most QUERIES_MAX in all. */
void attend_open(struct item *item, const struct session *session, int layer, int head, int heads,
                 int token, int tokens, float *scratch);

/* Makes the softmax of every query for the keys of one part. */
void attend_part(struct item *item, const struct part *part);

#endif
