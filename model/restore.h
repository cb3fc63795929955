/* restore: goes on with a session that model/save.h has written.
 *
 * The file may hold anything. It is refused, with a reason, where it is cut, damaged, of another
 * version, or saved with another model or other settings (model/identity.h); memory is taken for
 * what is in the file only. */
#ifndef LONGHAND_MODEL_RESTORE_H
#define LONGHAND_MODEL_RESTORE_H

#include "base/file.h"
#include "base/text.h"
#include "model/checkpoint.h"
#include "model/sampler.h"
#include "model/session.h"

struct restore {
    struct file file;
    const char *place;      /* its name, for messages: the caller's */
    struct text transcript; /* in the file, as all that follows */
    struct text identity;
    struct text state;
    struct text logits;
    struct text strips;
    struct text blocks;
    const int32_t *ids; /* (n_ids) the text, of which the session had been fed some or all */
    int64_t n_ids;
    bool sampled;                   /* whether there was a sampler ... */
    struct sampler_options sampler; /* ... and what its options were; not checked */
};

/* Maps a file and checks all of it but the blocks of the cache. restore_close in any case. */
int restore_open(struct restore *restore, const char *path, struct error *err);
/* The same for a file that `restore` has, with its place. */
int restore_read(struct restore *restore, struct error *err);
void restore_close(struct restore *restore); /* accepts a zeroed struct */

/* Gives a session that has been opened as the saved one was, and fed nothing, what that one had;
 * and `sampler`, unless NULL, its random numbers and the tokens that the penalty looks back on,
 * under whatever options it was opened with. On failure the session is empty and the sampler as it
 * was. */
int restore_session(const struct restore *restore, const struct checkpoint *checkpoint,
                    struct session *session, struct sampler *sampler, struct error *err);

/* The transcript alone, whatever the rest of the file is like: *text, which the caller frees. 0:
 * whole; 1: cut or damaged, as `err` says; -1: none. */
int restore_transcript(const char *path, char **text, size_t *length, struct error *err);

#endif
