/* keep: a conversation on disk (chat --session, /save, /load): restored when it begins, saved when
 * it ends and, as long as that takes a small share of the time, after every turn. */
#ifndef LONGHAND_COMMANDS_CHAT_KEEP_H
#define LONGHAND_COMMANDS_CHAT_KEEP_H

#include "commands/chat/conversation.h"

struct keep {
    char *path;     /* owned; NULL: nothing is kept */
    bool changed;   /* since the file was written or read */
    double seconds; /* that the last writing took ... */
    double written; /* ... and when it ended */
};

/* Fails where `path` could not be written: better known before anything is said. */
int keep_check(const char *path, struct error *err);

/* Goes on with the conversation in a file, under its own context policy unless --context asks for
 * one. The conversation has been opened and not begun; on failure it can only be closed. */
int keep_restore(const char *path, struct conversation *conversation, struct error *err);

/* Writes the conversation to `path`, which names nothing yet, or a saved session. */
int keep_write(const struct conversation *conversation, const char *path, struct error *err);

/* After a turn: writes the file, unless that would take more than a tenth of the time. */
int keep_save_turn(struct keep *keep, const struct conversation *conversation, struct error *err);
/* At the end: writes the file if anything has changed. */
int keep_save_last(struct keep *keep, const struct conversation *conversation, struct error *err);

#endif
