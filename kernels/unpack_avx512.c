/* unpack_avx512: weight formats to integers and scales with AVX-512 (F, BW, VL, DQ). Layouts:
 * blocks.h.
 *
 * Generation streams all weights through here for every token, so this must be quicker than memory:
 * one vector of 64 weights costs two to five operations, and the two or three ports that vectors
 * have are what limits it. Hence operands come by broadcasting loads, which need no such port, and
 * a shift by different counts brings the fields of all lanes to the same bits. No load reaches past
 * the last block. */
#include <immintrin.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/x86.h"

/* --- pieces -------------------------------------------------------------------------------- */

TEMPLATE __m128i load16(const void *bytes)
{
    return _mm_loadu_si128(bytes);
}

/* 32 bytes, twice. */
TEMPLATE __m512i load32_twice(const void *bytes)
{
    return _mm512_broadcast_i64x4(_mm256_loadu_si256(bytes));
}

/* 16 bytes twice, 16 others twice. */
TEMPLATE __m512i load16_twice(const void *a, const void *b)
{
    return _mm512_mask_broadcast_i32x4(_mm512_broadcast_i32x4(load16(a)), 0xFF00, load16(b));
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

TEMPLATE __m512i bytes_of(int lower, int upper)
{
    return _mm512_inserti64x4(_mm512_set1_epi8((char)lower), _mm256_set1_epi8((char)upper), 1);
}

/* Bits of a where mask is set, of b elsewhere. */
TEMPLATE __m512i choose(__m512i mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi32(mask, a, b, 0xCA);
}

/* From load16_twice: the low nibbles of each 16 bytes, then the high ones. */
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

TEMPLATE __m512i look_up_iq4(__m512i index)
{
    const __m128i values = _mm_setr_epi8(BLOCK_IQ4_VALUES);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), index);
}

/* 16 small integers times a scale. */
TEMPLATE __m512 scaled(__m128i integers, __m512 d)
{
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(integers)), d);
}

TEMPLATE __m512 negated(__m512 x)
{
    return _mm512_xor_ps(x, _mm512_set1_ps(-0.0F));
}

/* The binary16 at `bytes`, in all lanes. */
TEMPLATE __m512 load_half(const uint8_t bytes[2])
{
    unsigned short half;
    memcpy(&half, bytes, 2);
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)half));
}

/* Formats of 32 weights begin with d, or with d and m. While the weights are unpacked, the first
 * four bytes of every block go where its scale will be, because 16 of them can then be converted at
 * once. This is the conversion, in place; min is NULL where the format has none. */
TEMPLATE void convert_heads(size_t count, float *scale, float *min)
{
    for (size_t i = 0; i < count; i += 16) {
        __mmask16 lanes = (__mmask16)(count - i < 16 ? (1U << (count - i)) - 1 : 0xFFFF);
        __m512i heads = _mm512_maskz_loadu_epi32(lanes, scale + i);
        _mm512_mask_storeu_ps(scale + i, lanes, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(heads)));
        if (min) {
            heads = _mm512_srli_epi32(heads, 16);
            _mm512_mask_storeu_ps(min + i, lanes, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(heads)));
        }
    }
}

/* --- blocks of 32 -------------------------------------------------------------------------- */

/* The integers of two blocks. */
typedef __m512i decode_two(const uint8_t *a, const uint8_t *b);

TEMPLATE void unpack_twos(const uint8_t *block, size_t stride, size_t n, int8_t *q, float *scale,
                          float *min, decode_two *decode)
{
    float *head = scale;
    size_t left = n;
    for (; left >= 64; left -= 64, block += 2 * stride, q += 64, head += 2) {
        memcpy(head, block, 4);
        memcpy(head + 1, block + stride, 4);
        _mm512_storeu_si512(q, decode(block, block + stride));
    }
    if (left) {
        memcpy(head, block, 4);
        _mm256_storeu_si256((void *)q, _mm512_castsi512_si256(decode(block, block)));
    }
    convert_heads(n / 32, scale, min);
}

TEMPLATE __m512i decode_q4_0(const uint8_t *a, const uint8_t *b)
{
    enum { QS = offsetof(struct block_q4_0, qs) };
    return _mm512_sub_epi8(nibbles16(load16_twice(a + QS, b + QS)), each_byte(8));
}

