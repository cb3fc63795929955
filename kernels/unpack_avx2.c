/* unpack_avx2: weight formats to integers and scales with AVX2 and F16C. Layouts: blocks.h.
 *
 * One vector is 32 weights. As in unpack_avx512: operands come by broadcasting loads, shifts by
 * different counts bring the fields of all lanes to the same bits, and no load reaches past the
 * last block. */
#include <immintrin.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/x86.h"

/* --- pieces -------------------------------------------------------------------------------- */

TEMPLATE __m128i load16(const void *bytes)
{
    return _mm_loadu_si128(bytes);
}

TEMPLATE __m256i load16_twice(const void *bytes)
{
    return _mm256_broadcastsi128_si256(load16(bytes));
}

TEMPLATE __m256i load32(const void *bytes)
{
    return _mm256_loadu_si256(bytes);
}

TEMPLATE void store32(int8_t *q, __m256i x)
{
    _mm256_storeu_si256((void *)q, x);
}

TEMPLATE __m256i each_byte(int byte)
{
    return _mm256_set1_epi8((char)byte);
}

/* The field of `bits` bits, `shift` bits up, of every byte. */
TEMPLATE __m256i field(__m256i x, int shift, int bits)
{
    return _mm256_and_si256(_mm256_srli_epi16(x, shift), each_byte((1 << bits) - 1));
}

/* Bit `bit` of every byte, moved to the place of `value`, a power of two. */
TEMPLATE __m256i bit_as(__m256i x, int bit, int value)
{
    int place = value == 4 ? 2 : 4;
    x = bit > place ? _mm256_srli_epi16(x, bit - place) : _mm256_slli_epi16(x, place - bit);
    return _mm256_and_si256(x, each_byte(value));
}

/* From load16_twice: the low nibbles of the 16 bytes, then the high ones. */
TEMPLATE __m256i nibbles16(__m256i x)
{
    x = _mm256_srlv_epi32(x, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
    return _mm256_and_si256(x, each_byte(15));
}

TEMPLATE __m256i look_up_iq4(__m256i index)
{
    const __m128i values = _mm_setr_epi8(BLOCK_IQ4_VALUES);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(values), index);
}

/* Eight small integers times a scale. */
TEMPLATE __m256 scaled(__m128i integers, __m256 d)
{
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(integers)), d);
}

TEMPLATE __m256 negated(__m256 x)
{
    return _mm256_xor_ps(x, _mm256_set1_ps(-0.0F));
}

TEMPLATE __m128i upper_half(__m128i x)
{
    return _mm_unpackhi_epi64(x, x);
}

/* The binary16 at `bytes`, in all lanes. */
TEMPLATE __m256 load_half(const uint8_t bytes[2])
{
    short half;
    memcpy(&half, bytes, 2);
    return _mm256_cvtph_ps(_mm_set1_epi16(half));
}

/* --- blocks of 32 -------------------------------------------------------------------------- */

/* Formats of 32 weights begin with d, or with d and m. While the weights are unpacked, the first
 * four bytes of every block go where its scale will be, because eight of them can then be converted
 * at once. This is the conversion, in place; min is NULL where the format has none. */
TEMPLATE void convert_heads(size_t count, float *scale, float *min)
{
    const __m256i words = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0,
                                           1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        /* d of four, m of four, d of four, m of four */
        __m256i heads = _mm256_shuffle_epi8(load32(scale + i), words);
        heads = _mm256_permute4x64_epi64(heads, 0xD8);
        _mm256_storeu_ps(scale + i, _mm256_cvtph_ps(_mm256_castsi256_si128(heads)));
        if (min)
            _mm256_storeu_ps(min + i, _mm256_cvtph_ps(_mm256_extracti128_si256(heads, 1)));
    }
    for (; i < count; i++) {
        uint16_t head[2];
        memcpy(head, scale + i, 4);
        scale[i] = _cvtsh_ss(head[0]);
        if (min)
            min[i] = _cvtsh_ss(head[1]);
    }
}

/* The integers of a block. */
typedef __m256i decode_block(const uint8_t *block);

TEMPLATE void unpack_blocks(const uint8_t *block, size_t stride, size_t n, int8_t *q, float *scale,
                            float *min, decode_block *decode)
{
    for (size_t i = 0; i < n / 32; i++, block += stride) {
        memcpy(scale + i, block, 4);
        store32(q + 32 * i, decode(block));
    }
    convert_heads(n / 32, scale, min);
}

