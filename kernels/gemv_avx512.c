/* gemv_avx512: rows of weights times one to eight vectors with AVX-512: generation. Weights are
 * decoded into registers and multiplied there with every token; nothing but results is stored.
 *
 * A step is 16 groups: 512 or 256 weights, in four pairs or four vectors of four groups, each in
 * 128 bits of its own. VPDPBUSD multiplies stored weights (unsigned) by activations (signed) and
 * adds them by fours; a tree of additions brings the sums of the 16 groups into one vector; the
 * format's offset times x.sum is taken off, all in integers. What remains are three operations with
 * the 16 scales. (Intel SDM volume 2, VPDPBUSD.) All vectors of groups are in the order that the
 * tree leaves: group 4 i + j, which is in 128 bits j of vector i, comes to place 4 j + i.
 *
 * Activations are laid out the same way once for all rows. They end with zeros where the last step
 * of a row has blocks missing, so that every step is a whole one. */
#include "kernels/avx512.h"
#include "kernels/scales_avx512.h"

enum {
    STEP = 16,        /* groups */
    VECTORS = 8,      /* of weights in a step, at most */
    ROW_BLOCK = 16,   /* rows for which sums are kept */
    X_VECTORS = 1024, /* room for activations: 64 KiB */
    STEP_BYTES = 544, /* at most */
};

/* The weights of a step: the first and second halves of groups 4 i .. 4 i + 3 are vectors 2 i and
 * 2 i + 1; groups of 16 are vector i. */
typedef void decode_step(const uint8_t *w, __m512i v[VECTORS]);
typedef void decode_step_scales(const uint8_t *w, __m512 *scale, __m512 *min);

/* How a format is read; constants all, which inlining dissolves. */
struct reader {
    size_t bytes;  /* of a block */
    size_t blocks; /* in a step: 16, 2 or 1 */
    size_t group;
    int offset;
    bool has_min;
    int narrow; /* sums of 8, then of 16 products fit 16 bits: 0, 1 or 2 of them */
    decode_step *weights;
    decode_step_scales *scales;
};

/* --- weights ------------------------------------------------------------------------------- */

/* Four groups: their first halves and their second halves. */
typedef void decode_four(const uint8_t *w, __m512i *first, __m512i *second);

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

/* Four blocks by way of pairs. */
TEMPLATE void four_of_twos(decode_two *two, size_t bytes, const uint8_t *w, __m512i *first,
                           __m512i *second)
{
    __m512i a = two(w, w + bytes), b = two(w + 2 * bytes, w + 3 * bytes);
    *first = _mm512_shuffle_i32x4(a, b, 0x88);
    *second = _mm512_shuffle_i32x4(a, b, 0xDD);
}

TEMPLATE void four_q5_0(const uint8_t *w, __m512i *first, __m512i *second)
{
    four_of_twos(decode_q5_0, sizeof(struct block_q5_0), w, first, second);
}

TEMPLATE void four_q5_1(const uint8_t *w, __m512i *first, __m512i *second)
{
    four_of_twos(decode_q5_1, sizeof(struct block_q5_1), w, first, second);
}

TEMPLATE void four_q8_0(const uint8_t *w, __m512i *first, __m512i *second)
{
    four_of_twos(decode_q8_0, sizeof(struct block_q8_0), w, first, second);
}

/* Half a K block whose nibbles lie as in Q4_K: 64 bytes with groups 0 and 2 below 1 and 3. */
TEMPLATE void four_of_nibbles(const uint8_t *qs, __m512i *first, __m512i *second)
{
    __m512i even, odd;
    split_nibbles(_mm512_loadu_si512(qs), &even, &odd);
    *first = _mm512_permutex2var_epi64(even, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), odd);
    *second = _mm512_permutex2var_epi64(even, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), odd);
}

