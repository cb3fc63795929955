/* schemes: the logits of every position scheme and variant in tests/data/positions against their
 * twins in PyTorch (scripts/positions.py), past the training length, on every tier, for any number
 * of threads and in every type of cache; and those of a model that scripts/train.py trained and
 * exported (trained.gguf, by scripts/check_training.py --fixture). */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/parallel.h"
#include "tests/model/fixture.h"
#include "tests/suites.h"

enum { MOST = 128, NAME_BYTES = 80 };

static char names[MOST][NAME_BYTES];

/* The fixtures of tests/data/positions, without their endings. */
static int find_fixtures(void)
{
    int n = 0;
    DIR *folder = opendir("tests/data/positions");
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (length <= 5 || length + 12 >= NAME_BYTES || n == MOST ||
            strcmp(entry->d_name + length - 5, ".gguf") != 0)
            continue;
        snprintf(names[n++], NAME_BYTES, "positions/%.*s", (int)length - 5, entry->d_name);
    }
    if (folder)
        closedir(folder);
    return n;
}

static float *feed(const struct fixture *fixture, enum format kv)
{
    struct error err;
    struct session session;
    struct session_options options = {.kv = kv};
    size_t vocab_size = (size_t)fixture->model.config.vocab_size;
    float *logits = malloc((size_t)fixture->n * vocab_size * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    ck_assert_msg(session_open(&session, &fixture->model, &options, &err) == 0, "%s", err.text);
    ck_assert_msg(session_feed(&session, fixture->ids, fixture->n, logits, &err) == 0, "%s",
                  err.text);
    session_close(&session);
    return logits;
}

static void check_tier(const struct fixture *fixture, const char *name)
{
    /* Of the largest logit: rounding in f32, and of keys and values to 11, 8, 8 and 4 bits.
     * Measured: at most 3e-6, 7e-3, 5e-2, 8e-2; the fixtures' scores are ten times those of real
     * models, so that an error shows. Four bits leave nothing to compare. */
    static const struct {
        enum format kv;
        double bound;
    } types[] = {{FORMAT_F32, 1e-4}, {FORMAT_F16, 2e-2}, {FORMAT_BF16, 2e-1}, {FORMAT_Q8_0, 2e-1}};
    size_t n = (size_t)fixture->n * (size_t)fixture->model.config.vocab_size;
    bool scalar = strcmp(fixture->model.kernels.name, "scalar") == 0;
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        parallel_set_threads(1);
        float *logits = feed(fixture, types[t].kv);
        double bound = scalar && t == 0 ? 1e-5 : types[t].bound;
        double difference = fixture_difference(fixture, logits, fixture->expected, n);
        ck_assert_msg(difference <= bound, "%s on %s, cache type %s: off by %.1e, allowed %.1e",
                      name, fixture->model.kernels.name, format_info[types[t].kv].name, difference,
                      bound);
        parallel_set_threads(3);
        float *other = feed(fixture, types[t].kv);
        ck_assert_msg(memcmp(logits, other, n * sizeof *logits) == 0, "%s: other bits", name);
        free(other);
        free(logits);
    }
}

START_TEST(test_twin)
{
    for (int tier = 0; kernels_available(tier); tier++) {
        struct fixture fixture;
        fixture_open(&fixture, names[_i], names[_i], kernels_available(tier));
        ck_assert_int_ge(fixture.n, fixture.model.config.train_length);
        check_tier(&fixture, names[_i]);
        fixture_close(&fixture);
    }
}
END_TEST

/* No scheme is without a twin. */
START_TEST(test_all_schemes)
{
    for (int kind = 0; kind < POSITION_COUNT; kind++) {
        const char *name = position_name((enum position_kind)kind);
        bool found = false;
        for (int i = 0; i < _i; i++)
            found = found || strncmp(names[i] + strlen("positions/"), name, strlen(name)) == 0;
        ck_assert_msg(found, "no fixture of scheme %s", name);
    }
}
END_TEST

Suite *schemes_suite(void)
{
    Suite *suite = suite_create("schemes");
    TCase *tcase = tcase_create("schemes");
    int n = find_fixtures();
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_twin, 0, n);
    tcase_add_loop_test(tcase, test_all_schemes, n, n + 1);
    suite_add_tcase(suite, tcase);
    return suite;
}
