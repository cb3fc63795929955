/* avx2_rows: activations and attention in AVX2. Sums run in f32, in at least 8 lanes. */
#include "kernels/avx2.h"

/* --- element by element -------------------------------------------------------------------- */

/* y = f(y, x) */
TEMPLATE void update(float *y, const float *x, size_t n, __m256 (*f)(__m256 y, __m256 x))
{
    for (size_t i = 0; i < n; i += LANES)
        store_f32(y + i, f(load_f32(y + i, n - i), load_f32(x + i, n - i)), n - i);
}

/* x = f(x) */
TEMPLATE void map(float *x, size_t n, __m256 (*f)(__m256 x))
{
    for (size_t i = 0; i < n; i += LANES)
        store_f32(x + i, f(load_f32(x + i, n - i)), n - i);
}

TEMPLATE __m256 add8(__m256 y, __m256 x)
{
    return _mm256_add_ps(y, x);
}

static void add(float *y, const float *x, size_t n)
{
    update(y, x, n, add8);
}

TEMPLATE __m256 multiply8(__m256 y, __m256 x)
{
    return _mm256_mul_ps(y, x);
}

static void multiply(float *y, const float *x, size_t n)
{
    update(y, x, n, multiply8);
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

static void silu(float *x, size_t n)
{
    map(x, n, silu8);
}

TEMPLATE __m256 gelu_tanh8(__m256 x)
{
    __m256 cube = _mm256_mul_ps(_mm256_mul_ps(x, x), _mm256_mul_ps(x, _mm256_set1_ps(GELU_CUBE)));
    return times_sigmoid(x, _mm256_mul_ps(_mm256_add_ps(x, cube), _mm256_set1_ps(GELU_TWO_ROOT)));
}

static void gelu_tanh(float *x, size_t n)
{
    map(x, n, gelu_tanh8);
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

static void gelu(float *x, size_t n)
{
    map(x, n, gelu8);
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

/* --- attention --------------------------------------------------------------------------------
 *
 * Register tiles of queries x vectors: each vector of keys (values) is loaded, and for F16
 * converted, once for up to 6 (4) queries. One accumulator runs over d (j) in rising order. */

TEMPLATE void scores_tile(float *scores, size_t lds, const float *const *q, int m, const void *keys,
                          size_t ldk, bool half, size_t j, int vectors, size_t dim)
{
    __m256 sum[6][4];
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        sum[i][v] = _mm256_setzero_ps();
    for (size_t d = 0; d < dim; d++) {
        __m256 key[4];
        UNROLL
        for (int v = 0; v < vectors; v++)
            key[v] = load8(keys, d * ldk + j + (size_t)v * LANES, half, LANES);
        UNROLL
        for (int i = 0; i < m; i++)
            UNROLL
        for (int v = 0; v < vectors; v++)
            sum[i][v] = _mm256_fmadd_ps(_mm256_set1_ps(q[i][d]), key[v], sum[i][v]);
    }
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        _mm256_storeu_ps(scores + (size_t)i * lds + j + (size_t)v * LANES, sum[i][v]);
}

/* m constant; all positions, up to the next multiple of 16. */
TEMPLATE void scores_rows(float *scores, size_t lds, const float *const *q, int m, const void *keys,
                          size_t ldk, bool half, size_t n, size_t dim)
{
    size_t j = 0;
    for (; m <= 2 && j + 4 * LANES <= n; j += 4 * LANES)
        scores_tile(scores, lds, q, m, keys, ldk, half, j, 4, dim);
    for (; j < n; j += 2 * LANES)
        scores_tile(scores, lds, q, m, keys, ldk, half, j, 2, dim);
}

TEMPLATE void scores_all(float *scores, size_t lds, const float *const *q, int m, const void *keys,
                         size_t ldk, bool half, size_t n, size_t dim)
{
    for (; m >= 6; m -= 6, q += 6, scores += 6 * lds)
        scores_rows(scores, lds, q, 6, keys, ldk, half, n, dim);
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

/* Elements d.. in `vectors` vectors; only the last one of a row may have fewer than 8 left. */
TEMPLATE void values_tile(float *const *out, const float *p, size_t ldp, int m, const void *values,
                          bool half, size_t d, int vectors, size_t left, size_t n, size_t dim)
{
    __m256 sum[4][8];
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        sum[i][v] = load_f32(out[i] + d + v * LANES, left);
    for (size_t j = 0; j < n; j++)
        UNROLL
    for (int v = 0; v < vectors; v++) {
        __m256 value = load8(values, j * dim + d + (size_t)v * LANES, half, left);
        UNROLL
        for (int i = 0; i < m; i++)
            sum[i][v] = _mm256_fmadd_ps(_mm256_set1_ps(p[(size_t)i * ldp + j]), value, sum[i][v]);
    }
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        store_f32(out[i] + d + v * LANES, sum[i][v], left);
}

/* m constant; all elements, as many vectors at a time as keep at most 12 sums. */
TEMPLATE void values_rows(float *const *out, const float *p, size_t ldp, int m, const void *values,
                          bool half, size_t n, size_t dim)
{
    int vectors = m == 1 ? 8 : m <= 3 ? 4 : 2;
    size_t step = (size_t)vectors * LANES;
    size_t d = 0;
    for (; d + step <= dim; d += step)
        values_tile(out, p, ldp, m, values, half, d, vectors, LANES, n, dim);
    for (; d < dim; d += LANES)
        values_tile(out, p, ldp, m, values, half, d, 1, dim - d, n, dim);
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

void rows_avx2(struct kernels *kernels)
{
    kernels->add = add;
    kernels->rms_norm = rms_norm;
    kernels->layer_norm = layer_norm;
    kernels->silu = silu;
    kernels->gelu = gelu;
    kernels->gelu_tanh = gelu_tanh;
    kernels->multiply = multiply;
    kernels->rotate_interleaved = rotate_interleaved;
    kernels->rotate_halves = rotate_halves;
    kernels->attend_scores = attend_scores;
    kernels->attend_values = attend_values;
    kernels->max = max;
    kernels->exp_sum = exp_sum;
    kernels->scale = scale;
}
