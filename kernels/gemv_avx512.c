/* gemv_avx512: rows of weights times one to eight vectors with AVX-512: generation. Weights are
 * decoded into registers once for up to TOKENS vectors; nothing but the results is stored.
 *
 * A step is 16 groups: 512 or 256 weights, 8 or 4 vectors. VPDPBUSD multiplies stored weights
 * (unsigned) by activations (signed) and adds them by fours; a tree of additions brings the sums of
 * the 16 groups into one vector; the format's offset times x.sum is taken off, all in integers.
 * What remains are three operations with the 16 scales. (Intel SDM volume 2, VPDPBUSD.)
 *
 * ROWS rows share the loads of the activations. Where rows run out the last one is repeated, so
 * that every row is summed in the same order however rows are cut. */
#include "kernels/avx512.h"
#include "kernels/scales_avx512.h"

enum {
    ROWS = 2,
    TOKENS = 4,
    STEP = 16, /* groups */
};

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

/* --- decoding ------------------------------------------------------------------------------ */

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

/* --- sums ---------------------------------------------------------------------------------- */

TEMPLATE __m512i add_pairs(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/* In each 128 bits, the sums of a, b, c and d there. */
TEMPLATE __m512i add_quads(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    return add_pairs(ab, cd);
}

/* 64 activations, or those of them that are among the `left` next ones. */
TEMPLATE __m512i load_x(const int8_t *x, size_t left)
{
    if (left >= 64)
        return _mm512_loadu_si512(x);
    return _mm512_maskz_loadu_epi8((__mmask64)((1ULL << left) - 1), x);
}

/* Sixteen groups, four in each of four vectors, to one vector in order. */
TEMPLATE __m512i groups_in_fours(__m512i v[4])
{
    return _mm512_permutexvar_epi32(/* from 0 4 8 12 | 1 5 9 13 | .. */
                                    _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7,
                                                      11, 15),
                                    add_quads(v[0], v[1], v[2], v[3]));
}

/* Two in each of eight vectors. */
TEMPLATE __m512i groups_in_twos(__m512i v[8])
{
    __m512i low = add_quads(v[0], v[1], v[2], v[3]), high = add_quads(v[4], v[5], v[6], v[7]);
    __m512i sums = _mm512_add_epi32(_mm512_shuffle_i32x4(low, high, 0x88),
                                    _mm512_shuffle_i32x4(low, high, 0xDD));
    return _mm512_permutexvar_epi32(/* from 0 2 4 6 | 1 3 5 7 | 8 10 12 14 | 9 11 13 15 */
                                    _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14,
                                                      11, 15),
                                    sums);
}

/* The group sums of a whole step of ROWS rows and all tokens, by vectors of four groups. */
TEMPLATE void sums_by_fours(const struct reader *f, const uint8_t *const w[ROWS],
                            const int8_t *const *x, int tokens, __m512i sums[ROWS][TOKENS])
{
    __m512i first[ROWS][4], second[ROWS][4];
    UNROLL
    for (size_t i = 0; i < 4; i++)
        UNROLL
    for (int r = 0; r < ROWS; r++)
        f->four(quarter(f, w[r], i), &first[r][i], &second[r][i]);
    UNROLL
    for (int t = 0; t < tokens; t++) {
        __m512i v[ROWS][4];
        UNROLL
        for (size_t i = 0; i < 4; i++) {
            __m512i a = _mm512_loadu_si512(x[t] + 128 * i),
                    b = _mm512_loadu_si512(x[t] + 128 * i + 64);
            __m512i x_first = _mm512_shuffle_i32x4(a, b, 0x88);
            __m512i x_second = _mm512_shuffle_i32x4(a, b, 0xDD);
            UNROLL
            for (int r = 0; r < ROWS; r++) {
                v[r][i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), first[r][i], x_first);
                v[r][i] = _mm512_dpbusd_epi32(v[r][i], second[r][i], x_second);
            }
        }
        UNROLL
        for (int r = 0; r < ROWS; r++)
            sums[r][t] = groups_in_fours(v[r]);
    }
}

