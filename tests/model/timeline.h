/* timeline: sessions of the tiny models for tests of what must not change: texts of any length, fed
 * in pieces of any size, and what is in the cache afterwards. */
#ifndef LONGHAND_TESTS_MODEL_TIMELINE_H
#define LONGHAND_TESTS_MODEL_TIMELINE_H

#include "tests/model/fixture.h"

/* With the context policy of that notation. */
void timeline_open(struct session *session, const struct model *model, const char *policy,
                   enum format kv, int64_t origin);

/* ids[n] in pieces of those sizes (0 ends the list; the last one repeats), and all logits, unless
 * that is NULL. */
void timeline_feed(struct session *session, const int32_t *ids, int n, const int *pieces,
                   float *logits);
/* Such lists; the first takes texts of up to TIMELINE_LONG tokens at once. */
enum { TIMELINE_LONG = 700 };
extern const int timeline_whole[2], timeline_ones[2], timeline_ragged[6];

/* The logits (n, vocab_size) of a fixture's first n tokens in a session of their own, which the
 * caller frees. */
float *timeline_logits(const struct fixture *fixture, int n, int64_t origin, const int *pieces);

/* A text of any length from a fixture's tokens. */
void timeline_ids(const struct fixture *fixture, int32_t *ids, int n);

/* One key, or, with STRIP_VALUES, value (head_dim), as it is in the cache. */
void timeline_read(const struct session *session, int layer, int strip, int64_t at, int head,
                   float *x);

#endif
