/* rope: vectors computed in double from the formulas of the papers; what only distance may decide.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/position/position.h"
#include "tests/suites.h"

enum { HEAD_DIM = 128 };

static const struct architecture interleaved = {.position = POSITION_ROPE,
                                                .rope_pairs = ROPE_INTERLEAVED};
static const struct architecture halves = {.position = POSITION_ROPE, .rope_pairs = ROPE_HALVES};

/* One head, opened with the divisors of `checkpoint` (none: an empty one). */
struct head {
    struct config config;
    struct position position;
    struct kernels kernels;
};

static void head_open(struct head *head, const struct architecture *architecture, int dim,
                      int rotated, double base, const struct checkpoint *checkpoint,
                      const char *isa)
{
    static const struct checkpoint nothing;
    struct error err;
    head->config = (struct config){.architecture = architecture,
                                   .n_heads = 1,
                                   .n_kv_heads = 1,
                                   .head_dim = dim,
                                   .rope_dims = rotated,
                                   .rope_base = base};
    ck_assert_msg(position_open(&head->position, &head->config, checkpoint ? checkpoint : &nothing,
                                &err) == 0,
                  "%s", err.text);
    ck_assert_int_eq(kernels_select(&head->kernels, isa, &err), 0);
}

static void turn(const struct head *head, int64_t at, const float *x, float *y)
{
    float cosines[HEAD_DIM / 2], sines[HEAD_DIM / 2];
    head->position.scheme->angles(&head->position, at, cosines, sines);
    memmove(y, x, (size_t)head->config.head_dim * sizeof *y);
    position_rotate(&head->position, &head->kernels, y, 1, cosines, sines);
}

/* <R(i) q, R(j) k> */
static double score(const struct head *head, const float *q, int64_t i, const float *k, int64_t j)
{
    float a[HEAD_DIM], b[HEAD_DIM];
    double sum = 0;
    turn(head, i, q, a);
    turn(head, j, k, b);
    for (int d = 0; d < head->config.head_dim; d++)
        sum += (double)a[d] * (double)b[d];
    return sum;
}

START_TEST(test_vectors)
{
    static const struct {
        const struct architecture *pairs;
        int64_t at;
        float expected[4];
    } rows[] = {
        {&interleaved, 0, {1, 2, 3, 4}},
        {&interleaved, 1, {-1.1426397F, 1.9220756F, 2.9598507F, 4.0297995F}},
        {&interleaved, 3, {-1.2722325F, -1.838865F, 2.8786681F, 4.0881866F}},
        {&halves, 0, {1, 2, 3, 4}},
        {&halves, 1, {-1.9841106F, 1.9599007F, 2.4623779F, 4.0197997F}},
        {&halves, 3, {-1.4133525F, 1.8791181F, -2.8288575F, 4.0581911F}},
    };
    static const float x[] = {1, 2, 3, 4}, k[] = {4, -3, 2, -1};
    for (int tier = 0; kernels_available(tier); tier++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct head head;
            float y[4];
            head_open(&head, rows[i].pairs, 4, 4, 1e4, NULL, kernels_available(tier));
            turn(&head, rows[i].at, x, y);
            for (int d = 0; d < 4; d++)
                ck_assert_float_eq_tol(y[d], rows[i].expected[d], 5e-7F);
            double expected = rows[i].pairs == &halves ? -21.006670382 : 2.0968144698;
            static const int64_t places[][2] = {{3, 0}, {5, 2}, {1003, 1000}};
            for (size_t p = 0; p < 3; p++)
                ck_assert_double_eq_tol(score(&head, x, places[p][0], k, places[p][1]), expected,
                                        4e-6);
            position_close(&head.position);
        }
    }
}
END_TEST

/* The denominator of the exponent is the number of rotated dimensions; the others pass. */
START_TEST(test_partial)
{
    float x[80], y[80];
    for (int d = 0; d < 80; d++)
        x[d] = (float)(d + 1);
    struct head head;
    head_open(&head, &halves, 80, 32, 1e4, NULL, NULL); /* Phi-2's shape */
    turn(&head, 5, x, y);
    for (int t = 0; t < 16; t++) {
        double angle = 5 * pow(1e4, -2.0 * t / 32), a = (double)x[t], b = (double)x[t + 16];
        ck_assert_double_eq_tol((double)y[t], a * cos(angle) - b * sin(angle), 1e-5);
        ck_assert_double_eq_tol((double)y[t + 16], a * sin(angle) + b * cos(angle), 1e-5);
    }
    ck_assert_mem_eq(y + 32, x + 32, 48 * sizeof *x);
    position_close(&head.position);
}
END_TEST

