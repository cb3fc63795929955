/* gemv_neon: rows of floats times one to eight vectors with ASIMD: generation. Weights are read
 * once for four tokens. */
#include "kernels/neon.h"

enum { CHAINS = 4, FLOAT_TOKENS = 4 };

/* One row times T tokens. Four chains each: the latency of one fused multiply-add is about four of
 * its issue slots. */
NEON_TEMPLATE void multiply_row(const uint8_t *w, enum format format, size_t n,
                                const struct vector *x, const int T, float *y, size_t ldy)
{
    float32x4_t sum[FLOAT_TOKENS][CHAINS];
    NEON_UNROLL
    for (int i = 0; i < T * CHAINS; i++)
        sum[i / CHAINS][i % CHAINS] = vdupq_n_f32(0);
    size_t i = 0;
    for (; i + 4 * CHAINS <= n; i += 4 * CHAINS) {
        NEON_UNROLL
        for (size_t c = 0; c < CHAINS; c++) {
            float32x4_t v = neon_load_4(w, format, i + 4 * c);
            NEON_UNROLL
            for (int t = 0; t < T; t++)
                sum[t][c] = vfmaq_f32(sum[t][c], v, vld1q_f32(x[t].x + i + 4 * c));
        }
    }
    for (int t = 0; t < T; t++, y += ldy) {
        float32x4_t *s = sum[t];
        size_t k = i;
        for (; k + 4 <= n; k += 4)
            s[0] = vfmaq_f32(s[0], neon_load_4(w, format, k), vld1q_f32(x[t].x + k));
        *y = vaddvq_f32(vaddq_f32(vaddq_f32(s[0], s[1]), vaddq_f32(s[2], s[3])));
        for (; k < n; k++)
            *y += neon_load_1(w, format, k) * x[t].x[k];
    }
}

NEON_TEMPLATE void multiply_float_rows(const uint8_t *w, enum format format, size_t row_bytes,
                                       size_t rows, size_t n, const struct vector *x, int tokens,
                                       float *y, size_t ldy)
{
    for (size_t r = 0; r < rows; r++, w += row_bytes, y++) {
        int t = 0;
        for (; t + 4 <= tokens; t += 4)
            multiply_row(w, format, n, x + t, 4, y + (size_t)t * ldy, ldy);
        for (; t + 2 <= tokens; t += 2)
            multiply_row(w, format, n, x + t, 2, y + (size_t)t * ldy, ldy);
        if (t < tokens)
            multiply_row(w, format, n, x + t, 1, y + (size_t)t * ldy, ldy);
    }
}

#define FLOAT_ROWS(name, format)                                                      \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,   \
                            const struct vector *x, int tokens, float *y, size_t ldy) \
    {                                                                                 \
        multiply_float_rows(w, format, row_bytes, rows, n, x, tokens, y, ldy);        \
    }

FLOAT_ROWS(f32, FORMAT_F32)
FLOAT_ROWS(f16, FORMAT_F16)
FLOAT_ROWS(bf16, FORMAT_BF16)

void gemv_neon(struct kernels *kernels)
{
    kernels->rows[FORMAT_F32] = rows_f32;
    kernels->rows[FORMAT_F16] = rows_f16;
    kernels->rows[FORMAT_BF16] = rows_bf16;
}
