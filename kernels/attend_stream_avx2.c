/* attend_stream_avx2: the vectors of attend_stream.h in AVX2. */
#include "kernels/avx2.h"

typedef __m256 floats;

/* Of a tile at most: 12 sums beside elements and a factor. */
#define STREAM_QUERIES 6
enum { QUERIES = STREAM_QUERIES };

TEMPLATE int score_vectors(int m)
{
    return m <= 2 ? 4 : 2;
}

TEMPLATE int value_vectors(int m)
{
    return m == 1 ? 8 : m <= 3 ? 4 : 2;
}

TEMPLATE floats all_of(float x)
{
    return _mm256_set1_ps(x);
}

TEMPLATE floats multiply(floats x, floats y)
{
    return _mm256_mul_ps(x, y);
}

TEMPLATE floats multiply_add(floats sum, floats x, float factor)
{
    return _mm256_fmadd_ps(_mm256_set1_ps(factor), x, sum);
}

TEMPLATE floats load_floats(const float *x, size_t left)
{
    return load_f32(x, left);
}

TEMPLATE void store_floats(float *x, floats v, size_t left)
{
    store_f32(x, v, left);
}

TEMPLATE __m128i load_bytes(const uint8_t *x, size_t left)
{
    if (left >= LANES)
        return _mm_loadl_epi64((const void *)x);
    uint8_t padded[LANES] = {0};
    memcpy(padded, x, left);
    return _mm_loadl_epi64((const void *)padded);
}

/* Elements i.. of an array, not Q4_0, and not yet times their scale; zero past the `left` ones. */
TEMPLATE floats load_elements(const void *x, size_t i, enum format format, size_t left)
{
    if (format == FORMAT_Q8_0)
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_bytes((const uint8_t *)x + i, left)));
    if (format == FORMAT_BF16)
        return bf16_to_f32x8(load_u16((const uint16_t *)x + i, left));
    return load8(x, i, format == FORMAT_F16, left);
}

/* The low and the high four bits of bytes, less 8. */
TEMPLATE void load_pairs(const uint8_t *x, size_t left, floats *low, floats *high)
{
    __m256i pairs = _mm256_cvtepu8_epi32(load_bytes(x, left));
    __m256i first = _mm256_and_si256(pairs, _mm256_set1_epi32(15));
    floats eight = _mm256_set1_ps(8);
    *low = _mm256_sub_ps(_mm256_cvtepi32_ps(first), eight);
    *high = _mm256_sub_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(pairs, 4)), eight);
}

/* Two vectors of neighbouring elements to those of even and those of odd number; and back. */
TEMPLATE void part_pairs(floats v[2])
{
    enum { ORDER = 0xD8 }; /* quarters 0, 2, 1, 3 */
    __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(v[0], v[1], 0x88));
    __m256d odd = _mm256_castps_pd(_mm256_shuffle_ps(v[0], v[1], 0xDD));
    v[0] = _mm256_castpd_ps(_mm256_permute4x64_pd(even, ORDER));
    v[1] = _mm256_castpd_ps(_mm256_permute4x64_pd(odd, ORDER));
}

TEMPLATE void join_pairs(floats v[2])
{
    floats low = _mm256_unpacklo_ps(v[0], v[1]), high = _mm256_unpackhi_ps(v[0], v[1]);
    v[0] = _mm256_permute2f128_ps(low, high, 0x20);
    v[1] = _mm256_permute2f128_ps(low, high, 0x31);
}

#include "kernels/attend_stream.h"

void stream_avx2(struct kernels *kernels)
{
    kernels->attend_scores = attend_scores;
    kernels->attend_values = attend_values;
}