/* The same of `units` blocks, by vectors of 64 weights in order: two groups or four. */
TEMPLATE void sums_in_order(const struct reader *f, const uint8_t *const w[ROWS], size_t units,
                            const int8_t *const *x, int tokens, __m512i sums[ROWS][TOKENS])
{
    size_t n = units * STEP * f->group / f->units, vectors = STEP * f->group / 64;
    __m512i weights[ROWS][8];
    UNROLL
    for (size_t k = 0; k < vectors; k++)
        UNROLL
    for (int r = 0; r < ROWS; r++)
        weights[r][k] = 64 * k < n ? step_weights(f, w[r], units, k) : _mm512_setzero_si512();
    UNROLL
    for (int t = 0; t < tokens; t++) {
        __m512i v[ROWS][8];
        UNROLL
        for (size_t k = 0; k < vectors; k++) {
            UNROLL
            for (int r = 0; r < ROWS; r++)
                v[r][k] = _mm512_setzero_si512();
            if (64 * k >= n)
                continue;
            __m512i q = load_x(x[t] + 64 * k, n - 64 * k);
            UNROLL
            for (int r = 0; r < ROWS; r++)
                v[r][k] = _mm512_dpbusd_epi32(v[r][k], weights[r][k], q);
        }
        UNROLL
        for (int r = 0; r < ROWS; r++)
            sums[r][t] = f->group == 16 ? groups_in_fours(v[r]) : groups_in_twos(v[r]);
    }
}

/* One step of `units` blocks from group `at` on, of ROWS rows. */
TEMPLATE void add_step(const struct reader *f, const uint8_t *const w[ROWS], size_t units,
                       size_t at, const struct vector *x, int tokens, __m512 total[ROWS][TOKENS])
{
    __m512i sums[ROWS][TOKENS];
    const int8_t *q[TOKENS];
    UNROLL
    for (int t = 0; t < tokens; t++)
        q[t] = x[t].q8.q + at * f->group;
    if (f->four && units == f->units)
        sums_by_fours(f, w, q, tokens, sums);
    else
        sums_in_order(f, w, units, q, tokens, sums);
    __m512 scale[ROWS], min[ROWS];
    UNROLL
    for (int r = 0; r < ROWS; r++)
        step_scales(f, w[r], units, &scale[r], &min[r]);
    __mmask16 lanes = first_lanes(units * STEP / f->units);
    UNROLL
    for (int t = 0; t < tokens; t++) {
        __m512i x_sum = _mm512_maskz_loadu_epi32(lanes, x[t].q8.sum + at);
        __m512 x_scale = load_f32(x[t].q8.scale + at, lanes);
        __m512i offset = _mm512_mullo_epi32(x_sum, _mm512_set1_epi32(f->offset));
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            __m512i exact = f->offset ? _mm512_sub_epi32(sums[r][t], offset) : sums[r][t];
            __m512 term = _mm512_mul_ps(_mm512_cvtepi32_ps(exact), scale[r]);
            if (f->has_min && f->units == STEP)
                term = _mm512_fmadd_ps(min[r], _mm512_cvtepi32_ps(x_sum), term);
            else if (f->has_min)
                term = _mm512_fnmadd_ps(min[r], _mm512_cvtepi32_ps(x_sum), term);
            total[r][t] = _mm512_fmadd_ps(term, x_scale, total[r][t]);
        }
    }
}

/* ROWS rows, of which the first `live` count, times a constant number of tokens <= TOKENS. `ask`:
 * for the weights that come later; only the first tokens need. */
TEMPLATE void multiply_tile(const struct reader *f, const uint8_t *const rows[ROWS], size_t live,
                            size_t n, const struct vector *x, int tokens, bool ask, float *y,
                            size_t ldy)
{
    const uint8_t *w[ROWS];
    __m512 total[ROWS][TOKENS];
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        w[r] = rows[r];
        UNROLL
        for (int t = 0; t < tokens; t++)
            total[r][t] = _mm512_setzero_ps();
    }
    size_t groups = n / f->group, at = 0;
    for (; groups - at >= STEP; at += STEP) {
        UNROLL
        for (int r = 0; r < ROWS; r++)
            if (ask)
                prefetch(w[r], f->bytes * f->units);
        add_step(f, w, f->units, at, x, tokens, total);
        UNROLL
        for (int r = 0; r < ROWS; r++)
            w[r] += f->bytes * f->units;
    }
    if (f->units > 1 && groups > at)
        add_step(f, w, (groups - at) * f->units / STEP, at, x, tokens, total);
    UNROLL
    for (int t = 0; t < tokens; t++)
        UNROLL
    for (size_t r = 0; r < ROWS; r++)
        if (r < live)
            y[(size_t)t * ldy + r] = _mm512_reduce_add_ps(total[r][t]);
}

