/* neon_rows: activations on aarch64: norms, activation functions, rotation, softmax. Tails
 * shorter than a vector are computed in scalars, or in a vector that a small buffer pads. */
#include <math.h>
#include <string.h>

#include "kernels/neon.h"

/* --- rows of activations ------------------------------------------------------------------- */

static void add(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vaddq_f32(vld1q_f32(y + i), vld1q_f32(x + i)));
    for (; i < n; i++)
        y[i] += x[i];
}

static void scale(float *x, size_t n, float factor)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(x + i, vmulq_n_f32(vld1q_f32(x + i), factor));
    for (; i < n; i++)
        x[i] *= factor;
}

/* of x - centre */
static float mean_square(const float *x, size_t n, float centre)
{
    float32x4_t sum = vdupq_n_f32(0);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t d = vsubq_f32(vld1q_f32(x + i), vdupq_n_f32(centre));
        sum = vfmaq_f32(sum, d, d);
    }
    float total = vaddvq_f32(sum);
    for (; i < n; i++)
        total += (x[i] - centre) * (x[i] - centre);
    return total / (float)n;
}

static void rms_norm(float *y, const float *x, const float *weight, size_t n, float epsilon)
{
    float factor = 1.0F / sqrtf(mean_square(x, n, 0) + epsilon);
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(y + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), factor), vld1q_f32(weight + i)));
    for (; i < n; i++)
        y[i] = x[i] * factor * weight[i];
}

static float mean_of(const float *x, size_t n)
{
    float32x4_t sum = vdupq_n_f32(0);
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        sum = vaddq_f32(sum, vld1q_f32(x + i));
    float total = vaddvq_f32(sum);
    for (; i < n; i++)
        total += x[i];
    return total / (float)n;
}

static void layer_norm(float *y, const float *x, const float *weight, const float *bias, size_t n,
                       float epsilon)
{
    float mean = mean_of(x, n);
    float factor = 1.0F / sqrtf(mean_square(x, n, mean) + epsilon);
    float32x4_t centre = vdupq_n_f32(mean);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vmulq_n_f32(vsubq_f32(vld1q_f32(x + i), centre), factor);
        v = vmulq_f32(v, vld1q_f32(weight + i));
        vst1q_f32(y + i, bias ? vaddq_f32(v, vld1q_f32(bias + i)) : v);
    }
    for (; i < n; i++)
        y[i] = (x[i] - mean) * factor * weight[i] + (bias ? bias[i] : 0.0F);
}

/* x = f(x), times up unless that is NULL */
NEON_TEMPLATE void map(float *x, const float *up, size_t n, float32x4_t (*f)(float32x4_t))
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t v = f(vld1q_f32(x + i));
        vst1q_f32(x + i, up ? vmulq_f32(v, vld1q_f32(up + i)) : v);
    }
    if (i < n) {
        float tail[4] = {0};
        memcpy(tail, x + i, (n - i) * sizeof *x);
        vst1q_f32(tail, f(vld1q_f32(tail)));
        for (size_t k = 0; i + k < n; k++)
            x[i + k] = up ? tail[k] * up[i + k] : tail[k];
    }
}

/* exp = 2^k * exp(r), |r| <= ln(2) / 2, with a minimax polynomial for exp(r) (relative error 3e-9
 * before rounding). 2^k is applied in two halves, so that results overflow to infinity and
 * underflow through the subnormals to 0 as they should; x is clamped to where both halves are
 * normal. NaN stays NaN. */
static inline float32x4_t exp_4(float32x4_t x)
{
    x = vminq_f32(vmaxq_f32(x, vdupq_n_f32(-104.0F)), vdupq_n_f32(89.0F));
    float32x4_t k = vrndnq_f32(vmulq_n_f32(x, 0x1.715476p+0F)); /* 1 / ln 2 */
    float32x4_t r = vfmsq_n_f32(x, k, 0x1.62e43p-1F);           /* ln 2 rounded, */
    r = vfmsq_n_f32(r, k, -0x1.05c61p-29F);                     /* and the rest */
    float32x4_t p = vdupq_n_f32(0x1.6a2352p-10F);
    p = vfmaq_f32(vdupq_n_f32(0x1.123a6cp-7F), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.5558f4p-5F), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.55549p-3F), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.fffffcp-2F), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0F), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0F), p, r);
    int32x4_t exponent = vcvtq_s32_f32(k);
    int32x4_t half = vshrq_n_s32(exponent, 1), rest = vsubq_s32(exponent, half);
    int32x4_t bias = vdupq_n_s32(127);
    p = vmulq_f32(p, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23)));
    return vmulq_f32(p, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23)));
}

