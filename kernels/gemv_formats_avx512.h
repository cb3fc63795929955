/* gemv_formats_avx512: how the block formats are read by steps of 16 groups: 512 or 256 weights, 8
 * or 4 vectors, and 16 scales. Layouts: blocks.h. */
#ifndef LONGHAND_KERNELS_GEMV_FORMATS_AVX512_H
#define LONGHAND_KERNELS_GEMV_FORMATS_AVX512_H

#include "kernels/avx512.h"
#include "kernels/scales_avx512.h"

enum { STEP = 16 }; /* groups */

/* Four groups, in order: their first halves and their second halves. */
typedef void decode_four(const uint8_t *w, __m512i *first, __m512i *second);

/* How a format is read; constants all, which inlining dissolves. */
struct reader {
    size_t bytes; /* of a block */
    size_t units; /* blocks in a step: 16, 2 or 1 */
    size_t group;
    int offset;
    bool has_min;
    /* One of these decodes a quarter, an eighth and an eighth or quarter of a step: */
    decode_four *four;
    decode_two *two;
    decode_part *part;
    /* and unless units is 16, one of these has its scales: */
    decode_two_scales *scales_two;
    decode_scales *scales_one;
};

TEMPLATE void split_nibbles(__m512i x, __m512i *first, __m512i *second)
{
    *first = _mm512_and_si512(x, each_byte(15));
    *second = _mm512_and_si512(_mm512_srli_epi16(x, 4), each_byte(15));
}

/* The 16 bytes of nibbles of four blocks, from two loads inside them: in units of 32 bits, the
 * first load has blocks 0 and 2 from 0 and 9 on, the second 1 and 3 from 3 and 12 on. */
TEMPLATE void four_q4_0(const uint8_t *w, __m512i *first, __m512i *second)
{
    const __m512i from = _mm512_setr_epi32(0, 1, 2, 3, 3, 4, 5, 6, 9, 10, 11, 12, 12, 13, 14, 15);
    __m512i x = _mm512_permutexvar_epi32(from, _mm512_loadu_si512(w + 2));
    split_nibbles(_mm512_mask_permutexvar_epi32(x, 0xF0F0, from, _mm512_loadu_si512(w + 8)), first,
                  second);
}

/* Here the first load has blocks 0, 1 and 2. */
TEMPLATE void four_q4_1(const uint8_t *w, __m512i *first, __m512i *second)
{
    const __m512i from = _mm512_setr_epi32(0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 12, 13, 14, 15);
    __m512i x = _mm512_permutexvar_epi32(from, _mm512_loadu_si512(w + 4));
    split_nibbles(_mm512_mask_permutexvar_epi32(x, 0xF000, from, _mm512_loadu_si512(w + 16)), first,
                  second);
}

TEMPLATE void four_iq4_nl(const uint8_t *w, __m512i *first, __m512i *second)
{
    four_q4_0(w, first, second);
    *first = look_up_iq4(*first);
    *second = look_up_iq4(*second);
}

TEMPLATE void four_iq4_xs(const uint8_t *w, __m512i *first, __m512i *second)
{
    split_nibbles(_mm512_loadu_si512(w), first, second);
    *first = look_up_iq4(*first);
    *second = look_up_iq4(*second);
}

/* Where quarter i of a step begins. */
TEMPLATE const uint8_t *quarter(const struct reader *f, const uint8_t *w, size_t i)
{
    if (f->units == 2)
        return w + i / 2 * f->bytes + offsetof(struct block_iq4_xs, qs) + i % 2 * 64;
    return w + i * 4 * f->bytes;
}

/* Weights 64 k .. of a step. Where the second block is missing the first stands for it. */
TEMPLATE __m512i step_weights(const struct reader *f, const uint8_t *w, size_t units, size_t k)
{
    if (f->part)
        return f->part(w + k / 4 * f->bytes, k % 4);
    const uint8_t *a = w + 2 * k * f->bytes;
    return f->two(a, 2 * k + 1 < units ? a + f->bytes : a);
}

/* Blocks of 32 begin with d, or d and m. The heads of a whole step, four from each of four loads
 * inside the blocks. */
