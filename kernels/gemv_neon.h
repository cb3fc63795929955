/* gemv_neon: rows of block formats times one to eight vectors: generation. The
 * aarch64 tiers differ in the product of 16 bytes, and each makes its functions from this.
 *
 * A step is one or two parts of 128 weights, eight vectors. They are decoded once for all tokens,
 * and stay as stored where that is not negative: the format's offset times x.sum is taken off the
 * sums, all in integers. The sums of four groups come to lie in one vector, so that scales are
 * applied to four at a time. */
#ifndef LONGHAND_KERNELS_GEMV_NEON_H
#define LONGHAND_KERNELS_GEMV_NEON_H

#include "kernels/decode_neon.h"

enum {
    GEMV_SCALES = 4,      /* vectors of scales in a step, at most */
    GEMV_STEP_BYTES = 136 /* of formats with several blocks in a step, at most */
};

/* How a format is read; constants all, which inlining dissolves. */
struct gemv_reader {
    size_t bytes;  /* of a block */
    size_t blocks; /* in a step: 4, which is one part, or 1, which is two */
    size_t group;
    int offset;
    bool has_min; /* to be taken off */
    gemv_weights *weights;
    gemv_scales *scales;
};

/* --- sums ---------------------------------------------------------------------------------- */

/* total += x.scale * (scale * (dots - offset * x.sum) - min * x.sum) for the groups of a part. */
NEON_TEMPLATE float32x4_t gemv_add_part(const struct gemv_reader *f, neon_dot16 *dot16,
                                        const int8x16_t v[GEMV_VECTORS], const float32x4_t *scale,
                                        const float32x4_t *min, struct q8_row x, float32x4_t total)
{
    size_t each = f->group / 16; /* vectors of a group */
    NEON_UNROLL
    for (size_t h = 0; h < GEMV_VECTORS / each / 4; h++) {
        int32x4_t dot[4];
        NEON_UNROLL
        for (size_t g = 0; g < 4; g++) {
            size_t i = (4 * h + g) * each;
            dot[g] = dot16(vdupq_n_s32(0), v[i], vld1q_s8(x.q + 16 * i));
            if (each == 2)
                dot[g] = dot16(dot[g], v[i + 1], vld1q_s8(x.q + 16 * i + 16));
        }
        int32x4_t dots = neon_sum_each(dot[0], dot[1], dot[2], dot[3]);
        int32x4_t sums = vld1q_s32(x.sum + 4 * h);
        if (f->offset)
            dots = vmlsq_n_s32(dots, sums, f->offset);
        float32x4_t term = vmulq_f32(scale[h], vcvtq_f32_s32(dots));
        if (f->has_min)
            term = vfmsq_f32(term, min[h], vcvtq_f32_s32(sums));
        total = vfmaq_f32(total, term, vld1q_f32(x.scale + 4 * h));
    }
    return total;
}

/* The rest of a row, less than a step, filled up with zeros. */
struct gemv_rest {
    int8_t q[GEMV_PART];
    float scale[GEMV_PART / 32];
    int32_t sum[GEMV_PART / 32];
};

/* total[t] += a part of the step at w times each token's activations from column k on. */
NEON_TEMPLATE void gemv_add_tokens(const struct gemv_reader *f, neon_dot16 *dot16, const uint8_t *w,
                                   size_t part, const float32x4_t *scale, const float32x4_t *min,
                                   const struct q8_row *x, size_t k, int tokens, float32x4_t *total)
{
    int8x16_t v[GEMV_VECTORS];
    f->weights(w, part, v);
    for (int t = 0; t < tokens; t++) {
        size_t g = k / f->group;
        struct q8_row here = {x[t].q + k, x[t].scale + g, x[t].sum + g};
        total[t] = gemv_add_part(f, dot16, v, scale, min, here, total[t]);
    }
}

