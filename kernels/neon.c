/* neon: the tier of every aarch64 processor (ASIMD without the dot product extension); this file
 * has what multiplies weights, neon_rows.c what works on activations, unpack_neon.c the block
 * formats. */
#include "kernels/neon.h"

#include <string.h>

#include "kernels/half.h"
#include "kernels/unpack.h"

/* --- 16-bit floats ------------------------------------------------------------------------- */

NEON_TEMPLATE void to_f32(const void *h, enum format format, size_t n, float *x)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(x + i, neon_load_4(h, format, i));
    for (; i < n; i++)
        x[i] = neon_load_1(h, format, i);
}

static void f32_from_f16(const uint16_t *h, size_t n, float *x)
{
    to_f32(h, FORMAT_F16, n, x);
}

static void f32_from_bf16(const uint16_t *h, size_t n, float *x)
{
    to_f32(h, FORMAT_BF16, n, x);
}

static void f16_row_from_f32(const float *x, size_t n, uint16_t *h)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1_u16(h + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
    for (; i < n; i++)
        h[i] = f16_from_f32(x[i]);
}

/* --- rows times one vector ----------------------------------------------------------------- */

static inline float sum_four(const float32x4_t v[4])
{
    return vaddvq_f32(vaddq_f32(vaddq_f32(v[0], v[1]), vaddq_f32(v[2], v[3])));
}

/* Four chains: the latency of one fused multiply-add is about four of its issue slots. */
NEON_TEMPLATE float dot(const void *w, enum format format, const float *x, size_t n)
{
    float32x4_t sum[4];
    NEON_UNROLL
    for (int c = 0; c < 4; c++)
        sum[c] = vdupq_n_f32(0);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        NEON_UNROLL
        for (size_t c = 0; c < 4; c++)
            sum[c] = vfmaq_f32(sum[c], neon_load_4(w, format, i + 4 * c), vld1q_f32(x + i + 4 * c));
    }
    for (; i + 4 <= n; i += 4)
        sum[0] = vfmaq_f32(sum[0], neon_load_4(w, format, i), vld1q_f32(x + i));
    float total = sum_four(sum);
    for (; i < n; i++)
        total += neon_load_1(w, format, i) * x[i];
    return total;
}

NEON_TEMPLATE void rows(const uint8_t *w, enum format format, size_t row_bytes, size_t n_rows,
                        size_t n, const float *x, float *y)
{
    for (size_t r = 0; r < n_rows; r++)
        y[r] = dot(w + r * row_bytes, format, x, n);
}

static void rows_f32(const void *w, size_t row_bytes, size_t n_rows, size_t n,
                     const struct vector *x, float *y)
{
    rows(w, FORMAT_F32, row_bytes, n_rows, n, x->x, y);
}

static void rows_f16(const void *w, size_t row_bytes, size_t n_rows, size_t n,
                     const struct vector *x, float *y)
{
    rows(w, FORMAT_F16, row_bytes, n_rows, n, x->x, y);
}

static void rows_bf16(const void *w, size_t row_bytes, size_t n_rows, size_t n,
                      const struct vector *x, float *y)
{
    rows(w, FORMAT_BF16, row_bytes, n_rows, n, x->x, y);
}

/* x * inverse, rounded to nearest even */
static inline int16x8_t round_8(const float *x, float inverse)
{
    int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
    int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), inverse));
    return vcombine_s16(vqmovn_s32(a), vqmovn_s32(b));
}

static void quantize_q8(const float *x, size_t n, int group, int8_t *q, float *scale, int32_t *sum)
{
    for (size_t i = 0; i < n; i += (size_t)group, x += group, q += group) {
        float32x4_t largest = vdupq_n_f32(0);
        for (int k = 0; k < group; k += 4)
            largest = vmaxq_f32(largest, vabsq_f32(vld1q_f32(x + k)));
        float max = vmaxvq_f32(largest); /* NaN if any x is; then every conversion below gives 0 */
        float inverse = max < Q8_TINY ? 0.0F : 127.0F / max;
        int16x8_t sums = vdupq_n_s16(0);
        for (int k = 0; k < group; k += 8) {
            int16x8_t v = round_8(x + k, inverse);
            vst1_s8(q + k, vqmovn_s16(v));
            sums = vaddq_s16(sums, v);
        }
        *scale++ = max < Q8_TINY ? 0.0F : max / 127.0F;
        *sum++ = vaddlvq_s16(sums);
    }
}

