/* keys: the terminal while a turn is edited: what it sends, character by character, and the signals
 * in between.
 *
 * Between keys_begin and keys_end a signal that would end, stop or resume the process only
 * makes keys_read return, so that the editor can leave the terminal as it was first. Whatever else
 * ends the process restores the terminal, too. */
#ifndef LONGHAND_COMMANDS_CHAT_KEYS_H
#define LONGHAND_COMMANDS_CHAT_KEYS_H

#include <stddef.h>
#include <wchar.h>

/* What stands for bytes that are no UTF-8. */
#define KEYS_UNKNOWN L'\uFFFD'

struct keys {
    char bytes[4096]; /* of them [at, n) are read and not used */
    size_t at;
    size_t n;
    mbstate_t state; /* a character of which bytes are missing */
};

/* From here on pasted text comes between "\033[200~" and "\033[201~". Returns -1 where there are no
 * descriptors left. */
int keys_begin(void);
/* The terminal and the signals are as before keys_begin; those that came since the last keys_read
 * are raised anew. */
void keys_end(void);

/* Waits for a character of standard input. Returns 1; 0 at its end; or minus the number of a signal
 * that came: SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT or SIGWINCH. */
int keys_read(struct keys *keys, wchar_t *character);

#endif
