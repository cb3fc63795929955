/* kerple: both kernels against their formulas, and parameters that are none. */
#include <check.h>
#include <math.h>

#include "tests/model/position/scheme.h"
#include "tests/suites.h"

enum { HEADS = 3 };

static void with(struct scheme *scheme, const char *kind, const float *p, const float *a)
{
    scheme_init(scheme, POSITION_KERPLE, HEADS);
    if (kind)
        gguf_image_text(&scheme->image, "toy.position.kind", kind);
    if (p)
        scheme_tensor(scheme, "attn_rel_p.weight", 0, HEADS, p);
    if (a)
        scheme_tensor(scheme, "blk.0.attn_rel_a.weight", 0, HEADS, a);
}

START_TEST(test_vector)
{
    static const float p[HEADS] = {1, 2, 1}, a[HEADS] = {0.5F, 0.5F, 1};
    static const struct {
        double distance, bias;
    } rows[] = {{0, 0}, {1, -0.405465}, {2, -0.693147}, {10, -1.791759}, {100, -3.931826}};
    struct scheme scheme;
    with(&scheme, NULL, p, a);
    scheme_open_starved(&scheme);
    ck_assert(scheme.position.scheme->nature == POSITION_REAL);
    ck_assert(scheme.position.scheme->layered);
    ck_assert(scheme.position.last_distance == INT64_MAX);
    scheme_expect_text(&scheme, "kerple, log");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double distance = rows[i].distance;
        ck_assert_double_eq_tol(scheme_bias(&scheme, 0, 0, distance), rows[i].bias, 5e-7);
        ck_assert_double_eq_tol(scheme_bias(&scheme, 1, 0, distance), 2 * rows[i].bias, 1e-6);
        ck_assert_double_eq_tol(scheme_bias(&scheme, 2, 0, distance / 2), rows[i].bias, 5e-7);
    }
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_power)
{
    static const float p[HEADS] = {1, 0.5F, 2}, a[HEADS] = {0.25F, 3, 0.0625F};
    struct scheme scheme;
    with(&scheme, "power", p, a);
    scheme_open(&scheme);
    for (double distance = 0; distance < 1e9; distance = 3 * distance + 0.75) {
        double tolerance = 1e-14 * (distance + 1);
        ck_assert_double_eq_tol(scheme_bias(&scheme, 0, 0, distance), -0.25 * distance, tolerance);
        ck_assert_double_eq_tol(scheme_bias(&scheme, 1, 0, distance), -3 * sqrt(distance),
                                tolerance);
        ck_assert_double_eq_tol(scheme_bias(&scheme, 2, 0, distance), -distance * distance / 16,
                                tolerance * (distance + 1));
    }
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_refused)
{
    static const float good[HEADS] = {1, 1, 1}, four[4] = {1, 1, 1, 1};
    static const float bad[] = {0, -1, NAN, INFINITY};
    struct scheme scheme;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const float values[HEADS] = {1, bad[i], 1};
        with(&scheme, NULL, values, good);
        scheme_refuse(&scheme, "number 1 is ");
        with(&scheme, NULL, good, values);
        scheme_refuse(&scheme, "number 1 is ");
    }
    const float zero[HEADS] = {1, 1, 0};
    with(&scheme, NULL, good, zero);
    scheme_refuse(&scheme, "tensor \"attn_rel_a.weight\" of layer 0: number 2 is 0, allowed: "
                           "more than 0");
    with(&scheme, NULL, NULL, good);
    scheme_refuse(&scheme, "attn_rel_p.weight\" is missing");
    with(&scheme, NULL, good, NULL);
    scheme_refuse(&scheme, "attn_rel_a.weight\" is missing");
    with(&scheme, "linear", good, good);
    scheme_refuse(&scheme, "toy.position.kind is \"linear\", allowed: log, power");
    with(&scheme, NULL, good, NULL);
    scheme_tensor(&scheme, "attn_rel_a.weight", 0, 4, four);
    scheme_refuse(&scheme, "expected (3");
}
END_TEST

Suite *kerple_suite(void)
{
    Suite *suite = suite_create("kerple");
    TCase *tcase = tcase_create("kerple");
    tcase_add_test(tcase, test_vector);
    tcase_add_test(tcase, test_power);
    tcase_add_test(tcase, test_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
