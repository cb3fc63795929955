/* alibi: slopes as published (BLOOM, MPT, the paper), biases at any distance. */
#include <check.h>
#include <math.h>

#include "model/position/position.h"
#include "tests/suites.h"

static const struct architecture architecture = {.position = POSITION_ALIBI};

static void open_heads(struct position *position, struct config *config, int n_heads,
                       float max_bias)
{
    static const struct checkpoint nothing;
    struct error err;
    *config = (struct config){
        .architecture = &architecture, .n_heads = n_heads, .alibi_max_bias = max_bias};
    ck_assert_msg(position_open(position, config, &nothing, &err) == 0, "%s", err.text);
}

START_TEST(test_slopes)
{
    static const struct {
        int n_heads;
        float max_bias;
        int first; /* head of the first value */
        int n;
        float slopes[12];
    } rows[] = {
        {8, 8, 0, 8, {0.5F, 0.25F, 0.125F, 0.0625F, 0.03125F, 0.015625F, 0.0078125F, 0.00390625F}},
        {12,
         8,
         0,
         12,
         {0.5F, 0.25F, 0.125F, 0.0625F, 0.03125F, 0.015625F, 0.0078125F, 0.00390625F, 0.70710678F,
          0.35355339F, 0.1767767F, 0.088388348F}},
        {6, 8, 0, 6, {0.25F, 0.0625F, 0.015625F, 0.00390625F, 0.5F, 0.125F}},
        {20, 8, 16, 4, {0.84089642F, 0.59460356F, 0.42044821F, 0.29730178F}},
        {40,
         8,
         32,
         8,
         {0.91700404F, 0.77110541F, 0.64841978F, 0.54525387F, 0.45850202F, 0.38555271F, 0.32420989F,
          0.27262693F}},
        {112, 8, 0, 1, {0.91700404F}},
        {112, 8, 63, 3, {0.00390625F, 0.95760328F, 0.87812608F}},
        {112, 8, 111, 1, {0.016316778F}},
        {12, 16, 0, 2, {0.25F, 0.0625F}},
        {12, 16, 7, 5, {1.5258789e-05F, 0.5F, 0.125F, 0.03125F, 0.0078125F}},
        {1, 8, 0, 1, {0.00390625F}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct position position;
        struct config config;
        open_heads(&position, &config, rows[i].n_heads, rows[i].max_bias);
        for (int h = 0; h < rows[i].n; h++)
            ck_assert_float_eq_tol(position.slope[rows[i].first + h], rows[i].slopes[h],
                                   1e-7F * rows[i].slopes[h]);
        position_close(&position);
    }
}
END_TEST

/* MPT's own construction: 2^(-B k / 2P) for k = 1..2P where P is H rounded up to a power of two;
 * even k first, then odd k, the first H of them (of all k when H is a power of two). */
START_TEST(test_other_construction)
{
    for (int n_heads = 1; n_heads <= 200; n_heads++) {
        struct position position;
        struct config config;
        open_heads(&position, &config, n_heads, _i == 0 ? 8 : 16);
        int up = 1;
        while (up < n_heads)
            up *= 2;
        for (int h = 0; h < n_heads; h++) {
            int k = up == n_heads ? h + 1 : 2 * h < up ? 2 * h + 2 : 2 * h - up + 1;
            float expected = (float)exp2(-(_i == 0 ? 8.0 : 16.0) * k / up);
            ck_assert_float_eq(position.slope[h], expected);
        }
        position_close(&position);
    }
}
END_TEST

START_TEST(test_softmax)
{
    struct position position;
    struct config config;
    float scores[4] = {0};
    open_heads(&position, &config, 8, 8);
    position.scheme->add_bias(&position, 0, 3, 4, scores);
    static const double expected[] = {0.1015363, 0.1674051, 0.2760043, 0.4550542};
    double sum = 0;
    for (int j = 0; j < 4; j++)
        sum += exp((double)scores[j]);
    for (int j = 0; j < 4; j++)
        ck_assert_double_eq_tol(exp((double)scores[j]) / sum, expected[j], 1e-7);
    ck_assert_float_eq(scores[3], 0); /* distance 0 */
    position_close(&position);
}
END_TEST

/* The distance is an integer until it is multiplied: at any length the bias is the nearest float.
 */
START_TEST(test_long_distances)
{
    static const int64_t distances[] = {2048, 65535, (1 << 24) + 1, (int64_t)1 << 40,
                                        ((int64_t)1 << 40) + 12345};
    struct position position;
    struct config config;
    open_heads(&position, &config, 12, 8);
    for (size_t i = 0; i < sizeof distances / sizeof distances[0]; i++) {
        for (int head = 0; head < 12; head++) {
            float scores[128] = {0};
            position.scheme->add_bias(&position, head, distances[i], 128, scores);
            for (int j = 0; j < 128; j++) {
                long double exact =
                    -(long double)position.slope[head] * (long double)(distances[i] - j);
                ck_assert_float_eq(scores[j], (float)exact);
            }
        }
    }
    /* Neighbours still differ by one slope as long as a float can tell: bias below 2^24 slopes. */
    float scores[2] = {0};
    position.scheme->add_bias(&position, 7, (1 << 24) - 1, 2, scores);
    ck_assert_float_eq(scores[1] - scores[0], 0.00390625F);
    position_close(&position);
}
END_TEST

/* What is there already is added to; the rest of the row is not touched. */
START_TEST(test_adds)
{
    struct position position;
    struct config config;
    float scores[6] = {1, 2, 3, 4, 5, 6};
    open_heads(&position, &config, 2, 8);
    position.scheme->add_bias(&position, 0, 10, 4, scores); /* slope 2^-4 */
    static const float expected[] = {
        1 - 10 / 16.0F, 2 - 9 / 16.0F, 3 - 8 / 16.0F, 4 - 7 / 16.0F, 5, 6};
    for (int j = 0; j < 6; j++)
        ck_assert_float_eq(scores[j], expected[j]);
    position_close(&position);
}
END_TEST

Suite *alibi_suite(void)
{
    Suite *suite = suite_create("alibi");
    TCase *tcase = tcase_create("alibi");
    tcase_add_test(tcase, test_slopes);
    tcase_add_loop_test(tcase, test_other_construction, 0, 2);
    tcase_add_test(tcase, test_softmax);
    tcase_add_test(tcase, test_long_distances);
    tcase_add_test(tcase, test_adds);
    suite_add_tcase(suite, tcase);
    return suite;
}
