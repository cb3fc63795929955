/* attend_packed: many queries over the cache (prompts). An item is a key-value head and the heads
 * of its group, of many neighbouring tokens; each block of keys and values is packed once for all
 * of them (kernels/kernels.h). Used by attention only. */
#ifndef LONGHAND_MODEL_ATTEND_PACKED_H
#define LONGHAND_MODEL_ATTEND_PACKED_H

#include "model/parts.h"

/* Whether a scheme's queries and keys can be packed: not where each block meets a query of its own.
 */
bool attend_packed_allows(const struct position *position);

/* Queries that an item may have. */
int attend_packed_queries(const struct model *model);

/* Floats of scratch that an item needs. */
size_t attend_packed_scratch(const struct model *model);

/* The results of `heads` query heads from `head` on, all reading one key-value head, for `tokens`
 * tokens of the batch from `token` on: into activations.heads. */
void attend_packed(const struct session *session, int layer, int head, int heads, int token,
                   int tokens, float *scratch);

#endif