/* 16 more where the bit of the lane's group is set: 4 h + j in 128 bits j. */
TEMPLATE __m512i with_high_bits(__m512i low, const uint8_t high[16], int h)
{
    __m512i bits = _mm512_slli_epi32(_mm512_setr_epi64(0x0101010101010101, 0x0101010101010101,
                                                       0x0202020202020202, 0x0202020202020202,
                                                       0x0404040404040404, 0x0404040404040404,
                                                       0x0808080808080808, 0x0808080808080808),
                                     (unsigned)(4 * h));
    __m512i x = _mm512_broadcast_i32x4(load128(high));
    return with_fifth_bits(low, _mm512_test_epi8_mask(x, bits));
}

#define STEP_OF_32(name, block)                                                      \
    TEMPLATE void step_##name(const uint8_t *w, __m512i v[VECTORS])                  \
    {                                                                                \
        UNROLL                                                                       \
        for (size_t i = 0; i < 4; i++)                                               \
            four_##name(w + 4 * i * sizeof(struct block), &v[2 * i], &v[2 * i + 1]); \
    }

STEP_OF_32(q4_0, block_q4_0)
STEP_OF_32(q4_1, block_q4_1)
STEP_OF_32(q5_0, block_q5_0)
STEP_OF_32(q5_1, block_q5_1)
STEP_OF_32(q8_0, block_q8_0)
STEP_OF_32(iq4_nl, block_q4_0)

TEMPLATE void step_q4_k(const uint8_t *w, __m512i v[VECTORS])
{
    const struct block_q4_k *b = (const void *)w;
    UNROLL
    for (int i = 0; i < 4; i++)
        four_of_nibbles(b[i / 2].qs + i % 2 * 64, &v[2 * i], &v[2 * i + 1]);
}

TEMPLATE void step_q5_k(const uint8_t *w, __m512i v[VECTORS])
{
    const struct block_q5_k *b = (const void *)w;
    UNROLL
    for (int i = 0; i < 4; i++) {
        four_of_nibbles(b[i / 2].qs + i % 2 * 64, &v[2 * i], &v[2 * i + 1]);
        v[2 * i] = with_high_bits(v[2 * i], b[i / 2].high, i % 2);
        v[2 * i + 1] = with_high_bits(v[2 * i + 1], b[i / 2].high + 16, i % 2);
    }
}

TEMPLATE void step_iq4_xs(const uint8_t *w, __m512i v[VECTORS])
{
    const struct block_iq4_xs *b = (const void *)w;
    UNROLL
    for (int i = 0; i < 4; i++) {
        split_nibbles(_mm512_loadu_si512(b[i / 2].qs + i % 2 * 64), &v[2 * i], &v[2 * i + 1]);
        v[2 * i] = look_up_iq4(v[2 * i]);
        v[2 * i + 1] = look_up_iq4(v[2 * i + 1]);
    }
}

#define STEP_OF_16(name)                                            \
    TEMPLATE void step_##name(const uint8_t *w, __m512i v[VECTORS]) \
    {                                                               \
        UNROLL                                                      \
        for (size_t i = 0; i < 4; i++)                              \
            v[i] = decode_##name(w, i);                             \
    }

STEP_OF_16(q2_k)
STEP_OF_16(q3_k)
STEP_OF_16(q6_k)

/* --- scales -------------------------------------------------------------------------------- */

/* Sixteen values of groups from their own order to the tree's, or back. */
TEMPLATE __m512i reordered(__m512i groups)
{
    return _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), groups);
}

TEMPLATE __m512 reordered_floats(__m512 groups)
{
    return _mm512_castsi512_ps(reordered(_mm512_castps_si512(groups)));
}

/* Blocks of 32 begin with d, or d and m. The heads of a step, four from each of four loads inside
 * the blocks, which are 18 or 20 bytes long. */
