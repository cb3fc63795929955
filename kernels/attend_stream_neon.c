/* attend_stream_neon: the vectors of attend_stream.h on aarch64. */
#include <string.h>

#include "kernels/neon.h"

#define TEMPLATE NEON_TEMPLATE
#define UNROLL NEON_UNROLL

typedef float32x4_t floats;

/* Of a tile at most: 16 sums beside elements and their scales. */
#define STREAM_QUERIES 4
enum { QUERIES = STREAM_QUERIES, LANES = 4 };

TEMPLATE int score_vectors(int m)
{
    return m <= 2 ? 8 : 4;
}

TEMPLATE int value_vectors(int m)
{
    return m <= 2 ? 8 : 4;
}

TEMPLATE floats all_of(float x)
{
    return vdupq_n_f32(x);
}

TEMPLATE floats multiply(floats x, floats y)
{
    return vmulq_f32(x, y);
}

TEMPLATE floats multiply_add(floats sum, floats x, float factor)
{
    return vfmaq_n_f32(sum, x, factor);
}

TEMPLATE floats load_floats(const float *x, size_t left)
{
    if (left >= LANES)
        return vld1q_f32(x);
    float padded[LANES] = {0};
    memcpy(padded, x, left * sizeof *x);
    return vld1q_f32(padded);
}

TEMPLATE void store_floats(float *x, floats v, size_t left)
{
    float padded[LANES];
    vst1q_f32(left >= LANES ? x : padded, v);
    if (left < LANES)
        memcpy(x, padded, left * sizeof *x);
}

/* Four bytes to the low half of a vector. */
TEMPLATE uint8x8_t load_bytes(const uint8_t *x, size_t left)
{
    uint32_t bytes = 0;
    memcpy(&bytes, x, left >= LANES ? LANES : left);
    return vreinterpret_u8_u32(vdup_n_u32(bytes));
}

/* Elements i.. of an array, not Q4_0, and not yet times their scale; zero past the `left` ones. */
TEMPLATE floats load_elements(const void *x, size_t i, enum format format, size_t left)
{
    if (format == FORMAT_F32)
        return load_floats((const float *)x + i, left);
    if (format == FORMAT_Q8_0) {
        int16x8_t q = vmovl_s8(vreinterpret_s8_u8(load_bytes((const uint8_t *)x + i, left)));
        return vcvtq_f32_s32(vmovl_s16(vget_low_s16(q)));
    }
    if (left >= LANES)
        return neon_load_4(x, format, i);
    uint16_t padded[LANES] = {0};
    memcpy(padded, (const uint16_t *)x + i, left * sizeof *padded);
    return neon_load_4(padded, format, 0);
}

/* The low and the high four bits of bytes, less 8. */
TEMPLATE void load_pairs(const uint8_t *x, size_t left, floats *low, floats *high)
{
    uint8x8_t pairs = load_bytes(x, left);
    uint8x8_t nibbles = vzip1_u8(vand_u8(pairs, vdup_n_u8(15)), vshr_n_u8(pairs, 4));
    int16x8_t q = vmovl_s8(vsub_s8(vreinterpret_s8_u8(nibbles), vdup_n_s8(8)));
    floats first = vcvtq_f32_s32(vmovl_s16(vget_low_s16(q)));
    floats second = vcvtq_f32_s32(vmovl_s16(vget_high_s16(q)));
    *low = vuzp1q_f32(first, second);
    *high = vuzp2q_f32(first, second);
}

/* Two vectors of neighbouring elements to those of even and those of odd number; and back. */
TEMPLATE void part_pairs(floats v[2])
{
    floats even = vuzp1q_f32(v[0], v[1]);
    v[1] = vuzp2q_f32(v[0], v[1]);
    v[0] = even;
}

TEMPLATE void join_pairs(floats v[2])
{
    floats first = vzip1q_f32(v[0], v[1]);
    v[1] = vzip2q_f32(v[0], v[1]);
    v[0] = first;
}

#include "kernels/attend_stream.h"

void stream_neon(struct kernels *kernels)
{
    kernels->attend_scores = attend_scores;
    kernels->attend_values = attend_values;
}
