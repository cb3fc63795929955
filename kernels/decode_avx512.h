/* decode_avx512: 64 weights of a block format to one vector with AVX-512. Layouts: blocks.h.
 *
 * Generation streams all weights through here, so this must be quicker than memory: a vector costs
 * two to five operations, of which two start per cycle. Operands come by broadcasting loads, which
 * cost none, and a shift by different counts brings the fields of all lanes to the same bits. No
 * load reaches past the last block.
 *
 * Weights come out as stored, not negative: the format's `offset` has yet to be taken off. */
#ifndef LONGHAND_KERNELS_DECODE_AVX512_H
#define LONGHAND_KERNELS_DECODE_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/x86.h"

/* What the stored weights of a format are too large by. */
enum {
    OFFSET_Q4_0 = 8,
    OFFSET_Q5_0 = 16,
    OFFSET_Q8_0 = 128,
    OFFSET_Q3_K = 4,
    OFFSET_Q6_K = 32,
    OFFSET_IQ4 = 128,
};

/* --- pieces -------------------------------------------------------------------------------- */

TEMPLATE __m128i load128(const void *bytes)
{
    return _mm_loadu_si128(bytes);
}

/* 32 bytes, twice. */
TEMPLATE __m512i load32_twice(const void *bytes)
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256(bytes));
}

/* 16 bytes twice, 16 others twice. */
TEMPLATE __m512i load128_twice(const void *a, const void *b)
{
    return _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(load128(a)), 0xFF00, load128(b));
}

TEMPLATE __m512i each_byte(int byte)
{
    return _mm512_set1_epi8((char)byte);
}

/* One 16-bit count for the lower and one for the upper 32 bytes. */
TEMPLATE __m512i halves_of(short lower, short upper)
{
    return _mm512_inserti64x4(_mm512_set1_epi16(lower), _mm256_set1_epi16(upper), 1);
}

/* From load128_twice: the low nibbles of each 16 bytes, then the high ones. */
TEMPLATE __m512i nibbles16(__m512i x)
{
    const __m512i counts =
        _mm512_broadcast_i64x4(_mm256_setr_epi64x(0, 0, 0x0004000400040004, 0x0004000400040004));
    return _mm512_and_si512(_mm512_srlv_epi16(x, counts), each_byte(15));
}

/* From load32_twice: the low nibbles of the 32 bytes, then the high ones. */
TEMPLATE __m512i nibbles32(__m512i x)
{
    return _mm512_and_si512(_mm512_srlv_epi16(x, halves_of(0, 4)), each_byte(15));
}

/* --- blocks of 32 -------------------------------------------------------------------------- */

/* Blocks a and b. */
typedef __m512i decode_two(const uint8_t *a, const uint8_t *b);

TEMPLATE __m512i decode_q4_0(const uint8_t *a, const uint8_t *b)
{
    enum { QS = offsetof(struct block_q4_0, qs) };
    return nibbles16(load128_twice(a + QS, b + QS));
}

TEMPLATE __m512i decode_q4_1(const uint8_t *a, const uint8_t *b)
{
    enum { QS = offsetof(struct block_q4_1, qs) };
    return nibbles16(load128_twice(a + QS, b + QS));
}

/* The values of IQ4_NL and IQ4_XS, plus 128. */
TEMPLATE __m512i look_up_iq4(__m512i index)
{
    const __m128i values = _mm_xor_si128(_mm_setr_epi8(BLOCK_IQ4_VALUES), _mm_set1_epi8(-128));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), index);
}

TEMPLATE __m512i decode_iq4_nl(const uint8_t *a, const uint8_t *b)
{
    return look_up_iq4(decode_q4_0(a, b));
}

/* The fifth bits of two blocks, a bit for a lane. */
TEMPLATE __mmask64 fifth_bits(const uint8_t *a, const uint8_t *b)
{
    uint32_t low, high;
    memcpy(&low, a, 4);
    memcpy(&high, b, 4);
    return (__mmask64)(low | (uint64_t)high << 32);
}

TEMPLATE __m512i with_fifth_bits(__m512i low, __mmask64 fifth)
{
    return _mm512_mask_add_epi8(low, fifth, low, each_byte(16));
}

