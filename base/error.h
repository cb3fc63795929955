/* error: what a fallible function tells its caller.
 *
 * Convention of the whole tree: a fallible function returns 0, or -1 after filling `err`. A message
 * says where, what was found and what is allowed: `m.gguf: tensor "x" at byte 81920: shape (64,32),
 * expected (64,64)`. Only run.c prints it. */
#ifndef LONGHAND_BASE_ERROR_H
#define LONGHAND_BASE_ERROR_H

#include <stddef.h>

struct error {
    char text[512];
};

/* Formats the message; text that does not fit is cut on a character border and marked with "...".
 * Returns -1, so that `return error_set(err, ...)` reads as one statement. */
int error_set(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "prefix: " in front of the message that `err` already holds. Returns -1. */
int error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The message of a failed allocation of `bytes` bytes for `what`. Returns -1. */
int error_memory(struct error *err, const char *what, size_t bytes);

#endif
