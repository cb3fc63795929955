/* forward: one pass through the layers. Called by session only, which has made room. */
#ifndef LONGHAND_MODEL_FORWARD_H
#define LONGHAND_MODEL_FORWARD_H

#include "model/session.h"

/* Which tokens' logits a pass computes. */
enum forward_logits { LOGITS_NONE, LOGITS_LAST, LOGITS_ALL };

/* Tokens ids[n], n <= SESSION_BATCH, at session->position: stores their keys and values and writes
 * their logits to `logits` ((n, vocab_size) for LOGITS_ALL, (vocab_size) for LOGITS_LAST). */
void forward(struct session *session, const int32_t *ids, int n, enum forward_logits wanted,
             float *logits);

#endif
