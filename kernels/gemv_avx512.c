/* gemv_avx512: rows of weights times one to eight vectors with AVX-512: generation. Weights are
 * decoded into registers and multiplied there with every token; nothing but results is stored.
 *
 * A step is 16 groups: 512 or 256 weights, 8 or 4 vectors. VPDPBUSD multiplies stored weights
 * (unsigned) by activations (signed) and adds them by fours; the format's offset times x.sum is
 * taken off, all in integers. What remains are three operations with the 16 scales. (Intel SDM
 * volume 2, VPDPBUSD.)
 *
 * A group's sum comes together in one of two ways. For one token a tree of shuffles and additions
 * does it, and ROWS rows share the loads of the activations; where rows run out the last one is
 * repeated. For several tokens the weights are transposed once, and the activations, once for all
 * rows: vector c holds the fours c of the groups, whose sums then grow in places of their own. Both
 * end in the same vector, so that a token's results have the same bits alone and among others. */
#include "kernels/avx512.h"
#include "kernels/scales_avx512.h"

enum {
    ROWS = 2,
    STEP = 16,        /* groups */
    ROW_BLOCK = 16,   /* rows for which the sums of several tokens are kept */
    X_VECTORS = 1024, /* room for activations: 64 KiB */
    X_NEAR = 384,     /* of them, what stays in the first-level cache: 24 KiB */
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

/* From groups 0 4 8 12 | 1 5 9 13 | 2 6 10 14 | 3 7 11 15 to their order, and back. */
TEMPLATE __m512i order_of_groups(__m512i x)
{
    return _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), x);
}

/* Sixteen groups, four in each of four vectors, to one vector in order. */
TEMPLATE __m512i groups_in_fours(__m512i v[4])
{
    return order_of_groups(add_quads(v[0], v[1], v[2], v[3]));
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

/* The group sums of a whole step of ROWS rows, by vectors of four groups. */
TEMPLATE void sums_by_fours(const struct reader *f, const uint8_t *const w[ROWS], const int8_t *x,
                            __m512i sums[ROWS])
{
    __m512i v[ROWS][4];
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        __m512i a = _mm512_loadu_si512(x + 128 * i), b = _mm512_loadu_si512(x + 128 * i + 64);
        __m512i x_first = _mm512_shuffle_i32x4(a, b, 0x88);
        __m512i x_second = _mm512_shuffle_i32x4(a, b, 0xDD);
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            __m512i first, second;
            f->four(quarter(f, w[r], i), &first, &second);
            v[r][i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), first, x_first);
            v[r][i] = _mm512_dpbusd_epi32(v[r][i], second, x_second);
        }
    }
    UNROLL
    for (int r = 0; r < ROWS; r++)
        sums[r] = groups_in_fours(v[r]);
}

/* The same of `units` blocks, by vectors of 64 weights in order: two groups or four. */
TEMPLATE void sums_in_order(const struct reader *f, const uint8_t *const w[ROWS], size_t units,
                            const int8_t *x, __m512i sums[ROWS])
{
    size_t n = units * STEP * f->group / f->units, vectors = STEP * f->group / 64;
    __m512i v[ROWS][8];
    UNROLL
    for (size_t k = 0; k < vectors; k++) {
        UNROLL
        for (int r = 0; r < ROWS; r++)
            v[r][k] = _mm512_setzero_si512();
        if (64 * k >= n)
            continue;
        __m512i q = load_x(x + 64 * k, n - 64 * k);
        UNROLL
        for (int r = 0; r < ROWS; r++)
            v[r][k] = _mm512_dpbusd_epi32(v[r][k], step_weights(f, w[r], units, k), q);
    }
    UNROLL
    for (int r = 0; r < ROWS; r++)
        sums[r] = f->group == 16 ? groups_in_fours(v[r]) : groups_in_twos(v[r]);
}