TEMPLATE __m512i heads_by_fours(const uint8_t *w, size_t bytes)
{
    const __m512i from =
        bytes == sizeof(struct block_q4_0)
            ? _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 9, 9, 9, 9, 13, 13, 13, 13)
            : _mm512_setr_epi32(0, 0, 0, 0, 5, 5, 5, 5, 10, 10, 10, 10, 15, 15, 15, 15);
    __m512i heads = _mm512_permutexvar_epi32(from, _mm512_loadu_si512(w));
    UNROLL
    for (size_t i = 1; i < 4; i++)
        heads = _mm512_mask_permutexvar_epi32(heads, (__mmask16)(0x1111 << i), from,
                                              _mm512_loadu_si512(w + 4 * i * bytes));
    if (bytes == sizeof(struct block_q4_0)) /* every other d begins in the middle of its unit */
        heads = _mm512_srlv_epi32(
            heads, _mm512_setr_epi32(0, 0, 0, 0, 16, 16, 16, 16, 0, 0, 0, 0, 16, 16, 16, 16));
    return heads;
}

TEMPLATE __m512i heads_one_by_one(const uint8_t *w, size_t bytes)
{
    __m512i heads = _mm512_setzero_si512();
    UNROLL
    for (size_t i = 0; i < STEP; i++) {
        int head;
        memcpy(&head, w + i * bytes, sizeof head);
        heads = _mm512_mask_set1_epi32(heads, (__mmask16)(1 << (i % 4 * 4 + i / 4)), head);
    }
    return heads;
}

TEMPLATE void heads_to_floats(__m512i heads, __m512 *scale, __m512 *min)
{
    *scale = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(heads));
    *min = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(heads, 16)));
}

#define SCALES_OF_32(name, block, heads)                                           \
    TEMPLATE void step_scales_##name(const uint8_t *w, __m512 *scale, __m512 *min) \
    {                                                                              \
        heads_to_floats(heads(w, sizeof(struct block)), scale, min);               \
    }

SCALES_OF_32(q4_0, block_q4_0, heads_by_fours)
SCALES_OF_32(q4_1, block_q4_1, heads_by_fours)
SCALES_OF_32(q5_0, block_q5_0, heads_one_by_one)
SCALES_OF_32(q5_1, block_q5_1, heads_one_by_one)
SCALES_OF_32(q8_0, block_q8_0, heads_one_by_one)

#define SCALES_OF_256(name, ...)                                                   \
    TEMPLATE void step_scales_##name(const uint8_t *w, __m512 *scale, __m512 *min) \
    {                                                                              \
        __VA_ARGS__;                                                               \
        *scale = reordered_floats(*scale);                                         \
        *min = reordered_floats(*min);                                             \
    }

SCALES_OF_256(q2_k, scales_q2_k(w, scale, min))
SCALES_OF_256(q3_k, scales_q3_k(w, scale, min))
SCALES_OF_256(q6_k, scales_q6_k(w, scale, min))
SCALES_OF_256(q4_k, scales_k(w, w + sizeof(struct block_q4_k), scale, min))
SCALES_OF_256(q5_k, scales_k(w, w + sizeof(struct block_q5_k), scale, min))
SCALES_OF_256(iq4_xs, scales_iq4_xs(w, w + sizeof(struct block_iq4_xs), scale, min))

/* --- activations --------------------------------------------------------------------------- */

/* What a step takes of one token: x.scale, then x.sum, then the vectors. */
enum { X_SCALE, X_SUM, X_Q };

TEMPLATE size_t x_vectors(const struct reader *f)
{
    return X_Q + f->group / 4;
}

/* 64 activations, or those of them that are among the `left` next ones. */
TEMPLATE __m512i load_x(const int8_t *x, size_t at, size_t left)
{
    if (left >= at + 64)
        return _mm512_loadu_si512(x + at);
    return _mm512_maskz_loadu_epi8(left > at ? (__mmask64)((1ULL << (left - at)) - 1) : 0, x + at);
}

/* The next `groups` <= 16 groups of x, and zeros. In place of x.sum stands what is added to the
 * sums, or what the minima are multiplied with. */
