/* editor: how a person's turns are read.
 *
 * On a terminal a line is edited (libedit), and may hold more than one: a backslash at its end, a
 * block between """ and """, Ctrl-J and Alt-Enter go on with it, and what is pasted is one text.
 * Turns of before come back with the arrows and with Ctrl-R. Elsewhere, and where TERM is dumb or
 * standard error no terminal, a turn is what getline reads. */
#ifndef LONGHAND_COMMANDS_CHAT_EDITOR_H
#define LONGHAND_COMMANDS_CHAT_EDITOR_H

#include <stdbool.h>
#include <stdio.h>

#include "commands/chat/folds.h"
#include "commands/chat/keys.h"
#include "commands/chat/recall.h"
#include "commands/output.h"

enum editor_result { EDITOR_TEXT, EDITOR_INTERRUPTED, EDITOR_END };

struct editor {
    struct editline *lines;   /* NULL: turns are read as they come */
    struct output *output;    /* for notes */
    const char *const *words; /* what Tab completes at the beginning of a line; NULL at the end */
    bool prompts;             /* a person types */
    char *text;               /* the turn: getline's, or an stb_ds array while lines are edited */
    size_t capacity;          /* getline's */
    FILE *screen;
    struct keys keys;
    struct recall recall;
    struct folds folds;
    size_t shown; /* the turn of recall that the line was filled with; their number: none */
    char *draft;  /* what the line was before (stb_ds array; so is the next) */
    char *wanted; /* what Ctrl-R looks for */
    int signal;   /* that ended the editing; 0: none */
};

/* Without what it needs for editing it reads turns as they come. The pointers must outlive it. */
void editor_open(struct editor *editor, const char *const *words, struct output *output);
void editor_close(struct editor *editor); /* accepts a zeroed struct */

/* Asks for the next turn: text[length], with a 0 behind it, valid until the next call.
 * EDITOR_INTERRUPTED: Ctrl-C took a line of *length
 * characters away. EDITOR_END: no more turns, or a signal asked for
 * the end and has been raised anew. After both the cursor is at the beginning of a line. */
enum editor_result editor_read(struct editor *editor, const char **text, size_t *length);

#endif