/* total += x.scale * (scale * exact -+ min * x.sum), exact being sums less offset * x.sum. */
TEMPLATE void add_terms(const struct reader *f, __m512i exact, __m512 scale, __m512 min,
                        __m512 x_scale, __m512 x_sum, __m512 *total)
{
    __m512 term = _mm512_mul_ps(_mm512_cvtepi32_ps(exact), scale);
    if (f->has_min && f->units == STEP)
        term = _mm512_fmadd_ps(min, x_sum, term);
    else if (f->has_min)
        term = _mm512_fnmadd_ps(min, x_sum, term);
    *total = _mm512_fmadd_ps(term, x_scale, *total);
}

/* From group `at` on. */
TEMPLATE struct q8_row x_at(const struct reader *f, struct q8_row x, size_t at)
{
    return (struct q8_row){x.q + at * f->group, x.scale + at, x.sum + at};
}

/* --- one token ----------------------------------------------------------------------------- */

/* One step of `units` blocks of ROWS rows. */
TEMPLATE void step_of_one(const struct reader *f, const uint8_t *const w[ROWS], size_t units,
                          struct q8_row x, __m512 total[ROWS])
{
    __m512i sums[ROWS];
    if (f->four && units == f->units)
        sums_by_fours(f, w, x.q, sums);
    else
        sums_in_order(f, w, units, x.q, sums);
    __mmask16 lanes = first_lanes(units * STEP / f->units);
    __m512 x_scale = load_f32(x.scale, lanes);
    __m512i x_sum = _mm512_maskz_loadu_epi32(lanes, x.sum);
    __m512i offset = _mm512_mullo_epi32(x_sum, _mm512_set1_epi32(f->offset));
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        __m512 scale, min;
        step_scales(f, w[r], units, &scale, &min);
        __m512i exact = f->offset ? _mm512_sub_epi32(sums[r], offset) : sums[r];
        add_terms(f, exact, scale, min, x_scale, _mm512_cvtepi32_ps(x_sum), &total[r]);
    }
}

TEMPLATE void multiply_one(const struct reader *f, const uint8_t *data, size_t row_bytes,
                           size_t rows, size_t n, struct q8_row x, float *y)
{
    size_t groups = n / f->group, step_bytes = f->bytes * f->units;
    for (size_t r0 = 0; r0 < rows; r0 += ROWS) {
        const uint8_t *w[ROWS];
        __m512 total[ROWS];
        UNROLL
        for (size_t r = 0; r < ROWS; r++) {
            w[r] = data + (r0 + r < rows ? r0 + r : rows - 1) * row_bytes;
            total[r] = _mm512_setzero_ps();
        }
        size_t at = 0;
        for (; groups - at >= STEP; at += STEP) {
            UNROLL
            for (int r = 0; r < ROWS; r++)
                prefetch(w[r], step_bytes);
            step_of_one(f, w, f->units, x_at(f, x, at), total);
            UNROLL
            for (int r = 0; r < ROWS; r++)
                w[r] += step_bytes;
        }
        if (f->units > 1 && groups > at)
            step_of_one(f, w, (groups - at) * f->units / STEP, x_at(f, x, at), total);
        UNROLL
        for (size_t r = 0; r < ROWS; r++)
            if (r0 + r < rows)
                y[r0 + r] = _mm512_reduce_add_ps(total[r]);
    }
}

/* --- several tokens ------------------------------------------------------------------------ */

/* Vectors of weights in a step. */
TEMPLATE size_t step_vectors(const struct reader *f)
{
    return STEP * f->group / 64;
}

/* What a step takes of one token: x.scale; x.sum as floats where there are minima, and otherwise
 * what sums in places begin with; the transposed activations. */
enum { X_SCALE, X_SUM, X_Q };

TEMPLATE size_t x_vectors(const struct reader *f)
{
    return X_Q + step_vectors(f);
}

/* Eight vectors of two groups of 32 to four with the first halves of four groups and four with the
 * second. */
