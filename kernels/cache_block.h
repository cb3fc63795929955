/* cache_block: how one key-value head lies in a block of the cache, which attention's kernels read
 * as it is stored. A head holds CACHE_BLOCK positions,
 *     keys    (dim, CACHE_BLOCK)   transposed: neighbouring positions are lanes of a score
 *     values  (CACHE_BLOCK, dim)
 * F32, F16, BF16 as they are. Q8_0 and Q4_0 as signed integers, 8 or 4 bits (dimensions 2i and
 * 2i + 1 of a position in a byte, low half first, plus 8), and behind them one F16 scale for every
 * position and up to CACHE_GROUP neighbouring dimensions: keys (groups, CACHE_BLOCK), values
 * (CACHE_BLOCK, groups). An element is scale * q, rounded to f32. `dim` may be any number: the last
 * group of a row is then shorter, and the last byte of an odd row of 4 bits holds one element. */
#ifndef LONGHAND_KERNELS_CACHE_BLOCK_H
#define LONGHAND_KERNELS_CACHE_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/format.h"

enum { CACHE_BLOCK = 128, CACHE_GROUP = 32 };

/* Keys or values of one head from some position on. */
struct stored {
    enum format format;
    const void *elements;
    const uint16_t *scales; /* of Q8_0 and Q4_0 */
    size_t stride;          /* of keys: positions in a row of them, CACHE_BLOCK in a block */
    const void *ahead;      /* NULL, or memory as long as this that is wanted next */
};

static inline bool stored_is_grouped(enum format format)
{
    return format == FORMAT_Q8_0 || format == FORMAT_Q4_0;
}

static inline size_t stored_groups(size_t dim)
{
    return (dim + CACHE_GROUP - 1) / CACHE_GROUP;
}

/* Bytes of one position's elements. */
static inline size_t stored_row_bytes(enum format format, size_t dim)
{
    return format == FORMAT_F32    ? dim * sizeof(float)
           : format == FORMAT_Q8_0 ? dim
           : format == FORMAT_Q4_0 ? (dim + 1) / 2
                                   : dim * sizeof(uint16_t);
}

/* Where the scales of a head begin, and where it ends, in bytes. */
static inline size_t stored_scales_at(enum format format, size_t dim)
{
    return CACHE_BLOCK * stored_row_bytes(format, dim);
}

static inline size_t stored_bytes(enum format format, size_t dim)
{
    size_t scales = stored_is_grouped(format) ? stored_groups(dim) * sizeof(uint16_t) : 0;
    return stored_scales_at(format, dim) + CACHE_BLOCK * scales;
}

/* The keys of a head from position `first` on: lanes have whole bytes in every format. */
static inline struct stored stored_keys(enum format format, const void *head, size_t dim,
                                        size_t first)
{
    const uint8_t *bytes = head;
    const uint16_t *scales = (const void *)(bytes + stored_scales_at(format, dim));
    size_t lane_bytes = stored_row_bytes(format, 1);
    return (struct stored){format, bytes + first * lane_bytes, scales + first, CACHE_BLOCK, NULL};
}

/* The values of a head from position `first` on. */
static inline struct stored stored_values(enum format format, const void *head, size_t dim,
                                          size_t first)
{
    const uint8_t *bytes = head;
    const uint16_t *scales = (const void *)(bytes + stored_scales_at(format, dim));
    size_t row_bytes = stored_row_bytes(format, dim);
    return (struct stored){format, bytes + first * row_bytes, scales + first * stored_groups(dim),
                           CACHE_BLOCK, NULL};
}

#endif
