/* terminal: runs ./longhand (or what LONGHAND_PROGRAM names) in a pseudo-terminal, as a person
 * does.
 *
 * Nothing waits for a fixed time: what is expected is awaited, and its absence fails the test after
 * a bound that only a broken program reaches. */
#ifndef LONGHAND_TESTS_TERMINAL_H
#define LONGHAND_TESTS_TERMINAL_H

#include <stddef.h>
#include <sys/types.h>
#include <termios.h>

#include "tests/support.h"

struct terminal {
    int master;
    int slave;
    pid_t child;
    struct termios before; /* the terminal's modes when the program began */
    struct bytes output;   /* all that came so far */
    size_t at;             /* where the next expectation begins */
};

/* Starts the program (or `command`, found in PATH, where that is not NULL) on a terminal of 80
 * columns and 24 lines. `settings`: environment variables as NAME=VALUE, or NAME to have none; NULL
 * at the end, as of the arguments. TERM is xterm unless they say otherwise. */
void terminal_open(struct terminal *terminal, const char *command, const char *const *arguments,
                   const char *const *settings);
/* Ends what still runs. */
void terminal_close(struct terminal *terminal);

void terminal_send(struct terminal *terminal, const char *keys);
/* Waits for the text, behind what was expected before. */
void terminal_expect(struct terminal *terminal, const char *text);
/* Waits for n more bytes of any kind. */
void terminal_expect_bytes(struct terminal *terminal, size_t n);
void terminal_resize(struct terminal *terminal, int columns, int lines);
/* Waits for the end. Returns the exit code, or 128 + the signal that ended it. The terminal must
 * have its modes back then, and no bracketed paste. */
int terminal_wait(struct terminal *terminal);
/* The modes are as they were. */
void terminal_check_modes(const struct terminal *terminal);

#endif