/* x / (1 + exp(-u)) */
static inline float32x4_t times_sigmoid(float32x4_t x, float32x4_t u)
{
    return vdivq_f32(x, vaddq_f32(vdupq_n_f32(1.0F), exp_4(vnegq_f32(u))));
}

static inline float32x4_t silu_4(float32x4_t x)
{
    return times_sigmoid(x, x);
}

/* (1 + tanh(u)) / 2 = sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3) */
static inline float32x4_t gelu_tanh_4(float32x4_t x)
{
    float32x4_t square = vmulq_f32(x, x);
    float32x4_t inner = vfmaq_n_f32(vdupq_n_f32(1.0F), square, 0.044715F);
    return times_sigmoid(x, vmulq_f32(vmulq_n_f32(x, 1.5957691F), inner)); /* 2 sqrt(2 / pi) */
}

/* x Phi(x) = max(x, 0) - a Phi(-a) with a = |x|, and Phi(-a) = exp(-a^2 / 2) t Q(t) with
 * t = 1 / (1 + 0.3 a) and a minimax polynomial Q (relative error 4e-9 before rounding); beyond
 * a = 15 it is 0. The square is taken exactly, in two parts, because exp would turn its rounding
 * error into a relative error of the result. */
static inline float32x4_t gelu_4(float32x4_t x)
{
    static const float q[] = {-0x1.51fa9ap-6F, 0x1.cca786p-4F, -0x1.d38690p-3F, 0x1.88f992p-3F,
                              -0x1.45aa8ap-4F, 0x1.8a0dbcp-4F, 0x1.410360p-4F,  0x1.c38a4ep-4F,
                              0x1.e9c39ep-4F,  0x1.ea3c9ep-4F};
    float32x4_t one = vdupq_n_f32(1.0F);
    float32x4_t a = vminq_f32(vabsq_f32(x), vdupq_n_f32(15.0F));
    float32x4_t t = vdivq_f32(one, vfmaq_n_f32(one, a, 0.3F));
    float32x4_t p = vdupq_n_f32(q[0]);
    NEON_UNROLL
    for (int i = 1; i < 10; i++)
        p = vfmaq_f32(vdupq_n_f32(q[i]), p, t);
    float32x4_t square = vmulq_f32(a, a);
    float32x4_t left = vfmaq_f32(vnegq_f32(square), a, a);
    float32x4_t e = exp_4(vmulq_n_f32(square, -0.5F));
    e = vfmsq_f32(e, e, vmulq_n_f32(left, 0.5F));
    return vfmsq_f32(vmaxq_f32(x, vdupq_n_f32(0)), vmulq_f32(a, e), vmulq_f32(p, t));
}

static void silu(float *x, const float *up, size_t n)
{
    map(x, up, n, silu_4);
}

static void gelu(float *x, const float *up, size_t n)
{
    map(x, up, n, gelu_4);
}

static void gelu_tanh(float *x, const float *up, size_t n)
{
    map(x, up, n, gelu_tanh_4);
}

/* --- rotation ------------------------------------------------------------------------------ */

/* (a, b) turned */
static inline float32x4x2_t rotate_4(float32x4_t a, float32x4_t b, float32x4_t cos, float32x4_t sin)
{
    float32x4x2_t turned;
    turned.val[0] = vfmsq_f32(vmulq_f32(a, cos), b, sin);
    turned.val[1] = vfmaq_f32(vmulq_f32(b, cos), a, sin);
    return turned;
}

