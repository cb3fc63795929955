/* avx512_rows: activations and attention in AVX-512. What is not here is left to AVX2. */
#include "kernels/avx512.h"

/* x / (1 + exp(-u)) */
TEMPLATE __m512 times_sigmoid(__m512 x, __m512 u)
{
    __m512 e = exp16(_mm512_sub_ps(_mm512_setzero_ps(), u));
    return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0F), e));
}

static void silu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 v = _mm512_maskz_loadu_ps(lanes, x + i);
        _mm512_mask_storeu_ps(x + i, lanes, times_sigmoid(v, v));
    }
}

static void gelu_tanh(float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 v = _mm512_maskz_loadu_ps(lanes, x + i);
        __m512 cube =
            _mm512_mul_ps(_mm512_mul_ps(v, v), _mm512_mul_ps(v, _mm512_set1_ps(GELU_CUBE)));
        __m512 u = _mm512_mul_ps(_mm512_add_ps(v, cube), _mm512_set1_ps(GELU_TWO_ROOT));
        _mm512_mask_storeu_ps(x + i, lanes, times_sigmoid(v, u));
    }
}

static void gelu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 v = _mm512_maskz_loadu_ps(lanes, x + i);
        __m512 z = _mm512_mul_ps(_mm512_abs_ps(v), _mm512_set1_ps(0.70710678F));
        __m512 one = _mm512_set1_ps(1.0F);
        __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(z, _mm512_set1_ps(ERF_T), one));
        __m512 p = _mm512_set1_ps(ERF_HALF_A5);
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(ERF_HALF_A4));
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(ERF_HALF_A3));
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(ERF_HALF_A2));
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(ERF_HALF_A1));
        __m512 gauss = exp16(_mm512_mul_ps(_mm512_sub_ps(_mm512_setzero_ps(), z), z));
        __m512 below = _mm512_mul_ps(_mm512_mul_ps(p, t), gauss);
        __mmask16 positive = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GT_OQ);
        __m512 phi = _mm512_mask_sub_ps(below, positive, one, below);
        _mm512_mask_storeu_ps(x + i, lanes, _mm512_mul_ps(v, phi));
    }
}

/* The sum of squares in 4 x 16 partial sums of f32. */
static void rms_norm(float *y, const float *x, const float *weight, size_t n, float epsilon)
{
    __m512 sum[4];
    for (int k = 0; k < 4; k++)
        sum[k] = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        UNROLL
    for (size_t k = 0; k < 4; k++) {
        __m512 v = _mm512_loadu_ps(x + i + k * LANES);
        sum[k] = _mm512_fmadd_ps(v, v, sum[k]);
    }
    for (; i < n; i += LANES) {
        __m512 v = _mm512_maskz_loadu_ps(first_lanes(n - i), x + i);
        sum[0] = _mm512_fmadd_ps(v, v, sum[0]);
    }
    float squares = _mm512_reduce_add_ps(
        _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
    __m128 root = _mm_sqrt_ss(_mm_set_ss(squares / (float)n + epsilon));
    __m512 factor = _mm512_set1_ps(1.0F / _mm_cvtss_f32(root));
    for (i = 0; i < n; i += LANES) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), factor);
        _mm512_mask_storeu_ps(y + i, lanes,
                              _mm512_mul_ps(v, _mm512_maskz_loadu_ps(lanes, weight + i)));
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

/* --- attention --------------------------------------------------------------------------------
 *
 * Register tiles of queries x vectors: each vector of keys (values) is loaded, and for F16
 * converted, once for up to 8 (4) queries. One accumulator runs over d (j) in rising order. */

TEMPLATE void scores_tile(float *scores, size_t lds, const float *const *q, int m, const void *keys,
                          size_t ldk, bool half, size_t j, int vectors, size_t dim)
{
    __m512 sum[8][4];
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        sum[i][v] = _mm512_setzero_ps();
    for (size_t d = 0; d < dim; d++) {
        __m512 key[4];
        UNROLL
        for (int v = 0; v < vectors; v++)
            key[v] = load16(keys, d * ldk + j + (size_t)v * LANES, half, ALL_LANES);
        UNROLL
        for (int i = 0; i < m; i++)
            UNROLL
        for (int v = 0; v < vectors; v++)
            sum[i][v] = _mm512_fmadd_ps(_mm512_set1_ps(q[i][d]), key[v], sum[i][v]);
    }
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        _mm512_storeu_ps(scores + (size_t)i * lds + j + (size_t)v * LANES, sum[i][v]);
}

