/* scales_avx2: the scales and minima of K blocks to floats, with AVX2 and F16C. Layouts:
 * blocks.h. */
#ifndef LONGHAND_KERNELS_SCALES_AVX2_H
#define LONGHAND_KERNELS_SCALES_AVX2_H

#include "kernels/decode_avx2.h"

/* Eight small integers to floats. */
TEMPLATE __m256 floats_of(__m128i integers)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(integers));
}

TEMPLATE __m128i upper_half(__m128i x)
{
    return _mm_unpackhi_epi64(x, x);
}

/* The binary16 at `bytes`, in all lanes. */
TEMPLATE __m256 load_half(const uint8_t bytes[2])
{
    short half;
    memcpy(&half, bytes, 2);
    return _mm256_cvtph_ps(_mm_set1_epi16(half));
}

/* The eight or sixteen scales of a block, and what is to be taken off (minima below zero). */
typedef void decode_scales(const uint8_t *block, __m256 scale[2], __m256 min[2]);

/* Sixteen integers times d. */
TEMPLATE void scaled(__m128i integers, __m256 d, __m256 out[2])
{
    out[0] = _mm256_mul_ps(floats_of(integers), d);
    out[1] = _mm256_mul_ps(floats_of(upper_half(integers)), d);
}

TEMPLATE void scales_q2_k(const uint8_t *block, __m256 scale[2], __m256 min[2])
{
    const struct block_q2_k *b = (const void *)block;
    __m128i fields = load128(b->scales), low = _mm_set1_epi8(15);
    scaled(_mm_and_si128(fields, low), load_half(b->d), scale);
    scaled(_mm_and_si128(_mm_srli_epi16(fields, 4), low), load_half(b->m), min);
}

/* See block_q3_k. */
TEMPLATE void scales_q3_k(const uint8_t *block, __m256 scale[2], __m256 min[2])
{
    (void)min;
    const struct block_q3_k *b = (const void *)block;
    /* the last 16 bytes of the block: two of qs, twelve of scales, d */
    __m128i end = load128(b->qs + 62);
    __m128i low =
        _mm_shuffle_epi8(end, _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9));
    __m128i high = _mm_shuffle_epi8(
        end, _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13));
    low = _mm_and_si128(_mm_srlv_epi64(low, _mm_set_epi64x(4, 0)), _mm_set1_epi8(15));
    high = _mm_and_si128(_mm_srlv_epi32(high, _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
    __m128i both = _mm_or_si128(low, _mm_slli_epi16(high, 4));
    scaled(_mm_sub_epi8(both, _mm_set1_epi8(32)), load_half(b->d), scale);
}

TEMPLATE void scales_q6_k(const uint8_t *block, __m256 scale[2], __m256 min[2])
{
    (void)min;
    const struct block_q6_k *b = (const void *)block;
    scaled(load128(b->scales), load_half(b->d), scale);
}

/* Q4_K and Q5_K: the first 16 bytes are d, m and scales. */
TEMPLATE void scales_k(const uint8_t *block, __m256 scale[2], __m256 min[2])
{
    __m128i x = load128(block);
    /* s[0..3], s[4..7], m[0..3], m[4..7]: first the six or four low bits, then the two high ones */
    __m128i low = _mm_shuffle_epi8(
        x, _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
    __m128i high = _mm_shuffle_epi8(
        x, _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
    low = _mm_srlv_epi32(low, _mm_setr_epi32(0, 0, 0, 4));
    low = _mm_and_si128(low, _mm_setr_epi32(0x3F3F3F3F, 0x0F0F0F0F, 0x3F3F3F3F, 0x0F0F0F0F));
    high = _mm_and_si128(_mm_srli_epi16(high, 2), _mm_set1_epi8(0x30));
    low = _mm_or_si128(low, high);
    __m256 d = _mm256_cvtph_ps(_mm_broadcastw_epi16(x));
    __m256 m = _mm256_cvtph_ps(_mm_broadcastw_epi16(_mm_srli_epi32(x, 16)));
    scale[0] = _mm256_mul_ps(floats_of(low), d);
    min[0] = _mm256_mul_ps(floats_of(upper_half(low)), m);
}

TEMPLATE void scales_iq4_xs(const uint8_t *block, __m256 scale[2], __m256 min[2])
{
    (void)min;
    const struct block_iq4_xs *b = (const void *)block;
    uint16_t high;
    int low;
    memcpy(&high, b->scales_high, 2);
    memcpy(&low, b->scales_low, 4);
    __m256i lows =
        _mm256_srlv_epi32(_mm256_set1_epi32(low), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    __m256i highs = _mm256_srlv_epi32(_mm256_set1_epi32(high << 4),
                                      _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    lows = _mm256_and_si256(lows, _mm256_set1_epi32(15));
    highs = _mm256_and_si256(highs, _mm256_set1_epi32(0x30));
    lows = _mm256_sub_epi32(_mm256_or_si256(lows, highs), _mm256_set1_epi32(32));
    scale[0] = _mm256_mul_ps(_mm256_cvtepi32_ps(lows), load_half(b->d));
}

#endif