TEMPLATE void lay_out_step(const struct reader *f, struct q8_row x, size_t groups, __m512i *to)
{
    __mmask16 lanes = first_lanes(groups);
    __m512i sum = reordered(_mm512_maskz_loadu_epi32(lanes, x.sum));
    if (f->has_min)
        sum = _mm512_castps_si512(_mm512_cvtepi32_ps(
            f->blocks == STEP ? sum : _mm512_sub_epi32(_mm512_setzero_si512(), sum)));
    else
        sum = _mm512_mullo_epi32(sum, _mm512_set1_epi32(-f->offset));
    to[X_SCALE] = reordered(_mm512_castps_si512(_mm512_maskz_loadu_ps(lanes, x.scale)));
    to[X_SUM] = sum;
    size_t left = groups * f->group;
    for (size_t i = 0; i < f->group / 4; i += 2) {
        __m512i a = load_x(x.q, 64 * i, left), b = load_x(x.q, 64 * i + 64, left);
        to[X_Q + i] = f->group == 16 ? a : _mm512_shuffle_i32x4(a, b, 0x88);
        to[X_Q + i + 1] = f->group == 16 ? b : _mm512_shuffle_i32x4(a, b, 0xDD);
    }
}

/* `groups` groups from g on, step by step and within a step token by token. */
TEMPLATE void lay_out(const struct reader *f, const struct vector *x, int tokens, size_t g,
                      size_t groups, __m512i *to)
{
    for (size_t end = g + groups; g < end; g += STEP)
        for (int t = 0; t < tokens; t++, to += x_vectors(f)) {
            struct q8_row q = x[t].q8;
            q = (struct q8_row){q.q + g * f->group, q.scale + g, q.sum + g};
            lay_out_step(f, q, end - g < STEP ? end - g : STEP, to);
        }
}

/* --- sums ---------------------------------------------------------------------------------- */

/* In each 128 bits a[0] + a[1], a[2] + a[3], b[0] + b[1], b[2] + b[3]. */
TEMPLATE __m512i add_neighbours(__m512i a, __m512i b)
{
    __m512 x = _mm512_castsi512_ps(a), y = _mm512_castsi512_ps(b);
    return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(x, y, 0x88)),
                            _mm512_castps_si512(_mm512_shuffle_ps(x, y, 0xDD)));
}

/* In each 128 bits, `start` and the sums of the four vectors there. */
TEMPLATE __m512i add_up(const __m512i v[4], int narrow, __m512i start)
{
    const __m512i ones = _mm512_set1_epi16(1);
    __m512i ab, cd;
    if (narrow > 0) {
        ab = _mm512_madd_epi16(_mm512_packs_epi32(v[0], v[1]), ones);
        cd = _mm512_madd_epi16(_mm512_packs_epi32(v[2], v[3]), ones);
    } else {
        ab = add_neighbours(v[0], v[1]);
        cd = add_neighbours(v[2], v[3]);
    }
    if (narrow > 1)
        return _mm512_dpwssd_epi32(start, _mm512_packs_epi32(ab, cd), ones);
    return _mm512_add_epi32(start, add_neighbours(ab, cd));
}

/* total += x.scale * (scale * (products + x.sum) + min * x.sum) for the 16 groups of a step. */
TEMPLATE void add_token(const struct reader *f, const __m512i v[VECTORS], __m512 scale, __m512 min,
                        const __m512i *x, __m512 *total)
{
    const __m512i zero = _mm512_setzero_si512();
    __m512i sums[4];
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        if (f->group == 16) {
            sums[i] = _mm512_dpbusd_epi32(zero, v[i], x[X_Q + i]);
        } else {
            sums[i] = _mm512_dpbusd_epi32(zero, v[2 * i], x[X_Q + 2 * i]);
            sums[i] = _mm512_dpbusd_epi32(sums[i], v[2 * i + 1], x[X_Q + 2 * i + 1]);
        }
    }
    __m512i exact = add_up(sums, f->narrow, f->offset ? x[X_SUM] : zero);
    __m512 term = _mm512_mul_ps(_mm512_cvtepi32_ps(exact), scale);
    if (f->has_min)
        term = _mm512_fmadd_ps(min, _mm512_castsi512_ps(x[X_SUM]), term);
    *total = _mm512_fmadd_ps(term, _mm512_castsi512_ps(x[X_SCALE]), *total);
}