TEMPLATE __m512i decode_iq4_nl(const uint8_t *a, const uint8_t *b)
{
    enum { QS = offsetof(struct block_q4_0, qs) };
    return look_up_iq4(nibbles16(load16_twice(a + QS, b + QS)));
}

TEMPLATE __m512i decode_q4_1(const uint8_t *a, const uint8_t *b)
{
    enum { QS = offsetof(struct block_q4_1, qs) };
    return nibbles16(load16_twice(a + QS, b + QS));
}

/* The fifth bits of two blocks, a bit for a lane. */
TEMPLATE __mmask64 fifth_bits(const uint8_t *a, const uint8_t *b)
{
    uint32_t low, high;
    memcpy(&low, a, 4);
    memcpy(&high, b, 4);
    return (__mmask64)(low | (uint64_t)high << 32);
}

TEMPLATE __m512i decode_q5_0(const uint8_t *a, const uint8_t *b)
{
    enum { QS = offsetof(struct block_q5_0, qs), QH = offsetof(struct block_q5_0, qh) };
    __m512i low = nibbles16(load16_twice(a + QS, b + QS));
    return _mm512_mask_sub_epi8(low, ~fifth_bits(a + QH, b + QH), low, each_byte(16));
}

TEMPLATE __m512i decode_q5_1(const uint8_t *a, const uint8_t *b)
{
    enum { QS = offsetof(struct block_q5_1, qs), QH = offsetof(struct block_q5_1, qh) };
    __m512i low = nibbles16(load16_twice(a + QS, b + QS));
    return _mm512_mask_add_epi8(low, fifth_bits(a + QH, b + QH), low, each_byte(16));
}

static void unpack_q4_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_twos(blocks, sizeof(struct block_q4_0), n, q, scale, NULL, decode_q4_0);
}

static void unpack_iq4_nl(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_twos(blocks, sizeof(struct block_q4_0), n, q, scale, NULL, decode_iq4_nl);
}

static void unpack_q4_1(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_twos(blocks, sizeof(struct block_q4_1), n, q, scale, min, decode_q4_1);
}

static void unpack_q5_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_twos(blocks, sizeof(struct block_q5_0), n, q, scale, NULL, decode_q5_0);
}

static void unpack_q5_1(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_twos(blocks, sizeof(struct block_q5_1), n, q, scale, min, decode_q5_1);
}

TEMPLATE __m512i decode_q8_0(const uint8_t *a, const uint8_t *b)
{
    enum { QS = offsetof(struct block_q8_0, qs) };
    __m256i low = _mm256_loadu_si256((const void *)(a + QS)),
            high = _mm256_loadu_si256((const void *)(b + QS));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

static void unpack_q8_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_twos(blocks, sizeof(struct block_q8_0), n, q, scale, NULL, decode_q8_0);
}

/* --- K blocks ------------------------------------------------------------------------------ */

/* Two groups of Q2_K: fields 2 c and 2 c + 1 of 32 bytes. */
TEMPLATE __m512i pairs32(__m512i x, int c)
{
    __m512i counts = halves_of((short)(4 * c), (short)(4 * c + 2));
    return _mm512_and_si512(_mm512_srlv_epi16(x, counts), each_byte(3));
}

static void unpack_q2_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q2_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 16, min += 16) {
        __m128i fields = load16(block->scales), low = _mm_set1_epi8(15);
        __m128i minima = _mm_and_si128(_mm_srli_epi16(fields, 4), low);
        _mm512_storeu_ps(scale, scaled(_mm_and_si128(fields, low), load_half(block->d)));
        _mm512_storeu_ps(min, negated(scaled(minima, load_half(block->m))));
        for (int h = 0; h < 2; h++) {
            __m512i x = load32_twice(block->qs + 32 * h);
            _mm512_storeu_si512(q + 128 * h, pairs32(x, 0));
            _mm512_storeu_si512(q + 128 * h + 64, pairs32(x, 1));
        }
    }
}

/* The sixteen scales of Q3_K, less their offset: see block_q3_k. */
TEMPLATE __m128i scales_q3_k(const struct block_q3_k *block)
{
    /* the last 16 bytes of the block: two of qs, twelve of scales, d */
    __m128i end = load16(block->qs + 62);
    __m128i low =
        _mm_shuffle_epi8(end, _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9));
    __m128i high = _mm_shuffle_epi8(
        end, _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13));
    low = _mm_srlv_epi64(low, _mm_set_epi64x(4, 0));
    high = _mm_rolv_epi32(high, _mm_setr_epi32(4, 2, 0, 30));
    __m128i both = _mm_ternarylogic_epi32(_mm_set1_epi8(15), low, high, 0xCA);
    return _mm_sub_epi8(_mm_and_si128(both, _mm_set1_epi8(63)), _mm_set1_epi8(32));
}

