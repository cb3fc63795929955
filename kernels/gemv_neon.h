/* gemv_neon: rows of block formats times one to eight vectors: generation. The
 * aarch64 tiers differ in the product of 16 bytes, and each makes its functions from this.
 *
 * A step is one or two parts of 128 weights, eight vectors. They are decoded once for all tokens,
 * and stay as stored where that is not negative: the format's offset times x.sum is taken off the
 * sums, all in integers. The sums of four groups come to lie in one vector, so that scales are
 * applied to four at a time. */
#ifndef LONGHAND_KERNELS_GEMV_NEON_H
#define LONGHAND_KERNELS_GEMV_NEON_H

#include <string.h>

#include "kernels/blocks.h"
#include "kernels/neon.h"

enum {
    GEMV_PART = 128,      /* weights */
    GEMV_VECTORS = 8,     /* of weights in a part */
    GEMV_SCALES = 4,      /* vectors of scales in a step, at most */
    GEMV_STEP_BYTES = 136 /* of formats with several blocks in a step, at most */
};

/* Part `part` of the step at w; the scales and minima of a step. */
typedef void gemv_weights(const uint8_t *w, size_t part, int8x16_t v[GEMV_VECTORS]);
typedef void gemv_scales(const uint8_t *w, float32x4_t *scale, float32x4_t *min);

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

/* --- weights and scales -------------------------------------------------------------------- */

NEON_TEMPLATE int8x16_t gemv_low(uint8x16_t v)
{
    return vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15)));
}

NEON_TEMPLATE int8x16_t gemv_high(uint8x16_t v)
{
    return vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
}

NEON_TEMPLATE void gemv_weights_q4_0(const uint8_t *w, size_t part, int8x16_t v[GEMV_VECTORS])
{
    (void)part;
    const struct block_q4_0 *b = (const void *)w;
    NEON_UNROLL
    for (int i = 0; i < 4; i++) {
        uint8x16_t x = vld1q_u8(b[i].qs);
        v[2 * i] = gemv_low(x);
        v[2 * i + 1] = gemv_high(x);
    }
}

NEON_TEMPLATE void gemv_weights_q8_0(const uint8_t *w, size_t part, int8x16_t v[GEMV_VECTORS])
{
    (void)part;
    const struct block_q8_0 *b = (const void *)w;
    NEON_UNROLL
    for (int i = 0; i < GEMV_VECTORS; i++)
        v[i] = vld1q_s8(b[i / 2].qs + i % 2 * 16);
}

NEON_TEMPLATE void gemv_weights_q4_k(const uint8_t *w, size_t part, int8x16_t v[GEMV_VECTORS])
{
    const uint8_t *qs = ((const struct block_q4_k *)(const void *)w)->qs + 64 * part;
    NEON_UNROLL
    for (int i = 0; i < 4; i++) {
        uint8x16_t x = vld1q_u8(qs + 16 * i);
        v[i + i / 2 * 2] = gemv_low(x);
        v[i + i / 2 * 2 + 2] = gemv_high(x);
    }
}

NEON_TEMPLATE void gemv_weights_q6_k(const uint8_t *w, size_t part, int8x16_t v[GEMV_VECTORS])
{
    const struct block_q6_k *b = (const void *)w;
    const uint8x16_t upper = vdupq_n_u8(0x30);
    NEON_UNROLL
    for (int i = 0; i < 2; i++) {
        uint8x16_t first = vld1q_u8(b->low + 64 * part + 16 * i);
        uint8x16_t second = vld1q_u8(b->low + 64 * part + 32 + 16 * i);
        uint8x16_t high = vld1q_u8(b->high + 32 * part + 16 * i);
        uint8x16_t bits[4] = {vshlq_n_u8(high, 4), vshlq_n_u8(high, 2), high, vshrq_n_u8(high, 2)};
        v[i] = gemv_low(first);
        v[2 + i] = gemv_low(second);
        v[4 + i] = gemv_high(first);
        v[6 + i] = gemv_high(second);
        NEON_UNROLL
        for (int c = 0; c < 4; c++)
            v[2 * c + i] = vorrq_s8(v[2 * c + i], vreinterpretq_s8_u8(vandq_u8(bits[c], upper)));
    }
}

NEON_TEMPLATE float gemv_half(const uint8_t bytes[2])
{
    __fp16 h;
    memcpy(&h, bytes, sizeof h);
    return h;
}

/* Blocks of 32 begin with d. */
NEON_TEMPLATE float32x4_t gemv_heads(const uint8_t *w, size_t bytes)
{
    uint16_t d[4];
    NEON_UNROLL
    for (size_t i = 0; i < 4; i++)
        memcpy(d + i, w + i * bytes, sizeof *d);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(d)));
}

NEON_TEMPLATE void gemv_scales_q4_0(const uint8_t *w, float32x4_t *scale, float32x4_t *min)
{
    (void)min;
    *scale = gemv_heads(w, sizeof(struct block_q4_0));
}

NEON_TEMPLATE void gemv_scales_q8_0(const uint8_t *w, float32x4_t *scale, float32x4_t *min)
{
    (void)min;
    *scale = gemv_heads(w, sizeof(struct block_q8_0));
}

/* Eight small integers times d. */
NEON_TEMPLATE void gemv_scale_eight(int8x8_t s, float d, float32x4_t out[2])
{
    int16x8_t wide = vmovl_s8(s);
    out[0] = vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), d);
    out[1] = vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(wide)), d);
}

NEON_TEMPLATE void gemv_scales_q4_k(const uint8_t *w, float32x4_t *scale, float32x4_t *min)
{
    const struct block_q4_k *b = (const void *)w;
    uint32_t s[3]; /* four bytes each: see block_q4_k */
    memcpy(s, b->scales, sizeof s);
    uint32x2_t scales = {s[0] & 0x3F3F3F3F, (s[2] & 0x0F0F0F0F) | (s[0] >> 2 & 0x30303030)};
    uint32x2_t minima = {s[1] & 0x3F3F3F3F, (s[2] >> 4 & 0x0F0F0F0F) | (s[1] >> 2 & 0x30303030)};
    gemv_scale_eight(vreinterpret_s8_u32(scales), gemv_half(b->d), scale);
    gemv_scale_eight(vreinterpret_s8_u32(minima), gemv_half(b->m), min);
}

NEON_TEMPLATE void gemv_scales_q6_k(const uint8_t *w, float32x4_t *scale, float32x4_t *min)
{
    (void)min;
    const struct block_q6_k *b = (const void *)w;
    int8x16_t s = vld1q_s8(b->scales);
    gemv_scale_eight(vget_low_s8(s), gemv_half(b->d), scale);
    gemv_scale_eight(vget_high_s8(s), gemv_half(b->d), scale + 2);
}

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
