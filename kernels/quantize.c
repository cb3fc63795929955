/* quantize: floats to blocks (layouts: blocks.h).
 *
 * Q8_0 and Q4_0 follow the reference's arithmetic operation by operation. The K formats leave the
 * choice of scales to the writer; here they are found by least squares, first for each group alone,
 * then together with the coarse grid (6 or 8 bits times one binary16) that the scales must lie on.
 */
#include "kernels/quantize.h"

#include <math.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/half.h"

enum { SUPERBLOCK = 256 };

static void store_u16(uint8_t bytes[2], uint16_t value)
{
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

void quantize_f16(const float *x, size_t n, void *blocks)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++)
        store_u16(bytes + 2 * i, f16_from_f32(x[i]));
}

void quantize_bf16(const float *x, size_t n, void *blocks)
{
    uint8_t *bytes = blocks;
    for (size_t i = 0; i < n; i++)
        store_u16(bytes + 2 * i, bf16_from_f32(x[i]));
}

/* The first element of largest magnitude, with its sign. */
static float largest(const float *x, int n)
{
    float found = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(found))
            found = x[i];
    return found;
}

/* x truncated to an integer within [low, high]; a NaN becomes low. */
static int truncated(float x, int low, int high)
{
    x = x > (float)low ? x : (float)low;
    x = x < (float)high ? x : (float)high;
    return (int)x;
}

void quantize_q8_0(const float *x, size_t n, void *blocks)
{
    for (struct block_q8_0 *block = blocks; n; n -= 32, x += 32, block++) {
        float d = fabsf(largest(x, 32)) / 127;
        float inverse = d != 0 ? 1 / d : 0;
        store_u16(block->d, f16_from_f32(d));
        for (int i = 0; i < 32; i++)
            block->qs[i] = (int8_t)truncated(roundf(x[i] * inverse), -128, 127);
    }
}

void quantize_q4_0(const float *x, size_t n, void *blocks)
{
    for (struct block_q4_0 *block = blocks; n; n -= 32, x += 32, block++) {
        float d = largest(x, 32) / -8;
        float inverse = d != 0 ? 1 / d : 0;
        store_u16(block->d, f16_from_f32(d));
        for (int i = 0; i < 16; i++) {
            int low = truncated(x[i] * inverse + 8.5F, 0, 15);
            int high = truncated(x[i + 16] * inverse + 8.5F, 0, 15);
            block->qs[i] = (uint8_t)(low | high << 4);
        }
    }
}

/* --- K formats ----------------------------------------------------------------------------- */

/* What w = scale * q + offset can be, and how a group is divided. */
struct grid {
    int group;  /* weights: 16 or 32 */
    float low;  /* least q */
    float high; /* greatest q */
};

static const struct grid grid_q4_k = {32, 0, 15};
static const struct grid grid_q6_k = {16, -32, 31};

/* Four neighbouring weights: a vector register on every machine, so that sums, too, are computed
 * four at a time. */
typedef float lanes __attribute__((vector_size(16)));
typedef int32_t lane_masks __attribute__((vector_size(16)));

