/* chat_commands: what a person can type instead of a turn: one table. */
#ifndef LONGHAND_COMMANDS_CHAT_CHAT_COMMANDS_H
#define LONGHAND_COMMANDS_CHAT_CHAT_COMMANDS_H

#include "commands/chat/chat.h"

struct chat_command {
    const char *name;     /* "/save" */
    const char *argument; /* "FILE", "[TEXT]", or "" */
    const char *help;
    /* `argument` is what stands behind the name, without spaces around it. */
    int (*run)(struct chat *chat, const char *argument, struct error *err);
};

/* The last one has no name. */
extern const struct chat_command chat_commands[];

/* The command that the line's first word names, or NULL. */
const struct chat_command *chat_find_command(const char *line);

/* Runs the command that a line, which begins with a slash, names. An unknown one is an error, and
 * so is an argument too few or too many. */
int chat_command(struct chat *chat, const char *line, struct error *err);

/* An answer to a command: a line on standard error, whatever notes are wanted. */
void chat_say(struct chat *chat, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* chat_commands.c */
int slash_help(struct chat *chat, const char *argument, struct error *err);
int slash_quit(struct chat *chat, const char *argument, struct error *err);
int slash_set(struct chat *chat, const char *argument, struct error *err);
/* chat_turns.c: what changes the turns */
int slash_system(struct chat *chat, const char *argument, struct error *err);
int slash_reset(struct chat *chat, const char *argument, struct error *err);
int slash_regen(struct chat *chat, const char *argument, struct error *err);
int slash_undo(struct chat *chat, const char *argument, struct error *err);
int slash_edit(struct chat *chat, const char *argument, struct error *err);
/* chat_files.c */
int slash_save(struct chat *chat, const char *argument, struct error *err);
int slash_load(struct chat *chat, const char *argument, struct error *err);
int slash_export(struct chat *chat, const char *argument, struct error *err);
int slash_read(struct chat *chat, const char *argument, struct error *err);
/* chat_facts.c */
int slash_stats(struct chat *chat, const char *argument, struct error *err);
int slash_context(struct chat *chat, const char *argument, struct error *err);

#endif
