/* error: see error.h. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void mark_cut(struct error *err, int length)
{
    if (length < (int)sizeof err->text)
        return;
    size_t end = sizeof err->text - 4;
    while (end > 0 && ((unsigned char)err->text[end] & 0xC0) == 0x80)
        end--;
    memcpy(err->text + end, "...", 4);
}

int error_set(struct error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    mark_cut(err, length);
    return -1;
}

int error_prefix(struct error *err, const char *format, ...)
{
    struct error old = *err;
    char prefix[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    int length = snprintf(err->text, sizeof err->text, "%s: %s", prefix, old.text);
    mark_cut(err, length);
    return -1;
}

int error_memory(struct error *err, const char *what, size_t bytes)
{
    return error_set(err, "out of memory: %zu bytes for %s", bytes, what);
}
