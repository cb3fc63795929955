/* xpos: vectors computed in double from the formula, and the form in which attention uses it:
 * queries and keys scaled from their block's first place. */
#include "model/position/position.h"

#include <check.h>
#include <math.h>
#include <string.h>

#include "tests/suites.h"

enum { HEAD_DIM = 64, PAIRS = HEAD_DIM / 2 };

static const struct architecture ours = {.name = "longhand"};

struct head {
    struct metadata_entry entry;
    struct checkpoint checkpoint;
    struct layer_config layer;
    struct config config;
    struct position position;
};

/* `scale_base` 0: no key. */
static int head_open(struct head *head, int dim, double scale_base, struct error *err)
{
    static const char key[] = "longhand.position.scale_base";
    *head = (struct head){
        .entry = {{key, sizeof key - 1}, {.type = METADATA_F32, .f = scale_base}},
        .checkpoint = {.path = (char *)"m.gguf", .metadata = {.place = "m.gguf"}},
        .layer = {.position = POSITION_XPOS, .rope_base = 1e4, .rope_scaling = true},
        .config = {.architecture = &ours, .n_heads = 1, .n_kv_heads = 1, .head_dim = dim},
    };
    head->config.layers = &head->layer;
    head->checkpoint.metadata.entries = &head->entry;
    head->checkpoint.metadata.n_entries = scale_base != 0;
    const struct position_source source = {&head->config, &head->checkpoint, 0, NULL};
    return position_open(&head->position, &source, err);
}

/* Turned to `place`, its pairs multiplied by the factors of `distance`. */
static void encode(const struct position *position, double place, double distance, const double *x,
                   double *y)
{
    double cosines[PAIRS], sines[PAIRS];
    float factor[PAIRS];
    position->scheme->angles(position, place, 1, cosines, sines);
    position->scheme->decay(position, distance, factor);
    for (int t = 0; t < position->rotated / 2; t++) {
        double a = x[2 * t], b = x[2 * t + 1], z = (double)factor[t];
        y[2 * t] = z * (a * cosines[t] - b * sines[t]);
        y[2 * t + 1] = z * (a * sines[t] + b * cosines[t]);
    }
}

/* Of a query at i and a key at j whose block begins at `first`. */
static double score(const struct head *head, const double *q, double i, const double *k, double j,
                    double first)
{
    double a[HEAD_DIM], b[HEAD_DIM], sum = 0;
    encode(&head->position, i, i - first, q, a);
    encode(&head->position, j, first - j, k, b);
    for (int d = 0; d < head->config.head_dim; d++)
        sum += a[d] * b[d];
    return sum;
}

START_TEST(test_vector)
{
    static const double q[] = {1, 2}, k[] = {3, -1};
    struct head head;
    struct error err;
    ck_assert_msg(head_open(&head, 2, 0, &err) == 0, "%s", err.text);
    ck_assert_double_eq_tol(score(&head, q, 3, k, 1, 0), -6.748125230725, 1e-6);
    ck_assert_double_eq_tol(score(&head, q, 3, k, 1, 1), -6.748125230725, 1e-6);
    ck_assert_double_eq_tol(score(&head, q, 1003, k, 1001, 1000), -6.748125230725, 1e-6);
    ck_assert_double_eq_tol(score(&head, q, 10000003, k, 10000001, 9999872), -6.748125230725, 1e-6);
    position_close(&head.position);
}
END_TEST

