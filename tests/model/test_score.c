/* test_score: losses against log-sum-exp written out in long double, on logits that transformers
 * computed and on logits made up. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/parallel.h"
#include "model/score.h"
#include "tests/model/fixture.h"
#include "tests/suites.h"
#include "tests/support.h"

static double exact_loss(const float *logits, int n, int target)
{
    long double max = logits[0];
    long double sum = 0;
    for (int i = 1; i < n; i++)
        max = logits[i] > max ? logits[i] : max;
    for (int i = 0; i < n; i++)
        sum += expl(logits[i] - max);
    return (double)(logl(sum) + max - logits[target]);
}

static float spread(int i, float width)
{
    return (float)((unsigned)i * 2654435761U >> 8) / (float)(1 << 24) * width - width / 2;
}

static const char *const tiers[] = {"scalar", "avx2", "avx512", "neon", "neon_dot"};
static const int sizes[] = {1, 2, 31, 255, 256, 257, 1000, 50257};
enum { N_TIERS = sizeof tiers / sizeof tiers[0], N_SIZES = sizeof sizes / sizeof sizes[0] };

START_TEST(a_row_gives_its_log_probability)
{
    struct kernels kernels;
    struct error err;
    if (kernels_select(&kernels, tiers[_i % N_TIERS], &err))
        return; /* another machine's */
    int n = sizes[_i / N_TIERS];
    float *logits = malloc((size_t)n * sizeof *logits);
    static const float widths[] = {0, 1, 30, 2000};
    for (int w = 0; w < 4; w++) {
        int targets[] = {0, n / 2, n - 1};
        for (int t = 0; t < 3; t++) {
            for (int i = 0; i < n; i++)
                logits[i] = spread(i, widths[w]) + 100;
            double expected = exact_loss(logits, n, targets[t]);
            double found = score_loss(&kernels, logits, n, targets[t]);
            ck_assert_double_eq_tol(found, expected, 1e-6 + 1e-7 * widths[w]);
        }
    }
    free(logits);
}
END_TEST

START_TEST(what_is_not_finite_is_not_hidden)
{
    struct kernels kernels;
    struct error err;
    if (kernels_select(&kernels, tiers[_i], &err))
        return;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int b = 0; b < 3; b++)
        for (int at = 0; at < 300; at += 23) {
            float logits[300];
            for (int i = 0; i < 300; i++)
                logits[i] = spread(i, 5);
            logits[at] = bad[b];
            ck_assert(isnan(score_loss(&kernels, logits, 300, 7)));
        }
}
END_TEST

/* The model's losses from the place `from` on, fed in pieces of `piece` tokens. */
static struct score_counts feed(const struct fixture *f, int piece, int from, double *losses)
{
    struct session_options options = {.kv = FORMAT_F32};
    struct session session;
    struct scorer scorer;
    struct error err;
    ck_assert_int_eq(session_open(&session, &f->model, &options, &err), 0);
    ck_assert_int_eq(scorer_open(&scorer, &f->model, &err), 0);
    for (int at = 0; at < f->n - 1; at += piece) {
        int n = f->n - 1 - at < piece ? f->n - 1 - at : piece;
        int skip = from <= at ? 0 : from - at < n ? from - at : n;
        ck_assert_int_eq(
            scorer_feed(&scorer, &session, f->ids + at, at, n, skip, losses + at, &err), 0);
    }
    ck_assert_int_eq(session.position, f->n - 1);
    struct score_counts counts = scorer.counts;
    ck_assert_int_eq(counts.nonfinite, 0);
    scorer_close(&scorer);
    session_close(&session);
    return counts;
}

