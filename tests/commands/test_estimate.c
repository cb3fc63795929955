/* test_estimate: times that are made up from a pace and a weight are foretold. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "commands/engine.h"
#include "commands/estimate.h"
#include "commands/limits.h"
#include "tests/suites.h"

/* A policy, and what the machine is like: seconds of a product, and of one of attention beside it.
 */
static const struct {
    const char *context;
    double pace, weight;
} machines[] = {
    {NULL, 1e-10, 1.5},
    {NULL, 3e-9, 0.5},
    {NULL, 1e-11, 6},
    {"window=300", 1e-10, 2},
    {"sinks=4,window=60", 1e-10, 1.5},
};
enum { N_MACHINES = sizeof machines / sizeof machines[0], BATCH = 512, READ = 8, ALL = 400 };

static struct engine engine;
static struct session session;

static void open_all(const char *context)
{
    struct error err;
    struct options options = {.model = "tests/data/llama.gguf",
                              .context = context,
                              .kv_type = FORMAT_F16,
                              .rope = {.kind = -1}};
    ck_assert_msg(engine_open(&engine, &options, &err) == 0, "%s", err.text);
    ck_assert_int_eq(engine_open_session(&engine, &options, &session, &err), 0);
}

static void close_all(void)
{
    session_close(&session);
    engine_close(&engine);
}

START_TEST(what_follows_is_foretold)
{
    open_all(machines[_i].context);
    struct estimate estimate = {.session = &session};
    double rest = 0;
    for (int i = 0; i < ALL; i++) {
        /* Token by token, where the estimate takes the middle of stretches. */
        double seconds = 0;
        for (int64_t at = (int64_t)i * BATCH; at < (int64_t)(i + 1) * BATCH; at++)
            seconds += machines[_i].pace * (limits_products(&engine.model) +
                                            machines[_i].weight * limits_attention(&session, at));
        if (i >= READ)
            rest += seconds;
        else /* the first takes longer, and times scatter */
            estimate_observe(&estimate, (int64_t)i * BATCH, (int64_t)(i + 1) * BATCH,
                             seconds * (i == 0  ? 5
                                        : i % 2 ? 1.03
                                                : 0.97));
    }
    double foretold = estimate_reading(&estimate, READ * BATCH, ALL * BATCH);
    ck_assert_double_ge(foretold, 0.8 * rest);
    ck_assert_double_le(foretold, 1.2 * rest);
    close_all();
}
END_TEST

/* A token alone takes what it was tried to, and more where there are keys to see. */
START_TEST(writing_takes_what_was_tried)
{
    open_all(NULL);
    struct estimate estimate = {.session = &session, .alone = 0.5};
    ck_assert_double_eq_tol(estimate_writing(&estimate, 0, 1), 0.5, 0.1);
    ck_assert_double_ge(estimate_writing(&estimate, 0, 100), 50);
    ck_assert_double_gt(estimate_writing(&estimate, 10000, 10), estimate_writing(&estimate, 0, 10));
    ck_assert_double_eq(estimate_writing(&estimate, 10000, 0), 0);
    close_all();
}
END_TEST

/* Only where it is of use, and nobody can tell afterwards. */
START_TEST(trying_leaves_the_session_as_it_was)
{
    static const int32_t ids[] = {5, 9, 7, 5};
    struct error err;
    float *expected = malloc(sizeof *expected * 4096);
    ck_assert_ptr_nonnull(expected);
    open_all(machines[_i].context);
    size_t size = sizeof *expected * (size_t)engine.model.config.vocab_size;
    ck_assert_uint_le(size, sizeof *expected * 4096);
    ck_assert_int_eq(session_feed(&session, ids, 4, NULL, &err), 0);
    memcpy(expected, session.logits, size);
    close_all();

    open_all(machines[_i].context);
    struct estimate estimate = {.session = &session};
    estimate_begin(&estimate, 100, 10);
    ck_assert_double_eq(estimate.alone, 0);
    estimate_begin(&estimate, 100000, 0);
    ck_assert_double_eq(estimate.alone, 0);
    estimate_begin(&estimate, 100000, 10);
    ck_assert_double_gt(estimate.alone, 0);
    ck_assert_int_eq(session.position, 0);
    ck_assert_int_eq(session_feed(&session, ids, 4, NULL, &err), 0);
    ck_assert_mem_eq(expected, session.logits, size);
    close_all();
    free(expected);
}
END_TEST

Suite *estimate_suite(void)
{
    Suite *suite = suite_create("estimate");
    TCase *tcase = tcase_create("estimate");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, what_follows_is_foretold, 0, N_MACHINES);
    tcase_add_test(tcase, writing_takes_what_was_tried);
    tcase_add_loop_test(tcase, trying_leaves_the_session_as_it_was, 0, N_MACHINES);
    suite_add_tcase(suite, tcase);
    return suite;
}
