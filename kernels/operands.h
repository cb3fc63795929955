/* operands: what kernels are given beside plain arrays, and how much of it at a time. */
#ifndef LONGHAND_KERNELS_OPERANDS_H
#define LONGHAND_KERNELS_OPERANDS_H

#include <stddef.h>
#include <stdint.h>

/* Activations quantised to 8 bits: one row is q[cols], scale[cols / group], sum[cols / group],
 * where x = scale * q and sum is the integer sum of the group's q. |q| <= 127. */
struct q8_row {
    const int8_t *q;
    const float *scale;
    const int32_t *sum;
};

/* One token's activations: as floats and, for block formats on tiers that multiply in integers, as
 * a q8 row with the format's group. */
struct vector {
    const float *x;
    struct q8_row q8;
};

/* Tokens that rows of weights are multiplied with at a time. */
enum { ROW_TOKENS_MAX = 8 };

/* A panel: `panel_rows` weight rows by n columns, as the tier's product wants them: 64-byte
 * aligned, panel_rows * n floats, or as many bytes and PANEL_NOTE_BYTES behind them for notes of
 * the tier; scale and min [n / group][panel_rows]. product gets the n of its panel. */
enum { TILE_TOKENS_MAX = 16, PANEL_ROWS_MAX = 64, PANEL_NOTE_BYTES = 64 };

/* Queries that meet a block of keys as it is stored, and a packed one; positions of the latter. */
enum { QUERIES_MAX = 16, PACKED_QUERIES = 64, PACKED_POSITIONS = 128 };

/* The floats of a row in packed arrays. */
static inline size_t packed_dim(size_t dim)
{
    return (dim + 31) / 32 * 32;
}

/* Tiles of bf16, for every format; sums are f32. A tile of weights is 16 rows of 32 columns, one of
 * activations 16 pairs of columns of 16 tokens, filled up with zeros to whole TILES_*. Activations
 * lie as (tokens / 32, columns / 32, 2, 16, 16, 2), panels as (columns / 32, 2, 16, 32), sums as
 * (tokens / 32, 2, 2, 16, 16). */
enum { TILES_ROWS = 32, TILES_TOKENS = 32, TILES_DEPTH = 32 };

/* Groups of smaller activations are quantised to 0: 127 / max would overflow. */
#define Q8_TINY 0x1p-100F

/* What is added to n scores: row[n] or, where that is NULL, -(slope * (distance - j)) to score j,
 * the product rounded; distances are whole, 2^24 at most. */
struct bias {
    const float *row;
    float slope;
    float distance;
};

#endif