static bool among_last(const int32_t *ids, int end, int32_t id)
{
    for (int i = end > REPEAT_WINDOW ? end - REPEAT_WINDOW : 0; i < end; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static int32_t likeliest(const float *logits, int n)
{
    int32_t best = 0;
    for (int i = 1; i < n; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

START_TEST(a_text_gets_the_losses_of_transformers)
{
    static const char *const names[] = {"llama", "bloom", "gpt2"};
    struct fixture f;
    fixture_open(&f, names[_i], names[_i], NULL);
    int vocab_size = f.model.config.vocab_size;
    double losses[256];
    ck_assert_int_le(f.n, 256);
    for (int from = 0; from < f.n - 1; from += 17) {
        for (int i = 0; i < f.n; i++)
            losses[i] = -1;
        struct score_counts counts = feed(&f, from % 2 ? 7 : f.n, from, losses);
        int repeated = 0, text = 0;
        for (int i = 0; i < f.n - 1; i++) {
            const float *expected = f.expected + (size_t)i * (size_t)vocab_size;
            if (i < from)
                ck_assert_double_eq(losses[i], -1);
            else
                ck_assert_double_eq_tol(losses[i], exact_loss(expected, vocab_size, f.ids[i + 1]),
                                        1e-3 * (1 + (double)f.largest));
            repeated += i >= from && among_last(f.ids, i + 1, likeliest(expected, vocab_size));
            text += i >= from && among_last(f.ids, i + 1, f.ids[i + 1]);
        }
        ck_assert_int_eq(counts.repeated, repeated);
        ck_assert_int_eq(counts.text, text);
    }
    fixture_close(&f);
}
END_TEST

START_TEST(pieces_and_threads_change_no_bit_on_the_scalar_tier)
{
    struct fixture f;
    fixture_open(&f, "llama", "llama", "scalar");
    double whole[256];
    double other[256];
    parallel_set_threads(1);
    feed(&f, f.n, 0, whole);
    for (int piece = 1; piece < f.n; piece += 6) {
        parallel_set_threads(1 + piece % 3);
        feed(&f, piece, 0, other);
        for (int i = 0; i < f.n - 1; i++)
            ck_assert_msg(other[i] == whole[i], "token %d, pieces of %d", i, piece);
    }
    fixture_close(&f);
}
END_TEST

/* Against the logits that the same model gives of a text longer than the window. */
START_TEST(repetition_looks_back_as_far_as_its_window)
{
    enum { N = 2 * REPEAT_WINDOW + 40 };
    struct session_options options = {.kv = FORMAT_F32};
    struct session session;
    struct fixture f;
    struct error err;
    int32_t ids[N + 1];
    double losses[N];
    int repeated = 0, text = 0;
    fixture_open(&f, "llama", "llama", "scalar");
    int vocab_size = f.model.config.vocab_size;
    float *logits = malloc((size_t)N * (size_t)vocab_size * sizeof *logits);
    for (int i = 0; i <= N; i++)
        ids[i] = (i * 89 + i * i / 50) % vocab_size;
    ck_assert_int_eq(session_open(&session, &f.model, &options, &err), 0);
    ck_assert_int_eq(session_feed(&session, ids, N, logits, &err), 0);
    ck_assert_int_eq(session_truncate(&session, 0, &err), 0);
    for (int i = 0; i < N; i++) {
        repeated +=
            among_last(ids, i + 1, likeliest(logits + (size_t)i * (size_t)vocab_size, vocab_size));
        text += among_last(ids, i + 1, ids[i + 1]);
    }
    ck_assert_int_gt(repeated, 0);
    ck_assert_int_gt(text, 0);
    ck_assert_int_lt(text, N);
    struct scorer scorer;
    ck_assert_int_eq(scorer_open(&scorer, &f.model, &err), 0);
    for (int at = 0; at < N; at += 33) {
        int n = N - at < 33 ? N - at : 33;
        ck_assert_int_eq(scorer_feed(&scorer, &session, ids + at, at, n, 0, losses + at, &err), 0);
    }
    ck_assert_int_eq(scorer.counts.repeated, repeated);
    ck_assert_int_eq(scorer.counts.text, text);
    scorer_close(&scorer);
    session_close(&session);
    fixture_close(&f);
    free(logits);
}
END_TEST

START_TEST(wrong_ids_and_short_memory_are_errors)
{
    struct fixture f;
    struct session session;
    struct scorer scorer;
    struct error err;
    double losses[2];
    fixture_open(&f, "llama", "llama", NULL);
    struct session_options options = {.kv = FORMAT_F32};
    ck_assert_int_eq(session_open(&session, &f.model, &options, &err), 0);
    support_fail_memory(1, false);
    int result = scorer_open(&scorer, &f.model, &err);
    support_fail_memory(0, false);
    ck_assert_int_eq(result, -1);
    ck_assert_ptr_nonnull(strstr(err.text, "memory"));
    scorer_close(&scorer);
    ck_assert_int_eq(scorer_open(&scorer, &f.model, &err), 0);
    int32_t ids[3] = {1, 2, f.model.config.vocab_size}; /* the last is scored only */
    ck_assert_int_eq(scorer_feed(&scorer, &session, ids, 0, 2, 0, losses, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "allowed: 0 to"));
    ids[2] = -1;
    ck_assert_int_eq(scorer_feed(&scorer, &session, ids, 0, 2, 0, losses, &err), -1);
    scorer_close(&scorer);
    session_close(&session);
    fixture_close(&f);
}
END_TEST

Suite *score_suite(void)
{
    Suite *suite = suite_create("score");
    TCase *tests = tcase_create("score");
    tcase_add_loop_test(tests, a_row_gives_its_log_probability, 0, N_TIERS * N_SIZES);
    tcase_add_loop_test(tests, what_is_not_finite_is_not_hidden, 0, N_TIERS);
    tcase_add_loop_test(tests, a_text_gets_the_losses_of_transformers, 0, 3);
    tcase_add_test(tests, pieces_and_threads_change_no_bit_on_the_scalar_tier);
    tcase_add_test(tests, repetition_looks_back_as_far_as_its_window);
    tcase_add_test(tests, wrong_ids_and_short_memory_are_errors);
    suite_add_tcase(suite, tests);
    return suite;
}
