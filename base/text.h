/* text: a run of bytes that belongs to somebody else, usually to a mapped file. */
#ifndef LONGHAND_BASE_TEXT_H
#define LONGHAND_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    const char *bytes; /* not NUL-terminated; may hold anything, NUL included */
    size_t length;
};

bool text_equals(struct text text, const char *string);

/* Byte order, as memcmp; a prefix comes before what it starts. */
int text_compare(struct text a, struct text b);

enum { PRINTABLE_BYTES = 96 };

struct printable {
    char chars[PRINTABLE_BYTES + 4];
};

/* `text` in a form that is safe on a terminal and fit for a message: control characters, marks that
 * reverse or hide text and bytes that are not UTF-8 become \xNN; what exceeds PRINTABLE_BYTES is
 * cut on a character border and marked with "...". The result lives to the end of the caller's full
 * expression: error_set(err, "key \"%s\"", text_printable(key).chars). */
struct printable text_printable(struct text text);

#endif
