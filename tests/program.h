/* program: runs ./longhand (or what LONGHAND_PROGRAM names) as a child process and keeps what it
 * says. */
#ifndef LONGHAND_TESTS_PROGRAM_H
#define LONGHAND_TESTS_PROGRAM_H

#include <stddef.h>

/* What the child's standard output is. */
enum program_stdout {
    STDOUT_KEPT,   /* read into out */
    STDOUT_FULL,   /* a device without space */
    STDOUT_CLOSED, /* no descriptor at all */
    STDOUT_BROKEN  /* a pipe that nobody reads any more */
};

struct program {
    const char *const *arguments; /* without the program's name; NULL at the end */
    const char *input;            /* standard input; NULL: empty */
    enum program_stdout stdout_is;
    /* Filled by program_run: */
    int status; /* exit code, or 128 + the signal that ended it */
    char *out;  /* standard output, NUL-terminated */
    size_t out_bytes;
    char *err; /* standard error, NUL-terminated */
};

/* Runs it to its end. A child that cannot be started fails the test. */
void program_run(struct program *program);
void program_free(struct program *program);

enum { PROGRAM_ARGUMENTS = 24 };

/* A command line that must fail, and what its message holds; allowed may be NULL. */
struct refusal {
    const char *arguments[PROGRAM_ARGUMENTS];
    const char *input;
    const char *found;
    const char *allowed;
};

/* It ends with this exit code, says one line on standard error and nothing on standard output. */
void program_check_refusal(const struct refusal *refusal, int status);

/* The output of a command line that must succeed with nothing on standard error; free it. */
char *program_output(const char *const *arguments, const char *input);

#endif
