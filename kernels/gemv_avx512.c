/* gemv_avx512: rows of weights times one to eight vectors with AVX-512: generation. Weights are
 * decoded into registers and multiplied there with every token; nothing but results is stored.
 *
 * A group's sum comes together in one of two ways. For one token, here, a tree of shuffles and
 * additions does it, and ROWS rows share the loads of the activations; where rows run out the last
 * one is repeated. For several tokens the groups are transposed (gemv_several_avx512.c). Both end
 * in the same vector, so that a token's results have the same bits alone and among others. */
#include "kernels/gemv_avx512.h"

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

/* --- rows ---------------------------------------------------------------------------------- */

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

/* Eight lanes, twice. */
TEMPLATE __m512 twice(__m512 x)
{
    return _mm512_shuffle_f32x4(x, x, 0x44);
}

/* The last blocks of two rows, eight groups each at most, side by side. */
TEMPLATE void step_of_two_rows(const struct reader *f, const uint8_t *const w[ROWS], size_t units,
                               struct q8_row x, __m512 total[ROWS])
{
    size_t groups = units * STEP / f->units, n = groups * f->group;
    __m512i v[8];
    UNROLL
    for (size_t k = 0; k < 4; k++) {
        v[k] = v[4 + k] = _mm512_setzero_si512();
        if (64 * k >= n)
            continue;
        __m512i q = load_x(x.q + 64 * k, n - 64 * k);
        v[k] = _mm512_dpbusd_epi32(v[k], step_weights(f, w[0], units, k), q);
        v[4 + k] = _mm512_dpbusd_epi32(v[4 + k], step_weights(f, w[1], units, k), q);
    }
    __m512i sums = groups_in_twos(v);
    __mmask16 lanes = first_lanes(groups);
    __m512 x_scale = twice(_mm512_maskz_loadu_ps(lanes, x.scale));
    __m512i x_sum = _mm512_castps_si512(twice(_mm512_maskz_loadu_ps(lanes, x.sum)));
    __m512i offset = _mm512_mullo_epi32(x_sum, _mm512_set1_epi32(f->offset));
    __m512 scale, min;
    scales_of_two_rows(f, w, units, &scale, &min);
    add_terms_of_two_rows(f, f->offset ? _mm512_sub_epi32(sums, offset) : sums, scale, min, x_scale,
                          _mm512_cvtepi32_ps(x_sum), total);
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
        size_t units = (groups - at) * f->units / STEP;
        if (in_two_rows(f, groups - at) && groups - at == STEP / 2)
            step_of_two_rows(f, w, f->units / 2, x_at(f, x, at), total);
        else if (in_two_rows(f, groups - at))
            step_of_two_rows(f, w, units, x_at(f, x, at), total);
        else if (f->units > 1 && groups > at)
            step_of_one(f, w, units, x_at(f, x, at), total);
        store_sums(total, rows - r0 < ROWS ? rows - r0 : ROWS, ROWS, y + r0);
    }
}

#define ROWS_OF(name, NAME)                                                           \
    static void rows_##name(const void *w, size_t row_bytes, size_t rows, size_t n,   \
                            const struct vector *x, int tokens, float *y, size_t ldy) \
    {                                                                                 \
        if (tokens == 1)                                                              \
            multiply_one(&reader_##name, w, row_bytes, rows, n, x->q8, y);            \
        else                                                                          \
            several_##name(w, row_bytes, rows, n, x, tokens, y, ldy);                 \
    }
FOR_READERS(ROWS_OF)

void gemv_avx512(struct kernels *kernels)
{
#define FILL(name, NAME) kernels->rows[FORMAT_##NAME] = rows_##name;
    FOR_READERS(FILL)
#undef FILL
}
