/* gemv_float_avx512: rows of floats times one to eight vectors with AVX-512: generation. Weights
 * are read once for four tokens. */
#include <string.h>

#include "kernels/avx512.h"

/* A tile of rows and tokens has at most this many results. */
enum { FLOAT_ROWS = 4, TILE = 8 };

TEMPLATE __m512 load_weights(const void *w, size_t i, enum format format, __mmask16 lanes)
{
    if (format != FORMAT_BF16)
        return load16(w, i, format == FORMAT_F16, lanes);
    __m256i h = load_u16((const uint16_t *)w + i, lanes);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* R rows times T tokens: two sums of 16 lanes for each, since two multiplications start per cycle
 * and each takes four. Where rows or tokens run out the last one is repeated. */
TEMPLATE void multiply_tile(const uint8_t *data, size_t row_bytes, size_t rows, size_t n,
                            const struct vector *x, size_t tokens, float *y, size_t ldy,
                            enum format format, const size_t R, const size_t T)
{
    const size_t size = format == FORMAT_F32 ? 4 : 2;
    const uint8_t *w[FLOAT_ROWS];
    const float *v[FLOAT_ROWS];
    __m512 sum[TILE], odd[TILE];
    UNROLL
    for (size_t r = 0; r < R; r++)
        w[r] = data + (r < rows ? r : rows - 1) * row_bytes;
    UNROLL
    for (size_t t = 0; t < T; t++)
        v[t] = x[t < tokens ? t : tokens - 1].x;
    UNROLL
    for (size_t i = 0; i < R * T; i++)
        sum[i] = odd[i] = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        UNROLL
        for (size_t r = 0; r < R; r++) {
            prefetch(w[r] + i * size, 2 * LANES * size);
            __m512 a = load_weights(w[r], i, format, ALL_LANES);
            __m512 b = load_weights(w[r], i + LANES, format, ALL_LANES);
            UNROLL
            for (size_t t = 0; t < T; t++) {
                size_t k = t * R + r;
                sum[k] = _mm512_fmadd_ps(a, _mm512_loadu_ps(v[t] + i), sum[k]);
                odd[k] = _mm512_fmadd_ps(b, _mm512_loadu_ps(v[t] + i + LANES), odd[k]);
            }
        }
    }
    for (; i < n; i += LANES) {
        __mmask16 lanes = first_lanes(n - i);
        UNROLL
        for (size_t k = 0; k < R * T; k++)
            sum[k] = _mm512_fmadd_ps(load_weights(w[k % R], i, format, lanes),
                                     _mm512_maskz_loadu_ps(lanes, v[k / R] + i), sum[k]);
    }
    float results[TILE];
    UNROLL
    for (size_t k = 0; k < R * T; k++)
        sum[k] = _mm512_add_ps(sum[k], odd[k]);
    UNROLL
    for (size_t k = 0; k < R * T; k += 4)
        _mm_storeu_ps(results + k, sums_of_lanes(sum + k));
    for (size_t t = 0; t < T && t < tokens; t++)
        memcpy(y + t * ldy, results + t * R, (rows < R ? rows : R) * sizeof *y);
}

TEMPLATE void multiply_float_rows(const uint8_t *w, size_t row_bytes, size_t rows, size_t n,
                                  const struct vector *x, int tokens, float *y, size_t ldy,
                                  enum format format)
{
#define MULTIPLY(first, R, T)                                                                   \
    multiply_tile(w + (r + (first)) * row_bytes, row_bytes, rows - r - (first), n, x + t, left, \
                  y + t * ldy + r + (first), ldy, format, R, T)
    size_t n_tokens = (size_t)tokens;
    for (size_t r = 0; r < rows; r += FLOAT_ROWS)
        for (size_t t = 0; t < n_tokens; t += 4) {
            size_t left = n_tokens - t;
            if (left == 1) {
                MULTIPLY(0, 4, 1);
            } else if (left == 2) {
                MULTIPLY(0, 4, 2);
            } else {
                MULTIPLY(0, 2, 4);
                if (rows - r > 2)
                    MULTIPLY(2, 2, 4);
            }
        }
#undef MULTIPLY
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
