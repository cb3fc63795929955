/* identity: what must be the same for a cache to go on being valid, as text, a line a thing.
 *
 * Everything that decides what is in the cache of a session: architecture and shapes, the file's
 * metadata and weights (checksums; of the weights, a sample of every tensor), position schemes with
 * their scaling, context policy, cache type, the place of the first token. Not what may change from
 * one run to the next: threads, instruction set, memory. */
#ifndef LONGHAND_MODEL_IDENTITY_H
#define LONGHAND_MODEL_IDENTITY_H

#include "base/text.h"
#include "model/checkpoint.h"
#include "model/session.h"

/* *text, which the caller frees. The checkpoint is that of the session's model. */
int identity_make(const struct checkpoint *checkpoint, const struct session *session, char **text,
                  size_t *length, struct error *err);

/* Fails with the first line that differs: what was found, and what this session has. */
int identity_compare(struct text found, struct text expected, struct error *err);

/* The context policy of an identity; fails where it names none. */
int identity_context(struct text identity, struct context *context, struct error *err);

#endif