/* The `blocks` blocks that are left of a row, and zeros. */
TEMPLATE void copy_last(const struct reader *f, const uint8_t *w, size_t blocks,
                        uint8_t to[STEP_BYTES + 64])
{
    size_t left = blocks * f->bytes;
    UNROLL
    for (size_t i = 0; i < f->blocks * f->bytes; i += 64)
        _mm512_storeu_si512(to + i, load_x((const void *)w, i, left));
}

/* total[t * ROW_BLOCK] += `blocks` blocks at w times each token's activations. */
TEMPLATE void add_row(const struct reader *f, const uint8_t *w, size_t blocks, const __m512i *x,
                      int tokens, __m512 *total)
{
    uint8_t last[STEP_BYTES + 64];
    for (size_t b = 0; b < blocks; b += f->blocks) {
        const uint8_t *step = w + b * f->bytes;
        prefetch(step, f->blocks * f->bytes);
        if (f->blocks > 1 && blocks - b < f->blocks) {
            copy_last(f, step, blocks - b, last);
            step = last;
        }
        __m512i v[VECTORS];
        __m512 scale = _mm512_setzero_ps(), min = scale;
        f->weights(step, v);
        f->scales(step, &scale, &min);
        for (int t = 0; t < tokens; t++, x += x_vectors(f))
            add_token(f, v, scale, min, x, total + t * ROW_BLOCK);
    }
}

/* The sums of four vectors. */
TEMPLATE __m128 sums_of_lanes(const __m512 v[4])
{
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
    __m512 four = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xEE));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(four), _mm512_extractf32x8_ps(four, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

TEMPLATE void multiply_rows(const struct reader *f, const uint8_t *w, size_t row_bytes, size_t rows,
                            size_t n, const struct vector *x, int tokens, float *y, size_t ldy)
{
    __m512i laid_out[X_VECTORS];
    __m512 total[ROW_TOKENS_MAX * ROW_BLOCK];
    size_t groups = n / f->group, group_blocks = STEP / f->blocks;
    size_t chunk = X_VECTORS / (x_vectors(f) * (size_t)tokens) * STEP;
    for (size_t r0 = 0; r0 < rows; r0 += ROW_BLOCK) {
        size_t count = rows - r0 < ROW_BLOCK ? rows - r0 : ROW_BLOCK;
        for (int i = 0; i < tokens * ROW_BLOCK; i++)
            total[i] = _mm512_setzero_ps();
        for (size_t g = 0; g < groups; g += chunk) {
            size_t some = groups - g < chunk ? groups - g : chunk;
            if (r0 == 0 || groups > chunk)
                lay_out(f, x, tokens, g, some, laid_out);
            const uint8_t *at = w + r0 * row_bytes + g / group_blocks * f->bytes;
            for (size_t r = 0; r < count; r++, at += row_bytes)
                add_row(f, at, some / group_blocks, laid_out, tokens, total + r);
        }
        for (int t = 0; t < tokens; t++)
            for (size_t r = 0; r < count; r += 4) {
                __mmask8 lanes = (__mmask8)(count - r < 4 ? (1 << (count - r)) - 1 : 15);
                _mm_mask_storeu_ps(y + (size_t)t * ldy + r0 + r, lanes,
                                   sums_of_lanes(total + (size_t)t * ROW_BLOCK + r));
            }
    }
}

#define ROWS(name, block, count, size, ...)                                              \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,      \
                            const struct vector *x, int tokens, float *y, size_t ldy)    \
    {                                                                                    \
        const struct reader f = {                                                        \
            .bytes = sizeof(struct block), .blocks = count, .group = size, __VA_ARGS__}; \
        multiply_rows(&f, w, row_bytes, rows, n, x, tokens, y, ldy);                     \
    }
