/* unpack_neon: the block formats to integers and scales with ASIMD. The layouts are drawn in
 * blocks.h, the reference is format.c; scales and minima are multiplied in the same order, so that
 * the floats are equal to the last bit. */
#include <arm_neon.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/unpack.h"

static inline float load_f16(const uint8_t bytes[2])
{
    __fp16 h;
    memcpy(&h, bytes, sizeof h);
    return h;
}

static inline unsigned load_u16(const uint8_t bytes[2])
{
    return bytes[0] | (unsigned)bytes[1] << 8;
}

static inline uint32_t load_u32(const uint8_t bytes[4])
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* q = v - offset */
static inline void store_q(int8_t *q, uint8x16_t v, int8_t offset)
{
    vst1q_s8(q, vsubq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8(offset)));
}

static inline uint8x16_t low_nibbles(uint8x16_t v)
{
    return vandq_u8(v, vdupq_n_u8(15));
}

static inline uint8x16_t high_nibbles(uint8x16_t v)
{
    return vshrq_n_u8(v, 4);
}

/* 16 where a bit of `mask` is set in `bits`, 0 elsewhere. */
static inline uint8x16_t fifth_bits(uint8x16_t bits, uint8x16_t mask)
{
    return vandq_u8(vtstq_u8(bits, mask), vdupq_n_u8(16));
}

/* out[8] = d * s */
static inline void scale_8(float *out, int8x8_t s, float d)
{
    int16x8_t wide = vmovl_s8(s);
    vst1q_f32(out, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), d));
    vst1q_f32(out + 4, vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(wide)), d));
}

static inline void scale_16(float *out, int8x16_t s, float d)
{
    scale_8(out, vget_low_s8(s), d);
    scale_8(out + 8, vget_high_s8(s), d);
}

static inline void negate(float *x, int n)
{
    for (int i = 0; i < n; i += 4)
        vst1q_f32(x + i, vnegq_f32(vld1q_f32(x + i)));
}

static inline void unpack_nibbles(const uint8_t qs[16], int8_t *q, int8_t offset)
{
    uint8x16_t v = vld1q_u8(qs);
    store_q(q, low_nibbles(v), offset);
    store_q(q + 16, high_nibbles(v), offset);
}

static void unpack_q4_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q4_0 *block = blocks;
    for (; n; n -= 32, block++, q += 32) {
        *scale++ = load_f16(block->d);
        unpack_nibbles(block->qs, q, 8);
    }
}

static void unpack_q4_1(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q4_1 *block = blocks;
    for (; n; n -= 32, block++, q += 32) {
        *scale++ = load_f16(block->d);
        *min++ = load_f16(block->m);
        unpack_nibbles(block->qs, q, 0);
    }
}

static inline void unpack_fifth(const uint8_t qh[4], const uint8_t qs[16], int8_t *q, int8_t offset)
{
    static const uint8_t bit_of_lane[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                            1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t mask = vld1q_u8(bit_of_lane);
    uint8x16_t low = vcombine_u8(vdup_n_u8(qh[0]), vdup_n_u8(qh[1]));
    uint8x16_t high = vcombine_u8(vdup_n_u8(qh[2]), vdup_n_u8(qh[3]));
    uint8x16_t v = vld1q_u8(qs);
    store_q(q, vorrq_u8(low_nibbles(v), fifth_bits(low, mask)), offset);
    store_q(q + 16, vorrq_u8(high_nibbles(v), fifth_bits(high, mask)), offset);
}

static void unpack_q5_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q5_0 *block = blocks;
    for (; n; n -= 32, block++, q += 32) {
        *scale++ = load_f16(block->d);
        unpack_fifth(block->qh, block->qs, q, 16);
    }
}

static void unpack_q5_1(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q5_1 *block = blocks;
    for (; n; n -= 32, block++, q += 32) {
        *scale++ = load_f16(block->d);
        *min++ = load_f16(block->m);
        unpack_fifth(block->qh, block->qs, q, 0);
    }
}

static void unpack_q8_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q8_0 *block = blocks;
    for (; n; n -= 32, block++, q += 32) {
        *scale++ = load_f16(block->d);
        memcpy(q, block->qs, 32);
    }
}

