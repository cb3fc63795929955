/* endurance_keys: the cached keys of a session, for endurance.c: read, measured, and what turning
 * them in place would make of them. */
#ifndef LONGHAND_TESTS_ENDURANCE_KEYS_H
#define LONGHAND_TESTS_ENDURANCE_KEYS_H

#include "model/session.h"

/* Numbers that all layers' keys of one position have. */
size_t endurance_keys_size(const struct model *model);

/* keys (n, n_layers, n_kv_heads, head_dim): positions [begin, begin + n) as the cache has them. */
void endurance_keys_read(const struct session *session, int64_t begin, int64_t n, float *keys);

/* norms[n_layers]: the mean Euclidean norm of the keys of the last CACHE_BLOCK positions. */
void endurance_keys_norms(const struct session *session, double *norms);

/* Prints what a cache in place, which turns keys by -1 and stores them again whenever their places
 * shrink, would make of the keys of ids[sinks + window]: of the last CACHE_BLOCK while they are in
 * the window, and of sinks that are turned along with it for good. Errors are relative, means over
 * layers and heads. */
void endurance_keys_print_shifts(const struct model *model, const int32_t *ids, int sinks,
                                 int window);

#endif
