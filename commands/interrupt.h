/* interrupt: Ctrl-C ends the reply and keeps what is done; a second one quits. */
#ifndef LONGHAND_COMMANDS_INTERRUPT_H
#define LONGHAND_COMMANDS_INTERRUPT_H

#include <stdbool.h>

/* From here on the first SIGINT only sets the flag; the second ends the process as it would by
 * default. */
void interrupt_watch(void);
/* Whether SIGINT came since interrupt_clear. */
bool interrupt_seen(void);
void interrupt_clear(void);

#endif