/* The four 2-bit fields of each byte, field f in bits 0 and 1 of its own vector. */
static inline void split_pairs(uint8x16_t v, uint8x16_t field[4])
{
    uint8x16_t three = vdupq_n_u8(3);
    field[0] = vandq_u8(v, three);
    field[1] = vandq_u8(vshrq_n_u8(v, 2), three);
    field[2] = vandq_u8(vshrq_n_u8(v, 4), three);
    field[3] = vshrq_n_u8(v, 6);
}

static void unpack_q2_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q2_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 16, min += 16) {
        uint8x16_t scales = vld1q_u8(block->scales);
        scale_16(scale, vreinterpretq_s8_u8(low_nibbles(scales)), load_f16(block->d));
        scale_16(min, vreinterpretq_s8_u8(high_nibbles(scales)), load_f16(block->m));
        negate(min, 16);
        for (int i = 0; i < 64; i += 16) {
            uint8x16_t field[4];
            int8_t *to = q + i / 32 * 128 + i % 32;
            split_pairs(vld1q_u8(block->qs + i), field);
            store_q(to, field[0], 0);
            store_q(to + 32, field[1], 0);
            store_q(to + 64, field[2], 0);
            store_q(to + 96, field[3], 0);
        }
    }
}

/* The sixteen 6-bit scales of Q3_K, minus 32. */
static inline int8x16_t q3_k_scales(const uint8_t scales[12])
{
    uint8x8_t low = vld1_u8(scales);
    uint32_t high = load_u32(scales + 8);
    uint32x4_t shifted = {high << 4, high << 2, high, high >> 2};
    uint8x16_t upper = vandq_u8(vreinterpretq_u8_u32(shifted), vdupq_n_u8(0x30));
    uint8x16_t s = low_nibbles(vcombine_u8(low, vshr_n_u8(low, 4)));
    return vsubq_s8(vreinterpretq_s8_u8(vorrq_u8(s, upper)), vdupq_n_s8(32));
}

static void unpack_q3_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q3_k *block = blocks;
    uint8x16_t four = vdupq_n_u8(4);
    for (; n; n -= 256, block++, q += 256, scale += 16) {
        scale_16(scale, q3_k_scales(block->scales), load_f16(block->d));
        for (int i = 0; i < 64; i += 16) {
            uint8x16_t field[4];
            int8_t *to = q + i / 32 * 128 + i % 32;
            split_pairs(vld1q_u8(block->qs + i), field);
            /* Bits 4 h .. 4 h + 3 of high are those of this half's four fields. */
            uint8x16_t high = vld1q_u8(block->high + i % 32);
            high = i < 32 ? high : high_nibbles(high);
            store_q(to, vorrq_u8(field[0], vandq_u8(vshlq_n_u8(high, 2), four)), 4);
            store_q(to + 32, vorrq_u8(field[1], vandq_u8(vshlq_n_u8(high, 1), four)), 4);
            store_q(to + 64, vorrq_u8(field[2], vandq_u8(high, four)), 4);
            store_q(to + 96, vorrq_u8(field[3], vandq_u8(vshrq_n_u8(high, 1), four)), 4);
        }
    }
}

/* The eight scales and minima of Q4_K and Q5_K, four at a time in the bytes of a word. */
static inline void unpack_k_scales(const uint8_t scales[12], float d, float m, float *scale,
                                   float *min)
{
    uint32_t s = load_u32(scales), t = load_u32(scales + 4), u = load_u32(scales + 8);
    uint32x2_t s8 = {s & 0x3F3F3F3F, (u & 0x0F0F0F0F) | (s >> 2 & 0x30303030)};
    uint32x2_t m8 = {t & 0x3F3F3F3F, (u >> 4 & 0x0F0F0F0F) | (t >> 2 & 0x30303030)};
    scale_8(scale, vreinterpret_s8_u32(s8), d);
    scale_8(min, vreinterpret_s8_u32(m8), m);
    negate(min, 8);
}

static void unpack_q4_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q4_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 8, min += 8) {
        unpack_k_scales(block->scales, load_f16(block->d), load_f16(block->m), scale, min);
        for (int i = 0; i < 128; i += 16) {
            uint8x16_t v = vld1q_u8(block->qs + i);
            int8_t *to = q + i / 32 * 64 + i % 32;
            store_q(to, low_nibbles(v), 0);
            store_q(to + 32, high_nibbles(v), 0);
        }
    }
}

