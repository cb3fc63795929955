/* gemv_avx512: what the rows of one token and of several share: sums of groups become results.
 *
 * VPDPBUSD multiplies stored weights (unsigned) by activations (signed) and adds them by fours; the
 * format's offset times x.sum is taken off, all in integers. What remains are three operations with
 * the 16 scales of a step. (Intel SDM volume 2, VPDPBUSD.)
 *
 * Where rows end in half a step or less, two rows share one: the groups of the first lie in the
 * lower half of its vectors, those of the second in the upper. */
#ifndef LONGHAND_KERNELS_GEMV_AVX512_H
#define LONGHAND_KERNELS_GEMV_AVX512_H

#include "kernels/gemv_formats_avx512.h"

enum { ROWS = 2 }; /* that share loads of activations, and steps */

/* Two to eight tokens: gemv_several_avx512.c. */
#define DECLARE(name, NAME) row_products several_##name;
FOR_READERS(DECLARE)
#undef DECLARE

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

/* From group `at` on. */
TEMPLATE struct q8_row x_at(const struct reader *f, struct q8_row x, size_t at)
{
    return (struct q8_row){x.q + at * f->group, x.scale + at, x.sum + at};
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

/* The sums of `room` <= 4 totals, of which `count` are wanted. */
TEMPLATE void store_sums(const __m512 *total, size_t count, size_t room, float *y)
{
    __m512 four[4];
    UNROLL
    for (size_t i = 0; i < 4; i++)
        four[i] = i < room ? total[i] : _mm512_setzero_ps();
    _mm_mask_storeu_ps(y, (__mmask8)((1U << count) - 1), sums_of_lanes(four));
}

/* --- steps of two rows --------------------------------------------------------------------- */

/* Whether the `groups` last groups of a row, less than a step, are multiplied together with those
 * of another row. */
TEMPLATE bool in_two_rows(const struct reader *f, size_t groups)
{
    return f->group == 32 && groups > 0 && groups <= STEP / 2;
}

/* The first `units` blocks' heads of two rows, in the two halves. */
TEMPLATE __m512i heads_of_two_rows(const struct reader *f, const uint8_t *const w[ROWS],
                                   size_t units)
{
    __m512i heads = _mm512_setzero_si512();
    UNROLL
    for (size_t i = 0; i < STEP / 2; i++) {
        UNROLL
        for (size_t r = 0; r < ROWS; r++) {
            int head;
            if (i < units) {
                memcpy(&head, w[r] + i * f->bytes, sizeof head);
                heads = _mm512_mask_set1_epi32(heads, (__mmask16)(1 << (STEP / 2 * r + i)), head);
            }
        }
    }
    return heads;
}

/* The same of two rows, eight groups each at most. */
TEMPLATE void scales_of_two_rows(const struct reader *f, const uint8_t *const w[ROWS], size_t units,
                                 __m512 *scale, __m512 *min)
{
    if (f->units == 2) {
        f->scales_two(w[0], w[1], scale, min);
    } else {
        __m512i heads = heads_of_two_rows(f, w, units);
        *scale = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(heads));
        if (f->has_min)
            *min = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(heads, 16)));
    }
}

/* The same of two rows, whose groups lie in the two halves: they go to the lower halves of both
 * totals. */
TEMPLATE void add_terms_of_two_rows(const struct reader *f, __m512i exact, __m512 scale, __m512 min,
                                    __m512 x_scale, __m512 x_sum, __m512 total[ROWS])
{
    __m512 both = _mm512_insertf32x8(total[0], _mm512_castps512_ps256(total[1]), 1);
    add_terms(f, exact, scale, min, x_scale, x_sum, &both);
    total[0] = _mm512_mask_mov_ps(total[0], 0x00FF, both);
    total[1] = _mm512_mask_shuffle_f32x4(total[1], 0x00FF, both, both, 0xEE);
}

#endif
