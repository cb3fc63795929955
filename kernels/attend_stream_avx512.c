/* attend_stream_avx512: the vectors of attend_stream.h in AVX-512. */
#include "kernels/avx512.h"

typedef __m512 floats;

/* Of a tile at most: 16 sums beside the elements, their scales and a table. */
#define STREAM_QUERIES 8
enum { QUERIES = STREAM_QUERIES };

/* Whole rows of a block, where there are registers for them: memory is then read in order. */
TEMPLATE int score_vectors(int m)
{
    return m <= 3 ? 8 : m <= 4 ? 4 : 2;
}

TEMPLATE int value_vectors(int m)
{
    return m <= 4 ? 4 : 2;
}

TEMPLATE floats all_of(float x)
{
    return _mm512_set1_ps(x);
}

TEMPLATE floats multiply(floats x, floats y)
{
    return _mm512_mul_ps(x, y);
}

TEMPLATE floats multiply_add(floats sum, floats x, float factor)
{
    return _mm512_fmadd_ps(_mm512_set1_ps(factor), x, sum);
}

TEMPLATE floats load_floats(const float *x, size_t left)
{
    return load_f32(x, first_lanes(left));
}

TEMPLATE void store_floats(float *x, floats v, size_t left)
{
    _mm512_mask_storeu_ps(x, first_lanes(left), v);
}

TEMPLATE __m128i load_bytes(const uint8_t *x, size_t left)
{
    return left >= LANES ? _mm_loadu_si128((const void *)x)
                         : _mm_maskz_loadu_epi8(first_lanes(left), x);
}

/* Elements i.. of an array, not Q4_0, and not yet times their scale; zero past the `left` ones. */
TEMPLATE floats load_elements(const void *x, size_t i, enum format format, size_t left)
{
    if (format == FORMAT_F32)
        return load_floats((const float *)x + i, left);
    if (format == FORMAT_Q8_0)
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_bytes((const uint8_t *)x + i, left)));
    __m256i h = load_u16((const uint16_t *)x + i, first_lanes(left));
    if (format == FORMAT_F16)
        return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* The low and the high four bits of bytes, less 8: a permutation looks at four bits only. */
TEMPLATE void load_pairs(const uint8_t *x, size_t left, floats *low, floats *high)
{
    floats table = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    __m512i pairs = _mm512_cvtepu8_epi32(load_bytes(x, left));
    *low = _mm512_permutexvar_ps(pairs, table);
    *high = _mm512_permutexvar_ps(_mm512_srli_epi32(pairs, 4), table);
}

/* Two vectors of neighbouring elements to those of even and those of odd number; and back. */
TEMPLATE void part_pairs(floats v[2])
{
    __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    floats first = _mm512_permutex2var_ps(v[0], even, v[1]);
    v[1] = _mm512_permutex2var_ps(v[0], odd, v[1]);
    v[0] = first;
}

TEMPLATE void join_pairs(floats v[2])
{
    __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    floats first = _mm512_permutex2var_ps(v[0], low, v[1]);
    v[1] = _mm512_permutex2var_ps(v[0], high, v[1]);
    v[0] = first;
}

#include "kernels/attend_stream.h"

void stream_avx512(struct kernels *kernels)
{
    kernels->attend_scores = attend_scores;
    kernels->attend_values = attend_values;
}
