/* table: rows of biases and vectors by distance, grown and read against sums in double, on every
 * tier. The schemes are made up, so that their numbers are exact and their calls can be counted. */
#include "model/position/table.h"

#include <check.h>
#include <math.h>
#include <string.h>

#include "model/cache.h"
#include "tests/model/position/relative.h"
#include "tests/suites.h"
#include "tests/support.h"

enum { HEADS = 4, HEAD_DIM = 7 };

static const struct config config = {.n_heads = HEADS, .n_kv_heads = 2, .head_dim = HEAD_DIM};
static long calls;

static double bias_at(int head, double distance, double last)
{
    return -(head + 1) * fmin(distance, last) / 8;
}

static double bias(const struct position *position, int head, double distance)
{
    calls++;
    return bias_at(head, distance, (double)position->last_distance);
}

/* The vector of `which` and head h (of the heads that have vectors) at a distance. */
static float vector_at(int which, int64_t h, int d, int64_t distance, int64_t last)
{
    int64_t x = distance < last ? distance : last;
    return (float)((x * 37 + h * 11 + d * 5 + which * 3 + x * x % 29) % 64 - 32) / 32;
}

static void vectors(const struct position *position, enum position_vectors which, int64_t distance,
                    float *r)
{
    calls++;
    for (int h = 0; h < position->vector_heads[which]; h++)
        for (int d = 0; d < HEAD_DIM; d++)
            *r++ = vector_at((int)which, h, d, distance, position->last_distance);
}

/* Tells its arguments apart in what it adds. */
static void add_bias(const struct position *position, int head, double place, double distance,
                     double step, int n, float *scores)
{
    (void)position;
    for (int j = 0; j < n; j++)
        scores[j] += (float)(1000 * place + 100 * head + distance - step * j);
}

static const struct position_scheme biased = {.name = "biased", .bias = bias},
                                    vectored = {.name = "vectored", .vectors = vectors},
                                    placed = {.name = "placed", .bias = bias, .add_bias = add_bias},
                                    empty = {.name = "empty"};

static struct position make(const struct position_scheme *scheme, int64_t last_distance,
                            int query_heads, int key_heads, int value_heads)
{
    return (struct position){.scheme = scheme,
                             .config = &config,
                             .scale = 0.375F,
                             .last_distance = last_distance,
                             .vector_heads = {query_heads, key_heads, value_heads}};
}

static void reserve(struct position_table *table, const struct position *position, int64_t n)
{
    struct error err;
    ck_assert_msg(table_reserve(table, position, n, &err) == 0, "%s", err.text);
}

/* (An assertion for each would write a line each.) */
static void check_float(float found, float expected, int64_t distance)
{
    if (found != expected)
        ck_abort_msg("distance %lld: %g, expected %g", (long long)distance, (double)found,
                     (double)expected);
}

static void check_layout(const struct position_table *table, const struct position *position)
{
    int64_t n = table->n, last = position->last_distance;
    for (int64_t d = 0; d < n; d++) {
        for (int head = 0; table->bias && head < HEADS; head++)
            check_float(table->bias[head * n + n - 1 - d],
                        (float)bias_at(head, (double)d, (double)last), d);
        for (int which = 0; which < VECTORS_COUNT; which++)
            for (int h = 0; h < position->vector_heads[which]; h++)
                for (int i = 0; i < HEAD_DIM; i++) {
                    int64_t at = which == VECTORS_VALUE ? (h * n + n - 1 - d) * HEAD_DIM + i
                                                        : (h * HEAD_DIM + i) * n + n - 1 - d;
                    check_float(table->vectors[which][at], vector_at(which, h, i, d, last), d);
                }
    }
}