static void unpack_q3_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q3_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 16) {
        _mm512_storeu_ps(scale, scaled(scales_q3_k(block), load_half(block->d)));
        __m512i high = load32_twice(block->high);
        UNROLL
        for (int c = 0; c < 4; c++) {
            __m512i low = pairs32(load32_twice(block->qs + c / 2 * 32), c % 2);
            __mmask64 third_missing =
                _mm512_testn_epi8_mask(high, bytes_of(1 << 2 * c, 2 << 2 * c));
            _mm512_storeu_si512(q + 64 * c,
                                _mm512_mask_sub_epi8(low, third_missing, low, each_byte(4)));
        }
    }
}

/* The first 16 bytes of `count` = 1 or 4 blocks of Q4_K or Q5_K (d, m and scales) to the eight
 * scales and eight minima of each, as integers. */
TEMPLATE __m512i scales_k(const uint8_t *block, size_t stride, int count)
{
    __m512i x = _mm512_castsi128_si512(load16(block));
    if (count == 4) {
        x = _mm512_mask_broadcast_i32x4(x, 0x00F0, load16(block + stride));
        x = _mm512_mask_broadcast_i32x4(x, 0x0F00, load16(block + 2 * stride));
        x = _mm512_mask_broadcast_i32x4(x, 0xF000, load16(block + 3 * stride));
    }
    /* s[0..3], s[4..7], m[0..3], m[4..7]: first the six or four low bits, then the two high ones */
    const __m512i low_from = _mm512_broadcast_i32x4(
        _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m512i low_mask =
        _mm512_broadcast_i32x4(_mm_setr_epi32(0x3F3F3F3F, 0x0F0F0F0F, 0x3F3F3F3F, 0x0F0F0F0F));
    const __m512i high_from = _mm512_broadcast_i32x4(
        _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
    __m512i low = _mm512_shuffle_epi8(x, low_from);
    __m512i high = _mm512_shuffle_epi8(x, high_from);
    low = _mm512_srlv_epi32(low, _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 0, 4)));
    high = _mm512_and_si512(_mm512_srli_epi16(high, 2), each_byte(0x30));
    return _mm512_ternarylogic_epi32(high, low, low_mask, 0xF8); /* high | (low & mask) */
}

/* Writes them out as floats: d * s[0..7], -(m * m[0..7]). */
TEMPLATE void store_scales_k(__m128i integers, const uint8_t *block, float *scale, float *min)
{
    uint32_t d_and_m;
    memcpy(&d_and_m, block, 4);
    __m256i lanes = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2,
                                     3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3);
    __m512 factors = _mm512_cvtph_ps(_mm256_shuffle_epi8(_mm256_set1_epi32((int)d_and_m), lanes));
    __m512 products = scaled(integers, factors);
    _mm256_storeu_ps(scale, _mm512_castps512_ps256(products));
    _mm256_storeu_ps(min, _mm512_extractf32x8_ps(negated(products), 1));
}

/* The 256 integers of a block. */
typedef void decode_block(const uint8_t *block, int8_t *q);

/* Q4_K and Q5_K: blocks of `stride` bytes that begin with d, m and scales. */
TEMPLATE void unpack_k(const uint8_t *block, size_t stride, size_t n, int8_t *q, float *scale,
                       float *min, decode_block *decode)
{
    for (int count = 4; n; n -= 256 * (size_t)count) {
        _Alignas(64) uint8_t integers[64];
        if (n < 4 * 256)
            count = 1;
        _mm512_store_si512(integers,
                           count == 4 ? scales_k(block, stride, 4) : scales_k(block, stride, 1));
        for (int i = 0; i < count; i++, block += stride, q += 256, scale += 8, min += 8) {
            store_scales_k(load16(integers + 16 * i), block, scale, min);
            decode(block, q);
        }
    }
}

TEMPLATE void decode_q4_k(const uint8_t *block, int8_t *q)
{
    const uint8_t *qs = block + offsetof(struct block_q4_k, qs);
    UNROLL
    for (int c = 0; c < 4; c++)
        _mm512_storeu_si512(q + 64 * c, nibbles32(load32_twice(qs + 32 * c)));
}

