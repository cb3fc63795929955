/* gemv_several_avx512: rows of weights times two to eight vectors. The weights are transposed once,
 * and the activations, once for all rows: vector c holds the fours c of the groups, whose sums then
 * grow in places of their own, and end in the vector that gemv_avx512.c has, too. */
#include "kernels/gemv_avx512.h"

enum {
    ROW_BLOCK = 16,   /* rows for which sums are kept */
    X_VECTORS = 1024, /* room for activations: 64 KiB */
    X_NEAR = 384,     /* of them, what stays in the first-level cache: 24 KiB */
};

/* --- activations and weights, transposed --------------------------------------------------- */

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

/* The eight groups that there are again, for the second row. */
TEMPLATE void lay_out_twice(const struct reader *f, __m512i begin, __m512i *to)
{
    begin = _mm512_shuffle_i32x4(begin, begin, 0x44);
    to[X_SCALE] = _mm512_shuffle_i32x4(to[X_SCALE], to[X_SCALE], 0x44);
    to[X_SUM] =
        f->has_min ? _mm512_shuffle_i32x4(to[X_SUM], to[X_SUM], 0x44) : order_of_groups(begin);
    UNROLL
    for (int k = 0; k < 4; k++)
        to[X_Q + 4 + k] = to[X_Q + k];
}

/* The next `groups` <= 16 groups, and zeros; or, where two rows share a step, up to eight twice. */
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
    if (in_two_rows(f, groups))
        lay_out_twice(f, begin, to);
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

/* --- rows ---------------------------------------------------------------------------------- */

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

/* The last blocks of two rows, eight groups each at most. */
TEMPLATE void step_of_two_rows_of_several(const struct reader *f, const uint8_t *const w[ROWS],
                                          size_t units, const __m512i *x, int tokens, __m512 *total)
{
    size_t n = units * STEP * f->group / f->units;
    __m512i v[8];
    __m512 scale, min;
    UNROLL
    for (size_t k = 0; k < 4; k++) {
        v[k] = 64 * k < n ? step_weights(f, w[0], units, k) : _mm512_setzero_si512();
        v[4 + k] = 64 * k < n ? step_weights(f, w[1], units, k) : _mm512_setzero_si512();
    }
    part_halves(v);
    transpose_step(f, v);
    scales_of_two_rows(f, w, units, &scale, &min);
    for (int t = 0; t < tokens; t++, x += x_vectors(f), total += ROW_BLOCK) {
        __m512i begin = f->offset ? x[X_SUM] : _mm512_setzero_si512();
        add_terms_of_two_rows(f, sums_in_places(f, begin, v, x + X_Q), scale, min,
                              _mm512_castsi512_ps(x[X_SCALE]), _mm512_castsi512_ps(x[X_SUM]),
                              total);
    }
}

/* `groups` groups of a row, but for those that it shares steps of with another. */
TEMPLATE void row_of_several(const struct reader *f, const uint8_t *w, size_t groups,
                             const __m512i *x, int tokens, __m512 *total)
{
    size_t step_bytes = f->bytes * f->units;
    for (; groups >= STEP; groups -= STEP, w += step_bytes, x += x_vectors(f) * (size_t)tokens) {
        prefetch(w, step_bytes);
        step_of_several(f, w, f->units, x, tokens, total);
    }
    if (f->units > 1 && groups > 0 && !in_two_rows(f, groups))
        step_of_several(f, w, groups * f->units / STEP, x, tokens, total);
}

/* The `groups` last groups of rows whose blocks there begin at w; x is laid out for them. An odd
 * last row is its own partner. */
TEMPLATE void rows_by_twos(const struct reader *f, const uint8_t *w, size_t row_bytes, size_t rows,
                           size_t groups, const __m512i *x, int tokens, __m512 *total)
{
    for (size_t r = 0; r < rows; r += ROWS) {
        const uint8_t *both[ROWS] = {w + r * row_bytes, w + (r + 1 < rows ? r + 1 : r) * row_bytes};
        if (groups == STEP / 2)
            step_of_two_rows_of_several(f, both, f->units / 2, x, tokens, total + r);
        else
            step_of_two_rows_of_several(f, both, groups * f->units / STEP, x, tokens, total + r);
    }
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
            for (size_t r = 0; r < count; r++)
                row_of_several(f, at + r * row_bytes, end - g, near, tokens, total + r);
            size_t steps = (end - g) / STEP;
            if (in_two_rows(f, end - g - steps * STEP))
                rows_by_twos(f, at + steps * f->bytes * f->units, row_bytes, count,
                             end - g - steps * STEP, near + steps * vectors, tokens, total);
        }
        for (size_t t = 0; t < (size_t)tokens; t++)
            for (size_t r = 0; r < count; r += 4)
                store_sums(total + t * ROW_BLOCK + r, count - r < 4 ? count - r : 4, 4,
                           y + t * ldy + r0 + r);
    }
}

#define SEVERAL(name, NAME)                                                         \
    void several_##name(const void *w, size_t row_bytes, size_t rows, size_t n,     \
                        const struct vector *x, int tokens, float *y, size_t ldy)   \
    {                                                                               \
        multiply_several(&reader_##name, w, row_bytes, rows, n, x, tokens, y, ldy); \
    }
FOR_READERS(SEVERAL)
