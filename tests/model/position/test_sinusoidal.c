/* sinusoidal: the three orders of columns, against the formulas in long double. */
#include <check.h>
#include <math.h>

#include "tests/model/position/scheme.h"
#include "tests/suites.h"

enum { WIDE = 96 };

static void open_layout(struct scheme *scheme, const char *layout, int dim)
{
    scheme_init(scheme, POSITION_SINUSOIDAL, 1);
    scheme->config.dim = dim;
    if (layout)
        gguf_image_text(&scheme->image, "toy.position.layout", layout);
}

static void embed(const struct scheme *scheme, int64_t at, float *x)
{
    for (int d = 0; d < scheme->config.dim; d++)
        x[d] = 0;
    scheme->position.scheme->embed(&scheme->position, at, x);
}

START_TEST(test_vectors)
{
    static const struct {
        const char *layout;
        int offset;
        int64_t at;
        float expected[4];
    } rows[] = {
        {NULL, -1, 1, {0.84147098F, 0.54030231F, 0.0099998333F, 0.99995F}},
        {"interleaved", 0, 1, {0.84147098F, 0.54030231F, 0.0099998333F, 0.99995F}},
        {"interleaved", 1, 0, {0.84147098F, 0.54030231F, 0.0099998333F, 0.99995F}},
        {"concatenated", -1, 1, {0.84147098F, 0.0099998333F, 0.54030231F, 0.99995F}},
        {"concatenated", -1, 3, {0.14112F, 0.0299955F, -0.989992F, 0.99955F}},
        {"fairseq", 0, 1, {0.84147098F, 0.0001F, 0.54030231F, 1}},
        {"fairseq", -1, 0, {0.90929743F, 0.0002F, -0.41614684F, 0.99999998F}},
        {"fairseq", 2, 0, {0.90929743F, 0.0002F, -0.41614684F, 0.99999998F}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scheme scheme;
        float x[5] = {0, 0, 0, 0, 7};
        open_layout(&scheme, rows[i].layout, 4);
        if (rows[i].offset >= 0)
            gguf_image_u32(&scheme.image, "toy.position.offset", (uint32_t)rows[i].offset);
        scheme_open(&scheme);
        embed(&scheme, rows[i].at, x);
        for (int d = 0; d < 4; d++)
            ck_assert_float_eq_tol(x[d], rows[i].expected[d], 5.1e-7F);
        ck_assert_float_eq(x[4], 7);
        scheme_close(&scheme);
    }
}
END_TEST

/* Column d of row `row`. */
static long double column(const char *layout, int dim, long double base, long double row, int d)
{
    int half = dim / 2;
    bool interleaved = layout[0] == 'i', fairseq = layout[0] == 'f';
    int t = interleaved ? d / 2 : d % half;
    bool cosine = interleaved ? d % 2 == 1 : d >= half;
    long double exponent = fairseq ? (long double)t / (half - 1) : 2.0L * t / dim;
    long double angle = row * powl(base, -exponent);
    return cosine ? cosl(angle) : sinl(angle);
}

START_TEST(test_formula)
{
    static const char *const layouts[] = {"interleaved", "concatenated", "fairseq"};
    static const int64_t places[] = {0, 1, 511, 131071, (1 << 24) + 1, 10000000000};
    for (int i = 0; i < 3; i++) {
        struct scheme scheme;
        open_layout(&scheme, layouts[i], WIDE);
        gguf_image_u32(&scheme.image, "toy.position.offset", 5);
        gguf_image_f32(&scheme.image, "toy.position.base", 500);
        scheme_open(&scheme);
        for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
            float x[WIDE];
            embed(&scheme, places[p], x);
            for (int d = 0; d < WIDE; d++) {
                long double row = (long double)(places[p] + 5);
                double expected = (double)column(layouts[i], WIDE, 500, row, d);
                /* half an ulp of a float, and what a double angle may miss */
                ck_assert_double_eq_tol((double)x[d], expected, 6e-8 + 3e-16 * (double)places[p]);
            }
        }
        scheme_close(&scheme);
    }
}
END_TEST

START_TEST(test_opened)
{
    struct scheme scheme;
    float x[4] = {10, 20, 30, 40};
    open_layout(&scheme, "fairseq", 4);
    scheme_open_starved(&scheme);
    ck_assert(scheme.position.scheme->nature == POSITION_ABSOLUTE);
    ck_assert(scheme.position.limit == INT64_MAX);
    scheme_expect_text(&scheme, "sinusoidal, fairseq, base 10000, the first in row 2");
    scheme.position.scheme->embed(&scheme.position, 0, x);
    ck_assert_float_eq_tol(x[0], 10.909297F, 1e-6F);
    ck_assert_float_eq_tol(x[3], 41, 1e-6F);
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_refused)
{
    static const struct {
        float base;
        const char *message;
    } bases[] = {{0, "toy.position.base is 0, allowed: 1 to 1e15"},
                 {-3, "toy.position.base is -3"},
                 {NAN, "toy.position.base is nan"},
                 {INFINITY, "toy.position.base is inf"}};
    struct scheme scheme;
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        open_layout(&scheme, NULL, 4);
        gguf_image_f32(&scheme.image, "toy.position.base", bases[i].base);
        scheme_refuse(&scheme, bases[i].message);
    }
    open_layout(&scheme, "sideways", 4);
    scheme_refuse(&scheme, "\"sideways\", allowed: interleaved, concatenated, fairseq");
    open_layout(&scheme, NULL, 5);
    scheme_refuse(&scheme, "toy.embedding_length is 5, allowed: an even number");
    open_layout(&scheme, "fairseq", 2);
    scheme_refuse(&scheme, "toy.embedding_length is 2, allowed: 4 or more");
    open_layout(&scheme, NULL, 4);
    gguf_image_u32(&scheme.image, "toy.position.offset", 1U << 31);
    scheme_refuse(&scheme, "toy.position.offset");
}
END_TEST

Suite *sinusoidal_suite(void)
{
    Suite *suite = suite_create("sinusoidal");
    TCase *tcase = tcase_create("sinusoidal");
    tcase_add_test(tcase, test_vectors);
    tcase_add_test(tcase, test_formula);
    tcase_add_test(tcase, test_opened);
    tcase_add_test(tcase, test_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
