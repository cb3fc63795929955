/* recall: the turns that were typed so far, in this chat and in earlier ones.
 *
 * They are kept in $XDG_STATE_HOME/longhand/history, or ~/.local/state/longhand/history, for their
 * owner's eyes only: a turn a line, with \n for the ends of its own lines and \\ for a backslash.
 * A turn is written as soon as it is typed, so that several chats may share the file. */
#ifndef LONGHAND_COMMANDS_CHAT_RECALL_H
#define LONGHAND_COMMANDS_CHAT_RECALL_H

#include "base/error.h"

/* How many turns are remembered; the file may have twice as many until the next chat begins. */
enum { RECALL_TURNS = 1000 };

struct recall {
    char **turns; /* stb_ds array of strings, oldest first */
    char *path;   /* NULL: nothing is written */
};

/* Reads what is there. On failure only this chat's own turns will be remembered. */
int recall_open(struct recall *recall, struct error *err);
/* Adds a turn that differs from the one before. It is remembered even if it cannot be written. */
int recall_add(struct recall *recall, const char *turn, struct error *err);
void recall_close(struct recall *recall);

#endif