/* |a * b| <= 128 * 127 (kernels.h), so two products fit in 16 bits. */
static inline int32x4_t dot16(int32x4_t sum, int8x16_t a, int8x16_t b)
{
    int16x8_t products = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    return vpadalq_s16(sum, vmlal_high_s8(products, a, b));
}

static float dot_q8(const int8_t *q, const float *scale, const float *min, size_t n, int group,
                    struct q8_row x)
{
    return group == 32 ? neon_dot_q8(dot16, q, scale, min, n, 32, x)
                       : neon_dot_q8(dot16, q, scale, min, n, 16, x);
}

/* --- panels of floats: two blocks of eight rows, column after column ----------------------- */

enum { BLOCK_ROWS = 8 };

static void panel_f32(const float *const *rows, size_t n, float *panel)
{
    for (size_t r0 = 0; r0 < NEON_PANEL_ROWS; r0 += 4) {
        float *to = panel + r0 / BLOCK_ROWS * BLOCK_ROWS * n + r0 % BLOCK_ROWS;
        size_t k = 0;
        for (; k + 4 <= n; k += 4, to += 4 * BLOCK_ROWS) {
            float32x4_t v[4];
            NEON_UNROLL
            for (int r = 0; r < 4; r++)
                v[r] = vld1q_f32(rows[r0 + (size_t)r] + k);
            neon_transpose(v);
            NEON_UNROLL
            for (int i = 0; i < 4; i++)
                vst1q_f32(to + BLOCK_ROWS * i, v[i]);
        }
        for (; k < n; k++, to += BLOCK_ROWS)
            for (int r = 0; r < 4; r++)
                to[r] = rows[r0 + (size_t)r][k];
    }
}

/* Eight rows times `tokens` tokens (a constant, at most 8): 16 sums, 8 vectors of tokens and 2 of
 * rows lie in registers; 64 multiply-adds take 16 loads. */
NEON_TEMPLATE void tile_f32(const float *panel, size_t n, const float *const *x, int tokens,
                            float *y, size_t ldy)
{
    float32x4_t sum[NEON_TILE_TOKENS][2];
    NEON_UNROLL
    for (int t = 0; t < tokens; t++)
        sum[t][0] = sum[t][1] = vdupq_n_f32(0);
    size_t k = 0;
    for (; k + 4 <= n; k += 4) {
        float32x4_t v[NEON_TILE_TOKENS];
        NEON_UNROLL
        for (int t = 0; t < tokens; t++)
            v[t] = vld1q_f32(x[t] + k);
/* Column i of the 4: vfmaq_laneq_f32 wants a literal lane. */
#define ADD_COLUMN(i)                                               \
    do {                                                            \
        float32x4_t a = vld1q_f32(panel), b = vld1q_f32(panel + 4); \
        panel += BLOCK_ROWS;                                        \
        NEON_UNROLL                                                 \
        for (int t = 0; t < tokens; t++) {                          \
            sum[t][0] = vfmaq_laneq_f32(sum[t][0], a, v[t], i);     \
            sum[t][1] = vfmaq_laneq_f32(sum[t][1], b, v[t], i);     \
        }                                                           \
    } while (0)
        ADD_COLUMN(0);
        ADD_COLUMN(1);
        ADD_COLUMN(2);
        ADD_COLUMN(3);
#undef ADD_COLUMN
    }
    for (; k < n; k++, panel += BLOCK_ROWS) {
        float32x4_t a = vld1q_f32(panel), b = vld1q_f32(panel + 4);
        NEON_UNROLL
        for (int t = 0; t < tokens; t++) {
            sum[t][0] = vfmaq_n_f32(sum[t][0], a, x[t][k]);
            sum[t][1] = vfmaq_n_f32(sum[t][1], b, x[t][k]);
        }
    }
    NEON_UNROLL
    for (int t = 0; t < tokens; t++) {
        neon_add_to(y + (size_t)t * ldy, sum[t][0]);
        neon_add_to(y + (size_t)t * ldy + 4, sum[t][1]);
    }
}

static void product_f32(const float *panel, size_t n, const float *const *x, int tokens, float *y,
                        size_t ldy)
{
    for (size_t r = 0; r < NEON_PANEL_ROWS; r += BLOCK_ROWS, panel += BLOCK_ROWS * n) {
        int t = 0;
        for (; t + 8 <= tokens; t += 8)
            tile_f32(panel, n, x + t, 8, y + (size_t)t * ldy + r, ldy);
        for (; t + 4 <= tokens; t += 4)
            tile_f32(panel, n, x + t, 4, y + (size_t)t * ldy + r, ldy);
        for (; t < tokens; t++)
            tile_f32(panel, n, x + t, 1, y + (size_t)t * ldy + r, ldy);
    }
}

