/* attend_avx2: attention over packed blocks in AVX2, and the softmax of its rows.
 *
 * Tiles of 6 queries x 16 lanes. What a tile reads lies together: queries (m / 6, dim, 6) and a
 * rest of 4 or 2, keys (positions / 16, dim, 16), values (dim / 16, PACKED_POSITIONS, 16). */
#include <math.h>

#include "kernels/avx2.h"

enum { ROWS = 6, VECTORS = 2, TILE = VECTORS * LANES };

/* Rows of the tile that comes first where m are left; an odd one has rubbish behind it. */
TEMPLATE int tile_rows(int m)
{
    return m >= ROWS - 1 ? ROWS : m > 2 ? 4 : 2;
}

static void pack_queries(const float *const *q, int m, size_t dim, void *packed)
{
    float *to = packed;
    for (int rows; m > 0; m -= rows, q += rows) {
        rows = tile_rows(m);
        for (size_t d = 0; d < dim; d++)
            for (int i = 0; i < rows; i++)
                *to++ = i < m ? q[i][d] : 0;
    }
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
        _mm256_storeu_ps(to + v, load8(keys, d * ldk + j + v, half, LANES));
}

static void pack_values(const void *values, enum format format, size_t n, size_t dim, void *packed)
{
    bool half = format == FORMAT_F16;
    for (size_t d = 0; d < dim; d += TILE) {
        float *to = (float *)packed + d * PACKED_POSITIONS;
        size_t left = dim - d, right = left > LANES ? left - LANES : 0;
        for (size_t j = 0; j < n; j++, to += TILE) {
            size_t at = j * dim + d;
            _mm256_storeu_ps(to, load8(values, at, half, left));
            _mm256_storeu_ps(to + LANES, right > 0 ? load8(values, at + LANES, half, right)
                                                   : _mm256_setzero_ps());
        }
    }
}

/* c[i] = (start[i] or 0) + sum over k < n of a[k * step + i * lda] * b[k][TILE], i < rows */
TEMPLATE void multiply_tile(float *c, size_t ldc, bool add, const float *a, size_t lda, size_t step,
                            const float *b, size_t n, size_t rows)
{
    __m256 sum[ROWS][VECTORS];
    UNROLL
    for (size_t i = 0; i < rows; i++)
        UNROLL
    for (size_t v = 0; v < VECTORS; v++)
        sum[i][v] = add ? _mm256_loadu_ps(c + i * ldc + v * LANES) : _mm256_setzero_ps();
    const float *behind = a + 3 * lda;
    __asm__("" : "+r"(behind)); /* two bases reach all rows by scaled offsets */
    for (size_t k = 0; k < n; k++, a += step, behind += step, b += TILE) {
        __m256 x[VECTORS];
        UNROLL
        for (size_t v = 0; v < VECTORS; v++)
            x[v] = _mm256_loadu_ps(b + v * LANES);
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            __m256 y = _mm256_broadcast_ss(i < 3 ? a + i * lda : behind + (i - 3) * lda);
            UNROLL
            for (size_t v = 0; v < VECTORS; v++)
                sum[i][v] = _mm256_fmadd_ps(y, x[v], sum[i][v]);
        }
    }
    UNROLL
    for (size_t i = 0; i < rows; i++)
        UNROLL
    for (size_t v = 0; v < VECTORS; v++)
        _mm256_storeu_ps(c + i * ldc + v * LANES, sum[i][v]);
}

static void packed_scores(float *scores, size_t lds, const void *q, int m, const void *keys,
                          size_t n, size_t dim)
{
    const float *b = keys;
    for (size_t j = 0; j < n; j += TILE, b += TILE * dim) {
        float *c = scores + j;
        const float *a = q;
        int left = m;
        for (; tile_rows(left) == ROWS; left -= ROWS, c += ROWS * lds, a += ROWS * dim)
            multiply_tile(c, lds, false, a, 1, ROWS, b, dim, ROWS);
        if (left > 2)
            multiply_tile(c, lds, false, a, 1, 4, b, dim, 4);
        else if (left > 0)
            multiply_tile(c, lds, false, a, 1, 2, b, dim, 2);
    }
}

static void packed_values(float *out, size_t ldo, const float *p, size_t ldp, int m,
                          const void *values, size_t n, size_t dim)
{
    const float *b = values;
    for (size_t d = 0; d < dim; d += TILE, b += TILE * PACKED_POSITIONS) {
        float *c = out + d;
        const float *a = p;
        int left = m;
        for (; tile_rows(left) == ROWS; left -= ROWS, c += ROWS * ldo, a += ROWS * ldp)
            multiply_tile(c, ldo, true, a, ldp, 1, b, n, ROWS);
        if (left > 2)
            multiply_tile(c, ldo, true, a, ldp, 1, b, n, 4);
        else if (left > 0)
            multiply_tile(c, ldo, true, a, ldp, 1, b, n, 2);
    }
}

/* --- softmax ------------------------------------------------------------------------------- */

/* Scores j.. with their bias. */
TEMPLATE __m256 biased(__m256 x, const struct bias *bias, size_t j)
{
    if (bias->row)
        return _mm256_add_ps(x, _mm256_loadu_ps(bias->row + j));
    __m256 lane = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
    lane = _mm256_add_ps(lane, _mm256_set1_ps((float)j));
    __m256 distance = _mm256_sub_ps(_mm256_set1_ps(bias->distance), lane);
    return _mm256_sub_ps(x, _mm256_mul_ps(_mm256_set1_ps(bias->slope), distance));
}

static float softmax(float *x, const struct bias *bias, size_t n, float *max, float *sum)
{
    __m256 top = _mm256_set1_ps(-INFINITY);
    size_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        __m256 v = _mm256_loadu_ps(x + j);
        if (bias) {
            v = biased(v, bias, j);
            _mm256_storeu_ps(x + j, v);
        }
        top = _mm256_max_ps(v, top);
    }
    float largest = max8(top);
    for (; j < n; j++) {
        if (bias)
            x[j] =
                bias->row ? x[j] + bias->row[j] : x[j] - bias->slope * (bias->distance - (float)j);
        largest = x[j] > largest ? x[j] : largest;
    }
    float shrink = 1;
    if (largest > *max) {
        shrink = _mm256_cvtss_f32(exp8_from(WEIGHT_MIN, _mm256_set1_ps(*max - largest)));
        *max = largest;
    }
    __m256 shift = _mm256_set1_ps(*max), total = _mm256_setzero_ps();
    for (j = 0; j + LANES <= n; j += LANES) {
        __m256 v = exp8_from(WEIGHT_MIN, _mm256_sub_ps(_mm256_loadu_ps(x + j), shift));
        _mm256_storeu_ps(x + j, v);
        total = _mm256_add_ps(total, v);
    }
    if (j < n) {
        __m256i lanes = first_lanes(n - j);
        __m256 v = exp8_from(WEIGHT_MIN, _mm256_sub_ps(_mm256_maskload_ps(x + j, lanes), shift));
        v = _mm256_and_ps(v, _mm256_castsi256_ps(lanes));
        _mm256_maskstore_ps(x + j, lanes, v);
        total = _mm256_add_ps(total, v);
    }
    *sum = *sum * shrink + sum8(total);
    return shrink;
}

void attend_avx2(struct kernels *kernels)
{
    kernels->softmax = softmax;
    kernels->pack_queries = pack_queries;
    kernels->pack_keys = pack_keys;
    kernels->pack_values = pack_values;
    kernels->packed_scores = packed_scores;
    kernels->packed_values = packed_values;
}
