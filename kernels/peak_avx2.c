/* peak_avx2: see kernels.h. Bytes are multiplied as this tier's products do: by pairs to 16 bits,
 * these by pairs to 32, and added. */
#include "kernels/avx2.h"

enum { CHAINS = 12 };

static double peak_f32(size_t rounds)
{
    enum { FLOATS = 8 };
    __m256 sum[CHAINS], factor = _mm256_set1_ps(0.5F);
    UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm256_set1_ps((float)i);
    for (size_t r = 0; r < rounds; r++)
        UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm256_fmadd_ps(sum[i], factor, factor);
    UNROLL
    for (int i = 0; i < CHAINS; i++)
        KEEP(sum[i]);
    return (double)rounds * CHAINS * FLOATS;
}

static double peak_q8(size_t rounds)
{
    enum { BYTES = 32, SUMS = 8 };
    __m256i sum[SUMS], bytes = _mm256_set1_epi8(1), words = _mm256_set1_epi16(1);
    UNROLL
    for (int i = 0; i < SUMS; i++)
        sum[i] = _mm256_setzero_si256();
    for (size_t r = 0; r < rounds; r++)
        UNROLL
    for (int i = 0; i < SUMS; i++) {
        __m256i pairs = _mm256_maddubs_epi16(bytes, bytes);
        KEEP(pairs);
        sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(pairs, words));
    }
    UNROLL
    for (int i = 0; i < SUMS; i++)
        KEEP(sum[i]);
    return (double)rounds * SUMS * BYTES;
}

void peak_avx2(struct kernels *kernels)
{
    kernels->peak_f32 = peak_f32;
    kernels->peak_q8 = peak_q8;
}
