/* test_estimate: times that are made up from a pace and a weight are foretold. */
#include <check.h>
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
        else /* times scatter */
            estimate_observe(&estimate, &estimate.reading, (int64_t)i * BATCH,
                             (int64_t)(i + 1) * BATCH, seconds * (i % 2 ? 1.03 : 0.97));
    }
    double foretold = estimate_seconds(&estimate, &estimate.reading, READ * BATCH, ALL * BATCH);
    ck_assert_double_ge(foretold, 0.8 * rest);
    ck_assert_double_le(foretold, 1.2 * rest);
    close_all();
}
END_TEST

/* Reads a text as generate does, with or without an estimate; the logits at its end. */
static void read_text(const char *context, int64_t more, double *tried, float *logits)
{
    enum { N = 4200 };
    struct error err;
    open_all(context);
    struct estimate estimate = {.session = &session};
    struct output output = {0};
    estimate_begin(&estimate, N, more);
    session_expect(&session, N);
    for (int64_t done = 0; done < N;) {
        int32_t ids[BATCH];
        int64_t n = N - done < BATCH ? N - done : BATCH;
        for (int64_t i = 0; i < n; i++)
            ids[i] = (int32_t)((done + i) * 7 % 50);
        ck_assert_msg(session_feed(&session, ids, n, NULL, &err) == 0, "%s", err.text);
        done += n;
        estimate_progress(&estimate, &output, done);
        ck_assert_int_eq(session.position, done);
    }
    ck_assert_double_gt(estimate.said, 0);
    *tried = estimate.writing.pace;
    memcpy(logits, session.logits, (size_t)engine.model.config.vocab_size * sizeof *logits);
    close_all();
}

/* Only where it is of use, and nobody can tell afterwards. */
START_TEST(trying_to_write_leaves_the_session_as_it_was)
{
    enum { VOCABULARY = 4096 };
    static float without[VOCABULARY];
    static float with[VOCABULARY];
    double tried;
    read_text(machines[_i].context, 0, &tried, without);
    ck_assert_double_eq(tried, 0);
    read_text(machines[_i].context, 10, &tried, with);
    ck_assert_double_gt(tried, 0);
    ck_assert_mem_eq(with, without, sizeof with);
}
END_TEST

Suite *estimate_suite(void)
{
    Suite *suite = suite_create("estimate");
    TCase *tcase = tcase_create("estimate");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, what_follows_is_foretold, 0, N_MACHINES);
    tcase_add_loop_test(tcase, trying_to_write_leaves_the_session_as_it_was, 0, N_MACHINES);
    suite_add_tcase(suite, tcase);
    return suite;
}
