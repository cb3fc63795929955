/* avx512: what AVX-512 (F, BW, VL, DQ and VNNI) does better than AVX2.
 *
 * VPDPBUSD multiplies unsigned by signed bytes. The unsigned operand is weight + 128 (a flip of the
 * top bit), the signed one the activation, so every group of products is too large by 128 * x.sum,
 * which is taken off again in integers: results are exact up to the multiplication by the scales.
 * (Intel SDM volume 2, VPDPBUSD.) Two 512-bit operations start per cycle, each with a latency of
 * four or five, so inner loops keep at least ten of them independent. Products of few tokens are
 * in gemv_avx512.c and gemv_float_avx512.c, activations in avx512_rows.c, the block formats in
 * decode_avx512.h. */
#include <float.h>

#include "kernels/avx512.h"

enum { PANEL_ROWS = 32, TILE_TOKENS = 6 };

/* --- 8-bit integers ----------------------------------------------------------------------- */

/* One group in `vectors` registers of 16; see kernels.h for the rule. */
TEMPLATE void quantize_group(const float *x, int vectors, int8_t *q, float *scale, int32_t *sum)
{
    __m512 v[2];
    __m512i bits = _mm512_setzero_si512();
    for (int k = 0; k < vectors; k++) {
        v[k] = _mm512_loadu_ps(x + k * LANES);
        __m512i magnitude =
            _mm512_and_si512(_mm512_castps_si512(v[k]), _mm512_set1_epi32(0x7FFFFFFF));
        bits = _mm512_max_epu32(bits, magnitude);
    }
    float max =
        _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128((int)_mm512_reduce_max_epu32(bits))));
    __mmask16 live = max >= Q8_TINY && max <= FLT_MAX ? 0xFFFF : 0;
    __m512 inverse = _mm512_set1_ps(127.0F / max);
    __m512i total = _mm512_setzero_si512();
    for (int k = 0; k < vectors; k++) {
        __m512i rounded = _mm512_maskz_cvt_roundps_epi32(
            live, _mm512_mul_ps(v[k], inverse), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        total = _mm512_add_epi32(total, rounded);
        _mm_storeu_si128((__m128i *)(void *)(q + k * LANES), _mm512_cvtepi32_epi8(rounded));
    }
    *scale = max < Q8_TINY ? 0.0F : max / 127.0F;
    *sum = _mm512_reduce_add_epi32(total);
}

static void quantize_q8(const float *x, size_t n, int group, int8_t *q, float *scale, int32_t *sum)
{
    if (group == 32) {
        for (size_t i = 0; i < n; i += 32)
            quantize_group(x + i, 2, q + i, scale++, sum++);
    } else {
        for (size_t i = 0; i < n; i += 16)
            quantize_group(x + i, 1, q + i, scale++, sum++);
    }
}

/* --- panels -----------------------------------------------------------------------------------
 *
 * 32 rows, interleaved in units of 32 bits (one float or four bytes), so that two registers hold
 * the next unit of every row:   unit 0: row 0 .. row 31 | unit 1: row 0 .. row 31 | ... Bytes are
 * weight + 128. */

/* `units` units of 16 rows, each flipped by `flip`, to every other vector of the panel. */
TEMPLATE void interleave(const void *const *rows, size_t units, __m512i flip, uint32_t *panel)
{
    for (size_t u = 0; u < units; u += 16) {
        __mmask16 lanes = first_lanes(units - u);
        __m512i r[16];
        UNROLL
        for (int i = 0; i < 16; i++)
            r[i] = _mm512_xor_si512(_mm512_maskz_loadu_epi32(lanes, (const uint32_t *)rows[i] + u),
                                    flip);
        transpose(r);
        if (units - u >= 16) {
            UNROLL
            for (size_t i = 0; i < 16; i++)
                _mm512_storeu_si512(panel + (u + i) * PANEL_ROWS, r[i]);
        } else {
            for (size_t i = 0; i < units - u; i++)
                _mm512_storeu_si512(panel + (u + i) * PANEL_ROWS, r[i]);
        }
    }
}

static void panel_f32(const float *const *rows, size_t n, float *panel)
{
    for (int half = 0; half < PANEL_ROWS; half += 16)
        interleave((const void *const *)rows + half, n, _mm512_setzero_si512(),
                   (uint32_t *)(void *)panel + half);
}

