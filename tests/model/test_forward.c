/* forward: logits of every architecture against transformers, on every tier; and what must not
 * change them: threads, batches, going back, the container. Covers attention.c, too. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/parallel.h"
#include "tests/model/fixture.h"
#include "tests/suites.h"

static const char *const models[] = {
    "llama",
    "llama3",
    "mistral",
    "qwen2",
    "qwen3",
    "smollm3",
    "phi-short",
    "gemma3",
    "cohere2",
    "gptneox",
    "gptneox-sequential",
    "gpt2",
    "bloom",
    "mpt",
};
enum { N_MODELS = sizeof models / sizeof models[0] };

/* Shares of the largest logit. The first is the promise of the project, the others are measured:
 * rounding of sums of at most 88 terms in f32 in 3 layers, and of keys and values to 11 bits. */
static const double tolerance = 1e-4, scalar_tolerance = 1e-5, batch_tolerance = 1e-5,
                    f16_tolerance = 5e-3;

static bool is_scalar(const char *isa)
{
    return strcmp(isa, "scalar") == 0;
}

/* The logits of all tokens, fed `batch` at a time, of which the caller frees (n, vocab_size). */
static float *feed(const struct fixture *fixture, enum format kv, int batch)
{
    struct error err;
    struct session session;
    size_t vocab_size = (size_t)fixture->model.config.vocab_size;
    float *logits = malloc((size_t)fixture->n * vocab_size * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    ck_assert_msg(
        session_open(&session, &fixture->model, &(struct session_options){.kv = kv}, &err) == 0,
        "%s", err.text);
    for (int i = 0; i < fixture->n; i += batch) {
        int n = fixture->n - i < batch ? fixture->n - i : batch;
        ck_assert_msg(
            session_feed(&session, fixture->ids + i, n, logits + (size_t)i * vocab_size, &err) == 0,
            "%s", err.text);
    }
    ck_assert_int_eq(session.position, fixture->n);
    session_close(&session);
    return logits;
}

static size_t n_logits(const struct fixture *fixture)
{
    return (size_t)fixture->n * (size_t)fixture->model.config.vocab_size;
}

static void check_close(const struct fixture *fixture, const char *what, const float *found,
                        const float *expected, double bound)
{
    double difference = fixture_difference(fixture, found, expected, n_logits(fixture));
    ck_assert_msg(difference <= bound,
                  "%s on %s: %s: logits differ by %.1e of the largest, allowed %.1e",
                  fixture->model.config.architecture->name, fixture->model.kernels.name, what,
                  difference, bound);
}

static void check_same(const struct fixture *fixture, const char *what, const float *found,
                       const float *expected)
{
    ck_assert_msg(memcmp(found, expected, n_logits(fixture) * sizeof *found) == 0,
                  "%s on %s: %s: other bits", fixture->model.config.architecture->name,
                  fixture->model.kernels.name, what);
}

static void check_top_tokens(const struct fixture *fixture, const float *logits)
{
    int vocab_size = fixture->model.config.vocab_size;
    for (int t = 0; t < fixture->n; t++)
        ck_assert_int_eq(
            fixture_argmax(logits + (size_t)t * (size_t)vocab_size, vocab_size),
            fixture_argmax(fixture->expected + (size_t)t * (size_t)vocab_size, vocab_size));
}

/* The last layer does less when only the last token's logits are wanted; they are the same. */
static void check_last_logits(const struct fixture *fixture, const float *all)
{
    struct error err;
    struct session session;
    size_t vocab_size = (size_t)fixture->model.config.vocab_size;
    const float *row = all + (size_t)(fixture->n - 1) * vocab_size;
    ck_assert_int_eq(
        session_open(&session, &fixture->model, &(struct session_options){.kv = FORMAT_F32}, &err),
        0);
    ck_assert_int_eq(session_feed(&session, fixture->ids, fixture->n, NULL, &err), 0);
    if (is_scalar(fixture->model.kernels.name))
        ck_assert_mem_eq(session.logits, row, vocab_size * sizeof *row);
    double difference = fixture_difference(fixture, session.logits, row, vocab_size);
    ck_assert_double_le(difference, batch_tolerance);
    session_close(&session);
}

START_TEST(test_reference)
{
    for (int i = 0; kernels_available(i); i++) {
        struct fixture fixture;
        const char *isa = kernels_available(i);
        fixture_open(&fixture, models[_i], models[_i], isa);
        ck_assert_int_eq(fixture.n, 64);
        parallel_set_threads(1);
        float *logits = feed(&fixture, FORMAT_F32, fixture.n);
        check_close(&fixture, "transformers", logits, fixture.expected,
                    is_scalar(isa) ? scalar_tolerance : tolerance);
        check_top_tokens(&fixture, logits);
        for (int threads = 2; threads <= 3; threads++) {
            parallel_set_threads(threads);
            float *other = feed(&fixture, FORMAT_F32, fixture.n);
            check_same(&fixture, threads == 2 ? "2 threads" : "3 threads", other, logits);
            free(other);
        }
        static const int batches[] = {1, 7};
        for (size_t b = 0; b < sizeof batches / sizeof batches[0]; b++) {
            float *other = feed(&fixture, FORMAT_F32, batches[b]);
            if (is_scalar(isa))
                check_same(&fixture, "batches", other, logits);
            else
                check_close(&fixture, "batches", other, logits, batch_tolerance);
            check_top_tokens(&fixture, other);
            free(other);
        }
        check_last_logits(&fixture, logits);
        free(logits);
        fixture_close(&fixture);
    }
}
END_TEST

START_TEST(test_f16_cache)
{
    for (int i = 0; kernels_available(i); i++) {
        struct fixture fixture;
        fixture_open(&fixture, models[_i], models[_i], kernels_available(i));
        parallel_set_threads(1);
        float *logits = feed(&fixture, FORMAT_F16, fixture.n);
        check_close(&fixture, "f16 cache", logits, fixture.expected, f16_tolerance);
        parallel_set_threads(3);
        float *other = feed(&fixture, FORMAT_F16, 31);
        if (is_scalar(kernels_available(i)))
            check_same(&fixture, "f16 cache, batches", other, logits);
        check_close(&fixture, "f16 cache, batches", other, fixture.expected, f16_tolerance);
        free(other);
        free(logits);
        fixture_close(&fixture);
    }
}
END_TEST

/* Feeds 64 tokens, goes back to `keep`, feeds other tokens, goes back again and feeds the first
 * ones: as if nothing had been. */
static void check_truncate(const struct fixture *fixture, enum format kv, int keep,
                           const float *expected)
{
    struct error err;
    struct session session;
    int32_t others[64];
    size_t vocab_size = (size_t)fixture->model.config.vocab_size;
    float *logits = malloc(n_logits(fixture) * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    ck_assert_int_eq(
        session_open(&session, &fixture->model, &(struct session_options){.kv = kv}, &err), 0);
    ck_assert_int_eq(session_feed(&session, fixture->ids, fixture->n, logits, &err), 0);
    ck_assert_int_eq(session_truncate(&session, keep, &err), 0);
    ck_assert_int_eq(session.position, keep);
    for (int i = 0; i < 64; i++)
        others[i] = (fixture->ids[i] + 1) % fixture->model.config.vocab_size;
    ck_assert_int_eq(session_feed(&session, others, fixture->n - keep, NULL, &err), 0);
    ck_assert_int_eq(session_truncate(&session, keep, &err), 0);
    ck_assert_int_eq(session_feed(&session, fixture->ids + keep, fixture->n - keep,
                                  logits + (size_t)keep * vocab_size, &err),
                     0);
    if (is_scalar(fixture->model.kernels.name))
        check_same(fixture, "after going back", logits, expected);
    else
        check_close(fixture, "after going back", logits, expected, batch_tolerance);
    session_close(&session);
    free(logits);
}

START_TEST(test_truncate)
{
    parallel_set_threads(2);
    for (int i = 0; kernels_available(i); i++) {
        struct fixture fixture;
        fixture_open(&fixture, models[_i], models[_i], kernels_available(i));
        float *expected = feed(&fixture, FORMAT_F32, fixture.n);
        check_truncate(&fixture, FORMAT_F32, _i % 2 == 0 ? 0 : 41, expected);
        free(expected);
        fixture_close(&fixture);
    }
}
END_TEST

START_TEST(test_containers)
{
    static const char *const same[] = {"llama-v2", "llama-00001-of-00003"};
    struct fixture fixture;
    fixture_open(&fixture, "llama", "llama", NULL);
    float *expected = feed(&fixture, FORMAT_F32, fixture.n);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        struct fixture other;
        fixture_open(&other, same[i], "llama", NULL);
        float *logits = feed(&other, FORMAT_F32, other.n);
        check_same(&other, same[i], logits, expected);
        free(logits);
        fixture_close(&other);
    }
    free(expected);
    fixture_close(&fixture);
}
END_TEST

/* More tokens than a batch and some blocks of the cache hold: all at once, and across those borders
 * one at a time and in ragged pieces. */
static void check_borders(const struct fixture *fixture, struct session *session,
                          const int32_t *ids, int from, int to, int piece, const float *all)
{
    struct error err;
    size_t vocab_size = (size_t)fixture->model.config.vocab_size;
    ck_assert_int_eq(session_truncate(session, from, &err), 0);
    for (int t = from; t < to; t += piece) {
        int n = to - t < piece ? to - t : piece;
        const float *expected = all + (size_t)(t + n - 1) * vocab_size;
        ck_assert_int_eq(session_feed(session, ids + t, n, NULL, &err), 0);
        if (is_scalar(fixture->model.kernels.name))
            ck_assert_mem_eq(session->logits, expected, vocab_size * sizeof *expected);
        ck_assert_double_le(fixture_difference(fixture, session->logits, expected, vocab_size),
                            batch_tolerance);
    }
}

START_TEST(test_long_text)
{
    static const char *const relative[] = {"llama", "gptneox",
                                           "bloom"}; /* no table of positions that ends */
    enum { N = SESSION_BATCH + 5 };
    static int32_t ids[N];
    struct error err;
    parallel_set_threads(2);
    for (int i = 0; kernels_available(i); i++) {
        struct fixture fixture;
        fixture_open(&fixture, relative[_i], relative[_i], kernels_available(i));
        size_t vocab_size = (size_t)fixture.model.config.vocab_size;
        for (int t = 0; t < N; t++)
            ids[t] = fixture.ids[(t * 7 + t / 64) % fixture.n];
        float *all = malloc(N * vocab_size * sizeof *all);
        ck_assert_ptr_nonnull(all);
        struct session session;
        ck_assert_int_eq(session_open(&session, &fixture.model,
                                      &(struct session_options){.kv = FORMAT_F32}, &err),
                         0);
        ck_assert_int_eq(session_feed(&session, ids, N, all, &err), 0);
        ck_assert_mem_eq(session.logits, all + (N - 1) * vocab_size, vocab_size * sizeof *all);
        check_borders(&fixture, &session, ids, SESSION_BATCH - 3, N, 1, all);
        check_borders(&fixture, &session, ids, 3 * CACHE_BLOCK - 23, N, 41, all);
        session_close(&session);
        free(all);
        fixture_close(&fixture);
    }
}
END_TEST

Suite *forward_suite(void)
{
    Suite *suite = suite_create("forward");
    TCase *tcase = tcase_create("forward");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_reference, 0, N_MODELS);
    tcase_add_loop_test(tcase, test_f16_cache, 0, N_MODELS);
    tcase_add_loop_test(tcase, test_truncate, 0, N_MODELS);
    tcase_add_test(tcase, test_containers);
    tcase_add_loop_test(tcase, test_long_text, 0, 3);
    suite_add_tcase(suite, tcase);
    return suite;
}
