/* sampler_draws: which tokens may come and how often, against sorting everything in double. */
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "model/sampler.h"
#include "tests/model/sampling.h"
#include "tests/suites.h"

enum { VOCAB_MAX = 2000 };

struct entry {
    int32_t id;
    double logit;
    double p;
};

static int likelier(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* The tokens that may come, likeliest first, with their probabilities at the temperature. False
 * where rounding may decide who is among them. */
static bool survivors(const struct sampler_options *o, const float *logits, int vocab_size,
                      struct entry *entries, int *n)
{
    for (int i = 0; i < vocab_size; i++)
        entries[i] = (struct entry){i, (double)logits[i], 0};
    qsort(entries, (size_t)vocab_size, sizeof *entries, likelier);
    *n = 0;
    for (int i = 0; i < vocab_size; i++) {
        double p = exp(entries[i].logit - entries[0].logit);
        if (o->min_p > 0 && fabs(p / (double)o->min_p - 1) < 1e-5)
            return false;
        if (p >= (double)o->min_p)
            entries[(*n)++].p = p;
    }
    if (o->top_k > 0 && *n > o->top_k)
        *n = o->top_k;
    double total = 0, sum = 0;
    for (int i = 0; i < *n; i++)
        total += entries[i].p;
    if (o->top_p < 1) {
        for (int i = 0; i < *n; i++) {
            sum += entries[i].p / total;
            if (fabs(sum - (double)o->top_p) < 1e-5)
                return false;
            if (sum >= (double)o->top_p) {
                *n = i + 1;
                break;
            }
        }
    }
    total = 0;
    for (int i = 0; i < *n; i++)
        total += entries[i].p = exp((entries[i].logit - entries[0].logit) / (double)o->temperature);
    for (int i = 0; i < *n; i++)
        entries[i].p /= total;
    return true;
}

static double uniform(void)
{
    return rand() / (RAND_MAX + 1.0);
}

static void random_logits(float *logits, int n, double spread)
{
    for (int i = 0; i < n; i++)
        logits[i] = (float)(spread * (uniform() + uniform() + uniform() - 1.5));
    for (int i = 0; i + 7 < n; i += 13) /* ties */
        logits[i + 7] = logits[i];
}

/* Draws until every token that may come has almost surely come, at a temperature that makes all
 * about equally likely; whoever else comes is an error. */
static void check_set(const struct sampler_options *options, const float *logits, int vocab_size,
                      const struct entry *entries, int n)
{
    static int seen[VOCAB_MAX];
    memset(seen, 0, sizeof seen);
    struct sampler sampler;
    open_sampler(&sampler, options, vocab_size);
    for (int i = 0; i < 25 * n; i++)
        seen[sampler_next(&sampler, logits)]++;
    sampler_close(&sampler);
    int found = 0;
    for (int i = 0; i < n; i++)
        found += seen[entries[i].id] > 0;
    int other = 0;
    for (int i = 0; i < vocab_size; i++)
        other += seen[i] > 0;
    ck_assert_msg(
        found == n && other == n,
        "top-k %d, top-p %g, min-p %g of %d: %d tokens may come, %d of them came, and %d others",
        options->top_k, (double)options->top_p, (double)options->min_p, vocab_size, n, found,
        other - found);
}

START_TEST(test_sets)
{
    static float logits[VOCAB_MAX];
    static struct entry entries[VOCAB_MAX];
    static const float top_ps[] = {1, 1, 0.99F, 0.9F, 0.5F, 0.01F},
                       min_ps[] = {0, 0, 0.001F, 0.05F, 0.7F};
    srand(3);
    int checked = 0;
    for (int trial = 0; trial < 240; trial++) {
        int vocab_size = trial % 20 == 0 ? VOCAB_MAX : 1 + rand() % 90;
        struct sampler_options options = plain;
        options.temperature = 1000;
        options.top_k = rand() % 3 == 0 ? 0 : 1 + rand() % vocab_size;
        options.top_p = top_ps[rand() % 6];
        options.min_p = min_ps[rand() % 5];
        options.seed = (uint64_t)trial;
        random_logits(logits, vocab_size, vocab_size == VOCAB_MAX ? 4 : trial % 3 == 0 ? 100 : 8);
        int n;
        if (!survivors(&options, logits, vocab_size, entries, &n) || n > 300)
            continue;
        check_set(&options, logits, vocab_size, entries, n);
        checked++;
    }
    ck_assert_int_ge(checked, 200);
}
END_TEST

/* Tokens so far behind that their probability is no float any more keep their order. */
START_TEST(test_top_k_of_unlikely)
{
    static const float logits[] = {0, -300, -150, -200};
    struct sampler_options options = plain;
    options.temperature = 1000;
    options.top_k = 2;
    struct sampler sampler;
    open_sampler(&sampler, &options, 4);
    int seen[4] = {0};
    for (int i = 0; i < 200; i++)
        seen[sampler_next(&sampler, logits)]++;
    ck_assert(seen[0] > 0 && seen[2] > 0 && seen[1] == 0 && seen[3] == 0);
    sampler_close(&sampler);
}
END_TEST

/* xoshiro256** 1.0 as its authors give it, and 53 of its bits. */
static double next_draw(uint64_t s[4])
{
    uint64_t x = s[1] * 5, t = s[1] << 17;
    x = (x << 7 | x >> 57) * 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return (double)(x >> 11) / 9007199254740992.0;
}

static int by_id(const void *a, const void *b)
{
    return ((const struct entry *)a)->id < ((const struct entry *)b)->id ? -1 : 1;
}

/* Every draw, one by one: with top-p the tokens that may come lie in the order of likelihood in
 * [0, 1), else, without top-k, in the order of their ids. Vocabularies of many blocks. */
START_TEST(test_each_draw)
{
    static float logits[VOCAB_MAX];
    static struct entry entries[VOCAB_MAX];
    srand(5);
    int checked = 0;
    for (int trial = 0; trial < 200; trial++) {
        int vocab_size = 1 + rand() % VOCAB_MAX, n;
        struct sampler_options options = plain;
        options.top_p = trial % 2 ? 0.9F : 1;
        options.top_k = trial % 2 && trial % 3 == 0 ? 1 + rand() % 12 : 0;
        options.min_p = trial % 5 == 0 ? 0.01F : 0;
        options.temperature = trial % 7 == 0 ? 2 : 0.8F;
        options.seed = (uint64_t)trial;
        random_logits(logits, vocab_size, trial % 4 == 0 ? 100 : 6);
        if (!survivors(&options, logits, vocab_size, entries, &n))
            continue;
        if (options.top_p == 1)
            qsort(entries, (size_t)n, sizeof *entries, by_id);
        struct sampler sampler;
        open_sampler(&sampler, &options, vocab_size);
        for (int i = 0; i < 20; i++) {
            uint64_t rng[4];
            memcpy(rng, sampler.rng, sizeof rng);
            double left = next_draw(rng);
            int expected = 0;
            while (expected + 1 < n && left >= entries[expected].p)
                left -= entries[expected++].p;
            int32_t id = sampler_next(&sampler, logits);
            ck_assert_mem_eq(rng, sampler.rng, sizeof rng);
            if (left < 1e-6 || left > entries[expected].p - 1e-6)
                continue; /* rounding may decide */
            ck_assert_int_eq(id, entries[expected].id);
            checked++;
        }
        sampler_close(&sampler);
    }
    ck_assert_int_ge(checked, 2000);
}
END_TEST

/* What chi-square with df degrees of freedom exceeds once in a million (Wilson & Hilferty 1931). */
static double chi_square_bound(int df)
{
    double v = 2.0 / (9.0 * df), root = 1 - v + 4.75 * sqrt(v);
    return df * root * root * root;
}

static void check_distribution(const struct sampler_options *options, const float *logits,
                               int vocab_size)
{
    enum { DRAWS = 40000 };
    static struct entry entries[VOCAB_MAX];
    static int seen[VOCAB_MAX];
    int n, df = -1;
    ck_assert(survivors(options, logits, vocab_size, entries, &n));
    memset(seen, 0, sizeof seen);
    struct sampler sampler;
    open_sampler(&sampler, options, vocab_size);
    for (int i = 0; i < DRAWS; i++)
        seen[sampler_next(&sampler, logits)]++;
    sampler_close(&sampler);
    double chi_square = 0, rest = 1;
    int rest_seen = DRAWS;
    for (int i = 0; i < n && entries[i].p * DRAWS >= 8; i++) {
        double expected = entries[i].p * DRAWS, difference = seen[entries[i].id] - expected;
        chi_square += difference * difference / expected;
        rest -= entries[i].p;
        rest_seen -= seen[entries[i].id];
        df++;
    }
    if (rest * DRAWS >= 8) {
        chi_square += (rest_seen - rest * DRAWS) * (rest_seen - rest * DRAWS) / (rest * DRAWS);
        df++;
    }
    ck_assert_int_ge(df, 2);
    ck_assert_msg(chi_square < chi_square_bound(df), "chi-square %g with %d degrees of freedom",
                  chi_square, df);
}

START_TEST(test_distribution)
{
    static float logits[100];
    static const struct sampler_options rows[] = {
        {.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 1},
        {.temperature = 0.5F, .top_p = 1, .repeat_penalty = 1, .seed = 2},
        {.temperature = 2, .top_p = 1, .repeat_penalty = 1, .seed = 3},
        {.temperature = 1, .top_k = 7, .top_p = 1, .repeat_penalty = 1, .seed = 4},
        {.temperature = 1, .top_p = 0.8F, .repeat_penalty = 1, .seed = 5},
        {.temperature = 3, .top_p = 1, .min_p = 0.1F, .repeat_penalty = 1, .seed = 6},
        {.temperature = 1.3F,
         .top_k = 30,
         .top_p = 0.95F,
         .min_p = 0.02F,
         .repeat_penalty = 1,
         .seed = 7},
    };
    srand(4 + (unsigned)_i);
    random_logits(logits, 100, 4);
    check_distribution(&rows[_i], logits, 100);
}
END_TEST

START_TEST(test_temperature_extremes)
{
    static const float logits[] = {1, 1.01F, -40, 0.99F};
    struct sampler_options options = plain;
    static const float coldest[] = {1e-45F, 1e-30F, 1e-5F};
    for (size_t i = 0; i < 3; i++) {
        for (uint64_t seed = 0; seed < 50; seed++) {
            options.temperature = coldest[i];
            options.seed = seed;
            ck_assert_int_eq(next_once(&options, logits, 4), 1);
        }
    }
    options.temperature = 1000; /* all but uniform */
    check_distribution(&options, logits, 4);
    options.min_p = 0.999999F;
    options.temperature = 1;
    ck_assert_int_eq(next_once(&options, logits, 4), 1);
}
END_TEST

Suite *sampler_draws_suite(void)
{
    Suite *suite = suite_create("sampler_draws");
    TCase *tcase = tcase_create("sampler_draws");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_sets);
    tcase_add_test(tcase, test_each_draw);
    tcase_add_test(tcase, test_top_k_of_unlikely);
    tcase_add_loop_test(tcase, test_distribution, 0, 7);
    tcase_add_test(tcase, test_temperature_extremes);
    suite_add_tcase(suite, tcase);
    return suite;
}