/* The same for any number of tokens. */
TEMPLATE void multiply_tiles(const struct reader *f, const uint8_t *const rows[ROWS], size_t live,
                             size_t n, const struct vector *x, int tokens, float *y, size_t ldy)
{
    for (int t = 0; t < tokens; t += TOKENS, x += TOKENS, y += TOKENS * ldy) {
        switch (tokens - t) {
        case 1:
            multiply_tile(f, rows, live, n, x, 1, false, y, ldy);
            break;
        case 2:
            multiply_tile(f, rows, live, n, x, 2, t == 0, y, ldy);
            break;
        case 3:
            multiply_tile(f, rows, live, n, x, 3, t == 0, y, ldy);
            break;
        default:
            multiply_tile(f, rows, live, n, x, 4, t == 0, y, ldy);
            break;
        }
    }
}

TEMPLATE void multiply_rows(const struct reader *f, const uint8_t *data, size_t row_bytes,
                            size_t rows, size_t n, const struct vector *x, int tokens, float *y,
                            size_t ldy)
{
    for (size_t r0 = 0; r0 < rows; r0 += ROWS) {
        const uint8_t *w[ROWS];
        UNROLL
        for (size_t r = 0; r < ROWS; r++)
            w[r] = data + (r0 + r < rows ? r0 + r : rows - 1) * row_bytes;
        if (tokens == 1)
            multiply_tile(f, w, rows - r0, n, x, 1, true, y + r0, ldy);
        else
            multiply_tiles(f, w, rows - r0, n, x, tokens, y + r0, ldy);
    }
}

/* A format of blocks of 32. */
#define ROWS_OF_32(name, block, off, minima, ...)                                     \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,   \
                            const struct vector *x, int tokens, float *y, size_t ldy) \
    {                                                                                 \
        const struct reader f = {.bytes = sizeof(struct block),                       \
                                 .units = 16,                                         \
                                 .group = 32,                                         \
                                 .offset = off,                                       \
                                 .has_min = minima,                                   \
                                 __VA_ARGS__};                                        \
        multiply_rows(&f, w, row_bytes, rows, n, x, tokens, y, ldy);                  \
    }

/* A K format, of eight groups of 32 or sixteen of 16. */
#define ROWS_OF_256(name, size, off, minima, ...)                                     \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,   \
                            const struct vector *x, int tokens, float *y, size_t ldy) \
    {                                                                                 \
        const struct reader f = {.bytes = sizeof(struct block_##name),                \
                                 .units = size / 16,                                  \
                                 .group = size,                                       \
                                 .offset = off,                                       \
                                 .has_min = minima,                                   \
                                 __VA_ARGS__};                                        \
        multiply_rows(&f, w, row_bytes, rows, n, x, tokens, y, ldy);                  \
    }

ROWS_OF_32(q4_0, block_q4_0, OFFSET_Q4_0, false, .two = decode_q4_0, .four = four_q4_0)
ROWS_OF_32(q4_1, block_q4_1, 0, true, .two = decode_q4_1, .four = four_q4_1)
ROWS_OF_32(q5_0, block_q5_0, OFFSET_Q5_0, false, .two = decode_q5_0)
ROWS_OF_32(q5_1, block_q5_1, 0, true, .two = decode_q5_1)
ROWS_OF_32(q8_0, block_q8_0, OFFSET_Q8_0, false, .two = decode_q8_0)
ROWS_OF_32(iq4_nl, block_q4_0, OFFSET_IQ4, false, .two = decode_iq4_nl, .four = four_iq4_nl)
ROWS_OF_256(q2_k, 16, 0, true, .scales_one = scales_q2_k, .part = decode_q2_k)
ROWS_OF_256(q3_k, 16, OFFSET_Q3_K, false, .scales_one = scales_q3_k, .part = decode_q3_k)
ROWS_OF_256(q4_k, 32, 0, true, .scales_two = scales_k, .part = decode_q4_k)
ROWS_OF_256(q5_k, 32, 0, true, .scales_two = scales_k, .part = decode_q5_k)
ROWS_OF_256(q6_k, 16, OFFSET_Q6_K, false, .scales_one = scales_q6_k, .part = decode_q6_k)
ROWS_OF_256(iq4_xs, 32, OFFSET_IQ4, false, .scales_two = scales_iq4_xs, .part = decode_iq4_xs,
            .four = four_iq4_xs)

void gemv_avx512(struct kernels *kernels)
{
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
