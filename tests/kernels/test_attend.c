/* attend: attention over packed blocks and the softmax of its rows, on every tier, against sums in
 * double. Arrays end at a page that may not be touched.
 *
 * Bounds. With u = 2^-24, a sum of m products in f32, fused or not, is off by at most 2 m u times
 * the sum of their magnitudes. Tiers with tiles round what they multiply to bf16 first, which is
 * done here by half.h. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/half.h"
#include "kernels/kernels.h"
#include "tests/kernels/tiers.h"
#include "tests/suites.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum { AREA_BYTES = 1 << 17, DIM_MAX = 160, STRIDE = PACKED_POSITIONS };

static const double unit = 0x1p-24;

/* Where arrays lie: each area ends at its own page without access. */
enum area { QUERY, KEYS, VALUES, PACKED_Q, PACKED_K, PACKED_V, SCORES, OUT, START, BIAS, AREAS };

static uint64_t random_state = 1;

static float uniform(float limit)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return limit * ((float)(random_state >> 40) * 0x1p-23F - 1);
}

static void *guarded(enum area area, size_t bytes)
{
    static uint8_t *areas[AREAS];
    if (!areas[area]) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        areas[area] = mmap(NULL, AREA_BYTES + page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ck_assert_ptr_ne(areas[area], MAP_FAILED);
        ck_assert_int_eq(mprotect(areas[area] + AREA_BYTES, page, PROT_NONE), 0);
    }
    ck_assert_uint_le(bytes, AREA_BYTES);
    return areas[area] + AREA_BYTES - bytes;
}

