/* avx512_rows: activations and softmax in AVX-512. What is not here is left to AVX2. */
#include "kernels/avx512.h"

/* x / (1 + exp(-u)) */
TEMPLATE __m512 times_sigmoid(__m512 x, __m512 u)
{
    __m512 e = exp16(_mm512_sub_ps(_mm512_setzero_ps(), u));
    return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0F), e));
}

/* x = f(x), times up unless that is NULL */
TEMPLATE void map(float *x, const float *up, size_t n, __m512 (*f)(__m512 x))
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 v = f(_mm512_maskz_loadu_ps(lanes, x + i));
        if (up)
            v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(lanes, up + i));
        _mm512_mask_storeu_ps(x + i, lanes, v);
    }
}

TEMPLATE __m512 silu16(__m512 x)
{
    return times_sigmoid(x, x);
}

static void silu(float *x, const float *up, size_t n)
{
    map(x, up, n, silu16);
}

TEMPLATE __m512 gelu_tanh16(__m512 x)
{
    __m512 cube = _mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_mul_ps(x, _mm512_set1_ps(GELU_CUBE)));
    return times_sigmoid(x, _mm512_mul_ps(_mm512_add_ps(x, cube), _mm512_set1_ps(GELU_TWO_ROOT)));
}

static void gelu_tanh(float *x, const float *up, size_t n)
{
    map(x, up, n, gelu_tanh16);
}

TEMPLATE __m512 gelu16(__m512 x)
{
    __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.70710678F));
    __m512 one = _mm512_set1_ps(1.0F);
    __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(z, _mm512_set1_ps(ERF_T), one));
    __m512 p = _mm512_set1_ps(ERF_HALF_A5);
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(ERF_HALF_A4));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(ERF_HALF_A3));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(ERF_HALF_A2));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(ERF_HALF_A1));
    __m512 gauss = exp16(_mm512_mul_ps(_mm512_sub_ps(_mm512_setzero_ps(), z), z));
    __m512 below = _mm512_mul_ps(_mm512_mul_ps(p, t), gauss);
    __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
    return _mm512_mul_ps(x, _mm512_mask_sub_ps(below, positive, one, below));
}

static void gelu(float *x, const float *up, size_t n)
{
    map(x, up, n, gelu16);
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 sum =
            _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y + i), _mm512_maskz_loadu_ps(lanes, x + i));
        _mm512_mask_storeu_ps(y + i, lanes, sum);
    }
}

/* The sum of (x - mean)^2, or with `square` false of x, in 4 x 16 partial sums of f32. */
TEMPLATE float sum_terms(const float *x, size_t n, float mean, bool square)
{
    __m512 sum[4];
    UNROLL
    for (int k = 0; k < 4; k++)
        sum[k] = _mm512_setzero_ps();
    __m512 centre = _mm512_set1_ps(mean);
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        UNROLL
    for (size_t k = 0; k < 4; k++) {
        __m512 v = _mm512_sub_ps(_mm512_loadu_ps(x + i + k * LANES), centre);
        sum[k] = square ? _mm512_fmadd_ps(v, v, sum[k]) : _mm512_add_ps(v, sum[k]);
    }
    for (; i < n; i += LANES) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 v = _mm512_maskz_sub_ps(lanes, _mm512_maskz_loadu_ps(lanes, x + i), centre);
        sum[0] = square ? _mm512_fmadd_ps(v, v, sum[0]) : _mm512_add_ps(v, sum[0]);
    }
    return _mm512_reduce_add_ps(
        _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

TEMPLATE float inverse_root(float x)
{
    return 1.0F / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
}

static void rms_norm(float *y, const float *x, const float *weight, size_t n, float epsilon)
{
    __m512 factor = _mm512_set1_ps(inverse_root(sum_terms(x, n, 0, true) / (float)n + epsilon));
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), factor);
        v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(lanes, weight + i));
        _mm512_mask_storeu_ps(y + i, lanes, v);
    }
}

static void layer_norm(float *y, const float *x, const float *weight, const float *bias, size_t n,
                       float epsilon)
{
    float mean = sum_terms(x, n, 0, false) / (float)n;
    __m512 factor = _mm512_set1_ps(inverse_root(sum_terms(x, n, mean, true) / (float)n + epsilon));
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + i), _mm512_set1_ps(mean));
        v = _mm512_mul_ps(_mm512_mul_ps(v, factor), _mm512_maskz_loadu_ps(lanes, weight + i));
        if (bias)
            v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(lanes, bias + i));
        _mm512_mask_storeu_ps(y + i, lanes, v);
    }
}

static float exp_sum(float *x, size_t n, float shift)
{
    __m512 sum = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + i), _mm512_set1_ps(shift));
        v = _mm512_maskz_mov_ps(lanes, exp16(v));
        _mm512_mask_storeu_ps(x + i, lanes, v);
        sum = _mm512_add_ps(sum, v);
    }
    return _mm512_reduce_add_ps(sum);
}

void rows_avx512(struct kernels *kernels)
{
    kernels->add = add;
    kernels->rms_norm = rms_norm;
    kernels->layer_norm = layer_norm;
    kernels->silu = silu;
    kernels->gelu = gelu;
    kernels->gelu_tanh = gelu_tanh;
    kernels->exp_sum = exp_sum;
}
