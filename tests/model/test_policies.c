/* policies: what a model computes under every context policy and position scheme against the
 * oracle, which takes each pair of tokens from scratch at the distance that the policy's paper
 * says; and what must not change it: how the text is cut, where it starts, what has left the cache.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/parallel.h"
#include "model/session.h"
#include "tests/model/fixture.h"
#include "tests/model/oracle.h"
#include "tests/suites.h"

/* --- distances, as the papers have them ------------------------------------------------------- */

struct policy {
    const char *text;
    oracle_distance *distance;
    bool fractional;
    int64_t a, b, c;
};

static double all(const void *policy, int64_t i, int64_t j)
{
    (void)policy;
    return (double)(i - j);
}

static double window(const void *policy, int64_t i, int64_t j)
{
    const struct policy *p = policy;
    return i - j < p->a ? (double)(i - j) : NAN;
}

/* a sinks, the last b: sinks stand at their places in a cache of a + b slots, the query in the last
 * one. */
static double sinks(const void *policy, int64_t i, int64_t j)
{
    const struct policy *p = policy;
    int64_t slots = p->a + p->b, slot = i < slots - 1 ? i : slots - 1;
    return i - j < p->b ? (double)(i - j) : j < p->a ? (double)(slot - j) : NAN;
}

/* a globals, the last b, at most c apart. */
static double lm_infinite(const void *policy, int64_t i, int64_t j)
{
    const struct policy *p = policy;
    return i - j < p->b ? (double)(i - j) : j < p->a ? (double)p->c : NAN;
}

static double rerope(const void *policy, int64_t i, int64_t j)
{
    const struct policy *p = policy;
    return i - j < p->a ? (double)(i - j) : (double)p->a;
}

static double leaky_rerope(const void *policy, int64_t i, int64_t j)
{
    const struct policy *p = policy;
    double distance = (double)(i - j), w = (double)p->a;
    return distance < w ? distance : w + (distance - w) / (double)p->b;
}

/* groups of a, neighbours up to b. */
static double self_extend(const void *policy, int64_t i, int64_t j)
{
    const struct policy *p = policy;
    return (double)(i - j < p->b ? i - j : i / p->a - j / p->a + p->b - p->b / p->a);
}

/* chunks of a, capped at b. */
static double dual_chunk(const void *policy, int64_t i, int64_t j)
{
    const struct policy *p = policy;
    int64_t back = i / p->a - j / p->a, place = i % p->a + p->a;
    int64_t query = back == 0 ? i % p->a : back == 1 && place < p->b ? place : p->b;
    return (double)(query - j % p->a);
}

static const struct policy policies[] = {
    {"all", all, false, 0, 0, 0},
    {"window=37", window, false, 37, 0, 0},
    {"window=1", window, false, 1, 0, 0},
    {"sinks=4,window=60", sinks, false, 4, 60, 0},
    {"sinks=130,window=70", sinks, false, 130, 70, 0}, /* more than a block of the cache */
    {"lm-infinite,global=5,window=40", lm_infinite, false, 5, 40, 40},
    {"rerope,window=32", rerope, false, 32, 0, 0},
    {"leaky-rerope,window=32,factor=8", leaky_rerope, true, 32, 8, 0},
    {"self-extend,group=4,window=24", self_extend, false, 4, 24, 0},
    {"dual-chunk,chunk=48,cap=63", dual_chunk, false, 48, 63, 0},
};
enum { N_POLICIES = sizeof policies / sizeof policies[0], N = 300, MAX_HEADS = 32 };

/* --- models ----------------------------------------------------------------------------------- */

enum moves { MOVES_ALL, MOVES_WHOLE, MOVES_NOTHING };

static const struct {
    const char *name;
    oracle_score *score;
    enum moves moves;
} models[] = {
    {"positions/none", oracle_none, MOVES_NOTHING},
    {"positions/rope", oracle_rope, MOVES_ALL},
    {"positions/rope-partial", oracle_rope, MOVES_ALL},
    {"positions/xpos", oracle_xpos, MOVES_ALL},
    {"positions/alibi", oracle_alibi, MOVES_ALL},
    {"positions/t5", oracle_t5, MOVES_WHOLE},
    {"positions/shaw", oracle_shaw, MOVES_WHOLE},
    {"positions/transformer-xl", oracle_transformer_xl, MOVES_WHOLE},
};
enum { N_MODELS = sizeof models / sizeof models[0] };

static bool allowed(int model, const struct policy *policy)
{
    bool moves = policy->distance != all && policy->distance != window && policy->distance != sinks;
    return (models[model].moves != MOVES_NOTHING || !moves) &&
           (models[model].moves == MOVES_ALL || !policy->fractional);
}