START_TEST(test_layout)
{
    static const int64_t lasts[] = {0, 5, 127, 128, 1000, INT64_MAX};
    static const int64_t sizes[] = {1, 128, 129, 200, 1500};
    for (size_t i = 0; i < sizeof lasts / sizeof lasts[0]; i++) {
        struct position a = make(&biased, lasts[i], 0, 0, 0);
        struct position b = make(&vectored, lasts[i], 1, HEADS, 2);
        struct position_table rows = {0}, lanes = {0};
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            int64_t least = lasts[i] < sizes[s] ? lasts[i] + 1 : sizes[s];
            reserve(&rows, &a, sizes[s]);
            reserve(&lanes, &b, sizes[s]);
            ck_assert_int_eq(rows.n % TABLE_STEP, 0);
            ck_assert_int_ge(rows.n, least);
            ck_assert_int_eq(rows.n, lanes.n);
            if (lasts[i] < INT64_MAX)
                ck_assert_int_le(rows.n, lasts[i] + 3 * TABLE_STEP);
            ck_assert_uint_ge(rows.bytes, (size_t)rows.n * HEADS * sizeof(float));
            ck_assert_uint_ge(lanes.bytes, (size_t)lanes.n * HEAD_DIM * 7 * sizeof(float));
            ck_assert_uint_le(lanes.bytes, (size_t)lanes.n * HEAD_DIM * 7 * sizeof(float) + 256);
            check_layout(&rows, &a);
            check_layout(&lanes, &b);
        }
        table_free(&rows);
        table_free(&lanes);
        table_free(&lanes);
        ck_assert_int_eq(lanes.n, 0);
        ck_assert_uint_eq(lanes.bytes, 0);
    }
}
END_TEST

/* Every distance is asked for once, and a table that grows one by one is moved a few times only. */
START_TEST(test_growth)
{
    struct position position = make(&vectored, INT64_MAX, 1, 0, 0);
    struct position_table table = {0};
    int moves = 0;
    calls = 0;
    for (int64_t n = 0; n <= 20000; n++) {
        int64_t before = table.n;
        reserve(&table, &position, n);
        moves += table.n != before;
        ck_assert_int_ge(table.n, n);
    }
    ck_assert_int_le(moves, 9);
    ck_assert_int_eq(calls, table.n);
    ck_assert_int_lt(table.n, 40001);
    check_layout(&table, &position);
    table_free(&table);
}
END_TEST

START_TEST(test_nothing)
{
    static const struct position_scheme *const schemes[] = {&placed, &empty};
    for (int i = 0; i < 2; i++) {
        struct position position = make(schemes[i], INT64_MAX, 0, 0, 0);
        struct position_table table = {0};
        struct kernels kernels;
        kernels_scalar(&kernels);
        reserve(&table, &position, 1000);
        ck_assert_int_eq(table.n, 0);
        ck_assert_ptr_null(table.bias);
        ck_assert_uint_eq(table.bytes, 0);
        float scores[] = {1, 1, 1}, weights[] = {1, 1}, out[HEAD_DIM] = {0};
        struct run run = {.head = 3, .place = 5, .distance = 20, .step = 0.5, .n = 2};
        table_add_scores(&table, &position, &kernels, &run, weights, weights, scores);
        ck_assert_float_eq(scores[0], i == 0 ? 5321 : 1);
        ck_assert_float_eq(scores[1], i == 0 ? 5320.5F : 1);
        ck_assert_float_eq(scores[2], 1);
        table_add_values(&table, &position, &kernels, &run, weights, out);
        ck_assert_float_eq(out[0], 0);
    }
}
END_TEST

START_TEST(test_no_memory)
{
    struct position positions[] = {make(&biased, INT64_MAX, 0, 0, 0),
                                   make(&vectored, INT64_MAX, 1, HEADS, 2)};
    for (int i = 0; i < 2; i++) {
        struct position_table table = {0};
        for (int64_t n = 100; n <= 1000; n *= 10) {
            int result = -1;
            for (int at = 1; result; at++) {
                struct position_table before = table;
                struct error err;
                support_fail_memory(at, false);
                result = table_reserve(&table, &positions[i], n, &err);
                long failures = support_memory_failures();
                support_fail_memory(0, false);
                ck_assert_int_eq(failures, result ? 1 : 0);
                ck_assert_int_lt(at, 20);
                if (result)
                    ck_assert_mem_eq(&table, &before, sizeof table);
            }
            check_layout(&table, &positions[i]);
        }
        struct position_table before = table;
        struct error err;
        ck_assert_int_eq(table_reserve(&table, &positions[i], INT64_MAX, &err), -1);
        ck_assert_int_eq(table_reserve(&table, &positions[i], INT64_MAX / 4, &err), -1);
        ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
        ck_assert_mem_eq(&table, &before, sizeof table);
        table_free(&table);
    }
}
END_TEST

/* What to read: runs of every length and place relative to the last distance. */
static const int64_t read_lasts[] = {INT64_MAX, 0, 1, 60, 127, 128, 200};
static const int read_sizes[] = {1, 2, 15, 16, 17, 33, 100, 128};
static const int read_distances[] = {127, 128, 150, 187, 188, 254, 300};