static void rotate_interleaved(float *x, const float *cos, const float *sin, size_t pairs)
{
    size_t t = 0;
    for (; t + 4 <= pairs; t += 4) {
        float32x4x2_t v = vld2q_f32(x + 2 * t);
        vst2q_f32(x + 2 * t, rotate_4(v.val[0], v.val[1], vld1q_f32(cos + t), vld1q_f32(sin + t)));
    }
    for (; t < pairs; t++) {
        float a = x[2 * t], b = x[2 * t + 1];
        x[2 * t] = a * cos[t] - b * sin[t];
        x[2 * t + 1] = a * sin[t] + b * cos[t];
    }
}

static void rotate_halves(float *x, const float *cos, const float *sin, size_t pairs)
{
    float *y = x + pairs;
    size_t t = 0;
    for (; t + 4 <= pairs; t += 4) {
        float32x4_t a = vld1q_f32(x + t), b = vld1q_f32(y + t);
        float32x4x2_t v = rotate_4(a, b, vld1q_f32(cos + t), vld1q_f32(sin + t));
        vst1q_f32(x + t, v.val[0]);
        vst1q_f32(y + t, v.val[1]);
    }
    for (; t < pairs; t++) {
        float a = x[t], b = y[t];
        x[t] = a * cos[t] - b * sin[t];
        y[t] = a * sin[t] + b * cos[t];
    }
}

static float max(const float *x, size_t n)
{
    float largest = x[0];
    size_t i = 0;
    if (n >= 4) {
        float32x4_t v = vld1q_f32(x);
        for (i = 4; i + 4 <= n; i += 4)
            v = vmaxq_f32(v, vld1q_f32(x + i));
        largest = vmaxvq_f32(v);
    }
    for (; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    return largest;
}

static float exp_sum(float *x, size_t n, float shift)
{
    float32x4_t sum = vdupq_n_f32(0), by = vdupq_n_f32(shift);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t e = exp_4(vsubq_f32(vld1q_f32(x + i), by));
        vst1q_f32(x + i, e);
        sum = vaddq_f32(sum, e);
    }
    if (i < n) { /* the exponential of the padding is 0 */
        float tail[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
        memcpy(tail, x + i, (n - i) * sizeof *x);
        float32x4_t e = exp_4(vsubq_f32(vld1q_f32(tail), by));
        vst1q_f32(tail, e);
        memcpy(x + i, tail, (n - i) * sizeof *x);
        sum = vaddq_f32(sum, e);
    }
    return vaddvq_f32(sum);
}

static void add_line(float *x, const struct bias *bias, size_t n)
{
    const float lanes[4] = {0, 1, 2, 3};
    size_t j = 0;
    for (; j + 4 <= n; j += 4) {
        float32x4_t distance = vsubq_f32(vdupq_n_f32(bias->distance - (float)j), vld1q_f32(lanes));
        vst1q_f32(x + j, vsubq_f32(vld1q_f32(x + j), vmulq_n_f32(distance, bias->slope)));
    }
    for (; j < n; j++)
        x[j] -= bias->slope * (bias->distance - (float)j);
}

static float softmax(float *x, const struct bias *bias, size_t n, float *top, float *sum)
{
    if (bias && bias->row)
        add(x, bias->row, n);
    else if (bias)
        add_line(x, bias, n);
    float largest = max(x, n);
    float shrink = 1;
    if (largest > *top) {
        shrink = expf(*top - largest);
        *top = largest;
    }
    *sum = *sum * shrink + exp_sum(x, n, *top);
    return shrink;
}

void rows_neon(struct kernels *kernels)
{
    kernels->add = add;
    kernels->rms_norm = rms_norm;
    kernels->layer_norm = layer_norm;
    kernels->silu = silu;
    kernels->gelu = gelu;
    kernels->gelu_tanh = gelu_tanh;
    kernels->rotate_interleaved = rotate_interleaved;
    kernels->rotate_halves = rotate_halves;
    kernels->max = max;
    kernels->exp_sum = exp_sum;
    kernels->softmax = softmax;
    kernels->scale = scale;
}