/* --- panels of integers: 16 columns after 16 columns, row after row ------------------------ */

static void panel_q8(const int8_t *const *rows, size_t n, int8_t *panel)
{
    for (size_t k = 0; k < n; k += 16)
        for (size_t r = 0; r < NEON_PANEL_ROWS; r++, panel += 16)
            memcpy(panel, rows[r] + k, 16);
}

/* Four rows times `tokens` tokens (a constant, at most 4). Every pair has its own four partial
 * sums; they are added across at the end of a group. */
NEON_TEMPLATE void tile_q8(const int8_t *panel, const float *scale, const float *min, size_t n,
                           size_t group, const struct q8_row *x, int tokens, float *y, size_t ldy)
{
    float32x4_t total[4];
    NEON_UNROLL
    for (int t = 0; t < tokens; t++)
        total[t] = vdupq_n_f32(0);
    for (size_t g = 0; g < n / group; g++) {
        int32x4_t sum[4][4];
        NEON_UNROLL
        for (int t = 0; t < tokens; t++)
            sum[t][0] = sum[t][1] = sum[t][2] = sum[t][3] = vdupq_n_s32(0);
        for (size_t k = g * group; k < (g + 1) * group; k += 16, panel += 16 * NEON_PANEL_ROWS) {
            int8x16_t v[4];
            NEON_UNROLL
            for (int t = 0; t < tokens; t++)
                v[t] = vld1q_s8(x[t].q + k);
            NEON_UNROLL
            for (int r = 0; r < 4; r++) {
                int8x16_t w = vld1q_s8(panel + 16 * r);
                NEON_UNROLL
                for (int t = 0; t < tokens; t++)
                    sum[t][r] = dot16(sum[t][r], w, v[t]);
            }
        }
        float32x4_t row_scale = vld1q_f32(scale + g * NEON_PANEL_ROWS);
        float32x4_t row_min = min ? vld1q_f32(min + g * NEON_PANEL_ROWS) : vdupq_n_f32(0);
        NEON_UNROLL
        for (int t = 0; t < tokens; t++) {
            int32x4_t dots = neon_sum_each(sum[t][0], sum[t][1], sum[t][2], sum[t][3]);
            float32x4_t part = vmulq_f32(row_scale, vcvtq_f32_s32(dots));
            if (min)
                part = vfmaq_n_f32(part, row_min, (float)x[t].sum[g]);
            total[t] = vfmaq_n_f32(total[t], part, x[t].scale[g]);
        }
    }
    NEON_UNROLL
    for (int t = 0; t < tokens; t++)
        neon_add_to(y + (size_t)t * ldy, total[t]);
}

static void product_q8(const int8_t *panel, const float *scale, const float *min, size_t n,
                       int group, const struct q8_row *x, int tokens, float *y, size_t ldy)
{
    size_t step = (size_t)group;
    for (size_t r = 0; r < NEON_PANEL_ROWS; r += 4, panel += 4 * 16) {
        const float *min_r = min ? min + r : NULL;
        int t = 0;
        for (; t + 4 <= tokens; t += 4)
            tile_q8(panel, scale + r, min_r, n, step, x + t, 4, y + (size_t)t * ldy + r, ldy);
        for (; t < tokens; t++)
            tile_q8(panel, scale + r, min_r, n, step, x + t, 1, y + (size_t)t * ldy + r, ldy);
    }
}

void kernels_neon(struct kernels *kernels)
{
    kernels->name = "neon";
    unpack_neon(kernels);
    rows_neon(kernels);
    attend_neon(kernels);
    kernels->f32_from_f16 = f32_from_f16;
    kernels->f32_from_bf16 = f32_from_bf16;
    kernels->f16_from_f32 = f16_row_from_f32;
    kernels->rows[FORMAT_F32] = rows_f32;
    kernels->rows[FORMAT_F16] = rows_f16;
    kernels->rows[FORMAT_BF16] = rows_bf16;
    kernels->integer = true;
    kernels->quantize_q8 = quantize_q8;
    kernels->dot_q8 = dot_q8;
    kernels->panel_rows = NEON_PANEL_ROWS;
    kernels->tile_tokens = NEON_TILE_TOKENS;
    kernels->panel_f32 = panel_f32;
    kernels->product_f32 = product_f32;
    kernels->panel_q8 = panel_q8;
    kernels->product_q8 = product_q8;
}