TEMPLATE __m512i decode_q5_0(const uint8_t *a, const uint8_t *b)
{
    enum { QS = offsetof(struct block_q5_0, qs), QH = offsetof(struct block_q5_0, qh) };
    return with_fifth_bits(nibbles16(load128_twice(a + QS, b + QS)), fifth_bits(a + QH, b + QH));
}

TEMPLATE __m512i decode_q5_1(const uint8_t *a, const uint8_t *b)
{
    enum { QS = offsetof(struct block_q5_1, qs), QH = offsetof(struct block_q5_1, qh) };
    return with_fifth_bits(nibbles16(load128_twice(a + QS, b + QS)), fifth_bits(a + QH, b + QH));
}

TEMPLATE __m512i decode_q8_0(const uint8_t *a, const uint8_t *b)
{
    enum { QS = offsetof(struct block_q8_0, qs) };
    __m512i low = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)(a + QS)));
    __m256i high = _mm256_loadu_si256((const void *)(b + QS));
    return _mm512_xor_si512(_mm512_inserti64x4(low, high, 1), each_byte(-128));
}

/* --- K blocks ------------------------------------------------------------------------------ */

/* Weights 64 c .. of a block, c < 4. */
typedef __m512i decode_part(const uint8_t *block, size_t c);

/* Groups 2 c and 2 c + 1 of Q2_K and Q3_K: their two-bit fields in 32 bytes of qs. */
TEMPLATE __m512i pairs_k(const uint8_t *qs, size_t c)
{
    __m512i counts = c % 2 ? halves_of(4, 6) : halves_of(0, 2);
    return _mm512_and_si512(_mm512_srlv_epi16(load32_twice(qs + c / 2 * 32), counts), each_byte(3));
}

TEMPLATE __m512i decode_q2_k(const uint8_t *block, size_t c)
{
    return pairs_k(block + offsetof(struct block_q2_k, qs), c);
}

/* The lanes whose bit 2 c (lower half) or 2 c + 1 (upper half) of `high`, taken twice, is set. */
TEMPLATE __mmask64 high_bits_k(const uint8_t *high, size_t c)
{
    __m512i bits =
        _mm512_inserti64x4(each_byte(1 << 2 * c), _mm256_set1_epi8((char)(2 << 2 * c)), 1);
    return _mm512_test_epi8_mask(load32_twice(high), bits);
}

TEMPLATE __m512i decode_q3_k(const uint8_t *block, size_t c)
{
    __m512i low = pairs_k(block + offsetof(struct block_q3_k, qs), c);
    __mmask64 third = high_bits_k(block + offsetof(struct block_q3_k, high), c);
    return _mm512_mask_add_epi8(low, third, low, each_byte(4));
}

TEMPLATE __m512i decode_q4_k(const uint8_t *block, size_t c)
{
    return nibbles32(load32_twice(block + offsetof(struct block_q4_k, qs) + 32 * c));
}

TEMPLATE __m512i decode_q5_k(const uint8_t *block, size_t c)
{
    __m512i low = nibbles32(load32_twice(block + offsetof(struct block_q5_k, qs) + 32 * c));
    return with_fifth_bits(low, high_bits_k(block + offsetof(struct block_q5_k, high), c));
}

TEMPLATE __m512i decode_q6_k(const uint8_t *block, size_t c)
{
    const struct block_q6_k *b = (const void *)block;
    __m512i low = _mm512_loadu_si512(b->low + c / 2 * 64);
    __m512i high = load32_twice(b->high + c / 2 * 32);
    if (c % 2) {
        low = _mm512_srli_epi16(low, 4);
        high = _mm512_srlv_epi16(high, halves_of(0, 2));
    } else {
        high = _mm512_sllv_epi16(high, halves_of(4, 2));
    }
    __m512i both = _mm512_ternarylogic_epi32(each_byte(15), low, high, 0xCA); /* 15 ? low : high */
    return _mm512_and_si512(both, each_byte(63));
}

TEMPLATE __m512i decode_iq4_xs(const uint8_t *block, size_t c)
{
    const uint8_t *qs = block + offsetof(struct block_iq4_xs, qs) + 32 * c;
    return look_up_iq4(nibbles16(load128_twice(qs, qs + 16)));
}

#endif
