/* chat: what the files of this folder share: one chat, from the loop in chat.c down. */
#ifndef LONGHAND_COMMANDS_CHAT_CHAT_H
#define LONGHAND_COMMANDS_CHAT_CHAT_H

#include "commands/chat/conversation.h"
#include "commands/chat/keep.h"
#include "commands/notices.h"
#include "commands/output.h"
#include "commands/stream.h"

struct chat {
    struct options options; /* /set changes them */
    struct engine engine;
    struct chat_template template; /* .family NULL: none, and plain text is continued */
    struct context asked;          /* what --context means, if it is given */
    struct conversation conversation;
    struct keep keep;
    struct output output;
    struct notices notices;
    struct generate last; /* the last reply's: its results count */
    bool terminal;        /* a person types: prompts, notes, commands */
    bool quit;            /* /quit */
    char *attached;       /* what /read has read for the next turn (stb_ds array) */
    char **texts;         /* that options point to (stb_ds array of malloc'ed strings) */
    int turns_left;       /* of which it has been said that they have left */
    /* of the reply that is being written */
    struct stream stream;
    bool failed;
    struct error *err;
};

/* From the options to a conversation that has begun, or been restored. `chat` is zeroed before;
 * chat_close in any case. */
int chat_open(struct chat *chat, const struct options *options, struct error *err);
void chat_close(struct chat *chat);
/* What was typed, or read from a file or pipe: a turn, or where a person types a command.
 * line[length] is 0. */
int chat_line(struct chat *chat, const char *line, size_t length, struct error *err);
/* After the conversation has become another one: what is said once may be said again. */
void chat_changed(struct chat *chat);

#endif