TEMPLATE __m256i decode_q4_0(const uint8_t *block)
{
    return _mm256_sub_epi8(nibbles16(load16_twice(block + offsetof(struct block_q4_0, qs))),
                           each_byte(8));
}

TEMPLATE __m256i decode_iq4_nl(const uint8_t *block)
{
    return look_up_iq4(nibbles16(load16_twice(block + offsetof(struct block_q4_0, qs))));
}

TEMPLATE __m256i decode_q4_1(const uint8_t *block)
{
    return nibbles16(load16_twice(block + offsetof(struct block_q4_1, qs)));
}

/* All ones in the bytes whose fifth bit, of the 32 at qh, is set. */
TEMPLATE __m256i fifth_bits(const uint8_t *qh)
{
    int bits;
    memcpy(&bits, qh, 4);
    const __m256i bytes =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    __m256i mask = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), bytes);
    return _mm256_cmpeq_epi8(_mm256_and_si256(spread, mask), mask);
}

TEMPLATE __m256i decode_q5_0(const uint8_t *block)
{
    __m256i low = nibbles16(load16_twice(block + offsetof(struct block_q5_0, qs)));
    __m256i fifth = fifth_bits(block + offsetof(struct block_q5_0, qh));
    return _mm256_or_si256(low, _mm256_andnot_si256(fifth, each_byte(0xF0))); /* 0xF0 is -16 */
}

TEMPLATE __m256i decode_q5_1(const uint8_t *block)
{
    __m256i low = nibbles16(load16_twice(block + offsetof(struct block_q5_1, qs)));
    __m256i fifth = fifth_bits(block + offsetof(struct block_q5_1, qh));
    return _mm256_or_si256(low, _mm256_and_si256(fifth, each_byte(16)));
}

TEMPLATE __m256i decode_q8_0(const uint8_t *block)
{
    return load32(block + offsetof(struct block_q8_0, qs));
}

static void unpack_q4_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_blocks(blocks, sizeof(struct block_q4_0), n, q, scale, NULL, decode_q4_0);
}

static void unpack_iq4_nl(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_blocks(blocks, sizeof(struct block_q4_0), n, q, scale, NULL, decode_iq4_nl);
}

static void unpack_q4_1(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_blocks(blocks, sizeof(struct block_q4_1), n, q, scale, min, decode_q4_1);
}

static void unpack_q5_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_blocks(blocks, sizeof(struct block_q5_0), n, q, scale, NULL, decode_q5_0);
}

static void unpack_q5_1(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_blocks(blocks, sizeof(struct block_q5_1), n, q, scale, min, decode_q5_1);
}

static void unpack_q8_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_blocks(blocks, sizeof(struct block_q8_0), n, q, scale, NULL, decode_q8_0);
}

/* --- K blocks ------------------------------------------------------------------------------ */

/* Sixteen integers times d. */
TEMPLATE void store_scaled(float *out, __m128i integers, __m256 d)
{
    _mm256_storeu_ps(out, scaled(integers, d));
    _mm256_storeu_ps(out + 8, scaled(upper_half(integers), d));
}

static void unpack_q2_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q2_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 16, min += 16) {
        __m128i fields = load16(block->scales), low = _mm_set1_epi8(15);
        store_scaled(scale, _mm_and_si128(fields, low), load_half(block->d));
        fields = _mm_and_si128(_mm_srli_epi16(fields, 4), low);
        __m256 m = load_half(block->m);
        _mm256_storeu_ps(min, negated(scaled(fields, m)));
        _mm256_storeu_ps(min + 8, negated(scaled(upper_half(fields), m)));
        UNROLL
        for (int j = 0; j < 8; j++)
            store32(q + 32 * j, field(load32(block->qs + j / 4 * 32), j % 4 * 2, 2));
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
    low = _mm_and_si128(_mm_srlv_epi64(low, _mm_set_epi64x(4, 0)), _mm_set1_epi8(15));
    high = _mm_and_si128(_mm_srlv_epi32(high, _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
    return _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32));
}

