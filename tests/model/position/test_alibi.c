/* alibi: slopes as published (BLOOM, MPT, the paper), biases at any distance. */
#include <check.h>
#include <math.h>

#include "tests/model/position/scheme.h"
#include "tests/suites.h"

static void open_heads(struct scheme *scheme, int n_heads, float max_bias)
{
    scheme_init(scheme, POSITION_ALIBI, n_heads);
    gguf_image_f32(&scheme->image, "toy.attention.max_alibi_bias", max_bias);
    scheme_open(scheme);
}

static float slope(const struct scheme *scheme, int head)
{
    return (float)-scheme_bias(scheme, head, 1, 1);
}

static void add_bias(const struct scheme *scheme, int head, double distance, double step, int n,
                     float *scores)
{
    const struct position *position = &scheme->position;
    position->scheme->add_bias(position, head, distance, distance, step, n, scores);
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
        struct scheme scheme;
        open_heads(&scheme, rows[i].n_heads, rows[i].max_bias);
        for (int h = 0; h < rows[i].n; h++)
            ck_assert_float_eq_tol(slope(&scheme, rows[i].first + h), rows[i].slopes[h],
                                   1e-7F * rows[i].slopes[h]);
        scheme_close(&scheme);
    }
}
END_TEST

/* MPT's own construction: 2^(-B k / 2P) for k = 1..2P where P is H rounded up to a power of two;
 * even k first, then odd k, the first H of them (of all k when H is a power of two). */
START_TEST(test_other_construction)
{
    for (int n_heads = 1; n_heads <= 200; n_heads++) {
        struct scheme scheme;
        open_heads(&scheme, n_heads, _i == 0 ? 8 : 16);
        int up = 1;
        while (up < n_heads)
            up *= 2;
        for (int h = 0; h < n_heads; h++) {
            int k = up == n_heads ? h + 1 : 2 * h < up ? 2 * h + 2 : 2 * h - up + 1;
            float expected = (float)exp2(-(_i == 0 ? 8.0 : 16.0) * k / up);
            ck_assert_float_eq(slope(&scheme, h), expected);
        }
        scheme_close(&scheme);
    }
}
END_TEST

START_TEST(test_softmax)
{
    struct scheme scheme;
    float scores[4] = {0};
    open_heads(&scheme, 8, 8);
    add_bias(&scheme, 0, 3, 1, 4, scores);
    static const double expected[] = {0.1015363, 0.1674051, 0.2760043, 0.4550542};
    double sum = 0;
    for (int j = 0; j < 4; j++)
        sum += exp((double)scores[j]);
    for (int j = 0; j < 4; j++)
        ck_assert_double_eq_tol(exp((double)scores[j]) / sum, expected[j], 1e-7);
    ck_assert_float_eq(scores[3], 0); /* distance 0 */
    scheme_close(&scheme);
}
END_TEST

/* The distance is an integer until it is multiplied: at any length the bias is the nearest float.
 */
START_TEST(test_long_distances)
{
    static const int64_t distances[] = {2048, 65535, (1 << 24) + 1, (int64_t)1 << 40,
                                        ((int64_t)1 << 40) + 12345};
    struct scheme scheme;
    open_heads(&scheme, 12, 8);
    for (size_t i = 0; i < sizeof distances / sizeof distances[0]; i++) {
        for (int head = 0; head < 12; head++) {
            float scores[128] = {0};
            add_bias(&scheme, head, (double)distances[i], 1, 128, scores);
            for (int j = 0; j < 128; j++) {
                long double exact =
                    -(long double)slope(&scheme, head) * (long double)(distances[i] - j);
                ck_assert_float_eq(scores[j], (float)exact);
            }
        }
    }
    /* Neighbours still differ by one slope as long as a float can tell: bias below 2^24 slopes. */
    float scores[2] = {0};
    add_bias(&scheme, 7, (1 << 24) - 1, 1, 2, scores);
    ck_assert_float_eq(scores[1] - scores[0], 0.00390625F);
    scheme_close(&scheme);
}
END_TEST