static void panel_q8(const int8_t *const *rows, size_t n, int8_t *panel)
{
    for (int half = 0; half < PANEL_ROWS; half += 16)
        interleave((const void *const *)rows + half, n / 4, _mm512_set1_epi8(-128),
                   (uint32_t *)(void *)panel + half);
}

/* y[t] += sum, for two vectors of rows. */
TEMPLATE void add_tile(float *y, size_t ldy, __m512 sum[][2], int tokens)
{
    UNROLL
    for (int t = 0; t < tokens; t++) {
        float *row = y + (size_t)t * ldy;
        _mm512_storeu_ps(row, _mm512_add_ps(_mm512_loadu_ps(row), sum[t][0]));
        _mm512_storeu_ps(row + LANES, _mm512_add_ps(_mm512_loadu_ps(row + LANES), sum[t][1]));
    }
}

TEMPLATE void product_f32_tile(const float *panel, size_t n, const float *const *x, int tokens,
                               float *y, size_t ldy)
{
    __m512 sum[TILE_TOKENS][2];
    UNROLL
    for (int t = 0; t < tokens; t++)
        sum[t][0] = sum[t][1] = _mm512_setzero_ps();
    for (size_t k = 0; k < n; k++, panel += PANEL_ROWS) {
        __m512 w0 = _mm512_loadu_ps(panel), w1 = _mm512_loadu_ps(panel + LANES);
        UNROLL
        for (int t = 0; t < tokens; t++) {
            __m512 v = _mm512_set1_ps(x[t][k]);
            sum[t][0] = _mm512_fmadd_ps(w0, v, sum[t][0]);
            sum[t][1] = _mm512_fmadd_ps(w1, v, sum[t][1]);
        }
    }
    add_tile(y, ldy, sum, tokens);
}

static void product_f32(const float *panel, size_t n, const float *const *x, int tokens, float *y,
                        size_t ldy)
{
    switch (tokens) {
    case 1:
        product_f32_tile(panel, n, x, 1, y, ldy);
        break;
    case 2:
        product_f32_tile(panel, n, x, 2, y, ldy);
        break;
    case 3:
        product_f32_tile(panel, n, x, 3, y, ldy);
        break;
    case 4:
        product_f32_tile(panel, n, x, 4, y, ldy);
        break;
    case 5:
        product_f32_tile(panel, n, x, 5, y, ldy);
        break;
    default:
        product_f32_tile(panel, n, x, 6, y, ldy);
        break;
    }
}

/* What the tokens contribute to 16 groups, ready to be broadcast. */
struct x_groups {
    int32_t start[TILE_TOKENS][LANES]; /* -128 * sum */
    float scale[TILE_TOKENS][LANES];
    float sum[TILE_TOKENS][LANES]; /* scale * sum */
};

TEMPLATE void load_x_groups(struct x_groups *groups, const struct q8_row *x, int tokens, size_t g,
                            size_t left)
{
    __mmask16 lanes = first_lanes(left);
    UNROLL
    for (int t = 0; t < tokens; t++) {
        __m512i sum = _mm512_maskz_loadu_epi32(lanes, x[t].sum + g);
        __m512 scale = _mm512_maskz_loadu_ps(lanes, x[t].scale + g);
        _mm512_storeu_si512(groups->start[t],
                            _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), sum), 7));
        _mm512_storeu_ps(groups->scale[t], scale);
        _mm512_storeu_ps(groups->sum[t], _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sum)));
    }
}

TEMPLATE __m512i broadcast_unit(const int8_t *q)
{
    int32_t unit;
    __builtin_memcpy(&unit, q, sizeof unit);
    return _mm512_set1_epi32(unit);
}

