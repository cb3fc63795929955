/* test_limits: what a model would take at the least, against counts by hand; measured rates only
 * have to be there. */
#include <check.h>
#include <math.h>

#include "commands/limits.h"
#include "kernels/parallel.h"
#include "tests/suites.h"

#define TINY "tests/data/llama.gguf"

struct opened {
    struct checkpoint checkpoint;
    struct model model;
    struct session session;
};

static void open_tiny(struct opened *o, const char *policy)
{
    struct error err;
    struct session_options options = {.kv = FORMAT_F32};
    struct model_options scalar = {.isa = "scalar"};
    ck_assert_int_eq(checkpoint_open(&o->checkpoint, TINY, &err), 0);
    ck_assert_int_eq(model_open(&o->model, &o->checkpoint, &scalar, &err), 0);
    ck_assert_int_eq(context_parse(&options.context, policy, 0, &err), 0);
    ck_assert_int_eq(session_open(&o->session, &o->model, &options, &err), 0);
}

static void close_tiny(struct opened *o)
{
    session_close(&o->session);
    model_close(&o->model);
    checkpoint_close(&o->checkpoint);
}

/* Multiply-adds of one token's products with the weights of the layers, written out. */
static double layer_products(const struct config *c)
{
    double q = (double)c->n_heads * c->head_dim, kv = (double)c->n_kv_heads * c->head_dim;
    return c->n_layers * (c->dim * (2 * q + 2 * kv) + 3.0 * c->dim * c->hidden_dim);
}

START_TEST(multiplying_counts_products_and_keys)
{
    struct opened o;
    open_tiny(&o, "all");
    const struct config *c = &o.model.config;
    struct limits limits = {.bytes = 1, .floats = 1};
    struct least least = limits_least(&limits, &o.session, 5, 3, 512);
    double keys = 6 + 7 + 8;
    double expected = 3 * layer_products(c) + (double)c->vocab_size * c->dim +
                      keys * c->n_layers * 2.0 * c->n_heads * c->head_dim;
    ck_assert_double_eq_tol(least.multiplying, expected, 1e-9 * expected);
    /* one batch: the weights once, and 8 keys and values of 4 bytes a number */
    double bytes =
        (double)o.model.token_bytes + 8.0 * c->n_layers * 2 * c->n_kv_heads * c->head_dim * 4;
    ck_assert_double_eq_tol(least.reading, bytes, 1e-9 * bytes);
    close_tiny(&o);
}
END_TEST

START_TEST(single_tokens_read_the_weights_each_and_windows_bound_keys)
{
    struct opened o;
    open_tiny(&o, "window=4");
    const struct config *c = &o.model.config;
    struct limits limits = {.bytes = 2, .floats = 4};
    struct least least = limits_least(&limits, &o.session, 100, 2, 1);
    double keys = 4.0 * c->n_layers;
    double multiplying = 2 * (layer_products(c) + (double)c->vocab_size * c->dim +
                              keys * 2.0 * c->n_heads * c->head_dim);
    double bytes = 2 * ((double)o.model.token_bytes + keys * 2 * c->n_kv_heads * c->head_dim * 4);
    ck_assert_double_eq_tol(least.multiplying, multiplying / 4, 1e-9 * multiplying);
    ck_assert_double_eq_tol(least.reading, bytes / 2, 1e-9 * bytes);
    close_tiny(&o);
}
END_TEST

START_TEST(every_tier_says_what_it_multiplies_at_most)
{
    struct error err;
    for (int i = 0; kernels_available(i); i++) {
        struct kernels kernels;
        ck_assert_int_eq(kernels_select(&kernels, kernels_available(i), &err), 0);
        ck_assert_double_gt(kernels.peak_f32(7), 0);
        ck_assert_double_eq(kernels.peak_f32(14), 2 * kernels.peak_f32(7));
        ck_assert_int_eq(kernels.peak_q8 != NULL, kernels.integer);
        if (kernels.peak_q8)
            ck_assert_double_ge(kernels.peak_q8(7), kernels.peak_f32(7));
    }
}
END_TEST

Suite *limits_suite(void)
{
    Suite *suite = suite_create("limits");
    TCase *tests = tcase_create("limits");
    tcase_add_test(tests, multiplying_counts_products_and_keys);
    tcase_add_test(tests, single_tokens_read_the_weights_each_and_windows_bound_keys);
    tcase_add_test(tests, every_tier_says_what_it_multiplies_at_most);
    suite_add_tcase(suite, tests);
    return suite;
}
