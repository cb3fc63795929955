/* decode_neon: weights of block formats, and their scales, to vectors with ASIMD, for gemv_neon.h.
 * Layouts: blocks.h. Weights come out as stored where that is not negative: the format's offset has
 * yet to be taken off. No load reaches past the last block. */
#ifndef LONGHAND_KERNELS_DECODE_NEON_H
#define LONGHAND_KERNELS_DECODE_NEON_H

#include <string.h>

#include "kernels/blocks.h"
#include "kernels/neon.h"

/* A step is one or two parts. */
enum {
    GEMV_PART = 128, /* weights */
    GEMV_VECTORS = 8 /* of weights in a part */
};

/* Part `part` of the step at w; the scales and minima of a step. */
typedef void gemv_weights(const uint8_t *w, size_t part, int8x16_t v[GEMV_VECTORS]);
typedef void gemv_scales(const uint8_t *w, float32x4_t *scale, float32x4_t *min);

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

#endif