#define STEPS(name, as) .weights = step_##name, .scales = step_scales_##as

ROWS(q4_0, block_q4_0, 16, 32, .offset = OFFSET_Q4_0, .narrow = 2, STEPS(q4_0, q4_0))
ROWS(q4_1, block_q4_1, 16, 32, .has_min = true, .narrow = 2, STEPS(q4_1, q4_1))
ROWS(q5_0, block_q5_0, 16, 32, .offset = OFFSET_Q5_0, .narrow = 1, STEPS(q5_0, q5_0))
ROWS(q5_1, block_q5_1, 16, 32, .has_min = true, .narrow = 1, STEPS(q5_1, q5_1))
ROWS(q8_0, block_q8_0, 16, 32, .offset = OFFSET_Q8_0, STEPS(q8_0, q8_0))
ROWS(iq4_nl, block_q4_0, 16, 32, .offset = OFFSET_IQ4, STEPS(iq4_nl, q4_0))
ROWS(q2_k, block_q2_k, 1, 16, .has_min = true, .narrow = 2, STEPS(q2_k, q2_k))
ROWS(q3_k, block_q3_k, 1, 16, .offset = OFFSET_Q3_K, .narrow = 2, STEPS(q3_k, q3_k))
ROWS(q4_k, block_q4_k, 2, 32, .has_min = true, .narrow = 2, STEPS(q4_k, q4_k))
ROWS(q5_k, block_q5_k, 2, 32, .has_min = true, .narrow = 1, STEPS(q5_k, q5_k))
ROWS(q6_k, block_q6_k, 1, 16, .offset = OFFSET_Q6_K, .narrow = 1, STEPS(q6_k, q6_k))
ROWS(iq4_xs, block_iq4_xs, 2, 32, .offset = OFFSET_IQ4, STEPS(iq4_xs, iq4_xs))

/* --- floats -------------------------------------------------------------------------------- */

/* A tile of rows and tokens has at most this many results. */
enum { FLOAT_ROWS = 4, TILE = 8 };

TEMPLATE __m512 load_weights(const void *w, size_t i, enum format format, __mmask16 lanes)
{
    if (format != FORMAT_BF16)
        return load16(w, i, format == FORMAT_F16, lanes);
    __m256i h = load_u16((const uint16_t *)w + i, lanes);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* R rows times T tokens: two sums of 16 lanes for each, since two multiplications start per cycle
 * and each takes four. Where rows or tokens run out the last one is repeated. */
TEMPLATE void multiply_tile(const uint8_t *data, size_t row_bytes, size_t rows, size_t n,
                            const struct vector *x, size_t tokens, float *y, size_t ldy,
                            enum format format, const size_t R, const size_t T)
{
    const size_t size = format == FORMAT_F32 ? 4 : 2;
    const uint8_t *w[FLOAT_ROWS];
    const float *v[FLOAT_ROWS];
    __m512 sum[TILE], odd[TILE];
    UNROLL
    for (size_t r = 0; r < R; r++)
        w[r] = data + (r < rows ? r : rows - 1) * row_bytes;
    UNROLL
    for (size_t t = 0; t < T; t++)
        v[t] = x[t < tokens ? t : tokens - 1].x;
    UNROLL
    for (size_t i = 0; i < R * T; i++)
        sum[i] = odd[i] = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        UNROLL
        for (size_t r = 0; r < R; r++) {
            prefetch(w[r] + i * size, 2 * LANES * size);
            __m512 a = load_weights(w[r], i, format, ALL_LANES);
            __m512 b = load_weights(w[r], i + LANES, format, ALL_LANES);
            UNROLL
            for (size_t t = 0; t < T; t++) {
                size_t k = t * R + r;
                sum[k] = _mm512_fmadd_ps(a, _mm512_loadu_ps(v[t] + i), sum[k]);
                odd[k] = _mm512_fmadd_ps(b, _mm512_loadu_ps(v[t] + i + LANES), odd[k]);
            }
        }
    }
    for (; i < n; i += LANES) {
        __mmask16 lanes = first_lanes(n - i);
        UNROLL
        for (size_t k = 0; k < R * T; k++)
            sum[k] = _mm512_fmadd_ps(load_weights(w[k % R], i, format, lanes),
                                     _mm512_maskz_loadu_ps(lanes, v[k / R] + i), sum[k]);
    }
    float results[TILE];
    UNROLL
    for (size_t k = 0; k < R * T; k++)
        sum[k] = _mm512_add_ps(sum[k], odd[k]);
    UNROLL
    for (size_t k = 0; k < R * T; k += 4)
        _mm_storeu_ps(results + k, sums_of_lanes(sum + k));
    for (size_t t = 0; t < T && t < tokens; t++)
        memcpy(y + t * ldy, results + t * R, (rows < R ? rows : R) * sizeof *y);
}