static void make_ids(const struct fixture *fixture, int32_t ids[N])
{
    for (int t = 0; t < N; t++)
        ids[t] = fixture->ids[(t * 7 + t / 64) % fixture->n];
}

/* The logits of ids[N], fed as `pieces` says (0 ends the list; the last size repeats), and the
 * entropy of the last one's attention. */
static void feed(const struct fixture *fixture, const struct policy *policy, enum format kv,
                 int64_t origin, const int *pieces, const int32_t *ids, float *logits,
                 double *entropy)
{
    struct error err;
    struct session session;
    struct session_options options = {.kv = kv, .origin = origin};
    size_t vocab_size = (size_t)fixture->model.config.vocab_size;
    ck_assert_msg(context_parse(&options.context, policy->text, 0, &err) == 0, "%s", err.text);
    ck_assert_msg(session_open(&session, &fixture->model, &options, &err) == 0, "%s", err.text);
    session.entropy = entropy;
    for (int i = 0; i < N;) {
        int n = N - i < *pieces ? N - i : *pieces;
        ck_assert_msg(session_feed(&session, ids + i, n, logits + (size_t)i * vocab_size, &err) ==
                          0,
                      "%s", err.text);
        i += n;
        pieces += pieces[1] > 0;
    }
    session_close(&session);
}

static double difference(const float *found, const double *expected, size_t n)
{
    double largest = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(expected[i]));
        double off = fabs((double)found[i] - expected[i]);
        worst = off <= worst ? worst : off; /* NaN counts */
    }
    return worst / largest;
}

static const int whole[] = {N, 0}, ones[] = {1, 0}, ragged[] = {5, 130, 1, 33, 0};

/* Rounding of f32 in three layers on every tier, and of f16 keys and values; measured at a fifth of
 * these. */
static const double tolerance = 1e-4, scalar_tolerance = 1e-5, f16_tolerance = 2e-2;

static void check_tier(const struct fixture *fixture, const struct policy *policy,
                       const int32_t *ids, const double *expected, const double *expected_entropy,
                       float *logits)
{
    const char *isa = fixture->model.kernels.name;
    bool scalar = strcmp(isa, "scalar") == 0;
    double bound = scalar ? scalar_tolerance : tolerance;
    const struct config *config = &fixture->model.config;
    size_t n = (size_t)N * (size_t)config->vocab_size;
    int n_heads = config->n_layers * config->n_heads;
    double entropy[MAX_HEADS];
    struct {
        const char *what;
        enum format kv;
        int64_t origin;
        const int *pieces;
        double bound;
    } runs[] = {
        {"at once", FORMAT_F32, 0, whole, bound},
        {"from 10^7 on", FORMAT_F32, 10000000, ragged, 10 * bound},
        {"f16", FORMAT_F16, 0, ragged, f16_tolerance},
        {"one by one", FORMAT_F32, 0, ones, bound}, /* on scalar, test_cutting has the rest */
        {"in pieces", FORMAT_F32, 0, ragged, bound},
    };
    for (size_t r = 0; r < (scalar ? 3 : sizeof runs / sizeof runs[0]); r++) {
        feed(fixture, policy, runs[r].kv, runs[r].origin, runs[r].pieces, ids, logits, entropy);
        double off = difference(logits, expected, n);
        ck_assert_msg(off <= runs[r].bound, "%s, %s, %s: off by %.1e of the largest, allowed %.1e",
                      policy->text, isa, runs[r].what, off, runs[r].bound);
        for (int h = 0; h < n_heads; h++)
            ck_assert_msg(fabs(entropy[h] - expected_entropy[h]) <= runs[r].bound,
                          "%s, %s, %s: head %d has entropy %.6f, expected %.6f", policy->text, isa,
                          runs[r].what, h, entropy[h], expected_entropy[h]);
    }
}

START_TEST(test_oracle)
{
    static int32_t ids[N];
    parallel_set_threads(1);
    for (int p = 0; p < N_POLICIES; p++) {
        double *expected = NULL, entropy[MAX_HEADS];
        for (int tier = 0; kernels_available(tier) && allowed(_i, &policies[p]); tier++) {
            struct fixture fixture;
            struct oracle oracle;
            fixture_open(&fixture, models[_i].name, models[_i].name, kernels_available(tier));
            make_ids(&fixture, ids);
            size_t n = (size_t)N * (size_t)fixture.model.config.vocab_size;
            float *logits = malloc(n * sizeof *logits);
            if (!expected) {
                expected = malloc(n * sizeof *expected);
                oracle_open(&oracle, &fixture.checkpoint);
                oracle.entropy = entropy;
                ck_assert_int_le(oracle.n_layers * oracle.n_heads, MAX_HEADS);
                oracle_logits(&oracle, ids, N, models[_i].score, policies[p].distance, &policies[p],
                              expected);
            }
            check_tier(&fixture, &policies[p], ids, expected, entropy, logits);
            free(logits);
            fixture_close(&fixture);
        }
        free(expected);
    }
}
END_TEST