NEON_TEMPLATE void gemv_add_step(const struct gemv_reader *f, neon_dot16 *dot16, const uint8_t *w,
                                 const struct q8_row *x, size_t k, int tokens, float32x4_t *total)
{
    float32x4_t scale[GEMV_SCALES], min[GEMV_SCALES];
    size_t i = GEMV_PART / 4 / f->group; /* vectors of scales in a part */
    f->scales(w, scale, min);
    gemv_add_tokens(f, dot16, w, 0, scale, min, x, k, tokens, total);
    if (f->blocks == 1)
        gemv_add_tokens(f, dot16, w, 1, scale + i, min + i, x, k + GEMV_PART, tokens, total);
}

NEON_TEMPLATE void gemv_multiply_rows(const struct gemv_reader *f, neon_dot16 *dot16,
                                      const uint8_t *w, size_t row_bytes, size_t rows, size_t n,
                                      const struct vector *x, int tokens, float *y, size_t ldy)
{
    struct q8_row q8[ROW_TOKENS_MAX], rest_q8[ROW_TOKENS_MAX];
    struct gemv_rest rest[ROW_TOKENS_MAX];
    size_t step = f->blocks > 1 ? GEMV_PART : 2 * GEMV_PART, whole = n / step * step;
    for (int t = 0; t < tokens; t++) {
        q8[t] = x[t].q8;
        if (whole == n)
            continue;
        rest[t] = (struct gemv_rest){0};
        memcpy(rest[t].q, q8[t].q + whole, n - whole);
        memcpy(rest[t].scale, q8[t].scale + whole / 32, (n - whole) / 32 * sizeof(float));
        memcpy(rest[t].sum, q8[t].sum + whole / 32, (n - whole) / 32 * sizeof(int32_t));
        rest_q8[t] = (struct q8_row){rest[t].q, rest[t].scale, rest[t].sum};
    }
    for (size_t r = 0; r < rows; r++, w += row_bytes) {
        const uint8_t *at = w;
        float32x4_t total[ROW_TOKENS_MAX];
        for (int t = 0; t < tokens; t++)
            total[t] = vdupq_n_f32(0);
        for (size_t k = 0; k < whole; k += step, at += f->blocks * f->bytes)
            gemv_add_step(f, dot16, at, q8, k, tokens, total);
        if (f->blocks > 1 && whole < n) {
            uint8_t last[GEMV_STEP_BYTES] = {0};
            memcpy(last, at, (n - whole) / 32 * f->bytes);
            gemv_add_step(f, dot16, last, rest_q8, 0, tokens, total);
        }
        for (int t = 0; t < tokens; t++)
            y[(size_t)t * ldy + r] = vaddvq_f32(total[t]);
    }
}

/* One token's sums stay in registers. */
#define GEMV_ROWS(name, count, size, ...)                                             \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,   \
                            const struct vector *x, int tokens, float *y, size_t ldy) \
    {                                                                                 \
        const struct gemv_reader f = {.bytes = sizeof(struct block_##name),           \
                                      .blocks = count,                                \
                                      .group = size,                                  \
                                      .weights = gemv_weights_##name,                 \
                                      .scales = gemv_scales_##name,                   \
                                      __VA_ARGS__};                                   \
        if (tokens == 1)                                                              \
            gemv_multiply_rows(&f, dot16, w, row_bytes, rows, n, x, 1, y, ldy);       \
        else                                                                          \
            gemv_multiply_rows(&f, dot16, w, row_bytes, rows, n, x, tokens, y, ldy);  \
    }

/* For a file that has dot16. */
#define GEMV_BLOCK_ROWS                                  \
    GEMV_ROWS(q4_0, 4, 32, .offset = 8)                  \
    GEMV_ROWS(q8_0, 4, 32, .offset = 0)                  \
    GEMV_ROWS(q4_k, 1, 32, .has_min = true)              \
    GEMV_ROWS(q6_k, 1, 16, .offset = 32)                 \
    static void fill_block_rows(struct kernels *kernels) \
    {                                                    \
        kernels->rows[FORMAT_Q4_0] = rows_q4_0;          \
        kernels->rows[FORMAT_Q8_0] = rows_q8_0;          \
        kernels->rows[FORMAT_Q4_K] = rows_q4_k;          \
        kernels->rows[FORMAT_Q6_K] = rows_q6_k;          \
    }

#endif