TEMPLATE void part_halves(__m512i v[8])
{
    __m512i second[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        second[i] = _mm512_shuffle_i32x4(v[2 * i], v[2 * i + 1], 0xDD);
        v[i] = _mm512_shuffle_i32x4(v[2 * i], v[2 * i + 1], 0x88);
    }
    UNROLL
    for (int i = 0; i < 4; i++)
        v[4 + i] = second[i];
}

/* In each 128 bits, unit c of v[i] to unit i of v[c]. */
TEMPLATE void transpose_fours(__m512i v[4])
{
    __m512i ab01 = _mm512_unpacklo_epi32(v[0], v[1]), ab23 = _mm512_unpackhi_epi32(v[0], v[1]);
    __m512i cd01 = _mm512_unpacklo_epi32(v[2], v[3]), cd23 = _mm512_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm512_unpacklo_epi64(ab01, cd01);
    v[1] = _mm512_unpackhi_epi64(ab01, cd01);
    v[2] = _mm512_unpacklo_epi64(ab23, cd23);
    v[3] = _mm512_unpackhi_epi64(ab23, cd23);
}

/* Of a step of halves, or of groups of 16. */
TEMPLATE void transpose_step(const struct reader *f, __m512i *v)
{
    transpose_fours(v);
    if (f->group == 32)
        transpose_fours(v + 4);
}

/* The weights of `units` blocks, transposed. */
TEMPLATE void transposed_weights(const struct reader *f, const uint8_t *w, size_t units,
                                 __m512i v[8])
{
    if (f->four && units == f->units) {
        UNROLL
        for (size_t i = 0; i < 4; i++)
            f->four(quarter(f, w, i), &v[i], &v[4 + i]);
    } else {
        size_t n = units * STEP * f->group / f->units;
        UNROLL
        for (size_t k = 0; k < step_vectors(f); k++)
            v[k] = 64 * k < n ? step_weights(f, w, units, k) : _mm512_setzero_si512();
        if (f->group == 32)
            part_halves(v);
    }
    transpose_step(f, v);
}

/* The next `groups` <= 16 groups, and zeros. */
TEMPLATE void lay_out_step(const struct reader *f, struct q8_row x, size_t groups, __m512i *to)
{
    __mmask16 lanes = first_lanes(groups);
    __m512i sum = _mm512_maskz_loadu_epi32(lanes, x.sum);
    __m512i begin = _mm512_mullo_epi32(sum, _mm512_set1_epi32(-f->offset));
    to[X_SCALE] = _mm512_castps_si512(load_f32(x.scale, lanes));
    to[X_SUM] = f->has_min ? _mm512_castps_si512(_mm512_cvtepi32_ps(sum)) : order_of_groups(begin);
    size_t n = groups * f->group;
    UNROLL
    for (size_t k = 0; k < step_vectors(f); k++)
        to[X_Q + k] = 64 * k < n ? load_x(x.q + 64 * k, n - 64 * k) : _mm512_setzero_si512();
    if (f->group == 32)
        part_halves(to + X_Q);
    transpose_step(f, to + X_Q);
}

/* Groups [at, end) of all tokens, step by step and within a step token by token. */
TEMPLATE void lay_out(const struct reader *f, const struct vector *x, int tokens, size_t at,
                      size_t end, __m512i *to)
{
    for (; at < end; at += STEP)
        for (int t = 0; t < tokens; t++, to += x_vectors(f))
            lay_out_step(f, x_at(f, x[t].q8, at), end - at < STEP ? end - at : STEP, to);
}

/* `sum` and the sums of 16 groups, in order. */
TEMPLATE __m512i sums_in_places(const struct reader *f, __m512i sum, const __m512i *v,
                                const __m512i *x)
{
    __m512i other = _mm512_setzero_si512();
    UNROLL
    for (int c = 0; c < 4; c++) {
        sum = _mm512_dpbusd_epi32(sum, v[c], x[c]);
        if (f->group == 32)
            other = _mm512_dpbusd_epi32(other, v[4 + c], x[4 + c]);
    }
    return order_of_groups(f->group == 32 ? _mm512_add_epi32(sum, other) : sum);
}

