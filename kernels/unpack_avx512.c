/* unpack_avx512: weight formats to integers and scales with AVX-512; decode_avx512.h and
 * scales_avx512.h do it. */
#include "kernels/scales_avx512.h"

TEMPLATE void store_weights(int8_t *q, __m512i stored, int offset)
{
    _mm512_storeu_si512(q, offset ? _mm512_sub_epi8(stored, each_byte(offset)) : stored);
}

TEMPLATE __m512 negated(__m512 x)
{
    return _mm512_xor_ps(x, _mm512_set1_ps(-0.0F));
}

/* --- blocks of 32 -------------------------------------------------------------------------- */

/* They begin with d, or with d and m. While the weights are unpacked, the first four bytes of every
 * block go where its scale will be, because 16 of them can then be converted at once. This is the
 * conversion, in place; min is NULL where the format has none. */
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

TEMPLATE void unpack_32(const uint8_t *block, size_t bytes, size_t n, int8_t *q, float *scale,
                        float *min, int offset, decode_two *decode)
{
    float *head = scale;
    size_t left = n;
    for (; left >= 64; left -= 64, block += 2 * bytes, q += 64, head += 2) {
        memcpy(head, block, 4);
        memcpy(head + 1, block + bytes, 4);
        store_weights(q, decode(block, block + bytes), offset);
    }
    if (left) {
        memcpy(head, block, 4);
        __m512i last = _mm512_sub_epi8(decode(block, block), each_byte(offset));
        _mm256_storeu_si256((void *)q, _mm512_castsi512_si256(last));
    }
    convert_heads(n / 32, scale, min);
}

static void unpack_q4_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_32(blocks, sizeof(struct block_q4_0), n, q, scale, NULL, OFFSET_Q4_0, decode_q4_0);
}

static void unpack_q4_1(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_32(blocks, sizeof(struct block_q4_1), n, q, scale, min, 0, decode_q4_1);
}

static void unpack_q5_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_32(blocks, sizeof(struct block_q5_0), n, q, scale, NULL, OFFSET_Q5_0, decode_q5_0);
}

static void unpack_q5_1(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_32(blocks, sizeof(struct block_q5_1), n, q, scale, min, 0, decode_q5_1);
}

static void unpack_q8_0(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_32(blocks, sizeof(struct block_q8_0), n, q, scale, NULL, OFFSET_Q8_0, decode_q8_0);
}

static void unpack_iq4_nl(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_32(blocks, sizeof(struct block_q4_0), n, q, scale, NULL, OFFSET_IQ4, decode_iq4_nl);
}

/* --- K blocks ------------------------------------------------------------------------------ */

TEMPLATE void unpack_weights(const uint8_t *block, int8_t *q, int offset, decode_part *decode)
{
    UNROLL
    for (size_t c = 0; c < 4; c++)
        store_weights(q + 64 * c, decode(block, c), offset);
}

/* Groups of 16; min is NULL where the format has none. */
TEMPLATE void unpack_16s(const uint8_t *block, size_t bytes, size_t n, int8_t *q, float *scale,
                         float *min, int offset, decode_part *decode, decode_scales *scales)
{
    for (; n; n -= 256, block += bytes, q += 256, scale += 16) {
        __m512 s, m;
        scales(block, &s, &m);
        _mm512_storeu_ps(scale, s);
        if (min) {
            _mm512_storeu_ps(min, negated(m));
            min += 16;
        }
        unpack_weights(block, q, offset, decode);
    }
}

/* Groups of 32: two blocks have their scales decoded together. */
TEMPLATE void unpack_32s(const uint8_t *block, size_t bytes, size_t n, int8_t *q, float *scale,
                         float *min, int offset, decode_part *decode, decode_two_scales *scales)
{
    while (n) {
        __m512 s, m;
        int blocks = n > 256 ? 2 : 1;
        __mmask16 lanes = blocks == 2 ? 0xFFFF : 0x00FF;
        scales(block, blocks == 2 ? block + bytes : block, &s, &m);
        _mm512_mask_storeu_ps(scale, lanes, s);
        scale += 16;
        if (min) {
            _mm512_mask_storeu_ps(min, lanes, negated(m));
            min += 16;
        }
        for (int i = 0; i < blocks; i++, n -= 256, block += bytes, q += 256)
            unpack_weights(block, q, offset, decode);
    }
}

static void unpack_q2_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_16s(blocks, sizeof(struct block_q2_k), n, q, scale, min, 0, decode_q2_k, scales_q2_k);
}

static void unpack_q3_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_16s(blocks, sizeof(struct block_q3_k), n, q, scale, NULL, OFFSET_Q3_K, decode_q3_k,
               scales_q3_k);
}

static void unpack_q4_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_32s(blocks, sizeof(struct block_q4_k), n, q, scale, min, 0, decode_q4_k, scales_k);
}

static void unpack_q5_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_32s(blocks, sizeof(struct block_q5_k), n, q, scale, min, 0, decode_q5_k, scales_k);
}

static void unpack_q6_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_16s(blocks, sizeof(struct block_q6_k), n, q, scale, NULL, OFFSET_Q6_K, decode_q6_k,
               scales_q6_k);
}

static void unpack_iq4_xs(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_32s(blocks, sizeof(struct block_iq4_xs), n, q, scale, NULL, OFFSET_IQ4, decode_iq4_xs,
               scales_iq4_xs);
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
