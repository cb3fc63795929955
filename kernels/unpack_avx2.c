/* unpack_avx2: weight formats to integers and scales with AVX2 and F16C; decode_avx2.h and
 * scales_avx2.h do it. */
#include "kernels/scales_avx2.h"

TEMPLATE void store_weights(int8_t *q, __m256i stored, int offset)
{
    _mm256_storeu_si256((void *)q, offset ? _mm256_sub_epi8(stored, each_byte(offset)) : stored);
}

TEMPLATE __m256 negated(__m256 x)
{
    return _mm256_xor_ps(x, _mm256_set1_ps(-0.0F));
}

/* --- blocks of 32 -------------------------------------------------------------------------- */

/* They begin with d, or with d and m. While the weights are unpacked, the first four bytes of every
 * block go where its scale will be, because eight of them can then be converted at once. This is
 * the conversion, in place; min is NULL where the format has none. */
TEMPLATE void convert_heads(size_t count, float *scale, float *min)
{
    const __m256i words = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        /* d of four, m of four, d of four, m of four */
        __m256i heads = _mm256_shuffle_epi8(load256(scale + i), words);
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

TEMPLATE void unpack_32(const uint8_t *block, size_t bytes, size_t n, int8_t *q, float *scale,
                        float *min, int offset, decode_part *decode)
{
    for (size_t i = 0; i < n / 32; i++, block += bytes) {
        memcpy(scale + i, block, 4);
        store_weights(q + 32 * i, decode(block, 0), offset);
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
    unpack_32(blocks, sizeof(struct block_q8_0), n, q, scale, NULL, 0, decode_q8_0);
}

static void unpack_iq4_nl(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_32(blocks, sizeof(struct block_q4_0), n, q, scale, NULL, 0, decode_iq4_nl);
}

/* --- K blocks ------------------------------------------------------------------------------ */

/* Groups of `group`; min is NULL where the format has none. */
TEMPLATE void unpack_256(const uint8_t *block, size_t bytes, int group, size_t n, int8_t *q,
                         float *scale, float *min, int offset, decode_part *decode,
                         decode_scales *scales)
{
    int vectors = 32 / group;
    for (; n; n -= 256, block += bytes, q += 256) {
        __m256 s[2], m[2];
        scales(block, s, m);
        for (int i = 0; i < vectors; i++, scale += 8) {
            _mm256_storeu_ps(scale, s[i]);
            if (min) {
                _mm256_storeu_ps(min, negated(m[i]));
                min += 8;
            }
        }
        UNROLL
        for (int j = 0; j < 8; j++)
            store_weights(q + 32 * j, decode(block, j), offset);
    }
}

static void unpack_q2_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_256(blocks, sizeof(struct block_q2_k), 16, n, q, scale, min, 0, decode_q2_k,
               scales_q2_k);
}

static void unpack_q3_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_256(blocks, sizeof(struct block_q3_k), 16, n, q, scale, NULL, OFFSET_Q3_K, decode_q3_k,
               scales_q3_k);
}

static void unpack_q4_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_256(blocks, sizeof(struct block_q4_k), 32, n, q, scale, min, 0, decode_q4_k, scales_k);
}

static void unpack_q5_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    unpack_256(blocks, sizeof(struct block_q5_k), 32, n, q, scale, min, 0, decode_q5_k, scales_k);
}

static void unpack_q6_k(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_256(blocks, sizeof(struct block_q6_k), 16, n, q, scale, NULL, OFFSET_Q6_K, decode_q6_k,
               scales_q6_k);
}

static void unpack_iq4_xs(const void *blocks, size_t n, int8_t *q, float *scale, float *min)
{
    (void)min;
    unpack_256(blocks, sizeof(struct block_iq4_xs), 32, n, q, scale, NULL, 0, decode_iq4_xs,
               scales_iq4_xs);
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
