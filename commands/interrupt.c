/* interrupt: see interrupt.h. */
#include "commands/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t seen;
static volatile sig_atomic_t end_seen;

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

static void on_end(int signal_number)
{
    if (end_seen) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
    end_seen = seen || signal_number != SIGINT;
    seen = 1;
}

void interrupt_watch_end(void)
{
    struct sigaction action = {.sa_handler = on_end};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

bool interrupt_end_seen(void)
{
    return end_seen != 0;
}

bool interrupt_seen(void)
{
    return seen != 0;
}

void interrupt_clear(void)
{
    seen = 0;
}