static inline lanes load_lanes(const float *x)
{
    lanes v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline float sum_lanes(lanes v)
{
    return (v[0] + v[1]) + (v[2] + v[3]);
}

static inline lanes select_lanes(lane_masks mask, lanes yes, lanes no)
{
    return (lanes)(((lane_masks)yes & mask) | ((lane_masks)no & ~mask));
}

/* The nearest q; a NaN becomes the least. */
static inline lanes round_lanes(const struct grid *grid, lanes x)
{
    const lanes zero = {0};
    lanes low = zero + grid->low, high = zero + grid->high;
    x = select_lanes(x > low, x, low);
    x = select_lanes(x < high, x, high);
    return (x + 0x1.8p23F) - 0x1.8p23F; /* the sum has no bits left for a fraction */
}

static float clamped(float x, float low, float high)
{
    x = x > low ? x : low; /* a NaN becomes low */
    return x < high ? x : high;
}

struct sums {
    float q;  /* of q[i] */
    float qq; /* of q[i]^2 */
    float qx; /* of q[i] * x[i] */
};

/* The sums for q = x * inverse - shift on the grid. */
static inline struct sums place_group(const struct grid *grid, const float *x, float inverse,
                                      float shift)
{
    lanes q_sum = {0}, qq_sum = {0}, qx_sum = {0};
    for (int i = 0; i < grid->group; i += 4) {
        lanes v = load_lanes(x + i);
        lanes q = round_lanes(grid, v * inverse - shift);
        q_sum += q;
        qq_sum += q * q;
        qx_sum += q * v;
    }
    return (struct sums){sum_lanes(q_sum), sum_lanes(qq_sum), sum_lanes(qx_sum)};
}

/* The best q for a given scale and offset; returns the squared error. */
static inline float settle_group(const struct grid *grid, const float *x, float scale, float offset,
                                 float *q)
{
    lanes sum = {0};
    float inverse = scale != 0 ? 1 / scale : 0;
    for (int i = 0; i < grid->group; i += 4) {
        lanes v = load_lanes(x + i);
        lanes rounded = round_lanes(grid, (v - offset) * inverse);
        lanes error = rounded * scale + offset - v;
        sum += error * error;
        memcpy(q + i, &rounded, sizeof rounded);
    }
    return sum_lanes(sum);
}

/* Ways of rounding a group that are tried. */
enum { CLIPS = 3, TRIES = 11 };

/* A group of Q4_K by itself: x is about scale * q + offset. */
struct line {
    float scale;          /* >= 0 */
    float offset;         /* <= 0 */
    float x_mean, q_mean; /* the point that a best line goes through */
};

/* Least squares for a few ways of rounding x to q. All sums are of x - least, which keeps the
 * digits of a group that varies little around a large value. */
static struct line fit_q4_k(const float *x)
{
    float least = 0, most = x[0], rise[32], sum = 0, best = INFINITY;
    for (int i = 0; i < 32; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    for (int i = 0; i < 32; i++) {
        rise[i] = x[i] - least;
        sum += rise[i];
    }
    struct line line = {.offset = least, .x_mean = sum / 32 + least};
    if (!(most > least))
        return line;
    for (int k = 0; k < CLIPS * TRIES; k++) {
        /* how far, in steps of q, the ends of x may lie outside the grid */
        float below = 0.25F * (float)(k % CLIPS), above = 0.2F * (float)(k / CLIPS) - 1;
        struct sums q = place_group(&grid_q4_k, rise, (15 + below + above) / (most - least), below);
        float s = (32 * q.qx - sum * q.q) / (32 * q.qq - q.q * q.q);
        float b = (sum - s * q.q) / 32;
        if (!(b <= -least)) {
            b = -least;
            s = (q.qx - b * q.q) / q.qq;
        }
        /* the squared error, less the constant sum of rise^2 */
        float error = s * (s * q.qq - 2 * q.qx) + 2 * b * (s * q.q - sum) + 32 * b * b;
        if (error < best) {
            best = error;
            line = (struct line){s, b + least, line.x_mean, q.q / 32};
        }
    }
    return line;
}

static float f16_nearest(float x)
{
    return f16_to_f32(f16_from_f32(x));
}

/* A superblock of Q4_K before it is packed: weight = d * s[g] * q - m * minima[g]. */
struct fit_q4_k {
    float d, m; /* representable in binary16 */
    float s[8], minima[8];
    float q[SUPERBLOCK];
    float error; /* squared, over the superblock */
};

/* A value in units of d (of m), on the grid of 6-bit integers. */
static float in_units(float value, float unit)
{
    return unit != 0 ? roundf(clamped(value / unit, 0, 63)) : 0;
}

/* Given d and m, chooses s, minima and q, group by group: the scales next to the wanted one, and
 * for each the minima that keep the line near its best point. */
static void settle_q4_k(const float *x, const struct line lines[8], struct fit_q4_k *fit)
{
    fit->error = 0;
    for (int g = 0; g < 8; g++) {
        const struct line *line = &lines[g];
        float best = INFINITY, q[32];
        for (int i = 0; i < 9; i++) {
            float s = clamped(in_units(line->scale, fit->d) + (float)(i / 3 - 1), 0, 63);
            float minimum = fit->d * s * line->q_mean - line->x_mean;
            float m = clamped(in_units(minimum, fit->m) + (float)(i % 3 - 1), 0, 63);
            float error = settle_group(&grid_q4_k, x + 32 * g, fit->d * s, -(fit->m * m), q);
            if (i == 0 || error < best) {
                best = error;
                fit->s[g] = s;
                fit->minima[g] = m;
                memcpy(fit->q + 32 * g, q, sizeof q);
            }
        }
        fit->error += best;
    }
}

/* The d and m for which the superblock comes closest to x, given everything else. */
static void refit_q4_k(const float *x, struct fit_q4_k *fit)
{
    double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0; /* weight = d * a + m * b */
    for (int i = 0; i < SUPERBLOCK; i++) {
        double a = fit->s[i / 32] * fit->q[i], b = -fit->minima[i / 32];
        aa += a * a;
        ab += a * b;
        bb += b * b;
        ax += a * (double)x[i];
        bx += b * (double)x[i];
    }
    double det = aa * bb - ab * ab;
    if (det > 1e-6 * aa * bb) {
        fit->d = f16_nearest((float)((ax * bb - bx * ab) / det));
        fit->m = f16_nearest((float)((bx * aa - ax * ab) / det));
    }
}

static void pack_q4_k(const struct fit_q4_k *fit, struct block_q4_k *block)
{
    store_u16(block->d, f16_from_f32(fit->d));
    store_u16(block->m, f16_from_f32(fit->m));
    for (int j = 0; j < 4; j++) {
        unsigned s = (unsigned)fit->s[j], s4 = (unsigned)fit->s[j + 4];
        unsigned m = (unsigned)fit->minima[j], m4 = (unsigned)fit->minima[j + 4];
        block->scales[j] = (uint8_t)(s | s4 >> 4 << 6);
        block->scales[4 + j] = (uint8_t)(m | m4 >> 4 << 6);
        block->scales[8 + j] = (uint8_t)((s4 & 15) | (m4 & 15) << 4);
    }
    for (int i = 0; i < 128; i++) {
        const float *q = fit->q + i / 32 * 64 + i % 32;
        block->qs[i] = (uint8_t)((unsigned)q[0] | (unsigned)q[32] << 4);
    }
}

/* Times that d (and m) are fitted again to what was chosen with them. */
enum { ROUNDS = 2 };

void quantize_q4_k(const float *x, size_t n, void *blocks)
{
    for (struct block_q4_k *block = blocks; n; n -= SUPERBLOCK, x += SUPERBLOCK, block++) {
        struct line lines[8];
        float scale = 0, minimum = 0;
        for (int g = 0; g < 8; g++) {
            lines[g] = fit_q4_k(x + 32 * g);
            scale = fmaxf(scale, lines[g].scale);
            minimum = fmaxf(minimum, -lines[g].offset);
        }
        struct fit_q4_k fit = {.d = f16_nearest(scale / 63), .m = f16_nearest(minimum / 63)};
        settle_q4_k(x, lines, &fit);
        for (int round = 0; round < ROUNDS; round++) {
            struct fit_q4_k next = fit;
            refit_q4_k(x, &next);
            settle_q4_k(x, lines, &next);
            if (next.error < fit.error)
                fit = next;
        }
        pack_q4_k(&fit, block);
    }
}

/* The scale for which 16 weights on the grid -32..31 come closest to x. */
static float fit_q6_k(const float *x)
{
    float most = largest(x, 16), best = 0, scale = 0;
    if (most == 0)
        return 0;
    for (int k = 0; k < 20; k++) {
        struct sums sums = place_group(&grid_q6_k, x, (0.1F * (float)k - 33) / most, 0);
        float gain = sums.qx * sums.qx / sums.qq; /* what least squares takes off the sum of x^2 */
        if (gain > best) {
            best = gain;
            scale = sums.qx / sums.qq;
        }
    }
    return scale;
}

/* A superblock of Q6_K before it is packed: weight = d * s[g] * q. */
struct fit_q6_k {
    float d; /* representable in binary16 */
    float s[16];
    float q[SUPERBLOCK];
    float error;
};

/* Given d, chooses s and q, group by group: the scales next to the wanted one. */
static void settle_q6_k(const float *x, const float scales[16], struct fit_q6_k *fit)
{
    fit->error = 0;
    for (int g = 0; g < 16; g++) {
        float best = INFINITY, q[16];
        float s0 = fit->d != 0 ? roundf(clamped(scales[g] / fit->d, -128, 127)) : 0;
        for (int i = -1; i <= 1; i++) {
            float s = clamped(s0 + (float)i, -128, 127);
            float error = settle_group(&grid_q6_k, x + 16 * g, fit->d * s, 0, q);
            if (i == -1 || error < best) {
                best = error;
                fit->s[g] = s;
                memcpy(fit->q + 16 * g, q, sizeof q);
            }
        }
        fit->error += best;
    }
}

static void pack_q6_k(const struct fit_q6_k *fit, struct block_q6_k *block)
{
    store_u16(block->d, f16_from_f32(fit->d));
    for (int g = 0; g < 16; g++)
        block->scales[g] = (int8_t)fit->s[g];
    memset(block->low, 0, sizeof block->low);
    memset(block->high, 0, sizeof block->high);
    for (int i = 0; i < SUPERBLOCK; i++) {
        unsigned q = (unsigned)((int)fit->q[i] + 32);
        int half = i / 128, at = i % 128;
        block->low[64 * half + at % 64] |= (uint8_t)((q & 15) << at / 64 * 4);
        block->high[32 * half + at % 32] |= (uint8_t)(q >> 4 << at / 32 * 2);
    }
}

/* The largest scale becomes -128 or, because d is coarse, a little less if that suits others. */
void quantize_q6_k(const float *x, size_t n, void *blocks)
{
    for (struct block_q6_k *block = blocks; n; n -= SUPERBLOCK, x += SUPERBLOCK, block++) {
        float scales[16];
        for (int g = 0; g < 16; g++)
            scales[g] = fit_q6_k(x + 16 * g);
        struct fit_q6_k best = {0};
        for (int most = -128; most <= -120; most += 2) {
            struct fit_q6_k fit = {.d = f16_nearest(largest(scales, 16) / (float)most)};
            settle_q6_k(x, scales, &fit);
            if (most == -128 || fit.error < best.error)
                best = fit;
        }
        pack_q6_k(&best, block);
    }
}
