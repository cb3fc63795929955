/* attend_avx512: attention over packed blocks in AVX-512, and the softmax of its rows.
 *
 * Tiles of 8 queries x 32 lanes. What a tile reads lies together: queries (m / 8, dim, 8), keys
 * (positions / 32, dim, 32), values (dim / 32, PACKED_POSITIONS, 32). */
#include <math.h>

#include "kernels/avx512.h"

enum { ROWS = 8, VECTORS = 2, TILE = VECTORS * LANES };

static void pack_queries(const float *const *q, int m, size_t dim, void *packed)
{
    float *to = packed;
    for (int first = 0; first < m; first += ROWS)
        for (size_t d = 0; d < dim; d++)
            for (int i = first; i < first + ROWS; i++)
                *to++ = i < m ? q[i][d] : 0;
}

static void pack_keys(const void *keys, size_t ldk, enum format format, size_t n, size_t dim,
                      void *packed)
{
    bool half = format == FORMAT_F16;
    float *to = packed;
    for (size_t j = 0; j < n; j += TILE)
        for (size_t d = 0; d < dim; d++, to += TILE)
            UNROLL
    for (size_t v = 0; v < TILE; v += LANES)
        _mm512_storeu_ps(to + v, load16(keys, d * ldk + j + v, half, ALL_LANES));
}

static void pack_values(const void *values, enum format format, size_t n, size_t dim, void *packed)
{
    bool half = format == FORMAT_F16;
    for (size_t d = 0; d < dim; d += TILE) {
        float *to = (float *)packed + d * PACKED_POSITIONS;
        size_t left = dim - d;
        __mmask16 low = first_lanes(left);
        __mmask16 high = left > LANES ? first_lanes(left - LANES) : 0;
        for (size_t j = 0; j < n; j++, to += TILE) {
            size_t at = j * dim + d;
            _mm512_storeu_ps(to, load16(values, at, half, low));
            _mm512_storeu_ps(to + LANES, load16(values, at + LANES, half, high));
        }
    }
}

TEMPLATE void load_tile(__m512 sum[ROWS][VECTORS], const float *c, size_t ldc)
{
    UNROLL
    for (size_t i = 0; i < ROWS; i++)
        UNROLL
    for (size_t v = 0; v < VECTORS; v++)
        sum[i][v] = c ? _mm512_loadu_ps(c + i * ldc + v * LANES) : _mm512_setzero_ps();
}

/* sum[i] += a[i * lda] * b[TILE]; behind is a + 4 * lda: two bases reach all rows by scaled
 * offsets. */
TEMPLATE void multiply_step(__m512 sum[ROWS][VECTORS], const float *a, const float *behind,
                            size_t lda, const float *b)
{
    __m512 x[VECTORS];
    UNROLL
    for (size_t v = 0; v < VECTORS; v++)
        x[v] = _mm512_loadu_ps(b + v * LANES);
    UNROLL
    for (size_t i = 0; i < ROWS; i++) {
        __m512 y = _mm512_set1_ps(i < 4 ? a[i * lda] : behind[(i - 4) * lda]);
        UNROLL
        for (size_t v = 0; v < VECTORS; v++)
            sum[i][v] = _mm512_fmadd_ps(y, x[v], sum[i][v]);
    }
}

/* c[i] = (start[i] or 0) + sum over k < n of a[k * step + i * lda] * b[k][TILE], i < ROWS */
TEMPLATE void multiply_tile(float *c, size_t ldc, bool add, const float *a, size_t lda, size_t step,
                            const float *b, size_t n)
{
    __m512 sum[ROWS][VECTORS];
    load_tile(sum, add ? c : NULL, ldc);
    const float *behind = a + 4 * lda;
    __asm__("" : "+r"(behind)); /* else compilers keep an address for every row and step */
    size_t k = 0;
    for (; k + 4 <= n; k += 4, a += 4 * step, behind += 4 * step, b += 4 * TILE)
        UNROLL
    for (size_t i = 0; i < 4; i++)
        multiply_step(sum, a + i * step, behind + i * step, lda, b + i * TILE);
    for (; k < n; k++, a += step, behind += step, b += TILE)
        multiply_step(sum, a, behind, lda, b);
    UNROLL
    for (size_t i = 0; i < ROWS; i++)
        UNROLL
    for (size_t v = 0; v < VECTORS; v++)
        _mm512_storeu_ps(c + i * ldc + v * LANES, sum[i][v]);
}

static void packed_scores(float *scores, size_t lds, const void *q, int m, const void *keys,
                          size_t n, size_t dim)
{
    const float *b = keys;
    for (size_t j = 0; j < n; j += TILE, b += TILE * dim) {
        const float *a = q;
        for (size_t i = 0; i < (size_t)m; i += ROWS, a += ROWS * dim)
            multiply_tile(scores + i * lds + j, lds, false, a, 1, ROWS, b, dim);
    }
}