static void fill_random(float *x, int n)
{
    for (int i = 0; i < n; i++) {
        double u = (rand() + 1.0) / (RAND_MAX + 2.0), v = rand() / (double)RAND_MAX;
        x[i] = (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
    }
}

static double length(const float *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* However long the text, distance 7 is distance 7: angles in float miss this from place 4096 on. */
START_TEST(test_long_positions)
{
    static const int64_t places[] = {1000, 4096, 100000, 1000000, (1 << 24) + 1, 10000000};
    static const double bases[] = {1e4, 5e5, 1e6};
    srand(1);
    for (int trial = 0; trial < 30; trial++) {
        struct head head;
        float q[HEAD_DIM], k[HEAD_DIM];
        fill_random(q, HEAD_DIM);
        fill_random(k, HEAD_DIM);
        head_open(&head, trial % 2 ? &halves : &interleaved, HEAD_DIM, HEAD_DIM, bases[trial % 3],
                  NULL, NULL);
        double tolerance = 1e-6 * length(q, HEAD_DIM) * length(k, HEAD_DIM);
        double expected = score(&head, q, 7, k, 0);
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
            ck_assert_double_eq_tol(score(&head, q, places[i], k, places[i] - 7), expected,
                                    tolerance);
        for (int64_t distance = 0; distance < 5000; distance += 1 + distance / 2)
            ck_assert_double_eq_tol(score(&head, q, distance + 123456, k, 123456),
                                    score(&head, q, distance, k, 0), tolerance);
        position_close(&head.position);
    }
}
END_TEST

/* Cosines and sines against long double. */
START_TEST(test_angles)
{
    static const int64_t places[] = {0, 1, 17, 4095, 131071, 1 << 20, (1 << 24) + 1};
    struct head head;
    float cosines[64], sines[64];
    head_open(&head, &halves, 128, 128, 1e4, NULL, NULL);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        head.position.scheme->angles(&head.position, places[i], cosines, sines);
        for (int t = 0; t < 64; t++) {
            long double angle = (long double)places[i] * powl(1e4L, -2.0L * t / 128);
            ck_assert_double_eq_tol((double)cosines[t], (double)cosl(angle), 6.1e-8);
            ck_assert_double_eq_tol((double)sines[t], (double)sinl(angle), 6.1e-8);
        }
    }
    position_close(&head.position);
}
END_TEST

/* The two orders of dimensions are the same rotation: halves, then permuted = permuted, then
 * interleaved. */
START_TEST(test_orders)
{
    struct head a, b;
    float x[HEAD_DIM], permuted[HEAD_DIM], y[HEAD_DIM], z[HEAD_DIM];
    srand(2);
    fill_random(x, HEAD_DIM);
    for (int d = 0; d < HEAD_DIM; d++)
        permuted[d] = x[d / 2 + d % 2 * HEAD_DIM / 2];
    head_open(&a, &halves, HEAD_DIM, HEAD_DIM, 1e4, NULL, "scalar");
    head_open(&b, &interleaved, HEAD_DIM, HEAD_DIM, 1e4, NULL, "scalar");
    turn(&a, 77, x, y);
    turn(&b, 77, permuted, z);
    for (int d = 0; d < HEAD_DIM; d++)
        ck_assert_float_eq(z[d], y[d / 2 + d % 2 * HEAD_DIM / 2]);
    position_close(&a.position);
    position_close(&b.position);
}
END_TEST

static struct checkpoint with_divisors(struct tensor *tensor, const float *divisors, int n)
{
    *tensor = (struct tensor){.name = {"rope_freqs.weight", 17},
                              .format = FORMAT_F32,
                              .n_dims = 1,
                              .shape = {n, 1, 1, 1},
                              .data = divisors,
                              .bytes = (size_t)n * sizeof *divisors,
                              .offset = 64,
                              .place = "m.gguf"};
    return (struct checkpoint){.tensors = tensor, .n_tensors = 1};
}

/* Llama-3.1-8B: base 5e5, factor 8, low 1, high 4, 8192 original places; the divisors in between as
 * published. */
START_TEST(test_llama3)
{
    static const float between[] = {1.207484F, 1.553415F, 2.026313F,
                                    2.694530F, 3.684253F, 5.257327F};
    float divisors[64], cosines[64], sines[64];
    for (int t = 0; t < 64; t++)
        divisors[t] = t <= 28 ? 1 : t >= 35 ? 8 : between[t - 29];
    struct tensor tensor;
    struct checkpoint checkpoint = with_divisors(&tensor, divisors, 64);
    struct head head;
    head_open(&head, &interleaved, 128, 128, 5e5, &checkpoint, NULL);
    head.position.scheme->angles(&head.position, 8000, cosines, sines);
    for (int t = 0; t < 64; t++) {
        double lambda = 6.283185307179586 * pow(5e5, t / 64.0);
        double w = (8192 / lambda - 1) / (4 - 1), th = pow(5e5, -t / 64.0);
        double frequency = lambda < 8192.0 / 4 ? th
                           : lambda > 8192     ? th / 8
                                               : (1 - w) * th / 8 + w * th;
        /* The published divisors have seven digits. */
        double tolerance = 1e-7 + 8000 * frequency * (t >= 29 && t < 35 ? 5e-7 : 1e-12);
        ck_assert_double_eq_tol((double)cosines[t], cos(8000 * frequency), tolerance);
        ck_assert_double_eq_tol((double)sines[t], sin(8000 * frequency), tolerance);
    }
    position_close(&head.position);
}
END_TEST

START_TEST(test_bad_divisors)
{
    static const float good[4] = {1, 1, 2, 4};
    static const struct {
        float value;
        const char *message;
    } rows[] = {
        {0, "number 2 is 0, allowed: more than 0"},
        {-1, "number 2 is -1, allowed: more than 0"},
        {NAN, "nan, allowed: more than 0"},
        {INFINITY, "number 2 is inf"},
    };
    const struct config config = {
        .architecture = &halves, .head_dim = 8, .rope_dims = 8, .rope_base = 1e4};
    struct tensor tensor;
    struct position position;
    struct error err;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        float divisors[4];
        memcpy(divisors, good, sizeof good);
        divisors[2] = rows[i].value;
        struct checkpoint checkpoint = with_divisors(&tensor, divisors, 4);
        ck_assert_int_eq(position_open(&position, &config, &checkpoint, &err), -1);
        ck_assert_msg(strstr(err.text, rows[i].message) &&
                          strstr(err.text, "m.gguf: tensor \"rope_freqs.weight\""),
                      "%s", err.text);
    }
    struct checkpoint checkpoint = with_divisors(&tensor, good, 3);
    ck_assert_int_eq(position_open(&position, &config, &checkpoint, &err), -1);
    ck_assert_msg(strstr(err.text, "at byte 64: F32 with 3 numbers, expected F32 with 4") != NULL,
                  "%s", err.text);
    checkpoint = with_divisors(&tensor, good, 4);
    tensor.format = FORMAT_F16;
    ck_assert_int_eq(position_open(&position, &config, &checkpoint, &err), -1);
    ck_assert_msg(strstr(err.text, "F16 with 4 numbers, expected F32 with 4") != NULL, "%s",
                  err.text);
    checkpoint = with_divisors(&tensor, good, 4);
    tensor.n_dims = 2;
    ck_assert_int_eq(position_open(&position, &config, &checkpoint, &err), -1);
}
END_TEST

Suite *rope_suite(void)
{
    Suite *suite = suite_create("rope");
    TCase *tcase = tcase_create("rope");
    tcase_add_test(tcase, test_vectors);
    tcase_add_test(tcase, test_partial);
    tcase_add_test(tcase, test_long_positions);
    tcase_add_test(tcase, test_angles);
    tcase_add_test(tcase, test_orders);
    tcase_add_test(tcase, test_llama3);
    tcase_add_test(tcase, test_bad_divisors);
    suite_add_tcase(suite, tcase);
    return suite;
}
