/* interrupt: Ctrl-C ends the reply and keeps what is done; a second one quits. */
#ifndef LONGHAND_COMMANDS_INTERRUPT_H
#define LONGHAND_COMMANDS_INTERRUPT_H

#include <stdbool.h>

/* From here on the first SIGINT only sets the flag; the second ends the process as it would by
 * default. */
void interrupt_watch(void);
/* The same where something is to be saved before the process ends: SIGTERM, SIGHUP and the second
 * SIGINT ask for the end, too, and one more signal does not wait for it. */
void interrupt_watch_end(void);
/* Whether the end was asked for. */
bool interrupt_end_seen(void);
/* Whether SIGINT came since interrupt_clear. */
bool interrupt_seen(void);
void interrupt_clear(void);

#endif
