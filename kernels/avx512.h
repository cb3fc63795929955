/* avx512: what the files of the AVX-512 and AMX tiers share: loads, transpositions, sums, and the
 * exponential. */
#ifndef LONGHAND_KERNELS_AVX512_H
#define LONGHAND_KERNELS_AVX512_H

#include <immintrin.h>

#include "kernels/x86.h"

enum { LANES = 16, ALL_LANES = 0xFFFF };

/* The lanes of a vector that `left` remaining elements fill. */
TEMPLATE __mmask16 first_lanes(size_t left)
{
    return (__mmask16)(left >= LANES ? ALL_LANES : (1U << left) - 1);
}

/* Loads of a constant ALL_LANES are plain: a masked load costs an arithmetic slot more. */
TEMPLATE __m512 load_f32(const float *x, __mmask16 lanes)
{
    return lanes == ALL_LANES ? _mm512_loadu_ps(x) : _mm512_maskz_loadu_ps(lanes, x);
}

TEMPLATE __m256i load_u16(const uint16_t *x, __mmask16 lanes)
{
    return lanes == ALL_LANES ? _mm256_loadu_si256((const void *)x)
                              : _mm256_maskz_loadu_epi16(lanes, x);
}

/* 16 elements of an F32 (half = false) or F16 array, zero beyond the lanes of the mask. */
TEMPLATE __m512 load16(const void *x, size_t i, bool half, __mmask16 lanes)
{
    if (half)
        return _mm512_cvtph_ps(load_u16((const uint16_t *)x + i, lanes));
    return load_f32((const float *)x + i, lanes);
}

/* Row i, unit j of 16 x 16 units becomes row j, unit i. */
TEMPLATE void transpose(__m512i r[16])
{
    __m512i s[16];
    UNROLL
    for (int i = 0; i < 16; i += 2) {
        s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 16; i += 4) { /* r[i + c]: unit c of each 128 bits, of rows i..i+3 */
        r[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
    }
    UNROLL
    for (int c = 0; c < 4; c++) { /* 4 x 4 blocks of 128 bits */
        __m512i low = _mm512_shuffle_i32x4(r[c], r[c + 4], 0x88);
        __m512i high = _mm512_shuffle_i32x4(r[c + 8], r[c + 12], 0x88);
        __m512i low_odd = _mm512_shuffle_i32x4(r[c], r[c + 4], 0xDD);
        __m512i high_odd = _mm512_shuffle_i32x4(r[c + 8], r[c + 12], 0xDD);
        s[c] = _mm512_shuffle_i32x4(low, high, 0x88);
        s[c + 8] = _mm512_shuffle_i32x4(low, high, 0xDD);
        s[c + 4] = _mm512_shuffle_i32x4(low_odd, high_odd, 0x88);
        s[c + 12] = _mm512_shuffle_i32x4(low_odd, high_odd, 0xDD);
    }
    UNROLL
    for (int i = 0; i < 16; i++)
        r[i] = s[i];
}

/* exp(x), see x86.h; lanes that are not live are 0, whatever x is. The others lie between EXP_MIN
 * and EXP_MAX, or are NaN and stay so. */
TEMPLATE __m512 exp16_live(__m512 x, __mmask16 live)
{
    __m512 whole = _mm512_set1_ps(EXP_WHOLE);
    __m512 n = _mm512_sub_ps(_mm512_fmadd_ps(x, _mm512_set1_ps(EXP_LOG2E), whole), whole);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(EXP_LN2_HIGH), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(EXP_LN2_LOW), r);
    __m512 p = _mm512_set1_ps(EXP_P4);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_P3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_P2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_P1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_P0));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    return _mm512_maskz_scalef_ps(live, p, n);
}

TEMPLATE __mmask16 exp16_lives(float least, __m512 x)
{
    return _mm512_cmp_ps_mask(x, _mm512_set1_ps(least), _CMP_NLT_UQ);
}

TEMPLATE __m512 exp16(__m512 x)
{
    __mmask16 live = exp16_lives(EXP_MIN, x);
    return exp16_live(_mm512_min_ps(_mm512_set1_ps(EXP_MAX), x), live);
}

/* The sums of four vectors. */
TEMPLATE __m128 sums_of_lanes(const __m512 v[4])
{
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
    __m512 four = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xEE));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(four), _mm512_extractf32x8_ps(four, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

#endif
