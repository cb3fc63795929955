/* gemv_float_avx512: rows of floats times one to eight vectors with AVX-512: generation. Weights
 * are read from memory once for all tokens, of which as many columns at a time are used as stay in
 * the first-level cache. */
#include <string.h>

#include "kernels/avx512.h"

enum {
    ROW_BLOCK = 16, /* rows for which sums are kept */
    TILE_ROWS = 4,
    TILE = 24,     /* sums of a tile of rows and tokens, at most */
    X_NEAR = 6144, /* activations: 24 KiB */
};

TEMPLATE __m512 load_weights(const void *w, size_t i, enum format format, __mmask16 lanes)
{
    if (format != FORMAT_BF16)
        return load16(w, i, format == FORMAT_F16, lanes);
    __m256i h = load_u16((const uint16_t *)w + i, lanes);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* total[t * ROW_BLOCK + r] += R rows times T tokens, columns [k, end). Where rows run out the last
 * one is repeated. */
TEMPLATE void add_tile(const uint8_t *data, size_t row_bytes, size_t rows, size_t k, size_t end,
                       const float *const *x, __m512 *total, enum format format, const size_t R,
                       const size_t T)
{
    const size_t size = format == FORMAT_F32 ? 4 : 2;
    const uint8_t *w[TILE_ROWS];
    __m512 sum[TILE];
    UNROLL
    for (size_t r = 0; r < R; r++)
        w[r] = data + (r < rows ? r : rows - 1) * row_bytes;
    UNROLL
    for (size_t i = 0; i < R * T; i++)
        sum[i] = total[i / R * ROW_BLOCK + i % R];
    for (; k + 2 * LANES <= end; k += 2 * LANES) {
        UNROLL
        for (size_t r = 0; r < R; r++)
            prefetch(w[r] + k * size, 2 * LANES * size);
        UNROLL
        for (size_t i = k; i < k + 2 * LANES; i += LANES) {
            __m512 v[TILE_ROWS];
            UNROLL
            for (size_t r = 0; r < R; r++)
                v[r] = load_weights(w[r], i, format, ALL_LANES);
            UNROLL
            for (size_t t = 0; t < T; t++) {
                __m512 token = _mm512_loadu_ps(x[t] + i);
                UNROLL
                for (size_t r = 0; r < R; r++)
                    sum[t * R + r] = _mm512_fmadd_ps(v[r], token, sum[t * R + r]);
            }
        }
    }
    for (; k < end; k += LANES) {
        __mmask16 lanes = first_lanes(end - k);
        UNROLL
        for (size_t i = 0; i < R * T; i++)
            sum[i] = _mm512_fmadd_ps(load_weights(w[i % R], k, format, lanes),
                                     _mm512_maskz_loadu_ps(lanes, x[i / R] + k), sum[i]);
    }
    UNROLL
    for (size_t i = 0; i < R * T; i++)
        total[i / R * ROW_BLOCK + i % R] = sum[i];
}

/* Up to ROW_BLOCK rows, tile by tile; eight tokens are two tiles. */
TEMPLATE void add_rows(const uint8_t *w, size_t row_bytes, size_t rows, size_t k, size_t end,
                       const float *const *x, __m512 *total, enum format format, const size_t R,
                       const size_t T)
{
    for (size_t r = 0; r < rows; r += R)
        for (size_t t = 0; t < T; t += T == 8 ? 4 : T)
            add_tile(w + r * row_bytes, row_bytes, rows - r, k, end, x + t,
                     total + t * ROW_BLOCK + r, format, R, T == 8 ? 4 : T);
}

TEMPLATE void multiply_float_rows(const uint8_t *w, size_t row_bytes, size_t rows, size_t n,
                                  const struct vector *x, int tokens, float *y, size_t ldy,
                                  enum format format)
{
    __m512 total[ROW_TOKENS_MAX * ROW_BLOCK];
    const float *v[ROW_TOKENS_MAX]; /* where tokens run out the last one is repeated */
    for (int t = 0; t < ROW_TOKENS_MAX; t++)
        v[t] = x[t < tokens ? t : tokens - 1].x;
    size_t chunk = X_NEAR / (size_t)tokens / (2 * LANES) * (2 * LANES);
    for (size_t r0 = 0; r0 < rows; r0 += ROW_BLOCK) {
        size_t count = rows - r0 < ROW_BLOCK ? rows - r0 : ROW_BLOCK;
        const uint8_t *at = w + r0 * row_bytes;
        for (int i = 0; i < (tokens + 1) / 2 * 2 * ROW_BLOCK; i++)
            total[i] = _mm512_setzero_ps();
        for (size_t k = 0; k < n; k += chunk) {
            size_t end = n - k < chunk ? n : k + chunk;
            if (tokens == 1)
                add_rows(at, row_bytes, count, k, end, v, total, format, 4, 1);
            else if (tokens == 2)
                add_rows(at, row_bytes, count, k, end, v, total, format, 4, 2);
            else if (tokens <= 4)
                add_rows(at, row_bytes, count, k, end, v, total, format, 4, 4);
            else if (tokens <= 6)
                add_rows(at, row_bytes, count, k, end, v, total, format, 4, 6);
            else
                add_rows(at, row_bytes, count, k, end, v, total, format, 4, 8);
        }
        for (int t = 0; t < tokens; t++)
            for (size_t r = 0; r < count; r += 4) {
                __mmask8 lanes = (__mmask8)(count - r < 4 ? (1 << (count - r)) - 1 : 15);
                _mm_mask_storeu_ps(y + (size_t)t * ldy + r0 + r, lanes,
                                   sums_of_lanes(total + (size_t)t * ROW_BLOCK + r));
            }
    }
}

#define FLOAT_ROWS_OF(name, format)                                                   \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,   \
                            const struct vector *x, int tokens, float *y, size_t ldy) \
    {                                                                                 \
        multiply_float_rows(w, row_bytes, rows, n, x, tokens, y, ldy, format);        \
    }

FLOAT_ROWS_OF(f32, FORMAT_F32)
FLOAT_ROWS_OF(f16, FORMAT_F16)
FLOAT_ROWS_OF(bf16, FORMAT_BF16)

void gemv_float_avx512(struct kernels *kernels)
{
    kernels->rows[FORMAT_F32] = rows_f32;
    kernels->rows[FORMAT_F16] = rows_f16;
    kernels->rows[FORMAT_BF16] = rows_bf16;
}