/* 2 x tokens integer sums of a group and as many float sums of the whole stay in registers. */
TEMPLATE void product_q8_tile(const int8_t *panel, const float *scale, const float *min,
                              bool has_min, size_t n, size_t group, const struct q8_row *x,
                              int tokens, float *y, size_t ldy)
{
    struct x_groups xg;
    __m512 sum[TILE_TOKENS][2];
    UNROLL
    for (int t = 0; t < tokens; t++)
        sum[t][0] = sum[t][1] = _mm512_setzero_ps();
    for (size_t g = 0; g < n / group; g++, scale += PANEL_ROWS) {
        size_t i = g % LANES;
        if (i == 0)
            load_x_groups(&xg, x, tokens, g, n / group - g);
        __m512i dots[TILE_TOKENS][2];
        UNROLL
        for (int t = 0; t < tokens; t++)
            dots[t][0] = dots[t][1] = _mm512_set1_epi32(xg.start[t][i]);
        UNROLL
        for (size_t k = 0; k < group; k += 4, panel += 4 * PANEL_ROWS) {
            __m512i w0 = _mm512_loadu_si512(panel), w1 = _mm512_loadu_si512(panel + 64);
            UNROLL
            for (int t = 0; t < tokens; t++) {
                __m512i v = broadcast_unit(x[t].q + g * group + k);
                dots[t][0] = _mm512_dpbusd_epi32(dots[t][0], w0, v);
                dots[t][1] = _mm512_dpbusd_epi32(dots[t][1], w1, v);
            }
        }
        UNROLL
        for (int half = 0; half < 2; half++) {
            __m512 s = _mm512_loadu_ps(scale + half * LANES);
            UNROLL
            for (int t = 0; t < tokens; t++)
                sum[t][half] = _mm512_fmadd_ps(_mm512_mul_ps(s, _mm512_set1_ps(xg.scale[t][i])),
                                               _mm512_cvtepi32_ps(dots[t][half]), sum[t][half]);
            if (has_min) {
                __m512 m = _mm512_loadu_ps(min + half * LANES);
                UNROLL
                for (int t = 0; t < tokens; t++)
                    sum[t][half] = _mm512_fmadd_ps(m, _mm512_set1_ps(xg.sum[t][i]), sum[t][half]);
            }
        }
        min = has_min ? min + PANEL_ROWS : NULL;
    }
    add_tile(y, ldy, sum, tokens);
}

/* The four kinds of groups, for a constant number of tokens. */
TEMPLATE void product_q8_kinds(const int8_t *panel, const float *scale, const float *min, size_t n,
                               int group, const struct q8_row *x, int tokens, float *y, size_t ldy)
{
    if (group == 32 && !min)
        product_q8_tile(panel, scale, NULL, false, n, 32, x, tokens, y, ldy);
    else if (group == 32)
        product_q8_tile(panel, scale, min, true, n, 32, x, tokens, y, ldy);
    else if (!min)
        product_q8_tile(panel, scale, NULL, false, n, 16, x, tokens, y, ldy);
    else
        product_q8_tile(panel, scale, min, true, n, 16, x, tokens, y, ldy);
}

static void product_q8(const int8_t *panel, const float *scale, const float *min, size_t n,
                       int group, const struct q8_row *x, int tokens, float *y, size_t ldy)
{
    switch (tokens) {
    case 1:
        product_q8_kinds(panel, scale, min, n, group, x, 1, y, ldy);
        break;
    case 2:
        product_q8_kinds(panel, scale, min, n, group, x, 2, y, ldy);
        break;
    case 3:
        product_q8_kinds(panel, scale, min, n, group, x, 3, y, ldy);
        break;
    case 4:
        product_q8_kinds(panel, scale, min, n, group, x, 4, y, ldy);
        break;
    case 5:
        product_q8_kinds(panel, scale, min, n, group, x, 5, y, ldy);
        break;
    default:
        product_q8_kinds(panel, scale, min, n, group, x, 6, y, ldy);
        break;
    }
}

void kernels_avx512(struct kernels *kernels)
{
    kernels->name = "avx512";
    kernels->integer = true;
    kernels->quantize_q8 = quantize_q8;
    kernels->panel_rows = PANEL_ROWS;
    kernels->tile_tokens = TILE_TOKENS;
    kernels->panel_f32 = panel_f32;
    kernels->product_f32 = product_f32;
    kernels->panel_q8 = panel_q8;
    kernels->product_q8 = product_q8;
    unpack_avx512(kernels);
    gemv_avx512(kernels);
    gemv_float_avx512(kernels);
    rows_avx512(kernels);
    peak_avx512(kernels);
    stream_avx512(kernels);
    attend_avx512(kernels);
}