/* total[t * ROW_BLOCK] += a step of `units` blocks times that of every token. */
TEMPLATE void step_of_several(const struct reader *f, const uint8_t *w, size_t units,
                              const __m512i *x, int tokens, __m512 *total)
{
    __m512i v[8];
    __m512 scale, min;
    transposed_weights(f, w, units, v);
    step_scales(f, w, units, &scale, &min);
    for (int t = 0; t < tokens; t++, x += x_vectors(f), total += ROW_BLOCK) {
        __m512i begin = f->offset ? x[X_SUM] : _mm512_setzero_si512();
        add_terms(f, sums_in_places(f, begin, v, x + X_Q), scale, min,
                  _mm512_castsi512_ps(x[X_SCALE]), _mm512_castsi512_ps(x[X_SUM]), total);
    }
}

/* `groups` groups of a row. */
TEMPLATE void row_of_several(const struct reader *f, const uint8_t *w, size_t groups,
                             const __m512i *x, int tokens, __m512 *total)
{
    size_t step_bytes = f->bytes * f->units;
    for (; groups >= STEP; groups -= STEP, w += step_bytes, x += x_vectors(f) * (size_t)tokens) {
        prefetch(w, step_bytes);
        step_of_several(f, w, f->units, x, tokens, total);
    }
    if (f->units > 1 && groups > 0)
        step_of_several(f, w, groups * f->units / STEP, x, tokens, total);
}

/* As many columns at a time as stay in the cache for all tokens; all of them are laid out once if
 * there is room, and otherwise for every block of rows. */
TEMPLATE void multiply_several(const struct reader *f, const uint8_t *w, size_t row_bytes,
                               size_t rows, size_t n, const struct vector *x, int tokens, float *y,
                               size_t ldy)
{
    __m512i laid_out[X_VECTORS];
    __m512 total[ROW_TOKENS_MAX * ROW_BLOCK];
    size_t groups = n / f->group, vectors = x_vectors(f) * (size_t)tokens;
    size_t chunk = X_NEAR / vectors * STEP;
    bool all = (groups + STEP - 1) / STEP * vectors <= X_VECTORS;
    for (size_t r0 = 0; r0 < rows; r0 += ROW_BLOCK) {
        size_t count = rows - r0 < ROW_BLOCK ? rows - r0 : ROW_BLOCK;
        for (int i = 0; i < tokens * ROW_BLOCK; i++)
            total[i] = _mm512_setzero_ps();
        for (size_t g = 0; g < groups; g += chunk) {
            size_t end = groups - g < chunk ? groups : g + chunk;
            __m512i *near = laid_out + (all ? g / STEP * vectors : 0);
            if (r0 == 0 || !all)
                lay_out(f, x, tokens, g, end, near);
            const uint8_t *at = w + r0 * row_bytes + g / STEP * f->bytes * f->units;
            for (size_t r = 0; r < count; r++, at += row_bytes)
                row_of_several(f, at, end - g, near, tokens, total + r);
        }
        for (size_t t = 0; t < (size_t)tokens; t++)
            for (size_t r = 0; r < count; r++)
                y[t * ldy + r0 + r] = _mm512_reduce_add_ps(total[t * ROW_BLOCK + r]);
    }
}

TEMPLATE void multiply_rows(const struct reader *f, const uint8_t *w, size_t row_bytes, size_t rows,
                            size_t n, const struct vector *x, int tokens, float *y, size_t ldy)
{
    if (tokens == 1)
        multiply_one(f, w, row_bytes, rows, n, x->q8, y);
    else
        multiply_several(f, w, row_bytes, rows, n, x, tokens, y, ldy);
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
