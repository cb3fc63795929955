/* avx2: weights times activations with AVX2, FMA and F16C; avx2_rows.c has activations,
 * attend_stream_avx2.c attention, gemv_avx2.c products of one token, decode_avx2.h the formats.
 *
 * Panels: 16 rows, interleaved in units of 32 bits (one float or four bytes):
 *   unit 0: row 0 .. row 15 | unit 1: row 0 .. row 15 | ...
 */
#include "kernels/avx2.h"

#include <float.h>

enum { PANEL_ROWS = 16, TILE_TOKENS = 6 };

/* --- 16-bit floats ------------------------------------------------------------------------- */

static void f32_from_f16(const uint16_t *h, size_t n, float *x)
{
    for (size_t i = 0; i < n; i += LANES)
        store_f32(x + i, _mm256_cvtph_ps(load_u16(h + i, n - i)), n - i);
}

static void f32_from_bf16(const uint16_t *h, size_t n, float *x)
{
    for (size_t i = 0; i < n; i += LANES)
        store_f32(x + i, bf16_to_f32x8(load_u16(h + i, n - i)), n - i);
}

static void f16_from_f32(const float *x, size_t n, uint16_t *h)
{
    for (size_t i = 0; i < n; i += LANES) {
        size_t left = n - i < LANES ? n - i : LANES;
        uint16_t eight[LANES];
        __m128i v = _mm256_cvtps_ph(load_f32(x + i, n - i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((void *)eight, v);
        memcpy(h + i, eight, left * sizeof *h);
    }
}

/* --- 8-bit integers ----------------------------------------------------------------------- */

/* One group in `vectors` registers of 8; see kernels.h for the rule. */
TEMPLATE void quantize_group(const float *x, int vectors, int8_t *q, float *scale, int32_t *sum)
{
    __m256 v[4];
    __m256i bits = _mm256_setzero_si256();
    UNROLL
    for (int k = 0; k < vectors; k++) {
        v[k] = _mm256_loadu_ps(x + k * LANES);
        __m256i magnitude =
            _mm256_and_si256(_mm256_castps_si256(v[k]), _mm256_set1_epi32(0x7FFFFFFF));
        bits = _mm256_max_epu32(bits, magnitude);
    }
    __m128i top = _mm_max_epu32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
    top = _mm_max_epu32(top, _mm_unpackhi_epi64(top, top));
    top = _mm_max_epu32(top, _mm_shuffle_epi32(top, 1));
    float max = _mm_cvtss_f32(_mm_castsi128_ps(top));
    __m256i live = _mm256_set1_epi32(max >= Q8_TINY && max <= FLT_MAX ? -1 : 0);
    __m256 inverse = _mm256_set1_ps(127.0F / max);
    __m256i total = _mm256_setzero_si256();
    UNROLL
    for (int k = 0; k < vectors; k++) {
        __m256 rounded = _mm256_round_ps(_mm256_mul_ps(v[k], inverse),
                                         _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        __m256i integer = _mm256_and_si256(live, _mm256_cvtps_epi32(rounded));
        total = _mm256_add_epi32(total, integer);
        __m128i words =
            _mm_packs_epi32(_mm256_castsi256_si128(integer), _mm256_extracti128_si256(integer, 1));
        _mm_storel_epi64((void *)(q + k * LANES), _mm_packs_epi16(words, words));
    }
    *scale = max < Q8_TINY ? 0.0F : max / 127.0F;
    *sum = sum8_i32(total);
}

static void quantize_q8(const float *x, size_t n, int group, int8_t *q, float *scale, int32_t *sum)
{
    if (group == 32) {
        for (size_t i = 0; i < n; i += 32)
            quantize_group(x + i, 4, q + i, scale++, sum++);
    } else {
        for (size_t i = 0; i < n; i += 16)
            quantize_group(x + i, 2, q + i, scale++, sum++);
    }
}

/* Sums over each 4 of 32 bytes. VPMADDUBSW wants one operand unsigned: |w|, with the sign of w
 * moved to x. Its pairs are at most 2 * 128 * 127, inside 16 bits. */
TEMPLATE __m256i dot_bytes(__m256i w, __m256i x)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/* --- panels of floats ---------------------------------------------------------------------- */

/* Row i, column j of 8 x 8 becomes row j, column i. */
TEMPLATE void transpose_f32(__m256 r[8])
{
    __m256 s[8];
    UNROLL
    for (int i = 0; i < 8; i += 2) {
        s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 8; i += 4) { /* r[i + c]: column c of each 128 bits, of rows i..i+3 */
        r[i] = _mm256_shuffle_ps(s[i], s[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], 0xEE);
        r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0xEE);
    }
    UNROLL
    for (int c = 0; c < 4; c++) {
        __m256 low = _mm256_permute2f128_ps(r[c], r[c + 4], 0x20);
        r[c + 4] = _mm256_permute2f128_ps(r[c], r[c + 4], 0x31);
        r[c] = low;
    }
}

static void panel_f32(const float *const *rows, size_t n, float *panel)
{
    for (int half = 0; half < PANEL_ROWS; half += LANES)
        for (size_t k = 0; k < n; k += LANES) {
            __m256 r[8];
            UNROLL
            for (int i = 0; i < LANES; i++)
                r[i] = load_f32(rows[half + i] + k, n - k);
            transpose_f32(r);
            float *out = panel + k * PANEL_ROWS + half;
            UNROLL
            for (size_t i = 0; i < LANES; i++)
                if (i < n - k)
                    _mm256_storeu_ps(out + i * PANEL_ROWS, r[i]);
        }
}

TEMPLATE void add_to(float *y, __m256 sum)
{
    _mm256_storeu_ps(y, _mm256_add_ps(_mm256_loadu_ps(y), sum));
}

TEMPLATE void product_f32_tile(const float *panel, size_t n, const float *const *x, int tokens,
                               float *y, size_t ldy)
{
    __m256 sum[TILE_TOKENS][2];
    UNROLL
    for (int t = 0; t < tokens; t++)
        sum[t][0] = sum[t][1] = _mm256_setzero_ps();
    for (size_t k = 0; k < n; k++, panel += PANEL_ROWS) {
        __m256 w0 = _mm256_loadu_ps(panel), w1 = _mm256_loadu_ps(panel + LANES);
        UNROLL
        for (int t = 0; t < tokens; t++) {
            __m256 v = _mm256_set1_ps(x[t][k]);
            sum[t][0] = _mm256_fmadd_ps(w0, v, sum[t][0]);
            sum[t][1] = _mm256_fmadd_ps(w1, v, sum[t][1]);
        }
    }
    UNROLL
    for (int t = 0; t < tokens; t++) {
        add_to(y + (size_t)t * ldy, sum[t][0]);
        add_to(y + (size_t)t * ldy + LANES, sum[t][1]);
    }
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

/* --- panels of bytes ----------------------------------------------------------------------- */

/* VPMADDUBSW multiplies unsigned by signed bytes and adds pairs in 16 bits, where a full range of
 * weights would saturate. Every format of up to six bits has weights in [-32, 32), though: stored
 * as weight + 32, even four products, 4 * 63 * 127, stay below 2^15. The panel notes behind its
 * bytes which of the two it holds. */
enum { BIAS = 32 };

static bool fits_bias(const int8_t *const *rows, size_t n)
{
    __m256i seen = _mm256_setzero_si256();
    for (int i = 0; i < PANEL_ROWS; i++)
        for (size_t k = 0; k < n; k += 16) {
            __m256i w = _mm256_zextsi128_si256(_mm_loadu_si128((const void *)(rows[i] + k)));
            seen = _mm256_or_si256(seen, _mm256_add_epi8(w, _mm256_set1_epi8(BIAS)));
        }
    return _mm256_testz_si256(seen, _mm256_set1_epi8(~(2 * BIAS - 1)));
}

static void panel_q8(const int8_t *const *rows, size_t n, int8_t *panel)
{
    bool biased = fits_bias(rows, n);
    __m256i bias = _mm256_set1_epi8(biased ? BIAS : 0);
    for (int half = 0; half < PANEL_ROWS; half += LANES)
        for (size_t k = 0; k < n; k += 16) { /* 4 units of 8 rows: row i low, row i + 4 high */
            __m256i r[4], s[4];
            UNROLL
            for (int i = 0; i < 4; i++)
                r[i] = _mm256_add_epi8(bias,
                                       _mm256_loadu2_m128i((const void *)(rows[half + i + 4] + k),
                                                           (const void *)(rows[half + i] + k)));
            s[0] = _mm256_unpacklo_epi32(r[0], r[1]);
            s[1] = _mm256_unpackhi_epi32(r[0], r[1]);
            s[2] = _mm256_unpacklo_epi32(r[2], r[3]);
            s[3] = _mm256_unpackhi_epi32(r[2], r[3]);
            int8_t *out = panel + k * PANEL_ROWS + half * 4;
            _mm256_storeu_si256((void *)out, _mm256_unpacklo_epi64(s[0], s[2]));
            _mm256_storeu_si256((void *)(out + 64), _mm256_unpackhi_epi64(s[0], s[2]));
            _mm256_storeu_si256((void *)(out + 128), _mm256_unpacklo_epi64(s[1], s[3]));
            _mm256_storeu_si256((void *)(out + 192), _mm256_unpackhi_epi64(s[1], s[3]));
        }
    panel[PANEL_ROWS * n] = biased;
}

/* What the tokens contribute to some groups, ready to be broadcast. */
enum { SLICE = 16 };

struct x_groups {
    int32_t start[TILE_TOKENS][SLICE]; /* what takes the bias of the weights off again */
    float scale[TILE_TOKENS][SLICE];
    float sum[TILE_TOKENS][SLICE]; /* scale * sum */
};

TEMPLATE void load_x_groups(struct x_groups *groups, const struct q8_row *x, int tokens,
                            size_t first, size_t n, bool biased)
{
    for (int t = 0; t < tokens; t++)
        for (size_t g = 0; g < n; g += LANES) {
            __m256i live = n - g >= LANES ? _mm256_set1_epi32(-1) : first_lanes(n - g);
            __m256i sum = _mm256_maskload_epi32((const void *)(x[t].sum + first + g), live);
            __m256i bias = _mm256_mullo_epi32(sum, _mm256_set1_epi32(biased ? -BIAS : 0));
            __m256 scale = load_f32(x[t].scale + first + g, n - g);
            _mm256_storeu_si256((void *)(groups->start[t] + g), bias);
            _mm256_storeu_ps(groups->scale[t] + g, scale);
            _mm256_storeu_ps(groups->sum[t] + g, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(sum)));
        }
}

TEMPLATE __m256i broadcast_unit(const int8_t *q)
{
    int32_t unit;
    memcpy(&unit, q, sizeof unit);
    return _mm256_set1_epi32(unit);
}

/* dots[t] += two units of 8 rows times those of token t. */
TEMPLATE void add_units(__m256i *dots, const int8_t *panel, bool biased, const struct q8_row *x,
                        size_t k, int tokens)
{
    __m256i w0 = _mm256_loadu_si256((const void *)panel);
    __m256i w1 = _mm256_loadu_si256((const void *)(panel + 4 * PANEL_ROWS));
    __m256i ones = _mm256_set1_epi16(1);
    UNROLL
    for (int t = 0; t < tokens; t++) {
        __m256i x0 = broadcast_unit(x[t].q + k), x1 = broadcast_unit(x[t].q + k + 4);
        if (biased) {
            __m256i pairs =
                _mm256_add_epi16(_mm256_maddubs_epi16(w0, x0), _mm256_maddubs_epi16(w1, x1));
            dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(pairs, ones));
        } else {
            dots[t] = _mm256_add_epi32(dots[t], dot_bytes(w0, x0));
            dots[t] = _mm256_add_epi32(dots[t], dot_bytes(w1, x1));
        }
    }
}

/* 8 rows: `tokens` integer sums of a group and as many float sums stay in registers. */
TEMPLATE void product_q8_tile(const int8_t *panel, bool biased, const float *scale,
                              const float *min, bool has_min, size_t first, size_t groups,
                              size_t group, const struct q8_row *x, const struct x_groups *xg,
                              int tokens, float *y, size_t ldy)
{
    __m256 sum[TILE_TOKENS];
    UNROLL
    for (int t = 0; t < tokens; t++)
        sum[t] = _mm256_setzero_ps();
    for (size_t g = 0; g < groups; g++, scale += PANEL_ROWS) {
        __m256i dots[TILE_TOKENS];
        UNROLL
        for (int t = 0; t < tokens; t++)
            dots[t] = _mm256_set1_epi32(xg->start[t][g]);
        for (size_t k = first + g * group; k < first + (g + 1) * group;
             k += 8, panel += 8 * PANEL_ROWS)
            add_units(dots, panel, biased, x, k, tokens);
        __m256 s = _mm256_loadu_ps(scale);
        UNROLL
        for (int t = 0; t < tokens; t++)
            sum[t] = _mm256_fmadd_ps(_mm256_mul_ps(s, _mm256_set1_ps(xg->scale[t][g])),
                                     _mm256_cvtepi32_ps(dots[t]), sum[t]);
        if (has_min) {
            __m256 m = _mm256_loadu_ps(min + g * PANEL_ROWS);
            UNROLL
            for (int t = 0; t < tokens; t++)
                sum[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(xg->sum[t][g]), sum[t]);
        }
    }
    UNROLL
    for (int t = 0; t < tokens; t++)
        add_to(y + (size_t)t * ldy, sum[t]);
}

/* Slice by slice, both halves of the rows. */
TEMPLATE void product_q8_rows(const int8_t *panel, bool biased, const float *scale,
                              const float *min, bool has_min, size_t n, size_t group,
                              const struct q8_row *x, int tokens, float *y, size_t ldy)
{
    struct x_groups xg;
    for (size_t g = 0; g < n / group; g += SLICE) {
        size_t groups = n / group - g < SLICE ? n / group - g : SLICE;
        load_x_groups(&xg, x, tokens, g, groups, biased);
        for (size_t row = 0; row < PANEL_ROWS; row += LANES) {
            size_t s = g * PANEL_ROWS + row;
            product_q8_tile(panel + g * group * PANEL_ROWS + 4 * row, biased, scale + s,
                            has_min ? min + s : NULL, has_min, g * group, groups, group, x, &xg,
                            tokens, y + row, ldy);
        }
    }
}

/* The kinds of weights and groups, for a constant number of tokens. A group of 16 or a full range
 * of weights is rarer, and their kinds of minima share code. */
TEMPLATE void product_q8_kinds(const int8_t *panel, const float *scale, const float *min, size_t n,
                               int group, const struct q8_row *x, int tokens, float *y, size_t ldy)
{
    bool biased = panel[PANEL_ROWS * n];
    if (!biased && group == 32)
        product_q8_rows(panel, false, scale, min, min != NULL, n, 32, x, tokens, y, ldy);
    else if (!biased)
        product_q8_rows(panel, false, scale, min, min != NULL, n, 16, x, tokens, y, ldy);
    else if (group == 16)
        product_q8_rows(panel, true, scale, min, min != NULL, n, 16, x, tokens, y, ldy);
    else if (min)
        product_q8_rows(panel, true, scale, min, true, n, 32, x, tokens, y, ldy);
    else
        product_q8_rows(panel, true, scale, NULL, false, n, 32, x, tokens, y, ldy);
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

void kernels_avx2(struct kernels *kernels)
{
    kernels->name = "avx2";
    kernels->f32_from_f16 = f32_from_f16;
    kernels->f32_from_bf16 = f32_from_bf16;
    kernels->f16_from_f32 = f16_from_f32;
    kernels->integer = true;
    kernels->quantize_q8 = quantize_q8;
    kernels->panel_rows = PANEL_ROWS;
    kernels->tile_tokens = TILE_TOKENS;
    kernels->panel_f32 = panel_f32;
    kernels->product_f32 = product_f32;
    kernels->panel_q8 = panel_q8;
    kernels->product_q8 = product_q8;
    unpack_avx2(kernels);
    gemv_avx2(kernels);
    rows_avx2(kernels);
    stream_avx2(kernels);
}