static float *floats(enum area area, size_t n, float limit)
{
    float *x = guarded(area, n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = uniform(limit);
    return x;
}

/* n elements of `format`. */
static void *elements(enum area area, enum format format, size_t n)
{
    if (format == FORMAT_F32)
        return floats(area, n, 2);
    uint16_t *h = guarded(area, n * sizeof *h);
    for (size_t i = 0; i < n; i++)
        h[i] = f16_from_f32(uniform(2));
    return h;
}

/* x as the tier multiplies it. */
static double seen(const struct kernels *k, float x)
{
    return (double)(k->tiles_product ? bf16_to_f32(bf16_from_f32(x)) : x);
}

static double element(const struct kernels *k, const void *x, enum format format, size_t i)
{
    return seen(k, format == FORMAT_F16 ? f16_to_f32(((const uint16_t *)x)[i])
                                        : ((const float *)x)[i]);
}

static struct kernels tier(int i)
{
    random_state = 1;
    return tiers_get(i);
}

static void check_near(const char *what, double found, double expected, double magnitude, size_t n)
{
    if (!(fabs(found - expected) <= 2 * (double)n * unit * magnitude))
        ck_abort_msg("%s of %zu: %.9g, expected %.9g", what, n, found, expected);
}

/* Rows that kernels may touch where m are asked for. */
static size_t rows_of(int m)
{
    return ((size_t)m + 15) / 16 * 16;
}

static void check_scores(const struct kernels *k, enum format format, int m, size_t n, size_t dim)
{
    size_t ldk = (n + 31) / 32 * 32, ld = packed_dim(dim);
    const void *keys = elements(KEYS, format, dim * ldk);
    const float *q = floats(QUERY, (size_t)m * dim, 1), *rows[PACKED_QUERIES];
    void *packed_q = guarded(PACKED_Q, PACKED_QUERIES * ld * sizeof(float));
    void *packed_k = guarded(PACKED_K, PACKED_POSITIONS * ld * sizeof(float));
    float *scores = guarded(SCORES, rows_of(m) * STRIDE * sizeof(float));
    static float fewer[PACKED_QUERIES * STRIDE];
    for (int i = 0; i < m; i++)
        rows[i] = q + (size_t)i * dim;
    k->pack_queries(rows, m, dim, packed_q);
    k->pack_keys(keys, ldk, format, n, dim, packed_k);
    k->packed_scores(scores, STRIDE, packed_q, m, packed_k, n, dim);
    for (size_t i = 0; i < (size_t)m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0, magnitude = 0;
            for (size_t d = 0; d < dim; d++) {
                double term = seen(k, rows[i][d]) * element(k, keys, format, d * ldk + j);
                sum += term;
                magnitude += fabs(term);
            }
            check_near("score", scores[i * STRIDE + j], sum, magnitude, dim);
        }
    /* The last rows alone, over half of the positions */
    int first = m / 2, left = m - first;
    size_t half = n / 2 + 1;
    k->pack_queries(rows + first, left, dim, packed_q);
    k->packed_scores(fewer, STRIDE, packed_q, left, packed_k, half, dim);
    for (int i = 0; i < left; i++)
        ck_assert_mem_eq(fewer + i * STRIDE, scores + (first + i) * STRIDE, half * sizeof *scores);
}

static void check_values(const struct kernels *k, enum format format, int m, size_t n, size_t dim)
{
    size_t ld = packed_dim(dim), rows = rows_of(m);
    const void *values = elements(VALUES, format, n * dim);
    void *packed = guarded(PACKED_V, PACKED_POSITIONS * ld * sizeof(float));
    float *p = floats(SCORES, rows * STRIDE, 1), *start = floats(START, rows * ld, 1);
    float *out = guarded(OUT, rows * ld * sizeof *out);
    memcpy(out, start, rows * ld * sizeof *out);
    k->pack_values(values, format, n, dim, packed);
    k->packed_values(out, ld, p, STRIDE, m, packed, n, dim);
    for (size_t i = 0; i < (size_t)m; i++)
        for (size_t d = 0; d < dim; d++) {
            double sum = start[i * ld + d], magnitude = fabs(sum);
            for (size_t j = 0; j < n; j++) {
                double term = seen(k, p[i * STRIDE + j]) * element(k, values, format, j * dim + d);
                sum += term;
                magnitude += fabs(term);
            }
            check_near("sum", out[i * ld + d], sum, magnitude, n + 1);
        }
    /* The same without its last rows and with positions of no weight */
    static float fewer[PACKED_QUERIES * DIM_MAX];
    memcpy(fewer, start, rows * ld * sizeof *fewer);
    size_t half = n / 2 + 1;
    for (size_t i = 0; i < rows; i++)
        memset(p + i * STRIDE + half, 0, (n - half) * sizeof *p);
    memcpy(out, start, rows * ld * sizeof *out);
    k->packed_values(out, ld, p, STRIDE, m, packed, n, dim);
    k->packed_values(fewer, ld, p, STRIDE, (m + 1) / 2, packed, half, dim);
    for (size_t i = 0; i < (size_t)(m + 1) / 2; i++)
        ck_assert_mem_eq(fewer + i * ld, out + i * ld, dim * sizeof *out);
}

/* Every remainder of any tile. */
START_TEST(test_products)
{
    struct kernels k = tier(_i);
    static const int queries[] = {1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 61, 63, 64};
    static const size_t positions[] = {1, 15, 16, 17, 33, 64, 100, 127, 128};
    static const size_t dims[] = {1, 4, 8, 16, 20, 33, 64, 80, 128, 160};
    for (size_t s = 0; s < COUNT(queries) * COUNT(dims); s++) {
        int m = queries[s / COUNT(dims)];
        size_t dim = dims[s % COUNT(dims)], n = positions[s * 5 % COUNT(positions)];
        enum format format = s % 3 ? FORMAT_F16 : FORMAT_F32;
        check_scores(&k, format, m, n, dim);
        check_values(&k, format, m, n, dim);
    }
}
END_TEST

/* --- softmax ------------------------------------------------------------------------------- */

/* A row that comes in stretches of n: together they are the softmax of all of it. */
static void check_softmax(const struct kernels *k, size_t n, const struct bias *bias, float width)
{
    enum { STRETCHES = 4 };
    float max = -INFINITY, sum = 0;
    double all[STRETCHES * STRIDE], found[STRETCHES * STRIDE], largest = -INFINITY, total = 0;
    for (size_t s = 0; s < STRETCHES; s++) {
        float *x = floats(SCORES, n, width), old = max;
        for (size_t j = 0; j < n; j++) {
            float score = x[j];
            if (bias && bias->row)
                score += bias->row[j];
            else if (bias)
                score -= bias->slope * (bias->distance - (float)j);
            all[s * n + j] = (double)score;
            largest = fmax(largest, (double)score);
        }
        float shrink = k->softmax(x, bias, n, &max, &sum);
        ck_assert_float_eq(max, (float)largest);
        if (max == old)
            ck_assert_float_eq(shrink, 1);
        for (size_t j = 0; j < s * n; j++)
            found[j] *= (double)shrink;
        for (size_t j = 0; j < n; j++)
            found[s * n + j] = (double)x[j];
    }
    for (size_t j = 0; j < STRETCHES * n; j++) {
        double weight = exp(all[j] - largest);
        total += weight;
        /* Differences of scores are rounded, and so are the factors between stretches. */
        double bound = (1e-6 + 4 * unit * (fabs(all[j]) + fabs(largest))) * weight + 1e-19;
        if (!(fabs(found[j] - weight) <= bound))
            ck_abort_msg("%s: weight %zu of %zu: %.9g, expected %.9g", k->name, j, n, found[j],
                         weight);
    }
    check_near("sum of weights", (double)sum, total, total, 4 * n + 64);
}

START_TEST(test_softmax)
{
    struct kernels k = tier(_i);
    static const float widths[] = {0.01F, 3, 40, 400};
    for (size_t n = 1; n <= STRIDE; n += n < 36 || n > 120 ? 1 : 7)
        for (size_t w = 0; w < COUNT(widths); w++) {
            check_softmax(&k, n, NULL, widths[w]);
            struct bias row = {.row = floats(BIAS, n, 5)};
            check_softmax(&k, n, &row, widths[w]);
            struct bias near = {.slope = 0.7F, .distance = (float)n - 1};
            check_softmax(&k, n, &near, widths[w]);
            struct bias far = {.slope = 0x1.234p-13F, .distance = 0x1p24F};
            check_softmax(&k, n, &far, widths[w]);
        }
}
END_TEST

/* The largest score weighs 1 to the bit; what is not a number is not hidden. */
START_TEST(test_softmax_ends)
{
    struct kernels k = tier(_i);
    static const size_t sizes[] = {1, 7, 16, 100, 128};
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (size_t at = 0; at < sizes[s]; at++) {
            size_t n = sizes[s];
            float max = -INFINITY, sum = 0, *x = floats(SCORES, n, 1);
            x[at] = 90;
            k.softmax(x, NULL, n, &max, &sum);
            ck_assert(max == 90 && x[at] == 1 && sum == 1);
            float *y = floats(SCORES, n, 1);
            y[at] = -INFINITY;
            float shrink = k.softmax(y, NULL, n, &max, &sum);
            ck_assert(max == 90 && y[at] == 0 && shrink == 1 && sum == 1);
            y[at] = NAN;
            k.softmax(y, NULL, n, &max, &sum);
            ck_assert(isnan(y[at]) && isnan(sum));
        }
}
END_TEST

Suite *attend_suite(void)
{
    Suite *suite = suite_create("attend");
    TCase *tcase = tcase_create("attend");
    int tiers = tiers_count();
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, test_products, 0, tiers);
    tcase_add_loop_test(tcase, test_softmax, 0, tiers);
    tcase_add_loop_test(tcase, test_softmax_ends, 0, tiers);
    suite_add_tcase(suite, tcase);
    return suite;
}