/* z, at a distance of B. */
START_TEST(test_decay)
{
    static const double bases[] = {0, 512, 64, 1000};
    for (size_t i = 0; i < 4; i++) {
        struct head head;
        struct error err;
        float factor[PAIRS], inverse[PAIRS];
        double b = bases[i] > 0 ? bases[i] : 512;
        ck_assert_int_eq(head_open(&head, HEAD_DIM, bases[i], &err), 0);
        const struct position *p = &head.position;
        p->scheme->decay(p, b, factor);
        ck_assert_double_eq_tol((double)factor[0], 0.285714, 5e-7);
        ck_assert_double_eq_tol((double)factor[31], 0.977679, 5e-7);
        for (int t = 0; t < PAIRS; t++)
            ck_assert_double_eq_tol((double)factor[t], (2.0 * t + 0.4 * 64) / (1.4 * 64), 6e-8);
        p->scheme->decay(p, -b / 2, inverse);
        p->scheme->decay(p, b * 3 / 2, factor);
        for (int t = 0; t < PAIRS; t++)
            ck_assert_double_eq_tol((double)factor[t] * (double)inverse[t],
                                    (2.0 * t + 0.4 * 64) / (1.4 * 64), 2e-7);
        p->scheme->decay(p, 1e9, factor);
        for (int t = 0; t < PAIRS; t++)
            ck_assert_float_eq(factor[t], 0);
        position_close(&head.position);
    }
}
END_TEST

/* Every pair from scratch: rotation by the distance, times z^(distance / B). */
START_TEST(test_brute_force)
{
    double q[HEAD_DIM], k[HEAD_DIM];
    struct head head;
    struct error err;
    for (int d = 0; d < HEAD_DIM; d++) {
        q[d] = sin(3 * d + 1);
        k[d] = cos(5 * d + 2);
    }
    ck_assert_int_eq(head_open(&head, HEAD_DIM, 0, &err), 0);
    for (int i = 0; i < 3000; i += 37) {
        for (int j = 0; j <= i; j += 53) {
            double expected = 0;
            for (int t = 0; t < PAIRS; t++) {
                double angle = (i - j) * pow(1e4, -2.0 * t / 64);
                double c = cos(angle), s = sin(angle), z = (2.0 * t / 64 + 0.4) / 1.4;
                const double *a = q + 2 * t, *b = k + 2 * t;
                expected += pow(z, (i - j) / 512.0) *
                            ((a[0] * c - a[1] * s) * b[0] + (a[0] * s + a[1] * c) * b[1]);
            }
            ck_assert_double_eq_tol(score(&head, q, i, k, j, j / 128 * 128), expected, 1e-5);
            ck_assert_double_eq_tol(score(&head, q, i + 1e7, k, j + 1e7, j / 128 * 128 + 1e7),
                                    expected, 1e-5);
        }
    }
    position_close(&head.position);
}
END_TEST

START_TEST(test_description)
{
    struct head head;
    struct error err;
    char text[128];
    ck_assert_int_eq(head_open(&head, HEAD_DIM, 0, &err), 0);
    position_describe(&head.position, text, sizeof text);
    ck_assert_str_eq(text, "xpos, base 10000, 64 of 64 dimensions, interleaved, decay over 512");
    ck_assert_float_eq(rope_rotation_scale(&head.position, 100000), 1);
    ck_assert(!head.position.follows_length && head.position.switch_length == 0);
    position_close(&head.position);
}
END_TEST

START_TEST(test_bad_scale_base)
{
    static const struct {
        double value;
        const char *message;
    } rows[] = {
        {-512, "m.gguf: longhand.position.scale_base is -512, allowed: 64 to 1e15"},
        {63, "longhand.position.scale_base is 63, allowed: 64 to 1e15"},
        {NAN, "longhand.position.scale_base is nan, allowed"},
        {INFINITY, "longhand.position.scale_base is inf, allowed"},
    };
    struct head head;
    struct error err;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_int_eq(head_open(&head, HEAD_DIM, rows[i].value, &err), -1);
        ck_assert_msg(strstr(err.text, rows[i].message) != NULL, "%s", err.text);
    }
    ck_assert_int_eq(head_open(&head, 7, 0, &err), -1);
    ck_assert_msg(strstr(err.text, "longhand.rope.dimension_count is 7, allowed: an even number"),
                  "%s", err.text);
}
END_TEST

Suite *xpos_suite(void)
{
    Suite *suite = suite_create("xpos");
    TCase *tcase = tcase_create("xpos");
    tcase_add_test(tcase, test_vector);
    tcase_add_test(tcase, test_decay);
    tcase_add_test(tcase, test_brute_force);
    tcase_add_test(tcase, test_description);
    tcase_add_test(tcase, test_bad_scale_base);
    suite_add_tcase(suite, tcase);
    return suite;
}
