/* entropy: how far attention spreads: of a head's weights p over the keys that a query sees,
 * -sum p ln p, in nats; 0 is one key, ln n all of n alike. */
#ifndef LONGHAND_MODEL_ENTROPY_H
#define LONGHAND_MODEL_ENTROPY_H

#include "model/session.h"

/* Of token `token` of the batch: heads[n_heads]. After attention() of the same layer, on one
 * thread. */
void entropy_of_heads(const struct session *session, int layer, int token, double *heads);

#endif