/* m constant; all positions. */
TEMPLATE void scores_rows(float *scores, size_t lds, const float *const *q, int m, const void *keys,
                          size_t ldk, bool half, size_t n, size_t dim)
{
    enum { MANY = 4 };
    int vectors = m <= MANY ? 4 : 2;
    size_t step = (size_t)vectors * LANES;
    size_t j = 0;
    for (; j + step < n + LANES; j += step) /* the last vector may be partly beyond n */
        scores_tile(scores, lds, q, m, keys, ldk, half, j, vectors, dim);
    for (; j < n; j += LANES)
        scores_tile(scores, lds, q, m, keys, ldk, half, j, 1, dim);
}

TEMPLATE void scores_all(float *scores, size_t lds, const float *const *q, int m, const void *keys,
                         size_t ldk, bool half, size_t n, size_t dim)
{
    for (; m >= 8; m -= 8, q += 8, scores += 8 * lds)
        scores_rows(scores, lds, q, 8, keys, ldk, half, n, dim);
    switch (m) {
    case 1:
        scores_rows(scores, lds, q, 1, keys, ldk, half, n, dim);
        break;
    case 2:
        scores_rows(scores, lds, q, 2, keys, ldk, half, n, dim);
        break;
    case 3:
        scores_rows(scores, lds, q, 3, keys, ldk, half, n, dim);
        break;
    case 4:
        scores_rows(scores, lds, q, 4, keys, ldk, half, n, dim);
        break;
    case 5:
        scores_rows(scores, lds, q, 5, keys, ldk, half, n, dim);
        break;
    case 6:
        scores_rows(scores, lds, q, 6, keys, ldk, half, n, dim);
        break;
    case 7:
        scores_rows(scores, lds, q, 7, keys, ldk, half, n, dim);
        break;
    default:
        break;
    }
}

static void attend_scores(float *scores, size_t lds, const float *const *q, int m, const void *keys,
                          size_t ldk, enum format format, size_t n, size_t dim)
{
    if (format == FORMAT_F16)
        scores_all(scores, lds, q, m, keys, ldk, true, n, dim);
    else
        scores_all(scores, lds, q, m, keys, ldk, false, n, dim);
}

/* Elements d.. of `vectors` vectors; the mask applies to the last. */
TEMPLATE void values_tile(float *const *out, const float *p, size_t ldp, int m, const void *values,
                          bool half, size_t d, int vectors, __mmask16 lanes, size_t n, size_t dim)
{
    __m512 sum[4][4];
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        sum[i][v] = load_f32(out[i] + d + v * LANES, lanes);
    for (size_t j = 0; j < n; j++) {
        __m512 value[4];
        UNROLL
        for (int v = 0; v < vectors; v++)
            value[v] = load16(values, j * dim + d + (size_t)v * LANES, half, lanes);
        UNROLL
        for (int i = 0; i < m; i++)
            UNROLL
        for (int v = 0; v < vectors; v++)
            sum[i][v] =
                _mm512_fmadd_ps(_mm512_set1_ps(p[(size_t)i * ldp + j]), value[v], sum[i][v]);
    }
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        _mm512_mask_storeu_ps(out[i] + d + v * LANES, lanes, sum[i][v]);
}

/* m constant; all elements. */
TEMPLATE void values_rows(float *const *out, const float *p, size_t ldp, int m, const void *values,
                          bool half, size_t n, size_t dim)
{
    size_t d = 0;
    for (; d + 4 * LANES <= dim; d += 4 * LANES)
        values_tile(out, p, ldp, m, values, half, d, 4, ALL_LANES, n, dim);
    for (; d < dim; d += LANES)
        values_tile(out, p, ldp, m, values, half, d, 1, first_lanes(dim - d), n, dim);
}

TEMPLATE void values_all(float *const *out, const float *p, size_t ldp, int m, const void *values,
                         bool half, size_t n, size_t dim)
{
    for (; m >= 4; m -= 4, out += 4, p += 4 * ldp)
        values_rows(out, p, ldp, 4, values, half, n, dim);
    switch (m) {
    case 1:
        values_rows(out, p, ldp, 1, values, half, n, dim);
        break;
    case 2:
        values_rows(out, p, ldp, 2, values, half, n, dim);
        break;
    case 3:
        values_rows(out, p, ldp, 3, values, half, n, dim);
        break;
    default:
        break;
    }
}

static void attend_values(float *const *out, const float *p, size_t ldp, int m, const void *values,
                          enum format format, size_t n, size_t dim)
{
    if (format == FORMAT_F16)
        values_all(out, p, ldp, m, values, true, n, dim);
    else
        values_all(out, p, ldp, m, values, false, n, dim);
}

void rows_avx512(struct kernels *kernels)
{
    kernels->rms_norm = rms_norm;
    kernels->silu = silu;
    kernels->gelu = gelu;
    kernels->gelu_tanh = gelu_tanh;
    kernels->attend_scores = attend_scores;
    kernels->attend_values = attend_values;
    kernels->exp_sum = exp_sum;
}
