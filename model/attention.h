/* attention: softmax(q k + position) v over the cache, tile by tile with a running maximum. */
#ifndef LONGHAND_MODEL_ATTENTION_H
#define LONGHAND_MODEL_ATTENTION_H

#include "model/session.h"

/* Floats of scratch that one thread needs. */
size_t attention_scratch(const struct config *config);

/* Tokens first..first+n-1 of the batch, whose queries (rotated) lie in activations.qkv and whose
 * keys and values (and all earlier ones) are in the cache; the result goes to activations.heads. */
void attention(struct session *session, const struct layer *layer, int layer_index, int first,
               int n);

#endif