static void unpack_q5_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q5_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 8, min += 8) {
        unpack_k_scales(block->scales, load_f16(block->d), load_f16(block->m), scale, min);
        for (int i = 0; i < 128; i += 16) {
            uint8x16_t v = vld1q_u8(block->qs + i);
            uint8x16_t high = vld1q_u8(block->high + i % 32);
            uint8x16_t mask = vdupq_n_u8((uint8_t)(1 << i / 32 * 2));
            int8_t *to = q + i / 32 * 64 + i % 32;
            store_q(to, vorrq_u8(low_nibbles(v), fifth_bits(high, mask)), 0);
            store_q(to + 32, vorrq_u8(high_nibbles(v), fifth_bits(high, vshlq_n_u8(mask, 1))), 0);
        }
    }
}

static void unpack_q6_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q6_k *block = blocks;
    uint8x16_t upper = vdupq_n_u8(0x30);
    for (; n; n -= 256, block++, q += 256, scale += 16) {
        scale_16(scale, vld1q_s8(block->scales), load_f16(block->d));
        for (int i = 0; i < 64; i += 16) {
            const uint8_t *low = block->low + i / 32 * 64 + i % 32;
            int8_t *to = q + i / 32 * 128 + i % 32;
            uint8x16_t a = vld1q_u8(low), b = vld1q_u8(low + 32);
            uint8x16_t high = vld1q_u8(block->high + i);
            store_q(to, vorrq_u8(low_nibbles(a), vandq_u8(vshlq_n_u8(high, 4), upper)), 32);
            store_q(to + 32, vorrq_u8(low_nibbles(b), vandq_u8(vshlq_n_u8(high, 2), upper)), 32);
            store_q(to + 64, vorrq_u8(high_nibbles(a), vandq_u8(high, upper)), 32);
            store_q(to + 96, vorrq_u8(high_nibbles(b), vandq_u8(vshrq_n_u8(high, 2), upper)), 32);
        }
    }
}

static const int8_t iq4_values[16] = {BLOCK_IQ4_VALUES};

static inline void unpack_iq4(const uint8_t qs[16], int8_t *q)
{
    int8x16_t values = vld1q_s8(iq4_values);
    uint8x16_t v = vld1q_u8(qs);
    vst1q_s8(q, vqtbl1q_s8(values, low_nibbles(v)));
    vst1q_s8(q + 16, vqtbl1q_s8(values, high_nibbles(v)));
}

static void unpack_iq4_nl(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q4_0 *block = blocks;
    for (; n; n -= 32, block++, q += 32) {
        *scale++ = load_f16(block->d);
        unpack_iq4(block->qs, q);
    }
}

static void unpack_iq4_xs(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_iq4_xs *block = blocks;
    for (; n; n -= 256, block++, q += 256) {
        float d = load_f16(block->d);
        unsigned highs = load_u16(block->scales_high);
        for (int g = 0; g < 8; g++) {
            int low = block->scales_low[g / 2] >> g % 2 * 4 & 15;
            int high = (int)(highs >> 2 * g & 3);
            *scale++ = d * (float)((low | high << 4) - 32);
            unpack_iq4(block->qs + 16 * g, q + 32 * g);
        }
    }
}

void unpack_neon(struct kernels *kernels)
{
    kernels->unpack[FORMAT_Q4_0] = unpack_q4_0;
    kernels->unpack[FORMAT_Q4_1] = unpack_q4_1;
    kernels->unpack[FORMAT_Q5_0] = unpack_q5_0;
    kernels->unpack[FORMAT_Q5_1] = unpack_q5_1;
    kernels->unpack[FORMAT_Q8_0] = unpack_q8_0;
    kernels->unpack[FORMAT_Q2_K] = unpack_q2_k;
    kernels->unpack[FORMAT_Q3_K] = unpack_q3_k;
    kernels->unpack[FORMAT_Q4_K] = unpack_q4_k;
    kernels->unpack[FORMAT_Q5_K] = unpack_q5_k;
    kernels->unpack[FORMAT_Q6_K] = unpack_q6_k;
    kernels->unpack[FORMAT_IQ4_NL] = unpack_iq4_nl;
    kernels->unpack[FORMAT_IQ4_XS] = unpack_iq4_xs;
}
