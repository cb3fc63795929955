/* interrupt: see interrupt.h. */
#include "commands/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t seen;

static void on_interrupt(int signal_number)
{
    if (seen) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
    seen = 1;
}

void interrupt_watch(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool interrupt_seen(void)
{
    return seen != 0;
}

void interrupt_clear(void)
{
    seen = 0;
}