typedef void check_run(const struct position_table *table, const struct position *position,
                       const struct kernels *kernels, const struct run *run);

static void check_runs(check_run *check, const struct position_scheme *scheme, int q, int k, int v)
{
    for (size_t i = 0; i < sizeof read_lasts / sizeof read_lasts[0]; i++) {
        struct position position = make(scheme, read_lasts[i], q, k, v);
        struct position_table table = {0};
        reserve(&table, &position, 301);
        for (int tier = 0; kernels_available(tier); tier++) {
            struct kernels kernels;
            struct error err;
            ck_assert_int_eq(kernels_select(&kernels, kernels_available(tier), &err), 0);
            for (size_t s = 0; s < sizeof read_sizes / sizeof read_sizes[0]; s++)
                for (size_t d = 0; d < sizeof read_distances / sizeof read_distances[0]; d++)
                    for (int step = 0; step < 2; step++)
                        for (int head = 0; head < HEADS; head++) {
                            struct run run = {.head = head,
                                              .distance = read_distances[d],
                                              .step = step,
                                              .n = read_sizes[s]};
                            check(&table, &position, &kernels, &run);
                            /* down to distance 0 */
                            run.distance = step * (read_sizes[s] - 1);
                            check(&table, &position, &kernels, &run);
                        }
        }
        table_free(&table);
    }
}

static void check_bias(const struct position_table *table, const struct position *position,
                       const struct kernels *kernels, const struct run *run)
{
    float scores[CACHE_BLOCK + 1];
    for (int j = 0; j <= run->n; j++)
        scores[j] = (float)j;
    table_add_scores(table, position, kernels, run, NULL, NULL, scores);
    for (int j = 0; j < run->n; j++)
        ck_assert_float_eq(scores[j], (float)(j + bias_at(run->head, run->distance - run->step * j,
                                                          (double)position->last_distance)));
    ck_assert_float_eq(scores[run->n], (float)run->n);
}

/* Runs off the grid of whole numbers, too. */
START_TEST(test_bias)
{
    check_runs(check_bias, &biased, 0, 0, 0);
    static const struct run runs[] = {{.head = 1, .distance = 40, .step = 0.125, .n = 100},
                                      {.head = 2, .distance = 40.5, .step = 1, .n = 40},
                                      {.head = 3, .distance = 70.25, .step = 0, .n = 3},
                                      {.head = 3, .distance = 300, .step = 2, .n = 128}};
    struct position position = make(&biased, 60, 0, 0, 0);
    struct position_table table = {0};
    struct kernels kernels;
    kernels_scalar(&kernels);
    reserve(&table, &position, 301);
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
        check_bias(&table, &position, &kernels, &runs[i]);
    table_free(&table);
}
END_TEST

/* A row of biases is added without asking the scheme again. */
START_TEST(test_bias_from_table)
{
    struct position position = make(&biased, INT64_MAX, 0, 0, 0);
    struct position_table table = {0};
    struct kernels kernels;
    kernels_scalar(&kernels);
    reserve(&table, &position, 301);
    calls = 0;
    struct run run = {.head = 1, .distance = 300, .step = 1, .n = 128};
    check_bias(&table, &position, &kernels, &run);
    ck_assert_int_eq(calls, 0);
    table_free(&table);
}
END_TEST

/* By the definition: the vector of key j's distance for the run's head. */
static double vector_of(const struct position *position, enum position_vectors which,
                        const struct run *run, int j, int d)
{
    int heads = position->vector_heads[which];
    int64_t distance = (int64_t)run->distance - (int64_t)run->step * j;
    return (double)vector_at((int)which, run->head / (HEADS / heads), d, distance,
                             position->last_distance);
}