static void unpack_q3_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q3_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 16) {
        store_scaled(scale, scales_q3_k(block), load_half(block->d));
        __m256i high = load32(block->high);
        UNROLL
        for (int j = 0; j < 8; j++) {
            __m256i low = field(load32(block->qs + j / 4 * 32), j % 4 * 2, 2);
            __m256i both = _mm256_or_si256(low, bit_as(high, j, 4));
            store32(q + 32 * j, _mm256_sub_epi8(both, each_byte(4)));
        }
    }
}

/* The eight scales and eight minima of Q4_K and Q5_K, from the first 16 bytes of the block: d, m
 * and scales. */
TEMPLATE void unpack_k_scales(const uint8_t *block, float *scale, float *min)
{
    __m128i x = load16(block);
    /* s[0..3], s[4..7], m[0..3], m[4..7]: first the six or four low bits, then the two high ones */
    __m128i low = _mm_shuffle_epi8(
        x, _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
    __m128i high = _mm_shuffle_epi8(
        x, _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
    low = _mm_srlv_epi32(low, _mm_setr_epi32(0, 0, 0, 4));
    low = _mm_and_si128(low, _mm_setr_epi32(0x3F3F3F3F, 0x0F0F0F0F, 0x3F3F3F3F, 0x0F0F0F0F));
    high = _mm_and_si128(_mm_srli_epi16(high, 2), _mm_set1_epi8(0x30));
    low = _mm_or_si128(low, high);
    _mm256_storeu_ps(scale, scaled(low, _mm256_cvtph_ps(_mm_broadcastw_epi16(x))));
    __m256 m = _mm256_cvtph_ps(_mm_broadcastw_epi16(_mm_srli_epi32(x, 16)));
    _mm256_storeu_ps(min, negated(scaled(upper_half(low), m)));
}

static void unpack_q4_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q4_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 8, min += 8) {
        unpack_k_scales(block->d, scale, min);
        UNROLL
        for (int j = 0; j < 8; j++)
            store32(q + 32 * j, field(load32(block->qs + j / 2 * 32), j % 2 * 4, 4));
    }
}

static void unpack_q5_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    const struct block_q5_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 8, min += 8) {
        unpack_k_scales(block->d, scale, min);
        __m256i high = load32(block->high);
        UNROLL
        for (int j = 0; j < 8; j++) {
            __m256i low = field(load32(block->qs + j / 2 * 32), j % 2 * 4, 4);
            store32(q + 32 * j, _mm256_or_si256(low, bit_as(high, j, 16)));
        }
    }
}

static void unpack_q6_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_q6_k *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 16) {
        store_scaled(scale, load16(block->scales), load_half(block->d));
        UNROLL
        for (int j = 0; j < 8; j++) { /* group j % 4 of half j / 4 */
            __m256i low = field(load32(block->low + j / 4 * 64 + j % 2 * 32), j % 4 / 2 * 4, 4);
            __m256i high = field(load32(block->high + j / 4 * 32), j % 4 * 2, 2);
            __m256i both = _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
            store32(q + 32 * j, _mm256_sub_epi8(both, each_byte(32)));
        }
    }
}

/* The eight scales of IQ4_XS, times d. */
TEMPLATE __m256 scales_iq4_xs(const struct block_iq4_xs *block)
{
    uint16_t high;
    int low;
    memcpy(&high, block->scales_high, 2);
    memcpy(&low, block->scales_low, 4);
    __m256i lows =
        _mm256_srlv_epi32(_mm256_set1_epi32(low), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    __m256i highs = _mm256_srlv_epi32(_mm256_set1_epi32(high << 4),
                                      _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    lows = _mm256_and_si256(lows, _mm256_set1_epi32(15));
    highs = _mm256_and_si256(highs, _mm256_set1_epi32(0x30));
    lows = _mm256_sub_epi32(_mm256_or_si256(lows, highs), _mm256_set1_epi32(32));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(lows), load_half(block->d));
}

static void unpack_iq4_xs(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    const struct block_iq4_xs *block = blocks;
    for (; n; n -= 256, block++, q += 256, scale += 8) {
        _mm256_storeu_ps(scale, scales_iq4_xs(block));
        UNROLL
        for (int j = 0; j < 8; j++)
            store32(q + 32 * j, look_up_iq4(nibbles16(load16_twice(block->qs + 16 * j))));
    }
}

void unpack_avx2(struct kernels *kernels)
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
