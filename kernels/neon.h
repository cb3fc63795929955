/* neon: what the aarch64 tiers share. The integer dot product of a row is the same loop in both and
 * differs in one step, which each file passes in and the compiler inlines. */
#ifndef LONGHAND_KERNELS_NEON_H
#define LONGHAND_KERNELS_NEON_H

#include <arm_neon.h>

#include "kernels/half.h"
#include "kernels/kernels.h"

/* Compiled anew for each set of constant arguments: sizes, formats, functions. */
#define NEON_TEMPLATE static inline __attribute__((always_inline))

/* Stands before loops over a constant number of vectors: -O2 alone may keep them rolled, and then
 * the vectors lie in memory. */
#if defined(__clang__)
#define NEON_UNROLL _Pragma("clang loop unroll(full)")
#else
#define NEON_UNROLL _Pragma("GCC unroll 16")
#endif

enum { NEON_PANEL_ROWS = 16, NEON_TILE_TOKENS = 8 };

/* Fill the operations on activations and attention, and on its packed blocks, for kernels_neon. */
void rows_neon(struct kernels *kernels);
void attend_neon(struct kernels *kernels);

/* Four elements from index i on of an array whose format is a constant. */
NEON_TEMPLATE float32x4_t neon_load_4(const void *x, enum format format, size_t i)
{
    if (format == FORMAT_F16)
        return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)x + i)));
    if (format == FORMAT_BF16)
        return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16((const uint16_t *)x + i), 16));
    return vld1q_f32((const float *)x + i);
}

NEON_TEMPLATE float neon_load_1(const void *x, enum format format, size_t i)
{
    if (format == FORMAT_F16)
        return f16_to_f32(((const uint16_t *)x)[i]);
    if (format == FORMAT_BF16)
        return bf16_to_f32(((const uint16_t *)x)[i]);
    return ((const float *)x)[i];
}

/* Adds the dot product of 16 bytes, spread over the four lanes. */
typedef int32x4_t neon_dot16(int32x4_t sum, int8x16_t a, int8x16_t b);

NEON_TEMPLATE int32x4_t neon_dot_group(neon_dot16 *dot16, const int8_t *q, const int8_t *x,
                                       size_t group)
{
    int32x4_t sum = dot16(vdupq_n_s32(0), vld1q_s8(q), vld1q_s8(x));
    return group == 16 ? sum : dot16(sum, vld1q_s8(q + 16), vld1q_s8(x + 16));
}

/* Lane i of the result is the sum of the lanes of the i-th argument. */
static inline int32x4_t neon_sum_each(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d)
{
    return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
}

/* Four groups at a time, one in each lane of `total`. */
NEON_TEMPLATE float neon_dot_q8(neon_dot16 *dot16, const int8_t *q, const float *scale,
                                const float *min, size_t n, size_t group, struct q8_row x)
{
    size_t groups = n / group;
    size_t g = 0;
    float32x4_t total = vdupq_n_f32(0);
    for (; g + 4 <= groups; g += 4) {
        const int8_t *w = q + g * group, *v = x.q + g * group;
        int32x4_t dots = neon_sum_each(neon_dot_group(dot16, w, v, group),
                                       neon_dot_group(dot16, w + group, v + group, group),
                                       neon_dot_group(dot16, w + 2 * group, v + 2 * group, group),
                                       neon_dot_group(dot16, w + 3 * group, v + 3 * group, group));
        float32x4_t part = vmulq_f32(vld1q_f32(scale + g), vcvtq_f32_s32(dots));
        if (min)
            part = vfmaq_f32(part, vld1q_f32(min + g), vcvtq_f32_s32(vld1q_s32(x.sum + g)));
        total = vfmaq_f32(total, part, vld1q_f32(x.scale + g));
    }
    float sum = vaddvq_f32(total);
    for (; g < groups; g++) {
        int32_t dot = vaddvq_s32(neon_dot_group(dot16, q + g * group, x.q + g * group, group));
        sum += x.scale[g] * (scale[g] * (float)dot + (min ? min[g] * (float)x.sum[g] : 0.0F));
    }
    return sum;
}

/* Row i of the result is column i of v. */
static inline void neon_transpose(float32x4_t v[4])
{
    float32x4_t a = vtrn1q_f32(v[0], v[1]), b = vtrn2q_f32(v[0], v[1]);
    float32x4_t c = vtrn1q_f32(v[2], v[3]), d = vtrn2q_f32(v[2], v[3]);
    v[0] = vcombine_f32(vget_low_f32(a), vget_low_f32(c));
    v[1] = vcombine_f32(vget_low_f32(b), vget_low_f32(d));
    v[2] = vcombine_f32(vget_high_f32(a), vget_high_f32(c));
    v[3] = vcombine_f32(vget_high_f32(b), vget_high_f32(d));
}

/* y += total */
static inline void neon_add_to(float *y, float32x4_t total)
{
    vst1q_f32(y, vaddq_f32(vld1q_f32(y), total));
}

#endif