static void check_products(const struct position_table *table, const struct position *position,
                           const struct kernels *kernels, const struct run *run)
{
    static float q[HEAD_DIM], keys[HEAD_DIM * CACHE_BLOCK];
    float scores[CACHE_BLOCK + 1];
    relative_fill(q, HEAD_DIM, 21);
    relative_fill(keys, HEAD_DIM * CACHE_BLOCK, 22);
    for (int j = 0; j <= run->n; j++)
        scores[j] = (float)j;
    table_add_scores(table, position, kernels, run, q, keys, scores);
    for (int j = 0; j < run->n; j++) {
        double query = 0, key = 0;
        for (int d = 0; d < HEAD_DIM; d++) {
            if (position->vector_heads[VECTORS_QUERY] > 0)
                query += (double)q[d] * vector_of(position, VECTORS_QUERY, run, j, d);
            if (position->vector_heads[VECTORS_KEY] > 0)
                key +=
                    (double)keys[d * CACHE_BLOCK + j] * vector_of(position, VECTORS_KEY, run, j, d);
        }
        double expected = j + query + 0.375 * key;
        if (!(fabs((double)scores[j] - expected) < 2e-5))
            ck_abort_msg("position %d: %g, expected %g", j, (double)scores[j], expected);
    }
    ck_assert_float_eq(scores[run->n], (float)run->n);
}

START_TEST(test_products)
{
    check_runs(check_products, &vectored, 1, 0, 0);
    check_runs(check_products, &vectored, 0, 1, 0);
    check_runs(check_products, &vectored, 2, HEADS, 0);
    check_runs(check_products, &vectored, HEADS, 2, 0);
}
END_TEST

static void check_values(const struct position_table *table, const struct position *position,
                         const struct kernels *kernels, const struct run *run)
{
    static float weights[CACHE_BLOCK];
    float out[HEAD_DIM + 1];
    relative_fill(weights, CACHE_BLOCK, 23);
    for (int d = 0; d <= HEAD_DIM; d++)
        out[d] = (float)d;
    table_add_values(table, position, kernels, run, weights, out);
    for (int d = 0; d < HEAD_DIM; d++) {
        double expected = d;
        for (int j = 0; j < run->n; j++)
            expected += (double)weights[j] * vector_of(position, VECTORS_VALUE, run, j, d);
        ck_assert_double_eq_tol((double)out[d], expected, 5e-5);
    }
    ck_assert_float_eq(out[HEAD_DIM], HEAD_DIM);
}

START_TEST(test_values)
{
    check_runs(check_values, &vectored, 0, 0, 1);
    check_runs(check_values, &vectored, 0, 0, 2);
    check_runs(check_values, &vectored, 0, 0, HEADS);
}
END_TEST

/* The same key at the same distance gets the same bits however runs are cut, how far the table has
 * grown, and wherever the key lies in its block. */
START_TEST(test_same_bits)
{
    enum { N = 128, LAST = 90 };
    static float q[HEAD_DIM], keys[HEAD_DIM * CACHE_BLOCK];
    relative_fill(q, HEAD_DIM, 24);
    relative_fill(keys, HEAD_DIM * CACHE_BLOCK, 25);
    struct position position = make(&vectored, LAST, HEADS, HEADS, 0);
    struct position_table table = {0};
    reserve(&table, &position, 10);
    for (int tier = 0; kernels_available(tier); tier++) {
        struct kernels kernels;
        struct error err;
        ck_assert_int_eq(kernels_select(&kernels, kernels_available(tier), &err), 0);
        float whole[N] = {0};
        struct run run = {.head = 2, .distance = 149, .step = 1, .n = N};
        table_add_scores(&table, &position, &kernels, &run, q, keys, whole);
        for (int cut = 1; cut < N; cut += 13) {
            float parts[N] = {0};
            struct run left = {.head = 2, .distance = 149, .step = 1, .n = cut};
            struct run right = {.head = 2, .distance = 149 - cut, .step = 1, .n = N - cut};
            table_add_scores(&table, &position, &kernels, &left, q, keys, parts);
            table_add_scores(&table, &position, &kernels, &right, q, keys + cut, parts + cut);
            ck_assert_mem_eq(parts, whole, sizeof parts);
        }
    }
    table_free(&table);
}
END_TEST

Suite *table_suite(void)
{
    Suite *suite = suite_create("table");
    TCase *tcase = tcase_create("table");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_layout);
    tcase_add_test(tcase, test_growth);
    tcase_add_test(tcase, test_nothing);
    tcase_add_test(tcase, test_no_memory);
    tcase_add_test(tcase, test_bias);
    tcase_add_test(tcase, test_bias_from_table);
    tcase_add_test(tcase, test_products);
    tcase_add_test(tcase, test_values);
    tcase_add_test(tcase, test_same_bits);
    suite_add_tcase(suite, tcase);
    return suite;
}
