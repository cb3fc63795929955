/* neon_dot: the "dotprod" tier, ARMv8.2 with SDOT. One instruction multiplies 16 bytes and adds
 * them by fours, so only the integer products differ from the neon tier. Both operands are signed,
 * as they are stored; nothing needs an offset. */
#include "kernels/gemv_neon.h"

static inline int32x4_t dot16(int32x4_t sum, int8x16_t a, int8x16_t b)
{
    return vdotq_s32(sum, a, b);
}

static float dot_q8(const int8_t *q, const float *scale, const float *min, size_t n, int group,
                    struct q8_row x)
{
    return group == 32 ? neon_dot_q8(dot16, q, scale, min, n, 32, x)
                       : neon_dot_q8(dot16, q, scale, min, n, 16, x);
}

GEMV_BLOCK_ROWS

/* The panel is two blocks of eight rows. In a block, four columns after four columns:
 *
 *     | row 0: 4 bytes | row 1 | ... | row 7 |      two vectors, a row in each 32-bit lane
 *
 * so that SDOT by lane multiplies four rows with the same four bytes of a token. */
enum { BLOCK_ROWS = 8 };

static void panel_q8(const int8_t *const *rows, size_t n, int8_t *panel)
{
    for (size_t r0 = 0; r0 < NEON_PANEL_ROWS; r0 += 4) {
        int8_t *to = panel + r0 / BLOCK_ROWS * BLOCK_ROWS * n + r0 % BLOCK_ROWS * 4;
        for (size_t k = 0; k < n; k += 16, to += 16 * BLOCK_ROWS) {
            float32x4_t v[4];
            NEON_UNROLL
            for (int r = 0; r < 4; r++)
                v[r] = vreinterpretq_f32_s8(vld1q_s8(rows[r0 + (size_t)r] + k));
            neon_transpose(v);
            NEON_UNROLL
            for (int i = 0; i < 4; i++)
                vst1q_s8(to + 4 * BLOCK_ROWS * i, vreinterpretq_s8_f32(v[i]));
        }
    }
}

/* Eight rows times `tokens` tokens (a constant, at most 4): 8 integer and 8 float sums, 4 vectors
 * of tokens and 2 of rows lie in registers; 32 SDOT take 12 loads. */
NEON_TEMPLATE void tile_q8(const int8_t *panel, const float *scale, const float *min, size_t n,
                           size_t group, const struct q8_row *x, int tokens, float *y, size_t ldy)
{
    float32x4_t total[4][2];
    NEON_UNROLL
    for (int t = 0; t < tokens; t++)
        total[t][0] = total[t][1] = vdupq_n_f32(0);
    for (size_t g = 0; g < n / group; g++) {
        int32x4_t sum[4][2];
        NEON_UNROLL
        for (int t = 0; t < tokens; t++)
            sum[t][0] = sum[t][1] = vdupq_n_s32(0);
        for (size_t k = g * group; k < (g + 1) * group; k += 16) {
            int8x16_t v[4];
            NEON_UNROLL
            for (int t = 0; t < tokens; t++)
                v[t] = vld1q_s8(x[t].q + k);
/* Column quad i of the 16: vdotq_laneq_s32 wants a literal lane. */
#define ADD_QUAD(i)                                              \
    do {                                                         \
        int8x16_t a = vld1q_s8(panel), b = vld1q_s8(panel + 16); \
        panel += 4 * BLOCK_ROWS;                                 \
        NEON_UNROLL                                              \
        for (int t = 0; t < tokens; t++) {                       \
            sum[t][0] = vdotq_laneq_s32(sum[t][0], a, v[t], i);  \
            sum[t][1] = vdotq_laneq_s32(sum[t][1], b, v[t], i);  \
        }                                                        \
    } while (0)
            ADD_QUAD(0);
            ADD_QUAD(1);
            ADD_QUAD(2);
            ADD_QUAD(3);
#undef ADD_QUAD
        }
        NEON_UNROLL
        for (int half = 0; half < 2; half++) {
            size_t at = g * NEON_PANEL_ROWS + 4 * (size_t)half;
            float32x4_t row_scale = vld1q_f32(scale + at);
            float32x4_t row_min = min ? vld1q_f32(min + at) : vdupq_n_f32(0);
            NEON_UNROLL
            for (int t = 0; t < tokens; t++) {
                float32x4_t part = vmulq_f32(row_scale, vcvtq_f32_s32(sum[t][half]));
                if (min)
                    part = vfmaq_n_f32(part, row_min, (float)x[t].sum[g]);
                total[t][half] = vfmaq_n_f32(total[t][half], part, x[t].scale[g]);
            }
        }
    }
    NEON_UNROLL
    for (int t = 0; t < tokens; t++) {
        neon_add_to(y + (size_t)t * ldy, total[t][0]);
        neon_add_to(y + (size_t)t * ldy + 4, total[t][1]);
    }
}

static void product_q8(const int8_t *panel, const float *scale, const float *min, size_t n,
                       int group, const struct q8_row *x, int tokens, float *y, size_t ldy)
{
    size_t step = (size_t)group;
    for (size_t r = 0; r < NEON_PANEL_ROWS; r += BLOCK_ROWS, panel += BLOCK_ROWS * n) {
        const float *min_r = min ? min + r : NULL;
        int t = 0;
        for (; t + 4 <= tokens; t += 4)
            tile_q8(panel, scale + r, min_r, n, step, x + t, 4, y + (size_t)t * ldy + r, ldy);
        if (t + 2 <= tokens) {
            tile_q8(panel, scale + r, min_r, n, step, x + t, 2, y + (size_t)t * ldy + r, ldy);
            t += 2;
        }
        if (t < tokens)
            tile_q8(panel, scale + r, min_r, n, step, x + t, 1, y + (size_t)t * ldy + r, ldy);
    }
}

static double peak_q8(size_t rounds)
{
    enum { CHAINS = 16, BYTES = 16 };
    int32x4_t sum[CHAINS];
    int8x16_t bytes = vdupq_n_s8(1);
    NEON_UNROLL
    for (int i = 0; i < CHAINS; i++)
        sum[i] = vdupq_n_s32(0);
    for (size_t r = 0; r < rounds; r++) {
        NEON_KEEP(bytes);
        NEON_UNROLL
        for (int i = 0; i < CHAINS; i++)
            sum[i] = vdotq_s32(sum[i], bytes, bytes);
    }
    NEON_UNROLL
    for (int i = 0; i < CHAINS; i++)
        NEON_KEEP(sum[i]);
    return (double)rounds * CHAINS * BYTES;
}

void kernels_neon_dot(struct kernels *kernels)
{
    kernels->name = "dotprod";
    kernels->dot_q8 = dot_q8;
    fill_block_rows(kernels);
    kernels->panel_q8 = panel_q8;
    kernels->product_q8 = product_q8;
    kernels->peak_q8 = peak_q8;
}