/* What is there already is added to; the rest of the row is not touched. */
START_TEST(test_adds)
{
    struct scheme scheme;
    float scores[6] = {1, 2, 3, 4, 5, 6};
    open_heads(&scheme, 2, 8);
    add_bias(&scheme, 0, 10, 1, 4, scores); /* slope 2^-4 */
    static const float expected[] = {
        1 - 10 / 16.0F, 2 - 9 / 16.0F, 3 - 8 / 16.0F, 4 - 7 / 16.0F, 5, 6};
    for (int j = 0; j < 6; j++)
        ck_assert_float_eq(scores[j], expected[j]);
    scheme_close(&scheme);
}
END_TEST

/* Distances need not be whole, and keys need not have different places. */
START_TEST(test_steps)
{
    static const double distances[] = {0.5, 100.75, 3e9, 3e9 + 0.25};
    static const double steps[] = {0, 0.25, 0.001, 1};
    struct scheme scheme;
    open_heads(&scheme, 6, 8);
    for (int i = 0; i < 4; i++)
        for (int s = 0; s < 4; s++)
            for (int head = 0; head < 6; head++) {
                float scores[70];
                double m = (double)slope(&scheme, head);
                for (int j = 0; j < 70; j++)
                    scores[j] = 1;
                add_bias(&scheme, head, distances[i], steps[s], 69, scores);
                for (int j = 0; j < 69; j++) {
                    double bias = m * (distances[i] - steps[s] * j);
                    ck_assert_double_eq_tol((double)scores[j], 1 - bias,
                                            1.3e-7 * fabs(bias) + 6e-8);
                }
                ck_assert_float_eq(scores[69], 1);
            }
    scheme_close(&scheme);
}
END_TEST

/* Falcon-RW: slopes of bfloat16, and the bias is scaled as the product is. */
START_TEST(test_scaled)
{
    struct scheme scheme;
    scheme_init(&scheme, POSITION_ALIBI, 12);
    scheme.config.head_dim = 64;
    gguf_image_f32(&scheme.image, "toy.attention.max_alibi_bias", 8);
    gguf_image_bool(&scheme.image, "toy.position.scaled", true);
    scheme_open(&scheme);
    ck_assert_float_eq(slope(&scheme, 0), 0.5F / 8);
    ck_assert_float_eq(slope(&scheme, 8), 0.70703125F / 8); /* of 0.70710678 */
    ck_assert_float_eq(slope(&scheme, 11), 0.08837890625F / 8);
    scheme_expect_text(&scheme, "alibi, max bias 8, scaled with the score");
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_opened)
{
    struct scheme scheme;
    scheme_init(&scheme, POSITION_ALIBI, 8);
    scheme.architecture.alibi_max_bias = 8; /* BLOOM: no key needed */
    scheme_open_starved(&scheme);
    ck_assert(scheme.position.scheme->nature == POSITION_REAL);
    ck_assert(!scheme.position.scheme->layered);
    ck_assert_float_eq(slope(&scheme, 0), 0.5F);
    scheme_expect_text(&scheme, "alibi, max bias 8");
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_refused)
{
    static const struct {
        float max_bias;
        const char *message;
    } rows[] = {
        {0, "toy.attention.max_alibi_bias is 0, allowed: more than 0, at most 1024"},
        {-8, "is -8, allowed"},
        {1025, "is 1025, allowed"},
        {NAN, "is nan, allowed"},
        {INFINITY, "is inf, allowed"},
    };
    struct scheme scheme;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scheme_init(&scheme, POSITION_ALIBI, 2);
        gguf_image_f32(&scheme.image, "toy.attention.max_alibi_bias", rows[i].max_bias);
        scheme_refuse(&scheme, rows[i].message);
    }
    scheme_init(&scheme, POSITION_ALIBI, 2);
    scheme_refuse(&scheme, "toy.attention.max_alibi_bias");
    scheme_init(&scheme, POSITION_ALIBI, 2);
    gguf_image_f32(&scheme.image, "toy.attention.max_alibi_bias", 8);
    gguf_image_u32(&scheme.image, "toy.position.scaled", 1);
    scheme_refuse(&scheme, "toy.position.scaled");
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
    tcase_add_test(tcase, test_steps);
    tcase_add_test(tcase, test_scaled);
    tcase_add_test(tcase, test_opened);
    tcase_add_test(tcase, test_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
