/* avx2: loads, stores, sums and the exponential that the files of the AVX2 tier share. */
#ifndef LONGHAND_KERNELS_AVX2_H
#define LONGHAND_KERNELS_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "kernels/x86.h"

enum { LANES = 8 };

/* All bits set in the lanes that `left` < 8 remaining elements fill. */
TEMPLATE __m256i first_lanes(size_t left)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)left), lane);
}

/* The next 8 elements, or the `left` that there are and zeros. */
TEMPLATE __m256 load_f32(const float *x, size_t left)
{
    return left >= LANES ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, first_lanes(left));
}

TEMPLATE void store_f32(float *x, __m256 v, size_t left)
{
    if (left >= LANES)
        _mm256_storeu_ps(x, v);
    else
        _mm256_maskstore_ps(x, first_lanes(left), v);
}

TEMPLATE __m128i load_u16(const uint16_t *x, size_t left)
{
    if (left >= LANES)
        return _mm_loadu_si128((const void *)x);
    uint16_t padded[LANES] = {0};
    memcpy(padded, x, left * sizeof *x);
    return _mm_loadu_si128((const void *)padded);
}

/* Elements i.. of an F32 (half = false) or F16 array. */
TEMPLATE __m256 load8(const void *x, size_t i, bool half, size_t left)
{
    if (half)
        return _mm256_cvtph_ps(load_u16((const uint16_t *)x + i, left));
    return load_f32((const float *)x + i, left);
}

TEMPLATE __m256 bf16_to_f32x8(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

TEMPLATE float sum8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

TEMPLATE int32_t sum8_i32(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 1)));
}

TEMPLATE float max8(__m256 v)
{
    __m128 top = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    top = _mm_max_ps(top, _mm_movehl_ps(top, top));
    return _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
}

/* exp(x), see x86.h, for least <= x <= EXP_MAX, least >= EXP_MIN; a NaN stays one. Below it is 0,
 * whatever x is. */
TEMPLATE __m256 exp8_from(float least, __m256 x)
{
    __m256 live = _mm256_cmp_ps(x, _mm256_set1_ps(least), _CMP_NLT_UQ);
    __m256 whole = _mm256_set1_ps(EXP_WHOLE + 127); /* the low bits of the sum: n + 127 */
    __m256 sum = _mm256_fmadd_ps(x, _mm256_set1_ps(EXP_LOG2E), whole);
    __m256 n = _mm256_sub_ps(sum, whole);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(EXP_LN2_HIGH), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(EXP_LN2_LOW), r);
    __m256 p = _mm256_set1_ps(EXP_P4);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_P3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_P2));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_P1));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_P0));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F));
    __m256i power = _mm256_slli_epi32(_mm256_castps_si256(sum), 23);
    return _mm256_and_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(power)), live);
}

TEMPLATE __m256 exp8(__m256 x)
{
    return exp8_from(EXP_MIN, _mm256_min_ps(_mm256_set1_ps(EXP_MAX), x));
}

#endif
