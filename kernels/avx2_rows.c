/* avx2_rows: activations and softmax in AVX2. Sums run in f32, in at least 8 lanes. */
#include "kernels/avx2.h"

/* --- element by element -------------------------------------------------------------------- */

/* x = f(x), times up unless that is NULL */
TEMPLATE void map(float *x, const float *up, size_t n, __m256 (*f)(__m256 x))
{
    for (size_t i = 0; i < n; i += LANES) {
        __m256 v = f(load_f32(x + i, n - i));
        store_f32(x + i, up ? _mm256_mul_ps(v, load_f32(up + i, n - i)) : v, n - i);
    }
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        store_f32(y + i, _mm256_add_ps(load_f32(y + i, n - i), load_f32(x + i, n - i)), n - i);
}

static void scale(float *x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i += LANES)
        store_f32(x + i, _mm256_mul_ps(load_f32(x + i, n - i), _mm256_set1_ps(factor)), n - i);
}

/* x / (1 + exp(-u)) */
TEMPLATE __m256 times_sigmoid(__m256 x, __m256 u)
{
    __m256 e = exp8(_mm256_sub_ps(_mm256_setzero_ps(), u));
    return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0F), e));
}

TEMPLATE __m256 silu8(__m256 x)
{
    return times_sigmoid(x, x);
}

static void silu(float *x, const float *up, size_t n)
{
    map(x, up, n, silu8);
}

TEMPLATE __m256 gelu_tanh8(__m256 x)
{
    __m256 cube = _mm256_mul_ps(_mm256_mul_ps(x, x), _mm256_mul_ps(x, _mm256_set1_ps(GELU_CUBE)));
    return times_sigmoid(x, _mm256_mul_ps(_mm256_add_ps(x, cube), _mm256_set1_ps(GELU_TWO_ROOT)));
}

static void gelu_tanh(float *x, const float *up, size_t n)
{
    map(x, up, n, gelu_tanh8);
}

TEMPLATE __m256 gelu8(__m256 x)
{
    __m256 z =
        _mm256_mul_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0F), x), _mm256_set1_ps(0.70710678F));
    __m256 one = _mm256_set1_ps(1.0F);
    __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(z, _mm256_set1_ps(ERF_T), one));
    __m256 p = _mm256_set1_ps(ERF_HALF_A5);
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(ERF_HALF_A4));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(ERF_HALF_A3));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(ERF_HALF_A2));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(ERF_HALF_A1));
    __m256 gauss = exp8(_mm256_mul_ps(_mm256_sub_ps(_mm256_setzero_ps(), z), z));
    __m256 below = _mm256_mul_ps(_mm256_mul_ps(p, t), gauss); /* Phi(-|x|) */
    __m256 positive = _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ);
    return _mm256_mul_ps(x, _mm256_blendv_ps(below, _mm256_sub_ps(one, below), positive));
}

static void gelu(float *x, const float *up, size_t n)
{
    map(x, up, n, gelu8);
}

static float max(const float *x, size_t n)
{
    __m256 top = _mm256_set1_ps(x[0]);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        top = _mm256_max_ps(top, _mm256_loadu_ps(x + i));
    float largest = max8(top);
    for (; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    return largest;
}

static float exp_sum(float *x, size_t n, float shift)
{
    __m256 sum = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += LANES) {
        __m256 v = exp8(_mm256_sub_ps(load_f32(x + i, n - i), _mm256_set1_ps(shift)));
        if (n - i < LANES)
            v = _mm256_and_ps(v, _mm256_castsi256_ps(first_lanes(n - i)));
        store_f32(x + i, v, n - i);
        sum = _mm256_add_ps(sum, v);
    }
    return sum8(sum);
}

/* --- norms --------------------------------------------------------------------------------- */

/* The sum of (x - mean)^2, or with `square` false of x, in 4 x 8 partial sums. */
TEMPLATE float sum_terms(const float *x, size_t n, float mean, bool square)
{
    __m256 sum[4];
    UNROLL
    for (int k = 0; k < 4; k++)
        sum[k] = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        UNROLL
    for (size_t k = 0; k < 4; k++) {
        __m256 v = _mm256_sub_ps(_mm256_loadu_ps(x + i + k * LANES), _mm256_set1_ps(mean));
        sum[k] = square ? _mm256_fmadd_ps(v, v, sum[k]) : _mm256_add_ps(v, sum[k]);
    }
    float total = sum8(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
    for (; i < n; i++)
        total += square ? (x[i] - mean) * (x[i] - mean) : x[i];
    return total;
}

TEMPLATE float inverse_root(float x)
{
    return 1.0F / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
}

static void rms_norm(float *y, const float *x, const float *weight, size_t n, float epsilon)
{
    float factor = inverse_root(sum_terms(x, n, 0, true) / (float)n + epsilon);
    for (size_t i = 0; i < n; i += LANES) {
        __m256 v = _mm256_mul_ps(load_f32(x + i, n - i), _mm256_set1_ps(factor));
        store_f32(y + i, _mm256_mul_ps(v, load_f32(weight + i, n - i)), n - i);
    }
}

static void layer_norm(float *y, const float *x, const float *weight, const float *bias, size_t n,
                       float epsilon)
{
    float mean = sum_terms(x, n, 0, false) / (float)n;
    float factor = inverse_root(sum_terms(x, n, mean, true) / (float)n + epsilon);
    for (size_t i = 0; i < n; i += LANES) {
        __m256 v = _mm256_sub_ps(load_f32(x + i, n - i), _mm256_set1_ps(mean));
        v = _mm256_mul_ps(_mm256_mul_ps(v, _mm256_set1_ps(factor)), load_f32(weight + i, n - i));
        store_f32(y + i, bias ? _mm256_add_ps(v, load_f32(bias + i, n - i)) : v, n - i);
    }
}

/* --- rotation ------------------------------------------------------------------------------ */

static void rotate_interleaved(float *x, const float *cos, const float *sin, size_t pairs)
{
    __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    size_t t = 0;
    for (; t + 4 <= pairs; t += 4) {
        __m256 v = _mm256_loadu_ps(x + 2 * t);
        __m256 c = _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(cos + t)), twice);
        __m256 s = _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(sin + t)), twice);
        __m256 swapped = _mm256_permute_ps(v, 0xB1);
        _mm256_storeu_ps(x + 2 * t, _mm256_fmaddsub_ps(v, c, _mm256_mul_ps(swapped, s)));
    }
    for (; t < pairs; t++) {
        float a = x[2 * t], b = x[2 * t + 1];
        x[2 * t] = a * cos[t] - b * sin[t];
        x[2 * t + 1] = a * sin[t] + b * cos[t];
    }
}

static void rotate_halves(float *x, const float *cos, const float *sin, size_t pairs)
{
    for (size_t t = 0; t < pairs; t += LANES) {
        size_t left = pairs - t;
        __m256 a = load_f32(x + t, left), b = load_f32(x + pairs + t, left);
        __m256 c = load_f32(cos + t, left), s = load_f32(sin + t, left);
        store_f32(x + t, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)), left);
        store_f32(x + pairs + t, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)), left);
    }
}

void rows_avx2(struct kernels *kernels)
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
    kernels->scale = scale;
}
