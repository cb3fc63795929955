/* retention: what of a session's cache its context policy keeps. Used by session only, which
 * declares session_cache_bytes. */
#ifndef LONGHAND_MODEL_RETENTION_H
#define LONGHAND_MODEL_RETENTION_H

#include "model/session.h"

/* Lets go of what no token from session->position on will see. */
void retention_evict(struct session *session);

/* Whether no more is let go at `to` than at `from`. */
bool retention_stays(const struct session *session, int64_t from, int64_t to);

/* Whether nothing of positions [0, n) has been let go. */
bool retention_holds(const struct session *session, int64_t n);

/* Whether all that the token at `at` sees before itself is there; if not, *missing is the first
 * position of the segment that is not. */
bool retention_sees(const struct session *session, int64_t at, int64_t *missing);

/* Whether all is there that tokens from session->position on may see, whatever they see it as; if
 * not, *layer is the first layer where it is not. */
bool retention_suffices(const struct session *session, int *layer);

#endif