TEMPLATE void multiply_float_rows(const uint8_t *w, size_t row_bytes, size_t rows, size_t n,
                                  const struct vector *x, int tokens, float *y, size_t ldy,
                                  enum format format)
{
#define MULTIPLY(first, R, T)                                                                   \
    multiply_tile(w + (r + (first)) * row_bytes, row_bytes, rows - r - (first), n, x + t, left, \
                  y + t * ldy + r + (first), ldy, format, R, T)
    size_t n_tokens = (size_t)tokens;
    for (size_t r = 0; r < rows; r += FLOAT_ROWS)
        for (size_t t = 0; t < n_tokens; t += 4) {
            size_t left = n_tokens - t;
            if (left == 1) {
                MULTIPLY(0, 4, 1);
            } else if (left == 2) {
                MULTIPLY(0, 4, 2);
            } else {
                MULTIPLY(0, 2, 4);
                if (rows - r > 2)
                    MULTIPLY(2, 2, 4);
            }
        }
#undef MULTIPLY
}

#define FLOAT_ROWS_OF(name, format)                                                   \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,   \
                            const struct vector *x, int tokens, float *y, size_t ldy) \
    {                                                                                 \
        multiply_float_rows(w, row_bytes, rows, n, x, tokens, y, ldy, format);        \
    }

FLOAT_ROWS_OF(f32, FORMAT_F32)
FLOAT_ROWS_OF(f16, FORMAT_F16)
FLOAT_ROWS_OF(bf16, FORMAT_BF16)

void gemv_avx512(struct kernels *kernels)
{
    kernels->rows[FORMAT_F32] = rows_f32;
    kernels->rows[FORMAT_F16] = rows_f16;
    kernels->rows[FORMAT_BF16] = rows_bf16;
    kernels->rows[FORMAT_Q4_0] = rows_q4_0;
    kernels->rows[FORMAT_Q4_1] = rows_q4_1;
    kernels->rows[FORMAT_Q5_0] = rows_q5_0;
    kernels->rows[FORMAT_Q5_1] = rows_q5_1;
    kernels->rows[FORMAT_Q8_0] = rows_q8_0;
    kernels->rows[FORMAT_Q2_K] = rows_q2_k;
    kernels->rows[FORMAT_Q3_K] = rows_q3_k;
    kernels->rows[FORMAT_Q4_K] = rows_q4_k;
    kernels->rows[FORMAT_Q5_K] = rows_q5_k;
    kernels->rows[FORMAT_Q6_K] = rows_q6_k;
    kernels->rows[FORMAT_IQ4_NL] = rows_iq4_nl;
    kernels->rows[FORMAT_IQ4_XS] = rows_iq4_xs;
}
