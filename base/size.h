/* size: checked arithmetic for byte counts, and allocation of arrays through it. */
#ifndef LONGHAND_BASE_SIZE_H
#define LONGHAND_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* *out = a * b (a + b); false when it does not fit, and *out is then unspecified. */
static inline bool size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

enum { CACHE_LINE = 64 };

/* An uninitialised array of n items, aligned to a cache line; NULL when n * item overflows or
 * memory is short. n = 0 gives a valid pointer. Release with free(). */
static inline void *size_alloc(size_t n, size_t item)
{
    size_t bytes;
    if (!size_mul(n, item, &bytes) || bytes > SIZE_MAX - CACHE_LINE)
        return NULL;
    bytes = (bytes + CACHE_LINE) / CACHE_LINE * CACHE_LINE;
    return aligned_alloc(CACHE_LINE, bytes);
}

#endif