/* However the text is cut, and so whatever has left the cache when, on the scalar tier not a bit
 * changes: what is gone is what nobody would have seen. In a cache of floats and in one of another
 * type, which every policy meets in some models. */
START_TEST(test_cutting)
{
    static const enum format others[] = {FORMAT_F16, FORMAT_BF16, FORMAT_Q8_0, FORMAT_Q4_0};
    static int32_t ids[N];
    struct fixture fixture;
    fixture_open(&fixture, models[_i].name, models[_i].name, "scalar");
    make_ids(&fixture, ids);
    size_t n = (size_t)N * (size_t)fixture.model.config.vocab_size;
    float *first = malloc(n * sizeof *first), *other = malloc(n * sizeof *other);
    for (int p = 0; p < N_POLICIES; p++) {
        for (int threads = 1; allowed(_i, &policies[p]) && threads <= 2; threads++) {
            enum format type = threads == 1 ? FORMAT_F32 : others[(p + _i) % 4];
            parallel_set_threads(threads);
            feed(&fixture, &policies[p], type, 0, whole, ids, first, NULL);
            feed(&fixture, &policies[p], type, 0, ones, ids, other, NULL);
            ck_assert_msg(memcmp(first, other, n * sizeof *first) == 0, "%s: one by one",
                          policies[p].text);
            feed(&fixture, &policies[p], type, 0, ragged, ids, other, NULL);
            ck_assert_msg(memcmp(first, other, n * sizeof *first) == 0, "%s: in pieces",
                          policies[p].text);
        }
    }
    free(first);
    free(other);
    fixture_close(&fixture);
}
END_TEST

/* Past some thousand keys the parts of one token's keys are shared out over threads: the same bits
 * as at once on the scalar tier, and for any number of threads on all. */
START_TEST(test_shared_parts)
{
    static const struct policy *const long_ones[] = {&policies[0], &policies[8]};
    static const int which[] = {1, 4, 6}; /* rotation, bias, relative vectors */
    enum { LONG = 2100, LAST = 3 };
    static int32_t ids[LONG];
    for (int tier = 0; kernels_available(tier); tier++) {
        struct fixture fixture;
        fixture_open(&fixture, models[which[_i]].name, models[which[_i]].name,
                     kernels_available(tier));
        size_t vocab_size = (size_t)fixture.model.config.vocab_size;
        for (int t = 0; t < LONG; t++)
            ids[t] = fixture.ids[(t * 11 + t / 96) % fixture.n];
        float *at_once = malloc(LONG * vocab_size * sizeof *at_once);
        float *last[3];
        for (size_t p = 0; p < 2; p++) {
            struct error err;
            struct session session;
            struct session_options options = {.kv = FORMAT_F16};
            ck_assert_int_eq(context_parse(&options.context, long_ones[p]->text, 0, &err), 0);
            parallel_set_threads(2);
            ck_assert_int_eq(session_open(&session, &fixture.model, &options, &err), 0);
            ck_assert_int_eq(session_feed(&session, ids, LONG, at_once, &err), 0);
            for (int threads = 1; threads <= 3; threads++) {
                float *logits = malloc(LAST * vocab_size * sizeof *logits);
                last[threads - 1] = logits;
                parallel_set_threads(threads);
                ck_assert_int_eq(session_truncate(&session, LONG - LAST, &err), 0);
                for (int t = LONG - LAST; t < LONG; t++, logits += vocab_size)
                    ck_assert_int_eq(session_feed(&session, ids + t, 1, logits, &err), 0);
                ck_assert_mem_eq(last[threads - 1], last[0], LAST * vocab_size * sizeof(float));
            }
            session_close(&session);
            if (tier == 0)
                ck_assert_mem_eq(last[0], at_once + (LONG - LAST) * vocab_size,
                                 LAST * vocab_size * sizeof(float));
            for (int i = 0; i < 3; i++)
                free(last[i]);
        }
        free(at_once);
        fixture_close(&fixture);
    }
}
END_TEST

Suite *policies_suite(void)
{
    Suite *suite = suite_create("policies");
    TCase *tcase = tcase_create("policies");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_oracle, 0, N_MODELS);
    tcase_add_loop_test(tcase, test_cutting, 0, N_MODELS);
    tcase_add_loop_test(tcase, test_shared_parts, 0, 3);
    suite_add_tcase(suite, tcase);
    return suite;
}
