/* cursor: a bounded reader of little-endian bytes from outside.
 *
 * The first failure sticks, with its byte offset; every read after it returns zero, so a parser
 * reads a whole record and tests `failed` once. */
#ifndef LONGHAND_BASE_CURSOR_H
#define LONGHAND_BASE_CURSOR_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
    const uint8_t *data;
    size_t size;
    size_t at;
    bool failed; /* `at` stays where the bytes ran out */
};

static inline struct cursor cursor_over(const void *data, size_t size)
{
    return (struct cursor){.data = data, .size = size};
}

static inline size_t cursor_left(const struct cursor *c)
{
    return c->failed ? 0 : c->size - c->at;
}

/* The next n bytes where they lie, or NULL when fewer are left. */
static inline const uint8_t *cursor_bytes(struct cursor *c, uint64_t n)
{
    if (c->failed || n > c->size - c->at) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *bytes = c->data + c->at;
    c->at += (size_t)n;
    return bytes;
}

/* An unsigned integer of n = 1, 2, 4 or 8 bytes. */
static inline uint64_t cursor_uint(struct cursor *c, size_t n)
{
    const uint8_t *bytes = cursor_bytes(c, n);
    uint64_t value = 0;
    if (bytes)
        memcpy(&value, bytes, n);
    return le64toh(value);
}

static inline uint32_t cursor_u32(struct cursor *c)
{
    return (uint32_t)cursor_uint(c, 4);
}

static inline uint64_t cursor_u64(struct cursor *c)
{
    return cursor_uint(c, 8);
}

static inline float cursor_f32(struct cursor *c)
{
    uint32_t bits = cursor_u32(c);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline double cursor_f64(struct cursor *c)
{
    uint64_t bits = cursor_u64(c);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
