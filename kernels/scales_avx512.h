/* scales_avx512: the scales and minima of K blocks to floats, with AVX-512 (F, BW, VL, DQ).
 * Layouts: blocks.h. */
#ifndef LONGHAND_KERNELS_SCALES_AVX512_H
#define LONGHAND_KERNELS_SCALES_AVX512_H

#include "kernels/decode_avx512.h"

/* 16 small integers to floats. */
TEMPLATE __m512 floats_of(__m128i integers)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(integers));
}

/* The binary16 at `bytes`, in all lanes. */
TEMPLATE __m512 load_half(const uint8_t bytes[2])
{
    unsigned short half;
    memcpy(&half, bytes, 2);
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)half));
}

/* The sixteen scales of Q3_K, less their offset: see block_q3_k. */
TEMPLATE __m128i integers_q3_k(const struct block_q3_k *block)
{
    /* the last 16 bytes of the block: two of qs, twelve of scales, d */
    __m128i end = load128(block->qs + 62);
    __m128i low =
        _mm_shuffle_epi8(end, _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9));
    __m128i high = _mm_shuffle_epi8(
        end, _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13));
    low = _mm_srlv_epi64(low, _mm_set_epi64x(4, 0));
    high = _mm_rolv_epi32(high, _mm_setr_epi32(4, 2, 0, 30));
    __m128i both = _mm_ternarylogic_epi32(_mm_set1_epi8(15), low, high, 0xCA);
    return _mm_sub_epi8(_mm_and_si128(both, _mm_set1_epi8(63)), _mm_set1_epi8(32));
}

/* Formats of 16 groups in a block: scales, and what is to be taken off (minima below zero). */
typedef void decode_scales(const uint8_t *block, __m512 *scale, __m512 *min);

/* Four binary16 at `bytes`, of which the last ones are the block's d, or d and m: converting to 128
 * bits takes one operation, to 512 two. */
TEMPLATE __m512 load_heads(const void *bytes)
{
    return _mm512_castps128_ps512(_mm_cvtph_ps(_mm_loadl_epi64(bytes)));
}

/* Lane i in all lanes. */
TEMPLATE __m512 lane(__m512 v, int i)
{
    return _mm512_permutexvar_ps(_mm512_set1_epi32(i), v);
}

TEMPLATE void scales_q2_k(const uint8_t *block, __m512 *scale, __m512 *min)
{
    const struct block_q2_k *b = (const void *)block;
    __m512 heads = load_heads(b->qs + 60);
    __m512i fields = _mm512_cvtepu8_epi32(load128(b->scales));
    __m512i low = _mm512_and_si512(fields, _mm512_set1_epi32(15));
    *scale = _mm512_mul_ps(_mm512_cvtepi32_ps(low), lane(heads, 2));
    *min = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_srli_epi32(fields, 4)), lane(heads, 3));
}

TEMPLATE void scales_q3_k(const uint8_t *block, __m512 *scale, __m512 *min)
{
    (void)min;
    const struct block_q3_k *b = (const void *)block;
    *scale = _mm512_mul_ps(floats_of(integers_q3_k(b)), lane(load_heads(b->scales + 6), 3));
}

TEMPLATE void scales_q6_k(const uint8_t *block, __m512 *scale, __m512 *min)
{
    (void)min;
    const struct block_q6_k *b = (const void *)block;
    *scale = _mm512_mul_ps(floats_of(load128(b->scales)), lane(load_heads(b->scales + 10), 3));
}

/* Formats of eight groups in a block: those of blocks a and b. */
typedef void decode_two_scales(const uint8_t *a, const uint8_t *b, __m512 *scale, __m512 *min);

TEMPLATE void scales_k(const uint8_t *a, const uint8_t *b, __m512 *scale, __m512 *min)
{
    /* d, m and twelve bytes of scales */
    __m256i x = _mm256_inserti128_si256(_mm256_castsi128_si256(load128(a)), load128(b), 1);
    /* s[0..3], s[4..7], m[0..3], m[4..7]: first the six or four low bits, then the two high ones */
    const __m256i low_from = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m256i low_mask =
        _mm256_broadcastsi128_si256(_mm_setr_epi32(0x3F3F3F3F, 0x0F0F0F0F, 0x3F3F3F3F, 0x0F0F0F0F));
    const __m256i high_from = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
    __m256i low = _mm256_shuffle_epi8(x, low_from);
    __m256i high = _mm256_shuffle_epi8(x, high_from);
    low = _mm256_srlv_epi32(low, _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0, 0, 4)));
    high = _mm256_and_si256(_mm256_srli_epi16(high, 2), _mm256_set1_epi8(0x30));
    __m256i both = _mm256_ternarylogic_epi32(high, low, low_mask, 0xF8); /* high | (low & mask) */
    both = _mm256_permute4x64_epi64(both, 0xD8); /* scales of a and b, minima of a and b */
    __m512 d = _mm512_cvtph_ps(_mm256_shuffle_epi8(x, _mm256_set1_epi16(0x0100)));
    __m512 m = _mm512_cvtph_ps(_mm256_shuffle_epi8(x, _mm256_set1_epi16(0x0302)));
    *scale = _mm512_mul_ps(floats_of(_mm256_castsi256_si128(both)), d);
    *min = _mm512_mul_ps(floats_of(_mm256_extracti128_si256(both, 1)), m);
}

/* The six-bit scales of IQ4_XS, less their offset. */
TEMPLATE __m256i integers_iq4_xs(const struct block_iq4_xs *block)
{
    uint16_t high;
    uint32_t low;
    memcpy(&high, block->scales_high, 2);
    memcpy(&low, block->scales_low, 4);
    __m256i lows = _mm256_srlv_epi32(_mm256_set1_epi32((int)low),
                                     _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    __m256i highs = _mm256_srlv_epi32(_mm256_set1_epi32(high << 4),
                                      _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    __m256i both = _mm256_ternarylogic_epi32(_mm256_set1_epi32(15), lows, highs, 0xCA);
    return _mm256_sub_epi32(_mm256_and_si256(both, _mm256_set1_epi32(63)), _mm256_set1_epi32(32));
}

TEMPLATE void scales_iq4_xs(const uint8_t *a, const uint8_t *b, __m512 *scale, __m512 *min)
{
    (void)min;
    const struct block_iq4_xs *x = (const void *)a, *y = (const void *)b;
    __m512i integers =
        _mm512_inserti64x4(_mm512_castsi256_si512(integers_iq4_xs(x)), integers_iq4_xs(y), 1);
    __m512 d = _mm512_insertf32x8(load_half(x->d), _mm512_castps512_ps256(load_half(y->d)), 1);
    *scale = _mm512_mul_ps(_mm512_cvtepi32_ps(integers), d);
}

#endif
