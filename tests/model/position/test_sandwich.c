/* sandwich: published sums, and the formula for every head. */
#include <check.h>
#include <math.h>

#include "tests/model/position/scheme.h"
#include "tests/suites.h"

START_TEST(test_vectors)
{
    static const double distances[] = {1, 2, 10, 100, 1000};
    static const double sums[2][5] = {{-1.90632, -6.61814, -21.17998, -33.45655, -53.82227},
                                      {-1.44662, -5.20199, -19.34091, -33.31891, -53.38965}};
    for (int first = 0; first < 2; first++) {
        struct scheme scheme;
        scheme_init(&scheme, POSITION_SANDWICH, 8); /* head 0 divides by 1 */
        if (first)
            gguf_image_u32(&scheme.image, "toy.position.first", 1);
        scheme_open(&scheme);
        ck_assert(scheme_bias(&scheme, 0, 0, 0) == 0);
        for (int i = 0; i < 5; i++)
            for (int head = 0; head < 8; head++)
                ck_assert_double_eq_tol(scheme_bias(&scheme, head, 0, distances[i]) * (head + 1),
                                        sums[first][i], 5.1e-6);
        scheme_close(&scheme);
    }
}
END_TEST

START_TEST(test_formula)
{
    enum { HEADS = 6, DIMS = 20 };
    struct scheme scheme;
    scheme_init(&scheme, POSITION_SANDWICH, HEADS);
    gguf_image_u32(&scheme.image, "toy.position.dims", DIMS);
    scheme_open_starved(&scheme);
    ck_assert(scheme.position.scheme->nature == POSITION_REAL);
    ck_assert(!scheme.position.scheme->layered);
    scheme_expect_text(&scheme, "sandwich, 20 dimensions, frequencies from 0");
    for (double distance = 0; distance < 1e7; distance = 2 * distance + 0.25)
        for (int head = 0; head < HEADS; head++) {
            long double sum = 0;
            for (int t = 0; t < DIMS / 2; t++)
                sum += cosl(distance * powl(10000, -2.0L * t / DIMS));
            long double expected = (sum - DIMS / 2) / (8.0L * (head + 1) / HEADS);
            ck_assert_double_eq_tol(scheme_bias(&scheme, head, 0, distance), (double)expected,
                                    1e-13 + 1e-15 * distance);
        }
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_refused)
{
    static const struct {
        const char *key;
        uint32_t value;
        const char *message;
    } rows[] = {
        {"toy.position.dims", 0, "\"toy.position.dims\" is 0"},
        {"toy.position.dims", 7, "toy.position.dims is 7, allowed: an even number"},
        {"toy.position.dims", 1U << 31, "\"toy.position.dims\" is 2147483648"},
        {"toy.position.first", 2, "\"toy.position.first\" is 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scheme scheme;
        scheme_init(&scheme, POSITION_SANDWICH, 2);
        gguf_image_u32(&scheme.image, rows[i].key, rows[i].value);
        scheme_refuse(&scheme, rows[i].message);
    }
}
END_TEST

Suite *sandwich_suite(void)
{
    Suite *suite = suite_create("sandwich");
    TCase *tcase = tcase_create("sandwich");
    tcase_add_test(tcase, test_vectors);
    tcase_add_test(tcase, test_formula);
    tcase_add_test(tcase, test_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
