/* rope_scaling: the numbers that published configurations come to, computed outside the project
 * from the formulas of the papers and of transformers. */
#include "model/position/rope_scaling.h"

#include <check.h>
#include <math.h>
#include <string.h>

#include "tests/suites.h"

enum { PAIRS_MAX = 64 };

/* What pair t keeps of its frequency without scaling. */
static void ratios(const struct rope_scaling *scaling, double base, int pairs, int64_t length,
                   double *ratio)
{
    rope_scaling_frequencies(scaling, base, pairs, length, ratio, NULL);
    for (int t = 0; t < pairs; t++)
        ratio[t] /= pow(base, -(double)t / pairs);
}

static double factor_m(const struct rope_scaling *scaling, int64_t length)
{
    double m = 0;
    rope_scaling_frequencies(scaling, 0, 0, length, NULL, &m);
    return m;
}

/* The base that frequencies without scaling would need. */
static double base_of(const double *frequency, int pairs)
{
    return pow(frequency[pairs - 1], -pairs / (pairs - 1.0));
}

static struct rope_scaling yarn(double factor, double original_length)
{
    return (struct rope_scaling){.kind = ROPE_SCALING_YARN,
                                 .factor = factor,
                                 .original_length = original_length,
                                 .beta_fast = 32,
                                 .beta_slow = 1,
                                 .truncate = true};
}

START_TEST(test_names)
{
    static const char *const names[] = {"none", "linear",       "ntk",    "dynamic",
                                        "yarn", "dynamic-yarn", "llama3", "longrope"};
    for (int i = 0; i < ROPE_SCALING_COUNT; i++) {
        ck_assert_str_eq(rope_scaling_name((enum rope_scaling_kind)i), names[i]);
        ck_assert_int_eq(rope_scaling_from_name(names[i]), i);
        const struct rope_scaling scaling = {.kind = (enum rope_scaling_kind)i};
        ck_assert_int_eq(rope_scaling_follows_length(&scaling),
                         strstr(names[i], "dynamic") != NULL);
    }
    ck_assert_ptr_null(rope_scaling_name(ROPE_SCALING_COUNT));
    ck_assert_int_eq(rope_scaling_from_name("su"), ROPE_SCALING_LONGROPE);
    ck_assert_int_eq(rope_scaling_from_name("yarns"), -1);
    ck_assert_int_eq(rope_scaling_from_name(""), -1);
}
END_TEST

START_TEST(test_none_and_linear)
{
    static const struct rope_scaling none;
    const struct rope_scaling linear = {.kind = ROPE_SCALING_LINEAR, .factor = 4};
    double frequency[PAIRS_MAX], ratio[PAIRS_MAX];
    rope_scaling_frequencies(&none, 1e4, 2, 7, frequency, NULL);
    ck_assert_double_eq(frequency[0], 1);
    ck_assert_double_eq_tol(frequency[1], 0.01, 1e-17);
    ck_assert_double_eq(factor_m(&none, 7), 1);
    ratios(&linear, 1e4, 64, 100000, ratio);
    for (int t = 0; t < 64; t++)
        ck_assert_double_eq_tol(ratio[t], 0.25, 1e-15);
    ck_assert_double_eq(factor_m(&linear, 100000), 1);
}
END_TEST

START_TEST(test_ntk)
{
    static const double rows[][2] = {{2, 20221.2617}, {4, 40889.9424}, {8, 82684.6226}};
    for (size_t i = 0; i < 3; i++) {
        const struct rope_scaling scaling = {.kind = ROPE_SCALING_NTK, .factor = rows[i][0]};
        double frequency[PAIRS_MAX], ratio[PAIRS_MAX];
        rope_scaling_frequencies(&scaling, 1e4, 64, 5, frequency, NULL);
        ck_assert_double_eq_tol(base_of(frequency, 64), rows[i][1], 5e-5);
        ck_assert_double_eq_tol(frequency[32], pow(rows[i][1], -0.5), 1e-11);
        ratios(&scaling, 1e4, 64, 5, ratio);
        ck_assert_double_eq(ratio[0], 1);
        ck_assert_double_eq_tol(ratio[63], 1 / rows[i][0], 1e-13);
        ck_assert_double_eq(factor_m(&scaling, 5), 1);
        rope_scaling_frequencies(&scaling, 1e4, 1, 5, frequency, NULL); /* r - 2 = 0 */
        ck_assert_double_eq(frequency[0], 1);
    }
}
END_TEST

