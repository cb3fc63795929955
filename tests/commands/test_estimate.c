/* test_estimate: times that are made up from a pace and a weight are foretold. */
#include <check.h>

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

START_TEST(what_follows_is_foretold)
{
    struct error err;
    struct options options = {.model = "tests/data/llama.gguf",
                              .context = machines[_i].context,
                              .kv_type = FORMAT_F16,
                              .rope = {.kind = -1}};
    struct engine engine;
    struct session session;
    ck_assert_msg(engine_open(&engine, &options, &err) == 0, "%s", err.text);
    ck_assert_int_eq(engine_open_session(&engine, &options, &session, &err), 0);
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
    session_close(&session);
    engine_close(&engine);
}
END_TEST

Suite *estimate_suite(void)
{
    Suite *suite = suite_create("estimate");
    TCase *tcase = tcase_create("estimate");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, what_follows_is_foretold, 0, N_MACHINES);
    suite_add_tcase(suite, tcase);
    return suite;
}