TEMPLATE void decode_q5_k(const uint8_t *block, int8_t *q)
{
    const uint8_t *qs = block + offsetof(struct block_q5_k, qs);
    __m512i high = load32_twice(block + offsetof(struct block_q5_k, high));
    UNROLL
    for (int c = 0; c < 4; c++) {
        __m512i low = nibbles32(load32_twice(qs + 32 * c));
        __mmask64 fifth = _mm512_test_epi8_mask(high, bytes_of(1 << 2 * c, 2 << 2 * c));
        _mm512_storeu_si512(q + 64 * c, _mm512_mask_add_epi8(low, fifth, low, each_byte(16)));
    }
}

static void unpack_q4_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_k(blocks, sizeof(struct block_q4_k), n, q, scale, min, decode_q4_k);
}

static void unpack_q5_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_k(blocks, sizeof(struct block_q5_k), n, q, scale, min, decode_q5_k);
}

static void unpack_q6_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q6_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 16) {
        _mm512_storeu_ps(scale, scaled(load16(block->scales), load_half(block->d)));
        for (int h = 0; h < 2; h++) {
            __m512i low = _mm512_loadu_si512(block->low + 64 * h);
            __m512i high = load32_twice(block->high + 32 * h);
            /* the upper two bits of each group, at bits 4 and 5 */
            __m512i first = _mm512_sllv_epi16(high, halves_of(4, 2));
            __m512i second = _mm512_srlv_epi16(high, halves_of(0, 2));
            first = choose(each_byte(15), low, first);
            second = choose(each_byte(15), _mm512_srli_epi16(low, 4), second);
            first = _mm512_sub_epi8(_mm512_and_si512(first, each_byte(63)), each_byte(32));
            second = _mm512_sub_epi8(_mm512_and_si512(second, each_byte(63)), each_byte(32));
            _mm512_storeu_si512(q + 128 * h, first);
            _mm512_storeu_si512(q + 128 * h + 64, second);
        }
    }
}

/* The eight scales of IQ4_XS, times d. */
TEMPLATE __m256 scales_iq4_xs(const struct block_iq4_xs *block)
{
    uint16_t high;
    uint32_t low;
    memcpy(&high, block->scales_high, 2);
    memcpy(&low, block->scales_low, 4);
    __m256i lows = _mm256_srlv_epi32(_mm256_set1_epi32((int)low),
                                     _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    __m256i highs = _mm256_srlv_epi32(_mm256_set1_epi32(high << 4),
                                      _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    __m256i both = _mm256_ternarylogic_epi32(_mm256_set1_epi32(15), lows, highs, 0xCA);
    both = _mm256_sub_epi32(_mm256_and_si256(both, _mm256_set1_epi32(63)), _mm256_set1_epi32(32));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(both), _mm512_castps512_ps256(load_half(block->d)));
}

static void unpack_iq4_xs(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_iq4_xs *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 8) {
        _mm256_storeu_ps(scale, scales_iq4_xs(block));
        UNROLL
        for (int c = 0; c < 4; c++) {
            const uint8_t *qs = block->qs + 32 * c;
            _mm512_storeu_si512(q + 64 * c, look_up_iq4(nibbles16(load16_twice(qs, qs + 16))));
        }
    }
}

void unpack_avx512(struct kernels *kernels)
{
    kernels->unpack[FORMAT_Q4_0] = unpack_q4_0;
    kernels->unpack[FORMAT_Q4_1] = unpack_q4_1;
    kernels->unpack[FORMAT_Q5_0] = unpack_q5_0;
    kernels->unpack[FORMAT_Q5_1] = unpack_q5_1;
    kernels->unpack[FORMAT_Q8_0] = unpack_q8_0;
    kernels->unpack[FORMAT_Q2_K] = unpack_q2_k;
    kernels->unpack[FORMAT_Q3_K] = unpack_q3_k;
    kernels->unpack[FORMAT_Q4_K] = unpack_q4_k;
    kernels->unpack[FORMAT_Q5_K] = unpack_q5_k;
    kernels->unpack[FORMAT_Q6_K] = unpack_q6_k;
    kernels->unpack[FORMAT_IQ4_NL] = unpack_iq4_nl;
    kernels->unpack[FORMAT_IQ4_XS] = unpack_iq4_xs;
}