static void packed_values(float *out, size_t ldo, const float *p, size_t ldp, int m,
                          const void *values, size_t n, size_t dim)
{
    const float *b = values;
    for (size_t d = 0; d < dim; d += TILE, b += TILE * PACKED_POSITIONS)
        for (size_t i = 0; i < (size_t)m; i += ROWS)
            multiply_tile(out + i * ldo + d, ldo, true, p + i * ldp, ldp, 1, b, n);
}

/* --- softmax ------------------------------------------------------------------------------- */

/* exp(x) of what is 0 or less */
TEMPLATE __m512 weights(__m512 x)
{
    return exp16_live(x, exp16_lives(WEIGHT_MIN, x));
}

/* The maximum is now at least `largest`; returns what the sum shrinks by. */
TEMPLATE float raise_max(float *max, float largest)
{
    if (!(largest > *max))
        return 1;
    float old = *max;
    *max = largest;
    return _mm512_cvtss_f32(weights(_mm512_set1_ps(old - largest)));
}

/* Scores j.. with their bias; `line`: it has no row. */
TEMPLATE __m512 biased(__m512 x, const struct bias *bias, bool line, size_t j, __mmask16 lanes)
{
    if (!line)
        return _mm512_add_ps(x, load_f32(bias->row + j, lanes));
    __m512 lane = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    lane = _mm512_add_ps(lane, _mm512_set1_ps((float)j));
    __m512 distance = _mm512_sub_ps(_mm512_set1_ps(bias->distance), lane);
    return _mm512_sub_ps(x, _mm512_mul_ps(_mm512_set1_ps(bias->slope), distance));
}

/* A whole block: its scores stay in registers. */
TEMPLATE float softmax_block(float *x, const struct bias *bias, bool line, float *max, float *sum)
{
    enum { N = PACKED_POSITIONS / LANES };
    __m512 v[N];
    UNROLL
    for (int k = 0; k < N; k++) {
        v[k] = _mm512_loadu_ps(x + k * LANES);
        if (bias)
            v[k] = biased(v[k], bias, line, (size_t)k * LANES, ALL_LANES);
    }
    __m512 top[2] = {_mm512_max_ps(v[0], v[2]), _mm512_max_ps(v[1], v[3])};
    UNROLL
    for (int k = 4; k < N; k++)
        top[k % 2] = _mm512_max_ps(v[k], top[k % 2]);
    float shrink = raise_max(max, _mm512_reduce_max_ps(_mm512_max_ps(top[0], top[1])));
    __m512 shift = _mm512_set1_ps(*max);
    __m512 total[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    UNROLL
    for (int k = 0; k < N; k++) {
        v[k] = weights(_mm512_sub_ps(v[k], shift));
        _mm512_storeu_ps(x + k * LANES, v[k]);
        total[k % 2] = _mm512_add_ps(total[k % 2], v[k]);
    }
    *sum = *sum * shrink + _mm512_reduce_add_ps(_mm512_add_ps(total[0], total[1]));
    return shrink;
}

static float softmax(float *x, const struct bias *bias, size_t n, float *max, float *sum)
{
    bool line = bias && !bias->row;
    if (n == PACKED_POSITIONS)
        return !bias  ? softmax_block(x, NULL, false, max, sum)
               : line ? softmax_block(x, bias, true, max, sum)
                      : softmax_block(x, bias, false, max, sum);
    __m512 top = _mm512_set1_ps(-INFINITY);
    for (size_t j = 0; j < n; j += LANES) {
        __mmask16 lanes = first_lanes(n - j);
        __m512 v = _mm512_maskz_loadu_ps(lanes, x + j);
        if (bias)
            v = biased(v, bias, line, j, lanes);
        _mm512_mask_storeu_ps(x + j, lanes, v);
        top = _mm512_mask_max_ps(top, lanes, v, top);
    }
    float shrink = raise_max(max, _mm512_reduce_max_ps(top));
    __m512 total = _mm512_setzero_ps();
    for (size_t j = 0; j < n; j += LANES) {
        __mmask16 lanes = first_lanes(n - j);
        __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + j), _mm512_set1_ps(*max));
        v = _mm512_maskz_mov_ps(lanes, weights(v));
        _mm512_mask_storeu_ps(x + j, lanes, v);
        total = _mm512_add_ps(total, v);
    }
    *sum = *sum * shrink + _mm512_reduce_add_ps(total);
    return shrink;
}

void attend_avx512(struct kernels *kernels)
{
    kernels->softmax = softmax;
    kernels->pack_queries = pack_queries;
    kernels->pack_keys = pack_keys;
    kernels->pack_values = pack_values;
    kernels->packed_scores = packed_scores;
    kernels->packed_values = packed_values;
}
