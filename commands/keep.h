/* keep: a conversation on disk (chat --session): restored when it begins, saved when it ends and,
 * as long as that takes a small share of the time, after every turn.
 *
 * The transcript in the file is JSON, {"turns": [{"role": "user", "content": "..."}, ...]}, which
 * any editor shows near the front of the file. */
#ifndef LONGHAND_COMMANDS_KEEP_H
#define LONGHAND_COMMANDS_KEEP_H

#include "base/error.h"
#include "commands/options.h"
#include "longhand.h"
#include "tokenizer/chat.h"

struct keep {
    const char *path; /* NULL: nothing is kept */
    const struct checkpoint *checkpoint;
    struct session *session;
    struct sampler *sampler;
    struct lookup *lookup;    /* NULL: none */
    struct token_list *fed;   /* what the session holds, and perhaps the token to come */
    struct chat_turn **turns; /* stb_ds array */
    bool changed;             /* since the file was written or read */
    double seconds;           /* that the last writing took ... */
    double written;           /* ... and when it ended */
};

typedef void keep_turn(void *context, enum chat_role role, const char *text, size_t length);

/* Where the file is there, gives every turn of it to `add` and fills all that `keep` points to but
 * the turns. Returns 1 then, 0 where there is no file, -1 where it cannot be gone on from. */
int keep_restore(struct keep *keep, keep_turn *add, void *context, struct error *err);

/* Writes the conversation to `path`. */
int keep_save(struct keep *keep, const char *path, struct error *err);
/* After a turn: writes the file, unless that would take more than a tenth of the time. */
int keep_save_turn(struct keep *keep, struct error *err);
/* At the end: writes the file if anything has changed. */
int keep_save_last(struct keep *keep, struct error *err);

#endif