TEMPLATE __m512i heads_by_fours(const struct reader *f, const uint8_t *w)
{
    const __m512i from = _mm512_broadcast_i32x4(f->bytes == sizeof(struct block_q4_0)
                                                    ? _mm_setr_epi32(0, 4, 9, 13)
                                                    : _mm_setr_epi32(0, 5, 10, 15));
    __m512i heads = _mm512_setzero_si512();
    UNROLL
    for (int i = 0; i < 4; i++)
        heads = _mm512_mask_permutexvar_epi32(heads, (__mmask16)(15 << 4 * i), from,
                                              _mm512_loadu_si512(quarter(f, w, (size_t)i)));
    if (f->bytes == sizeof(struct block_q4_0)) /* every other d begins in the middle of its unit */
        heads = _mm512_srlv_epi32(heads, _mm512_set1_epi64(16LL << 32));
    return heads;
}

/* The heads of `units` <= 16 blocks, zeros beyond. */
TEMPLATE __m512i heads_one_by_one(const struct reader *f, const uint8_t *w, size_t units)
{
    __m512i heads = _mm512_setzero_si512();
    UNROLL
    for (size_t i = 0; i < STEP; i++) {
        int head;
        if (i < units) {
            memcpy(&head, w + i * f->bytes, sizeof head);
            heads = _mm512_mask_set1_epi32(heads, (__mmask16)(1 << i), head);
        }
    }
    return heads;
}

/* The scales and minima of the `units` blocks at w. */
TEMPLATE void step_scales(const struct reader *f, const uint8_t *w, size_t units, __m512 *scale,
                          __m512 *min)
{
    if (f->units == 1) {
        f->scales_one(w, scale, min);
    } else if (f->units == 2) {
        f->scales_two(w, units == 2 ? w + f->bytes : w, scale, min);
    } else {
        __m512i heads =
            f->four && units == STEP ? heads_by_fours(f, w) : heads_one_by_one(f, w, units);
        *scale = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(heads));
        if (f->has_min)
            *min = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(heads, 16)));
    }
}

/* --- the formats --------------------------------------------------------------------------- */

#define READER_OF_32(name, block, off, minima, ...)                            \
    static const struct reader reader_##name = {.bytes = sizeof(struct block), \
                                                .units = 16,                   \
                                                .group = 32,                   \
                                                .offset = off,                 \
                                                .has_min = minima,             \
                                                __VA_ARGS__};
#define READER_OF_256(name, size, off, minima, ...)                                   \
    static const struct reader reader_##name = {.bytes = sizeof(struct block_##name), \
                                                .units = size / 16,                   \
                                                .group = size,                        \
                                                .offset = off,                        \
                                                .has_min = minima,                    \
                                                __VA_ARGS__};

READER_OF_32(q4_0, block_q4_0, OFFSET_Q4_0, false, .two = decode_q4_0, .four = four_q4_0)
READER_OF_32(q4_1, block_q4_1, 0, true, .two = decode_q4_1, .four = four_q4_1)
READER_OF_32(q5_0, block_q5_0, OFFSET_Q5_0, false, .two = decode_q5_0)
READER_OF_32(q5_1, block_q5_1, 0, true, .two = decode_q5_1)
READER_OF_32(q8_0, block_q8_0, OFFSET_Q8_0, false, .two = decode_q8_0)
READER_OF_32(iq4_nl, block_q4_0, OFFSET_IQ4, false, .two = decode_iq4_nl, .four = four_iq4_nl)
READER_OF_256(q2_k, 16, 0, true, .scales_one = scales_q2_k, .part = decode_q2_k)
READER_OF_256(q3_k, 16, OFFSET_Q3_K, false, .scales_one = scales_q3_k, .part = decode_q3_k)
READER_OF_256(q4_k, 32, 0, true, .scales_two = scales_k, .part = decode_q4_k)
READER_OF_256(q5_k, 32, 0, true, .scales_two = scales_k, .part = decode_q5_k)
READER_OF_256(q6_k, 16, OFFSET_Q6_K, false, .scales_one = scales_q6_k, .part = decode_q6_k)
READER_OF_256(iq4_xs, 32, OFFSET_IQ4, false, .scales_two = scales_iq4_xs, .part = decode_iq4_xs,
              .four = four_iq4_xs)

/* DO(name, NAME) for each of them. */
#define FOR_READERS(DO)                                                                           \
    DO(q4_0, Q4_0)                                                                                \
    DO(q4_1, Q4_1) DO(q5_0, Q5_0) DO(q5_1, Q5_1) DO(q8_0, Q8_0) DO(iq4_nl, IQ4_NL) DO(q2_k, Q2_K) \
        DO(q3_k, Q3_K) DO(q4_k, Q4_K) DO(q5_k, Q5_K) DO(q6_k, Q6_K) DO(iq4_xs, IQ4_XS)

#endif
