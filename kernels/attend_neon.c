/* attend_neon: attention over packed blocks in NEON.
 *
 * Tiles of 4 queries x 16 lanes. What a tile reads lies together: queries (m / 4, dim, 4), keys
 * (positions / 16, dim, 16), values (dim / 16, PACKED_POSITIONS, 16). */
#include "kernels/neon.h"

enum { ROWS = 4, VECTORS = 4, TILE = 4 * VECTORS };

static void pack_queries(const float *const *q, int m, size_t dim, void *packed)
{
    float *to = packed;
    for (int first = 0; first < m; first += ROWS)
        for (size_t d = 0; d < dim; d++)
            for (int i = first; i < first + ROWS; i++)
                *to++ = i < m ? q[i][d] : 0;
}

static void pack_keys(const void *keys, size_t ldk, enum format format, size_t n, size_t dim,
                      void *packed)
{
    float *to = packed;
    for (size_t j = 0; j < n; j += TILE)
        for (size_t d = 0; d < dim; d++)
            for (size_t v = 0; v < TILE; v += 4, to += 4)
                vst1q_f32(to, format == FORMAT_F16
                                  ? neon_load_4(keys, FORMAT_F16, d * ldk + j + v)
                                  : neon_load_4(keys, FORMAT_F32, d * ldk + j + v));
}

static void pack_values(const void *values, enum format format, size_t n, size_t dim, void *packed)
{
    for (size_t d = 0; d < dim; d += TILE) {
        float *to = (float *)packed + d * PACKED_POSITIONS;
        size_t left = dim - d < TILE ? dim - d : TILE;
        for (size_t j = 0; j < n; j++, to += TILE) {
            size_t at = j * dim + d, v = 0;
            for (; v + 4 <= left; v += 4)
                vst1q_f32(to + v, format == FORMAT_F16 ? neon_load_4(values, FORMAT_F16, at + v)
                                                       : neon_load_4(values, FORMAT_F32, at + v));
            for (; v < TILE; v++)
                to[v] = v < left ? neon_load_1(values, format, at + v) : 0;
        }
    }
}

/* sum[i] += y[i] * b[TILE], y in the lanes of a vector */
NEON_TEMPLATE void add_products(float32x4_t sum[ROWS][VECTORS], float32x4_t y, const float *b)
{
    NEON_UNROLL
    for (int v = 0; v < VECTORS; v++) {
        float32x4_t x = vld1q_f32(b + 4 * v);
        sum[0][v] = vfmaq_laneq_f32(sum[0][v], x, y, 0);
        sum[1][v] = vfmaq_laneq_f32(sum[1][v], x, y, 1);
        sum[2][v] = vfmaq_laneq_f32(sum[2][v], x, y, 2);
        sum[3][v] = vfmaq_laneq_f32(sum[3][v], x, y, 3);
    }
}

NEON_TEMPLATE void store_tile(float *c, size_t ldc, float32x4_t sum[ROWS][VECTORS])
{
    NEON_UNROLL
    for (size_t i = 0; i < ROWS; i++) {
        NEON_UNROLL
        for (size_t v = 0; v < VECTORS; v++)
            vst1q_f32(c + i * ldc + 4 * v, sum[i][v]);
    }
}

static void scores_tile(float *c, size_t ldc, const float *q, const float *keys, size_t dim)
{
    float32x4_t sum[ROWS][VECTORS];
    NEON_UNROLL
    for (int i = 0; i < ROWS; i++) {
        NEON_UNROLL
        for (int v = 0; v < VECTORS; v++)
            sum[i][v] = vdupq_n_f32(0);
    }
    for (size_t d = 0; d < dim; d++)
        add_products(sum, vld1q_f32(q + d * ROWS), keys + d * TILE);
    store_tile(c, ldc, sum);
}

/* The weights of four positions are turned so that those of one lie in a vector. */
static void values_tile(float *c, size_t ldc, const float *p, size_t ldp, const float *values,
                        size_t n)
{
    float32x4_t sum[ROWS][VECTORS];
    NEON_UNROLL
    for (size_t i = 0; i < ROWS; i++) {
        NEON_UNROLL
        for (size_t v = 0; v < VECTORS; v++)
            sum[i][v] = vld1q_f32(c + i * ldc + 4 * v);
    }
    size_t j = 0;
    for (; j + 4 <= n; j += 4) {
        float32x4_t y[4] = {vld1q_f32(p + j), vld1q_f32(p + ldp + j), vld1q_f32(p + 2 * ldp + j),
                            vld1q_f32(p + 3 * ldp + j)};
        neon_transpose(y);
        NEON_UNROLL
        for (size_t k = 0; k < 4; k++)
            add_products(sum, y[k], values + (j + k) * TILE);
    }
    for (; j < n; j++) {
        float one[4] = {p[j], p[ldp + j], p[2 * ldp + j], p[3 * ldp + j]};
        add_products(sum, vld1q_f32(one), values + j * TILE);
    }
    store_tile(c, ldc, sum);
}

static void packed_scores(float *scores, size_t lds, const void *q, int m, const void *keys,
                          size_t n, size_t dim)
{
    const float *b = keys;
    for (size_t j = 0; j < n; j += TILE, b += TILE * dim)
        for (size_t i = 0; i < (size_t)m; i += ROWS)
            scores_tile(scores + i * lds + j, lds, (const float *)q + i * dim, b, dim);
}

static void packed_values(float *out, size_t ldo, const float *p, size_t ldp, int m,
                          const void *values, size_t n, size_t dim)
{
    const float *b = values;
    for (size_t d = 0; d < dim; d += TILE, b += TILE * PACKED_POSITIONS)
        for (size_t i = 0; i < (size_t)m; i += ROWS)
            values_tile(out + i * ldo + d, ldo, p + i * ldp, ldp, b, n);
}

void attend_neon(struct kernels *kernels)
{
    kernels->pack_queries = pack_queries;
    kernels->pack_keys = pack_keys;
    kernels->pack_values = pack_values;
    kernels->packed_scores = packed_scores;
    kernels->packed_values = packed_values;
}
