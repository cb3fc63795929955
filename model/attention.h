/* attention: softmax(q k + position) v over the cache, tile by tile with a running maximum. */
#ifndef LONGHAND_MODEL_ATTENTION_H
#define LONGHAND_MODEL_ATTENTION_H

#include "model/session.h"

/* Floats of scratch that one thread needs. */
size_t attention_scratch(const struct model *model);

/* Floats of session->parts that the next n tokens need. */
size_t attention_parts(const struct session *session, int n);

/* Tokens first..first+n-1 of the batch, whose queries (not rotated) lie in activations.qkv and
 * whose keys and values (and all earlier ones that they see) are in the cache; the result goes to
 * activations.heads. */
void attention(struct session *session, int layer, int first, int n);

/* The strip of the cache that has keys of a form: schemes that do not rotate them need but one. */
int attention_strip(const struct session *session, int layer, int form);

/* The cosines, then the sines (head_dim / 2 each) that turn the query of token t of the batch for
 * a segment, and its key for a form. */
float *attention_query_turns(const struct session *session, const struct position *position, int t,
                             int segment);
float *attention_key_turns(const struct session *session, const struct position *position, int t,
                           int form);

#endif
