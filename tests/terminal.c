/* terminal: see terminal.h. */
#include "tests/terminal.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BOUND_SECONDS = 60, MAX_SETTINGS = 256, MAX_ARGUMENTS = 64, SHOWN_BYTES = 1000 };

/* Adds NAME=VALUE, or takes NAME away; a value of before is no more. Returns how many there are. */
static int set(char **environment, int n, const char *setting)
{
    size_t length = strcspn(setting, "=");
    int kept = 0;
    for (int i = 0; i < n; i++)
        if (strncmp(environment[i], setting, length) != 0 || environment[i][length] != '=')
            environment[kept++] = environment[i];
    ck_assert_int_lt(kept + 1, MAX_SETTINGS);
    if (setting[length])
        environment[kept++] = (char *)(uintptr_t)setting;
    environment[kept] = NULL;
    return kept;
}

/* As the first process of a session, whose terminal is the one that it opens. */
static pid_t start(const char *slave, const char *command, const char *const *arguments,
                   const char *const *settings)
{
    const char *path = getenv("LONGHAND_PROGRAM");
    char *argv[MAX_ARGUMENTS] = {(char *)(uintptr_t)(command ? command
                                                     : path  ? path
                                                             : "./longhand")};
    for (int i = 0; arguments[i]; i++) {
        ck_assert_int_lt(i + 2, (int)(sizeof argv / sizeof argv[0]));
        argv[i + 1] = (char *)(uintptr_t)arguments[i];
    }
    char *environment[MAX_SETTINGS] = {NULL};
    int n = 0;
    for (char **variable = environ; *variable; variable++)
        n = set(environment, n, *variable);
    n = set(environment, n, "TERM=xterm");
    for (; *settings; settings++)
        n = set(environment, n, *settings);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, slave, O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    pid_t child;
    int failed = posix_spawnp(&child, argv[0], &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    ck_assert_msg(failed == 0, "%s: %s", argv[0], strerror(failed));
    return child;
}

void terminal_open(struct terminal *terminal, const char *command, const char *const *arguments,
                   const char *const *settings)
{
    *terminal = (struct terminal){.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
    ck_assert_int_ge(terminal->master, 0);
    ck_assert(grantpt(terminal->master) == 0 && unlockpt(terminal->master) == 0);
    const char *slave = ptsname(terminal->master);
    terminal->slave = open(slave, O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(terminal->slave, 0);
    ck_assert_int_eq(fcntl(terminal->master, F_SETFL, O_NONBLOCK), 0);
    terminal_resize(terminal, 80, 24);
    tcgetattr(terminal->slave, &terminal->before);
    terminal->child = start(slave, command, arguments, settings);
}

void terminal_close(struct terminal *terminal)
{
    if (terminal->child > 0) {
        kill(terminal->child, SIGKILL);
        waitpid(terminal->child, NULL, 0);
    }
    close(terminal->master);
    close(terminal->slave);
    free(terminal->output.data);
    *terminal = (struct terminal){0};
}

/* Takes what has come. Returns whether there was any. */
static bool take(struct terminal *terminal)
{
    char bytes[4096];
    ssize_t n = read(terminal->master, bytes, sizeof bytes);
    if (n > 0)
        bytes_add(&terminal->output, bytes, (size_t)n);
    return n > 0;
}

/* Waits for output (and for room to write, if asked) a while; fails past the bound. */
static void wait_more(struct terminal *terminal, const struct timespec *since, const char *what,
                      bool room)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - since->tv_sec > BOUND_SECONDS) {
        size_t shown = terminal->output.size - terminal->at;
        shown = shown < SHOWN_BYTES ? shown : SHOWN_BYTES;
        ck_abort_msg("no \"%s\" in what came last: %.*s", what, (int)shown,
                     (const char *)terminal->output.data + terminal->output.size - shown);
    }
    struct pollfd source = {.fd = terminal->master,
                            .events = (short)(POLLIN | (room ? POLLOUT : 0))};
    poll(&source, 1, 10);
    take(terminal);
}

void terminal_send(struct terminal *terminal, const char *keys)
{
    struct timespec since;
    clock_gettime(CLOCK_MONOTONIC, &since);
    for (size_t left = strlen(keys); left > 0;) {
        ssize_t n = write(terminal->master, keys, left);
        if (n > 0) {
            keys += n;
            left -= (size_t)n;
        } else {
            wait_more(terminal, &since, "(room for keys)", true);
        }
    }
}

void terminal_expect(struct terminal *terminal, const char *text)
{
    struct timespec since;
    size_t length = strlen(text);
    clock_gettime(CLOCK_MONOTONIC, &since);
    while (true) {
        const char *begin = (const char *)terminal->output.data + terminal->at;
        const char *found = terminal->output.size == 0
                                ? NULL
                                : memmem(begin, terminal->output.size - terminal->at, text, length);
        if (found) {
            terminal->at += (size_t)(found - begin) + length;
            return;
        }
        wait_more(terminal, &since, text, false);
    }
}

void terminal_expect_bytes(struct terminal *terminal, size_t n)
{
    struct timespec since;
    clock_gettime(CLOCK_MONOTONIC, &since);
    while (terminal->output.size < terminal->at + n)
        wait_more(terminal, &since, "(any output)", false);
    terminal->at += n;
}

void terminal_resize(struct terminal *terminal, int columns, int lines)
{
    struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)lines};
    ck_assert_int_eq(ioctl(terminal->master, TIOCSWINSZ, &size), 0);
}

void terminal_check_modes(const struct terminal *terminal)
{
    struct termios now;
    ck_assert_int_eq(tcgetattr(terminal->slave, &now), 0);
    ck_assert_uint_eq(now.c_iflag, terminal->before.c_iflag);
    ck_assert_uint_eq(now.c_oflag, terminal->before.c_oflag);
    ck_assert_uint_eq(now.c_cflag, terminal->before.c_cflag);
    ck_assert_uint_eq(now.c_lflag, terminal->before.c_lflag);
    ck_assert_mem_eq(now.c_cc, terminal->before.c_cc, sizeof now.c_cc);
}

/* How often the output holds the text. */
static int count(const struct terminal *terminal, const char *text)
{
    int n = 0;
    size_t length = strlen(text);
    for (size_t i = 0; i + length <= terminal->output.size; i++)
        n += memcmp(terminal->output.data + i, text, length) == 0;
    return n;
}

int terminal_wait(struct terminal *terminal)
{
    struct timespec since;
    int status;
    clock_gettime(CLOCK_MONOTONIC, &since);
    while (waitpid(terminal->child, &status, WNOHANG) == 0)
        wait_more(terminal, &since, "(the end)", false);
    terminal->child = 0;
    while (take(terminal))
        continue;
    terminal_check_modes(terminal);
    ck_assert_int_eq(count(terminal, "\033[?2004h"), count(terminal, "\033[?2004l"));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
