/* peak_avx512: see kernels.h. Twelve chains keep both multiply units busy through their latency. */
#include "kernels/avx512.h"

enum { CHAINS = 12 };

static double peak_f32(size_t rounds)
{
    __m512 sum[CHAINS], factor = _mm512_set1_ps(0.5F);
    UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (size_t r = 0; r < rounds; r++)
        UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_fmadd_ps(sum[i], factor, factor);
    UNROLL
    for (int i = 0; i < CHAINS; i++)
        KEEP(sum[i]);
    return (double)rounds * CHAINS * LANES;
}

static double peak_q8(size_t rounds)
{
    enum { BYTES = 64 };
    __m512i sum[CHAINS], bytes = _mm512_set1_epi8(1);
    UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_setzero_si512();
    for (size_t r = 0; r < rounds; r++) {
        KEEP(bytes);
        UNROLL
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_dpbusd_epi32(sum[i], bytes, bytes);
    }
    UNROLL
    for (int i = 0; i < CHAINS; i++)
        KEEP(sum[i]);
    return (double)rounds * CHAINS * BYTES;
}

void peak_avx512(struct kernels *kernels)
{
    kernels->peak_f32 = peak_f32;
    kernels->peak_q8 = peak_q8;
}
