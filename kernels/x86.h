/* x86: what the files of the AVX2 and AVX-512 tiers share. */
#ifndef LONGHAND_KERNELS_X86_H
#define LONGHAND_KERNELS_X86_H

#include "kernels/kernels.h"
#include "kernels/unpack.h"

/* A template: loops over constant arguments unroll, and arrays of vectors become registers. */
#define TEMPLATE static inline __attribute__((always_inline))

/* Before such a loop: the optimiser alone would keep it rolled and the vectors in memory. Under
 * clang's AddressSanitizer it may: with a check for every load the unrolled code takes minutes to
 * compile. */
#if !defined(__clang__)
#define UNROLL _Pragma("GCC unroll 16")
#elif __has_feature(address_sanitizer)
#define UNROLL _Pragma("clang loop unroll(disable)")
#else
#define UNROLL _Pragma("clang loop unroll(full)")
#endif

/* The compiler takes the vector `v` to be used, and to be another one afterwards. */
#define KEEP(v) __asm__ volatile("" : "+v"(v))

/* Asks for what `bytes` bytes at w will be followed by, some way ahead: from 6 to 16 KiB are as
 * good, nearer is slower. Past the end of the weights this does nothing. */
TEMPLATE void prefetch(const uint8_t *w, size_t bytes)
{
    enum { AHEAD = 8192, CACHE_LINE_BYTES = 64 };
    UNROLL
    for (size_t i = 0; i < bytes; i += CACHE_LINE_BYTES)
        __builtin_prefetch(w + AHEAD + i, 0, 3);
}

/* What kernels_avx2 and kernels_avx512 are made of, beside avx2.c, avx512.c and unpack.h: each
 * fills its part of the table: activations (rows), products of few tokens (gemv), attention over
 * packed blocks (attend) and over what the cache stores (stream), and the limit that products have
 * (peak). */
void rows_avx2(struct kernels *kernels);
void rows_avx512(struct kernels *kernels);
void gemv_avx2(struct kernels *kernels);
void gemv_avx512(struct kernels *kernels);
void peak_avx2(struct kernels *kernels);
void peak_avx512(struct kernels *kernels);
void stream_avx2(struct kernels *kernels);
void stream_avx512(struct kernels *kernels);
void attend_avx2(struct kernels *kernels);
void attend_avx512(struct kernels *kernels);
void gemv_float_avx512(struct kernels *kernels);

/* exp(x) = 2^n exp(r), n the integer nearest to x / ln 2, r = x - n ln 2 with ln 2 in two parts,
 * exp(r) = 1 + r + r^2 p(r), p the minimax fit of degree 4 on |r| <= ln 2 / 2 (relative error 3e-9
 * before rounding). Below EXP_MIN the result is 0 (it would be subnormal, which is slow), and above
 * EXP_MAX it stays where it is. */
#define EXP_MIN (-87.3F)
#define EXP_MAX 88.0F
#define WEIGHT_MIN (-44.0F)  /* below, weights of a softmax are 0 */
#define EXP_WHOLE 0x1.8p+23F /* added and taken away again, it leaves the nearest integer */
#define EXP_LOG2E 0x1.715476p+0F
#define EXP_LN2_HIGH 0x1.62e43p-1F
#define EXP_LN2_LOW (-0x1.05c61p-29F)
#define EXP_P0 0x1.fffffcp-2F
#define EXP_P1 0x1.55549p-3F
#define EXP_P2 0x1.5558f4p-5F
#define EXP_P3 0x1.123a6cp-7F
#define EXP_P4 0x1.6a2352p-10F

/* Phi(-z sqrt(2)) = t (a1 + t (a2 + .. a5)) exp(-z^2) / 2, t = 1 / (1 + ERF_T z), z >= 0:
 * Abramowitz & Stegun 7.1.26 (absolute error of the erf 1.5e-7). The halves of its coefficients. */
#define ERF_T 0.3275911F
#define ERF_HALF_A1 0.127414796F
#define ERF_HALF_A2 (-0.142248368F)
#define ERF_HALF_A3 0.7107068705F
#define ERF_HALF_A4 (-0.7265760135F)
#define ERF_HALF_A5 0.5307027145F

/* The tanh form of the GELU: (1 + tanh(u)) / 2 = sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
 */
#define GELU_CUBE 0.044715F
#define GELU_TWO_ROOT 1.5957691F

#endif
