/* decode_avx2: 32 weights of a block format to one vector with AVX2 and F16C. Layouts: blocks.h.
 *
 * As in decode_avx512: operands come by broadcasting loads, shifts by different counts bring the
 * fields of all lanes to the same bits, and no load reaches past the last block. Weights come out
 * as stored, not negative, and the format's `offset` has yet to be taken off; but those of Q8_0 and
 * the IQ4 formats, whose products would not fit otherwise, come out signed and final. */
#ifndef LONGHAND_KERNELS_DECODE_AVX2_H
#define LONGHAND_KERNELS_DECODE_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/x86.h"

/* What the stored weights of a format are too large by. */
enum { OFFSET_Q4_0 = 8, OFFSET_Q5_0 = 16, OFFSET_Q3_K = 4, OFFSET_Q6_K = 32 };

/* --- pieces -------------------------------------------------------------------------------- */

TEMPLATE __m128i load128(const void *bytes)
{
    return _mm_loadu_si128(bytes);
}

TEMPLATE __m256i load128_twice(const void *bytes)
{
    return _mm256_broadcastsi128_si256(load128(bytes));
}

TEMPLATE __m256i load256(const void *bytes)
{
    return _mm256_loadu_si256(bytes);
}

TEMPLATE __m256i each_byte(int byte)
{
    return _mm256_set1_epi8((char)byte);
}

/* The field of `bits` bits, `shift` bits up, of every byte. */
TEMPLATE __m256i field(__m256i x, int shift, int bits)
{
    if (shift)
        x = _mm256_srli_epi16(x, shift);
    return _mm256_and_si256(x, each_byte((1 << bits) - 1));
}

/* Bit `bit` of every byte, moved to the place of `value`, a power of two. */
TEMPLATE __m256i bit_as(__m256i x, int bit, int value)
{
    int place = value == 4 ? 2 : 4;
    x = bit > place ? _mm256_srli_epi16(x, bit - place) : _mm256_slli_epi16(x, place - bit);
    return _mm256_and_si256(x, each_byte(value));
}

/* From load128_twice: the low nibbles of the 16 bytes, then the high ones. */
TEMPLATE __m256i nibbles16(__m256i x)
{
    x = _mm256_srlv_epi32(x, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
    return _mm256_and_si256(x, each_byte(15));
}

/* --- weights ------------------------------------------------------------------------------- */

/* Weights 32 j .. of a block: j < 8 of the K formats, 0 of the others. */
typedef __m256i decode_part(const uint8_t *block, int j);

TEMPLATE __m256i decode_q4_0(const uint8_t *block, int j)
{
    (void)j;
    return nibbles16(load128_twice(block + offsetof(struct block_q4_0, qs)));
}

TEMPLATE __m256i decode_q4_1(const uint8_t *block, int j)
{
    (void)j;
    return nibbles16(load128_twice(block + offsetof(struct block_q4_1, qs)));
}

TEMPLATE __m256i look_up_iq4(__m256i index)
{
    const __m128i values = _mm_setr_epi8(BLOCK_IQ4_VALUES);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(values), index);
}

TEMPLATE __m256i decode_iq4_nl(const uint8_t *block, int j)
{
    return look_up_iq4(decode_q4_0(block, j));
}

/* 16 in the bytes whose bit, of 32, is set. */
TEMPLATE __m256i spread_fifth_bits(uint32_t bits)
{
    const __m256i bytes =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    __m256i mask = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), bytes);
    spread = _mm256_cmpeq_epi8(_mm256_and_si256(spread, mask), mask);
    return _mm256_and_si256(spread, each_byte(16));
}

TEMPLATE __m256i fifth_bits(const uint8_t *qh)
{
    uint32_t bits;
    memcpy(&bits, qh, 4);
    return spread_fifth_bits(bits);
}

TEMPLATE __m256i decode_q5_0(const uint8_t *block, int j)
{
    (void)j;
    return _mm256_or_si256(nibbles16(load128_twice(block + offsetof(struct block_q5_0, qs))),
                           fifth_bits(block + offsetof(struct block_q5_0, qh)));
}

TEMPLATE __m256i decode_q5_1(const uint8_t *block, int j)
{
    (void)j;
    return _mm256_or_si256(nibbles16(load128_twice(block + offsetof(struct block_q5_1, qs))),
                           fifth_bits(block + offsetof(struct block_q5_1, qh)));
}

TEMPLATE __m256i decode_q8_0(const uint8_t *block, int j)
{
    (void)j;
    return load256(block + offsetof(struct block_q8_0, qs));
}

TEMPLATE __m256i decode_q2_k(const uint8_t *block, int j)
{
    const struct block_q2_k *b = (const void *)block;
    return field(load256(b->qs + j / 4 * 32), j % 4 * 2, 2);
}

TEMPLATE __m256i decode_q3_k(const uint8_t *block, int j)
{
    const struct block_q3_k *b = (const void *)block;
    __m256i low = field(load256(b->qs + j / 4 * 32), j % 4 * 2, 2);
    return _mm256_or_si256(low, bit_as(load256(b->high), j, 4));
}

TEMPLATE __m256i decode_q4_k(const uint8_t *block, int j)
{
    const struct block_q4_k *b = (const void *)block;
    return field(load256(b->qs + j / 2 * 32), j % 2 * 4, 4);
}

TEMPLATE __m256i decode_q5_k(const uint8_t *block, int j)
{
    const struct block_q5_k *b = (const void *)block;
    __m256i low = field(load256(b->qs + j / 2 * 32), j % 2 * 4, 4);
    return _mm256_or_si256(low, bit_as(load256(b->high), j, 16));
}

TEMPLATE __m256i decode_q6_k(const uint8_t *block, int j)
{
    const struct block_q6_k *b = (const void *)block;
    __m256i low = field(load256(b->low + j / 4 * 64 + j % 2 * 32), j % 4 / 2 * 4, 4);
    __m256i high = load256(b->high + j / 4 * 32);
    high = j % 4 < 2    ? _mm256_slli_epi16(high, 4 - j % 4 * 2)
           : j % 4 == 3 ? _mm256_srli_epi16(high, 2)
                        : high;
    return _mm256_or_si256(low, _mm256_and_si256(high, each_byte(0x30)));
}

TEMPLATE __m256i decode_iq4_xs(const uint8_t *block, int j)
{
    const struct block_iq4_xs *b = (const void *)block;
    return look_up_iq4(nibbles16(load128_twice(b->qs + 16 * j)));
}

#endif