START_TEST(test_dynamic)
{
    static const struct {
        double factor;
        int64_t length;
        double base;
    } rows[] = {
        {2, 1, 10000},         {2, 4096, 10000},       {2, 6144, 20221.2617},
        {2, 8192, 30527.7367}, {2, 16384, 72195.8601}, {1, 8192, 20221.2617},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct rope_scaling scaling = {
            .kind = ROPE_SCALING_DYNAMIC, .factor = rows[i].factor, .original_length = 4096};
        double frequency[PAIRS_MAX];
        rope_scaling_frequencies(&scaling, 1e4, 64, rows[i].length, frequency, NULL);
        ck_assert_double_eq_tol(base_of(frequency, 64), rows[i].base, 5e-5);
        ck_assert_double_eq(factor_m(&scaling, rows[i].length), 1);
    }
}
END_TEST

/* The borders of the ramp, from two of the ratios between them. */
static void borders(const double *ratio, double factor, int a, int b, double *low, double *high)
{
    double x = (1 - ratio[a]) / (1 - 1 / factor), y = (1 - ratio[b]) / (1 - 1 / factor);
    double slope = (y - x) / (b - a);
    *low = a - x / slope;
    *high = *low + 1 / slope;
}

START_TEST(test_yarn)
{
    static const struct {
        double base, original_length, factor;
        int pairs;
        bool truncate;
        double low, high, m;
        double ratio[8][2]; /* pair, ratio; {0, 1} more where there are fewer */
    } rows[] = {
        {1e4,
         4096,
         4,
         64,
         true,
         20,
         46,
         1.138629436,
         {{20, 1},
          {24, 0.884615},
          {28, 0.769231},
          {32, 0.653846},
          {36, 0.538462},
          {40, 0.423077},
          {44, 0.307692},
          {46, 0.25}}},
        {1e4, 4096, 4, 64, false, 20.944482, 45.026881, 1.138629436, {{20, 1}, {46, 0.25}, {0, 1}}},
        {1e6,
         32768,
         4,
         64,
         true,
         23,
         40,
         1.138629436,
         {{23, 1},
          {24, 0.955882},
          {28, 0.779412},
          {32, 0.602941},
          {36, 0.426471},
          {40, 0.25},
          {63, 0.25}}},
        {150000,
         4096,
         32,
         32,
         true,
         8,
         18,
         1.34657359,
         {{8, 1}, {9, 0.903125}, {12, 0.6125}, {17, 0.128125}, {18, 0.03125}, {31, 0.03125}}},
        {150000,
         4096,
         32,
         32,
         false,
         8.0927791,
         17.3980245,
         1.34657359,
         {{8, 1}, {9, 0.905551}, {12, 0.593227}, {17, 0.0726875}, {18, 0.03125}}},
        {1e4, 4096, 4, 4, true, 1, 3, 1.138629436, {{0, 1}, {1, 1}, {2, 0.625}, {3, 0.25}}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rope_scaling scaling = yarn(rows[i].factor, rows[i].original_length);
        double ratio[PAIRS_MAX], low, high;
        scaling.truncate = rows[i].truncate;
        ratios(&scaling, rows[i].base, rows[i].pairs, 1, ratio);
        for (size_t j = 0; j < 8 && rows[i].ratio[j][1] > 0; j++)
            ck_assert_double_eq_tol(ratio[(int)rows[i].ratio[j][0]], rows[i].ratio[j][1], 5.1e-7);
        if (rows[i].pairs > 4) {
            int middle = (int)((rows[i].low + rows[i].high) / 2);
            borders(ratio, rows[i].factor, middle - 2, middle + 2, &low, &high);
            ck_assert_double_eq_tol(low, rows[i].low, 6e-7);
            ck_assert_double_eq_tol(high, rows[i].high, 6e-7);
        }
        ck_assert_double_eq_tol(factor_m(&scaling, 1), rows[i].m, 5.1e-9);
    }
}
END_TEST

START_TEST(test_yarn_borders)
{
    double ratio[PAIRS_MAX];
    struct rope_scaling scaling = yarn(4, 4096);
    scaling.beta_fast = scaling.beta_slow = 4; /* both near pair 35.4: a step */
    ratios(&scaling, 1e4, 64, 1, ratio);
    ck_assert_double_eq_tol(ratio[35], 1, 1e-15);
    ck_assert_double_eq_tol(ratio[36], 0.25, 1e-15);
    scaling = yarn(4, 16); /* all of it past the first border */
    ratios(&scaling, 1e4, 64, 1, ratio);
    ck_assert_double_eq_tol(ratio[0], 1, 1e-15);
    ck_assert_double_eq_tol(ratio[63], 0.25, 1e-15);
    scaling = yarn(1, 4096);
    ratios(&scaling, 1e4, 64, 1, ratio);
    ck_assert_double_eq_tol(ratio[63], 1, 1e-15);
    ck_assert_double_eq(factor_m(&scaling, 1), 1);
}
END_TEST

START_TEST(test_yarn_m)
{
    struct rope_scaling scaling = yarn(40, 4096);
    ck_assert_double_eq_tol(factor_m(&scaling, 1), 1.3688879454, 1e-10); /* 0.1 ln 40 + 1 */
    scaling.mscale = 1;
    ck_assert_double_eq_tol(factor_m(&scaling, 1), 1.3688879454, 1e-10); /* both or none */
    scaling.mscale_all = 1;
    ck_assert_double_eq(factor_m(&scaling, 1), 1);
    scaling.mscale_all = 0.707;
    ck_assert_double_eq_tol(factor_m(&scaling, 1), 1.3688879454 / 1.2608037774, 1e-9);
    scaling.attention_factor = 1.25;
    ck_assert_double_eq(factor_m(&scaling, 1), 1.25);
}
END_TEST

/* A text of n tokens is stretched by n / L0, as YaRN with that factor. */
START_TEST(test_dynamic_yarn)
{
    static const int64_t lengths[] = {1, 4096, 4097, 8192, 16384, 1000000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        double s = fmax(1, (double)lengths[i] / 4096), expected[PAIRS_MAX], ratio[PAIRS_MAX];
        struct rope_scaling fixed = yarn(s, 4096), dynamic = yarn(1, 4096);
        dynamic.kind = ROPE_SCALING_DYNAMIC_YARN;
        ratios(&fixed, 1e4, 64, 1, expected);
        ratios(&dynamic, 1e4, 64, lengths[i], ratio);
        for (int t = 0; t < 64; t++)
            ck_assert_double_eq(ratio[t], expected[t]);
        ck_assert_double_eq_tol(ratio[50], 1 / s, 1e-15);
        ck_assert_double_eq_tol(factor_m(&dynamic, lengths[i]), 1 + 0.1 * log(s), 1e-15);
    }
}
END_TEST

START_TEST(test_llama3)
{
    static const struct {
        double factor;
        int pairs;
        int first, end; /* of the pairs in between */
        double divisor[6];
    } rows[] = {
        {8, 64, 29, 35, {1.207484, 1.553415, 2.026313, 2.694530, 3.684253, 5.257327}},
        {32, 32, 15, 18, {1.651329, 3.292262, 9.666729}},
        {32, 64, 29, 35, {1.234937, 1.651329, 2.276660, 3.292262, 5.171596, 9.666729}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rope_scaling scaling = {.kind = ROPE_SCALING_LLAMA3,
                                       .factor = rows[i].factor,
                                       .original_length = 8192,
                                       .low_freq = 1,
                                       .high_freq = 4};
        double ratio[PAIRS_MAX];
        ratios(&scaling, 5e5, rows[i].pairs, 1, ratio);
        for (int t = 0; t < rows[i].pairs; t++) {
            double expected = t < rows[i].first ? 1
                              : t < rows[i].end ? rows[i].divisor[t - rows[i].first]
                                                : rows[i].factor;
            ck_assert_double_eq_tol(1 / ratio[t], expected, 5.1e-7);
        }
        ck_assert_double_eq(factor_m(&scaling, 1), 1);
    }
}
END_TEST

/* Divisors divide whatever the kind; Llama-3's have the whole scaling in them. */
START_TEST(test_divisors)
{
    static const float divisors[] = {1, 2, 4, 8};
    struct rope_scaling scaling = {.divisors = divisors};
    double ratio[PAIRS_MAX];
    static const double expected[ROPE_SCALING_COUNT] = {
        [ROPE_SCALING_NONE] = 1, [ROPE_SCALING_LINEAR] = 4, [ROPE_SCALING_LLAMA3] = 1};
    scaling.factor = 4;
    for (int kind = 0; kind < ROPE_SCALING_COUNT; kind++) {
        scaling.kind = (enum rope_scaling_kind)kind;
        if (expected[kind] <= 0)
            continue;
        ratios(&scaling, 1e4, 4, 1, ratio);
        for (int t = 0; t < 4; t++)
            ck_assert_double_eq_tol(1 / ratio[t], (double)divisors[t] * expected[kind], 1e-13);
    }
}
END_TEST

START_TEST(test_longrope)
{
    static const float near[] = {1, 1.5F}, far[] = {2, 32};
    struct rope_scaling scaling = {.kind = ROPE_SCALING_LONGROPE,
                                   .factor = 32,
                                   .original_length = 4096,
                                   .short_factors = near,
                                   .long_factors = far};
    static const int64_t lengths[] = {1, 4096, 4097, 131072};
    double ratio[2];
    for (size_t i = 0; i < 4; i++) {
        const float *expected = i < 2 ? near : far;
        ratios(&scaling, 1e4, 2, lengths[i], ratio);
        for (int t = 0; t < 2; t++)
            ck_assert_double_eq_tol(1 / ratio[t], (double)expected[t], 1e-13);
        ck_assert_double_eq_tol(factor_m(&scaling, lengths[i]), 1.1902380714, 5.1e-11);
    }
    scaling.short_factors = NULL;
    ratios(&scaling, 1e4, 2, 1, ratio);
    ck_assert_double_eq_tol(ratio[1], 1, 1e-15);
    scaling.factor = 1;
    ck_assert_double_eq(factor_m(&scaling, 1), 1);
    scaling.attention_factor = 1.19;
    ck_assert_double_eq(factor_m(&scaling, 1), 1.19);
}
END_TEST

Suite *rope_scaling_suite(void)
{
    Suite *suite = suite_create("rope_scaling");
    TCase *tcase = tcase_create("rope_scaling");
    tcase_add_test(tcase, test_names);
    tcase_add_test(tcase, test_none_and_linear);
    tcase_add_test(tcase, test_ntk);
    tcase_add_test(tcase, test_dynamic);
    tcase_add_test(tcase, test_yarn);
    tcase_add_test(tcase, test_yarn_borders);
    tcase_add_test(tcase, test_yarn_m);
    tcase_add_test(tcase, test_dynamic_yarn);
    tcase_add_test(tcase, test_llama3);
    tcase_add_test(tcase, test_divisors);
    tcase_add_test(tcase, test_longrope);
    suite_add_tcase(suite, tcase);
    return suite;
}
