/* keys: see keys.h. */
#include "commands/chat/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};
enum { N_SIGNALS = sizeof signals / sizeof signals[0] };

/* Handlers reach no more than this: the pipe that carries the numbers of the signals. */
static int ends[2];
static struct sigaction before[N_SIGNALS];
static struct termios modes;
static bool editing;

static void on_signal(int number)
{
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    (void)!write(ends[1], &byte, 1);
    errno = saved;
}

/* Also at exit, where memory ran out in the midst of a line. */
static void restore_terminal(void)
{
    static const char off[] = "\033[?2004l";
    if (!editing)
        return;
    editing = false;
    (void)!write(STDERR_FILENO, off, sizeof off - 1);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &modes);
}

int keys_begin(void)
{
    static const char on[] = "\033[?2004h";
    static bool ready;
    if (!ready && (pipe2(ends, O_CLOEXEC | O_NONBLOCK) || atexit(restore_terminal)))
        return -1;
    ready = true;
    tcgetattr(STDIN_FILENO, &modes);
    editing = true;
    (void)!write(STDERR_FILENO, on, sizeof on - 1);
    for (int i = 0; i < N_SIGNALS; i++) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
        sigemptyset(&action.sa_mask);
        sigaction(signals[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
    return 0;
}

void keys_end(void)
{
    restore_terminal();
    for (int i = 0; i < N_SIGNALS; i++)
        sigaction(signals[i], &before[i], NULL);
    unsigned char number;
    while (read(ends[0], &number, 1) == 1)
        raise(number);
}

/* More bytes. Returns as keys_read does. */
static int fill(struct keys *keys)
{
    struct pollfd sources[] = {{.fd = ends[0], .events = POLLIN},
                               {.fd = STDIN_FILENO, .events = POLLIN}};
    unsigned char number;
    while (true) {
        if (poll(sources, 2, -1) < 0 && errno != EINTR)
            return 0;
        if (read(ends[0], &number, 1) == 1)
            return -number;
        if (!sources[1].revents)
            continue;
        ssize_t n = read(STDIN_FILENO, keys->bytes, sizeof keys->bytes);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        keys->at = 0;
        keys->n = n > 0 ? (size_t)n : 0;
        return n > 0;
    }
}

int keys_read(struct keys *keys, wchar_t *character)
{
    while (true) {
        if (keys->at == keys->n) {
            int result = fill(keys);
            if (result != 1)
                return result;
        }
        bool first = mbsinit(&keys->state) != 0;
        size_t length = mbrtowc(character, &keys->bytes[keys->at], 1, &keys->state);
        if (length == (size_t)-1) {
            /* The byte that breaks a character off may begin the next one. */
            keys->at += first;
            keys->state = (mbstate_t){0};
            *character = KEYS_UNKNOWN;
            return 1;
        }
        keys->at++;
        if (length != (size_t)-2)
            return 1;
    }
}
