/* attend_stream: a few queries over keys and values as the cache stores them (cache_block.h). What
 * the vector tiers share: each includes it after its own loads and arithmetic on a vector of LANES
 * floats (`floats`).
 *
 * Register tiles of queries x vectors: each vector is loaded and converted once for up to QUERIES
 * queries, to the floats that the scalar tier makes of it. One accumulator runs over d (j) in
 * rising order. What is wanted next is asked for at the pace at which this is read: `ahead` is
 * that, or for all but the first queries what lies here. */
#ifndef LONGHAND_KERNELS_ATTEND_STREAM_H
#define LONGHAND_KERNELS_ATTEND_STREAM_H

#include "kernels/kernels.h"

#ifdef STREAM_QUERIES /* else there are no vectors yet */

enum { VECTORS = 8 /* of a tile at most */, PAIR = 2, ROOM = 16 /* positions */ };

/* The bytes at data + offset, line by line. */
TEMPLATE void ask_for(const void *data, size_t offset, size_t bytes)
{
    UNROLL
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch((const uint8_t *)data + offset + i, 0, 3);
}

/* --- scores -------------------------------------------------------------------------------- */

TEMPLATE void add_key(floats sum[QUERIES][VECTORS], const float *const *q, int m, size_t d,
                      const floats *key, int vectors)
{
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        sum[i][v] = multiply_add(sum[i][v], key[v], q[i][d]);
}

/* Dimensions [d, end), of one group, of keys j.. */
TEMPLATE void add_elements(floats sum[QUERIES][VECTORS], const float *const *q, int m, size_t d,
                           size_t end, const struct stored *keys, enum format format, size_t j,
                           int vectors, const floats *scale, const void *ahead)
{
    for (; d < end; d++) {
        floats key[VECTORS];
        size_t at = d * keys->stride + j;
        ask_for(ahead, stored_row_bytes(format, at),
                stored_row_bytes(format, LANES * (size_t)vectors));
        UNROLL
        for (int v = 0; v < vectors; v++) {
            key[v] = load_elements(keys->elements, at + (size_t)v * LANES, format, LANES);
            key[v] = stored_is_grouped(format) ? multiply(key[v], scale[v]) : key[v];
        }
        add_key(sum, q, m, d, key, vectors);
    }
}

/* The same of Q4_0: dimensions two by two. */
TEMPLATE void add_pairs(floats sum[QUERIES][VECTORS], const float *const *q, int m, size_t d,
                        size_t end, const struct stored *keys, size_t j, int vectors,
                        const floats *scale, const void *ahead)
{
    for (; d < end; d += 2) {
        floats low[VECTORS];
        floats high[VECTORS];
        size_t at = d / 2 * keys->stride + j;
        ask_for(ahead, at, LANES * (size_t)vectors);
        UNROLL
        for (int v = 0; v < vectors; v++) {
            load_pairs((const uint8_t *)keys->elements + at + v * LANES, LANES, &low[v], &high[v]);
            low[v] = multiply(low[v], scale[v]);
            high[v] = multiply(high[v], scale[v]);
        }
        add_key(sum, q, m, d, low, vectors);
        if (d + 1 < end)
            add_key(sum, q, m, d + 1, high, vectors);
    }
}

TEMPLATE void scores_tile(float *scores, size_t lds, const float *const *q, int m,
                          const struct stored *keys, enum format format, size_t j, int vectors,
                          size_t dim, const void *ahead)
{
    floats sum[QUERIES][VECTORS];
    floats scale[VECTORS];
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        sum[i][v] = all_of(0);
    for (size_t d = 0; d < dim; d += CACHE_GROUP) {
        size_t end = dim - d < CACHE_GROUP ? dim : d + CACHE_GROUP;
        if (stored_is_grouped(format)) {
            const uint16_t *scales = keys->scales + d / CACHE_GROUP * keys->stride + j;
            ptrdiff_t distance = (const uint8_t *)scales - (const uint8_t *)keys->elements;
            ask_for(ahead, (size_t)distance, sizeof *scales * LANES * (size_t)vectors);
            UNROLL
            for (int v = 0; v < vectors; v++)
                scale[v] = load_elements(scales, (size_t)v * LANES, FORMAT_F16, LANES);
        }
        if (format == FORMAT_Q4_0)
            add_pairs(sum, q, m, d, end, keys, j, vectors, scale, ahead);
        else
            add_elements(sum, q, m, d, end, keys, format, j, vectors, scale, ahead);
    }
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        store_floats(scores + (size_t)i * lds + j + (size_t)v * LANES, sum[i][v], LANES);
}

/* m constant; all positions, up to the next multiple of ROOM. */
TEMPLATE void scores_rows(float *scores, size_t lds, const float *const *q, int m,
                          const struct stored *keys, enum format format, size_t n, size_t dim,
                          const void *ahead)
{
    size_t step = (size_t)score_vectors(m) * LANES;
    size_t end = (n + ROOM - 1) / ROOM * ROOM;
    size_t j = 0;
    for (; j + step <= end; j += step)
        scores_tile(scores, lds, q, m, keys, format, j, score_vectors(m), dim, ahead);
    for (; score_vectors(m) == VECTORS && j + step / 2 <= end; j += step / 2)
        scores_tile(scores, lds, q, m, keys, format, j, VECTORS / 2, dim, ahead);
    for (; j < end; j += ROOM)
        scores_tile(scores, lds, q, m, keys, format, j, ROOM / LANES, dim, ahead);
}

TEMPLATE void scores_all(float *scores, size_t lds, const float *const *q, int m,
                         const struct stored *keys, enum format format, size_t n, size_t dim)
{
    const void *ahead = keys->ahead ? keys->ahead : keys->elements;
#define ROWS(count)                                                      \
    case count:                                                          \
        scores_rows(scores, lds, q, count, keys, format, n, dim, ahead); \
        break
    for (; m > 0; m -= QUERIES, q += QUERIES, scores += QUERIES * lds, ahead = keys->elements)
        switch (m < QUERIES ? m : QUERIES) {
            ROWS(1);
            ROWS(2);
            ROWS(3);
            ROWS(4);
#if STREAM_QUERIES > 4
            ROWS(5);
            ROWS(6);
#endif
#if STREAM_QUERIES > 6
            ROWS(7);
            ROWS(8);
#endif
        }
#undef ROWS
}

static void attend_scores(float *scores, size_t lds, const float *const *q, int m,
                          const struct stored *keys, size_t n, size_t dim)
{
#define FORMAT(format)                                       \
    case format:                                             \
        scores_all(scores, lds, q, m, keys, format, n, dim); \
        break
    switch (keys->format) {
        FORMAT(FORMAT_F32);
        FORMAT(FORMAT_F16);
        FORMAT(FORMAT_BF16);
        FORMAT(FORMAT_Q8_0);
        FORMAT(FORMAT_Q4_0);
    default:
        break;
    }
#undef FORMAT
}

#include "kernels/attend_stream_values.h"

#endif
#endif
