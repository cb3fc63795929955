/* save: a session as a file, from which model/restore.h goes on as if it had never stopped. The
 * file appears whole or not at all, and only its owner may read it. */
#ifndef LONGHAND_MODEL_SAVE_H
#define LONGHAND_MODEL_SAVE_H

#include "base/text.h"
#include "model/checkpoint.h"
#include "model/sampler.h"
#include "model/session.h"

struct save {
    const struct checkpoint *checkpoint; /* that of the session's model */
    const struct session *session;
    const struct sampler *sampler; /* NULL: none */
    const int32_t *ids; /* (n_ids) the text; session->position of them, or more, have been fed */
    int64_t n_ids;
    struct text transcript; /* any bytes: stored as they are, near the front of the file, so that
                               text can be read in an editor */
};

/* On failure (disk, memory, fewer ids than have been fed) what `path` named before is still there.
 */
int save_write(const struct save *save, const char *path, struct error *err);

#endif
