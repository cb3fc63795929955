/* invariants: what must hold for every model whatever its numbers are. Each test says what it holds
 * to be equal: a text taken elsewhere, cut otherwise, read again, or stored for long. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/parallel.h"
#include "tests/model/timeline.h"
#include "tests/suites.h"

/* What moving a text does to the logits of a model. */
enum moved {
    SAME_BITS, /* it computes with distances */
    CLOSE,     /* it turns by places, each rounded to f32 */
    DIFFERENT, /* places matter */
};

static const struct {
    const char *name;
    enum moved moved;
} models[] = {
    {"positions/none", SAME_BITS},
    {"positions/sinusoidal", DIFFERENT},
    {"positions/sinusoidal-concatenated", DIFFERENT},
    {"positions/sinusoidal-fairseq", DIFFERENT},
    {"positions/learned", DIFFERENT},
    {"positions/learned-offset", DIFFERENT},
    {"positions/rope", CLOSE},
    {"positions/rope-halves", CLOSE},
    {"positions/rope-partial", CLOSE},
    {"positions/rope-partial-halves", CLOSE},
    {"positions/xpos", CLOSE},
    {"positions/xpos-partial-halves", CLOSE},
    {"positions/alibi", SAME_BITS},
    {"positions/alibi-scaled", SAME_BITS},
    {"positions/t5", SAME_BITS},
    {"positions/t5-layers", SAME_BITS},
    {"positions/shaw", SAME_BITS},
    {"positions/shaw-values", SAME_BITS},
    {"positions/transformer-xl", SAME_BITS},
    {"positions/transformer-xl-clamped", SAME_BITS},
    {"positions/disentangled", SAME_BITS},
    {"positions/disentangled-c2p", SAME_BITS},
    {"positions/disentangled-p2c", SAME_BITS},
    {"positions/disentangled-shared", SAME_BITS},
    {"positions/kerple-log", SAME_BITS},
    {"positions/kerple-power", SAME_BITS},
    {"positions/sandwich", SAME_BITS},
    {"positions/sandwich-first", SAME_BITS},
    {"positions/fire", DIFFERENT},
    {"positions/cope", SAME_BITS},
    {"positions/rope-linear", CLOSE},
    {"positions/rope-ntk", CLOSE},
    {"positions/rope-dynamic", SAME_BITS},
    {"positions/rope-yarn", CLOSE},
    {"positions/rope-yarn-mscale", CLOSE},
    {"positions/rope-yarn-untruncated", CLOSE},
    {"positions/rope-yarn-borders", CLOSE},
    {"positions/rope-dynamic-yarn", SAME_BITS},
    {"positions/rope-llama3", CLOSE},
    {"positions/rope-longrope", CLOSE},
    {"positions/rope-longrope-short", CLOSE},
    {"positions/nope-mix", CLOSE},
    {"positions/local-global", CLOSE},
    {"positions/llama4-like", CLOSE},
    {"positions/xl-memory", SAME_BITS},
    {"positions/three-schemes", SAME_BITS},
    {"llama", CLOSE},
    {"llama3", CLOSE},
    {"phi-long", CLOSE},
    {"gemma3", CLOSE},
    {"cohere2", CLOSE},
    {"gptneox", CLOSE},
    {"gpt2", DIFFERENT},
    {"bloom", SAME_BITS},
};
enum { N_MODELS = sizeof models / sizeof models[0], N_PERMUTED = 46 };

/* Shares of the largest logit. What moves is rounded otherwise, by 6e-8 an element of a key; on
 * tiers with wider sums and integer products, batches are, too. */
static const double moved_tolerance = 2e-5, batch_tolerance = 1e-5, least_difference = 1e-3;

static bool is_scalar(const struct fixture *fixture)
{
    return strcmp(fixture->model.kernels.name, "scalar") == 0;
}

/* --- 1: a text taken elsewhere ---------------------------------------------------------------- */

static void check_moved(const struct fixture *fixture, const char *name, enum moved moved, int n,
                        int64_t origin, const float *logits)
{
    size_t n_logits = (size_t)n * (size_t)fixture->model.config.vocab_size;
    float *other = timeline_logits(fixture, n, origin, timeline_whole);
    double off = fixture_difference(fixture, other, logits, n_logits);
    const char *isa = fixture->model.kernels.name;
    if (moved == SAME_BITS)
        ck_assert_msg(memcmp(other, logits, n_logits * sizeof *other) == 0,
                      "%s on %s: other bits from %lld on", name, isa, (long long)origin);
    else if (moved == CLOSE)
        ck_assert_msg(off <= moved_tolerance, "%s on %s: off by %.1e from %lld on", name, isa, off,
                      (long long)origin);
    else
        ck_assert_msg(off >= least_difference, "%s on %s: off by %.1e only from %lld on", name, isa,
                      off, (long long)origin);
    free(other);
}

/* Logits depend on distances only: origins of 10 to 10^7 change nothing. They do where places
 * themselves are embedded or, in FIRE, divided by.
 *
 * An origin moves places and nothing else: windows, chunks, Llama-4's temperature and the length
 * that scalings follow count tokens that were really fed. So llama4-like, xl-memory, longrope and
 * dynamic stay the same here; what counting from the start of the text does is tested below. */
START_TEST(test_moved_text)
{
    for (int tier = 0; kernels_available(tier); tier++) {
        struct fixture fixture;
        fixture_open(&fixture, models[_i].name, models[_i].name, kernels_available(tier));
        parallel_set_threads(1);
        int64_t limit = INT64_MAX;
        for (int i = 0; i < fixture.model.n_positions; i++)
            limit = fixture.model.positions[i].limit;
        int n = limit < INT64_MAX ? 40 : fixture.n; /* leaves places of the table to go to */
        float *logits = timeline_logits(&fixture, n, 0, timeline_whole);
        int64_t origin = 1;
        for (int k = 1; k <= 7; k++) {
            origin *= 10;
            if (origin + n <= limit)
                check_moved(&fixture, models[_i].name, models[_i].moved, n, origin, logits);
        }
        free(logits);
        fixture_close(&fixture);
    }
}
END_TEST

/* The same under policies: all segments move together, those of dual-chunk and self-extend too,
 * whose chunks and groups are counted from the start of the text. */
START_TEST(test_moved_policies)
{
    static const char *const policies[] = {
        "window=37",
        "sinks=4,window=60",
        "lm-infinite,global=5,window=40",
        "rerope,window=32",
        "leaky-rerope,window=32,factor=8",
        "self-extend,group=4,window=24",
        "dual-chunk,chunk=48,cap=63",
        "self-extend,group=4,window=24,log-length=20",
    };
    static const char *const names[] = {"positions/rope-yarn", "positions/nope-mix",
                                        "positions/llama4-like"};
    static int32_t ids[TIMELINE_LONG];
    for (size_t p = 0; p < sizeof policies / sizeof policies[0]; p++) {
        struct fixture fixture;
        fixture_open(&fixture, names[_i], names[_i], NULL);
        size_t vocab_size = (size_t)fixture.model.config.vocab_size;
        float *logits[2];
        timeline_ids(&fixture, ids, TIMELINE_LONG);
        for (int i = 0; i < 2; i++) {
            struct session session;
            timeline_open(&session, &fixture.model, policies[p], FORMAT_F32, i * 123457);
            logits[i] = malloc(TIMELINE_LONG * vocab_size * sizeof **logits);
            ck_assert_ptr_nonnull(logits[i]);
            timeline_feed(&session, ids, TIMELINE_LONG, timeline_ragged, logits[i]);
            session_close(&session);
        }
        double off = fixture_difference(&fixture, logits[1], logits[0], TIMELINE_LONG * vocab_size);
        ck_assert_msg(off <= moved_tolerance, "%s: off by %.1e", policies[p], off);
        free(logits[0]);
        free(logits[1]);
        fixture_close(&fixture);
    }
}
END_TEST

/* The logits of the last token of ids[n] behind `before` tokens that start with the same few. */
static void logits_behind(const struct fixture *fixture, const char *policy, int before,
                          const int32_t *ids, int n, float *logits)
{
    enum { SINKS = 4 };
    struct session session;
    timeline_open(&session, &fixture->model, policy, FORMAT_F32, 0);
    for (int t = 0; t < before; t++) {
        int32_t id = t < SINKS ? t : (t * 5 + before) % fixture->model.config.vocab_size;
        timeline_feed(&session, &id, 1, timeline_ones, NULL);
    }
    timeline_feed(&session, ids, n, timeline_ragged, NULL);
    memcpy(logits, session.logits, (size_t)fixture->model.config.vocab_size * sizeof *logits);
    session_close(&session);
}

/* What lies behind windows leaves no trace: the last of many tokens has the same logits whatever
 * and how much came before. Where chunks cut the text, that holds if their multiples came. */
START_TEST(test_forgotten_text)
{
    static const struct {
        const char *name, *policy;
        bool chunks; /* of 16 */
    } rows[] = {
        {"positions/rope", "window=40", false},
        {"positions/rope", "sinks=4,window=40", false},
        {"positions/rope-yarn", "sinks=4,window=60", false},
        {"positions/rope-dynamic", "sinks=4,window=40", false},
        {"positions/t5", "sinks=4,window=40", false},
        {"positions/none", "sinks=4,window=40", false},
        {"positions/xl-memory", "all", true},
    };
    enum { N = 150 };
    static const int before[] = {200, 200 + 16 * 21, 200 + 16 * 3 + 8};
    int32_t ids[N];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture fixture;
        fixture_open(&fixture, rows[i].name, rows[i].name, NULL);
        size_t vocab_size = (size_t)fixture.model.config.vocab_size;
        float *logits = malloc(3 * vocab_size * sizeof *logits);
        ck_assert_ptr_nonnull(logits);
        timeline_ids(&fixture, ids, N);
        for (size_t b = 0; b < 3; b++)
            logits_behind(&fixture, rows[i].policy, before[b], ids, N, logits + b * vocab_size);
        for (size_t b = 1; b < 3; b++) {
            bool same = !rows[i].chunks || b == 1;
            double off = fixture_difference(&fixture, logits, logits + b * vocab_size, vocab_size);
            ck_assert_msg(same ? off <= moved_tolerance : off >= least_difference,
                          "%s, %s: off by %.1e behind %d tokens", rows[i].name, rows[i].policy, off,
                          before[b]);
        }
        free(logits);
        fixture_close(&fixture);
    }
}
END_TEST

/* --- 2: decode = prefill = pieces ------------------------------------------------------------- */

static bool switches(const struct model *model)
{
    for (int i = 0; i < model->n_positions; i++)
        if (model->positions[i].switch_length > 0)
            return true;
    return false;
}

/* However the text is cut, all logits are the same; scalings that follow the length take every
 * token's own. Not so one that switches (LongRoPE), where the whole of a batch is read in the form
 * that its last token needs: there the last logits alone are, see below. */
START_TEST(test_cut_text)
{
    const int *const cuts[] = {timeline_ones, timeline_ragged, (const int[]){7, 0}};
    for (int tier = 0; kernels_available(tier); tier++) {
        struct fixture fixture;
        fixture_open(&fixture, models[_i].name, models[_i].name, kernels_available(tier));
        parallel_set_threads(2);
        size_t vocab_size = (size_t)fixture.model.config.vocab_size, n = (size_t)fixture.n;
        size_t from = switches(&fixture.model) ? n - 1 : 0;
        float *expected = timeline_logits(&fixture, fixture.n, 0, timeline_whole);
        for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
            float *logits = timeline_logits(&fixture, fixture.n, 0, cuts[c]);
            const float *a = logits + from * vocab_size, *b = expected + from * vocab_size;
            size_t count = (n - from) * vocab_size;
            double off = fixture_difference(&fixture, a, b, count);
            bool same =
                is_scalar(&fixture) ? memcmp(a, b, count * sizeof *a) == 0 : off <= batch_tolerance;
            ck_assert_msg(same, "%s on %s: off by %.1e in pieces of %d, ...", models[_i].name,
                          fixture.model.kernels.name, off, cuts[c][0]);
            free(logits);
        }
        free(expected);
        fixture_close(&fixture);
    }
}
END_TEST

/* ... unless it was said how much is coming: then all logits of one that switches are the same. */
START_TEST(test_announced_text)
{
    static const char *const names[] = {"positions/rope-longrope", "phi-long"};
    struct fixture fixture;
    struct session session;
    parallel_set_threads(1);
    fixture_open(&fixture, names[_i], names[_i], "scalar");
    ck_assert(switches(&fixture.model));
    size_t n_logits = (size_t)fixture.n * (size_t)fixture.model.config.vocab_size;
    float *expected = timeline_logits(&fixture, fixture.n, 0, timeline_whole);
    float *logits = malloc(n_logits * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    timeline_open(&session, &fixture.model, "all", FORMAT_F32, 0);
    session_expect(&session, fixture.n);
    timeline_feed(&session, fixture.ids, fixture.n, timeline_ragged, logits);
    ck_assert(memcmp(logits, expected, n_logits * sizeof *logits) == 0);
    session_close(&session);
    free(logits);
    free(expected);
    fixture_close(&fixture);
}
END_TEST

/* --- crossing the training length ------------------------------------------------------------- */

/* The last logits of ids[n] read at once, in a session of its own. */
static void expect_fresh(const struct session *session, const char *policy, const int32_t *ids,
                         int n)
{
    struct session fresh;
    size_t bytes = (size_t)session->model->config.vocab_size * sizeof *fresh.logits;
    timeline_open(&fresh, session->model, policy, session->cache.format, 0);
    timeline_feed(&fresh, ids, n, timeline_whole, NULL);
    ck_assert_int_eq(session->position, n);
    ck_assert_msg(memcmp(fresh.logits, session->logits, bytes) == 0,
                  "%s, %s: not as read at once after %d tokens",
                  format_info[session->cache.format].name, policy, n);
    session_close(&fresh);
}

static const char *const following[] = {"positions/rope-longrope", "positions/rope-dynamic",
                                        "positions/rope-dynamic-yarn", "phi-long"};
enum { N_FOLLOWING = sizeof following / sizeof following[0] };

/* Past the length after which angles change, token by token or in the middle of a batch; back
 * below it, and past it again: always as if the text had been read at once. */
START_TEST(test_crossing)
{
    static const enum format types[] = {FORMAT_F32, FORMAT_F16, FORMAT_Q8_0};
    int32_t ids[160];
    struct error err;
    parallel_set_threads(1);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct fixture fixture;
        struct session session;
        fixture_open(&fixture, following[_i], following[_i], "scalar");
        timeline_ids(&fixture, ids, 160);
        timeline_open(&session, &fixture.model, "all", types[i], 0);
        for (int n = 1; n <= 70; n++) {
            timeline_feed(&session, ids + n - 1, 1, timeline_ones, NULL);
            if (n % 9 == 0 || (n >= 31 && n <= 34))
                expect_fresh(&session, "all", ids, n);
        }
        ck_assert_int_eq(session_truncate(&session, 20, &err), 0);
        timeline_feed(&session, ids + 20, 5, timeline_whole, NULL);
        expect_fresh(&session, "all", ids, 25);
        timeline_feed(&session, ids + 25, 60, timeline_whole, NULL); /* across, in one batch */
        expect_fresh(&session, "all", ids, 85);
        ck_assert_int_eq(session_truncate(&session, 40, &err), 0);
        timeline_feed(&session, ids + 40, 120, timeline_ragged, NULL);
        expect_fresh(&session, "all", ids, 160);
        session_close(&session);
        fixture_close(&fixture);
    }
}
END_TEST

/* The same under policies: what counts is how far apart a query and a key may be. Some cross
 * after keys have left the cache, some never. */
START_TEST(test_crossing_policies)
{
    static const char *const policies[] = {
        "window=31",
        "window=200",
        "sinks=4,window=28",
        "sinks=140,window=20",
        "lm-infinite,global=4,window=20,cap=20",
        "lm-infinite,global=4,window=150,cap=200",
        "self-extend,group=16,window=16",
        "rerope,window=31",
        "rerope,window=33",
        "leaky-rerope,window=16,factor=16",
        "dual-chunk,chunk=20,cap=33",
    };
    static int32_t ids[TIMELINE_LONG];
    parallel_set_threads(1);
    for (size_t p = 0; p < sizeof policies / sizeof policies[0]; p++) {
        struct error err;
        struct fixture fixture;
        struct session session;
        fixture_open(&fixture, following[_i], following[_i], "scalar");
        timeline_ids(&fixture, ids, TIMELINE_LONG);
        struct context context;
        ck_assert_int_eq(context_parse(&context, policies[p], 0, &err), 0);
        if (session_allows(&fixture.model, &context, &err) == 0) {
            timeline_open(&session, &fixture.model, policies[p], FORMAT_F32, 0);
            for (int n = 1; n <= TIMELINE_LONG; n++) {
                timeline_feed(&session, ids + n - 1, 1, timeline_ones, NULL);
                if (n % 97 == 0 || (n >= 30 && n <= 34) || (n >= 270 && n <= 275))
                    expect_fresh(&session, policies[p], ids, n);
            }
            session_close(&session);
        }
        fixture_close(&fixture);
    }
}
END_TEST

/* --- order ---------------------------------------------------------------------------------- */

/* Without positions a token's first keys are its own wherever it stands, and what the last token
 * takes from the others does not depend on their order; with positions of any kind it does. */
START_TEST(test_permutation)
{
    struct fixture fixture;
    struct session a, b;
    enum { N = 40 };
    int32_t ids[N];
    float x[256], y[256];
    fixture_open(&fixture, models[_i].name, models[_i].name, "scalar");
    for (int i = 0; i < N; i++) /* the first ones backwards */
        ids[i] = fixture.ids[i < N - 1 ? N - 2 - i : i];
    timeline_open(&a, &fixture.model, "all", FORMAT_F32, 0);
    timeline_open(&b, &fixture.model, "all", FORMAT_F32, 0);
    timeline_feed(&a, fixture.ids, N, timeline_whole, NULL);
    timeline_feed(&b, ids, N, timeline_whole, NULL);
    double off = 0, largest = 0;
    size_t dim = (size_t)fixture.model.config.head_dim;
    for (int head = 0; head < fixture.model.config.n_kv_heads; head++) {
        timeline_read(&a, 1, STRIP_VALUES, N - 1, head, x);
        timeline_read(&b, 1, STRIP_VALUES, N - 1, head, y);
        for (size_t d = 0; d < dim; d++) {
            off = fmax(off, (double)fabsf(x[d] - y[d]));
            largest = fmax(largest, (double)fabsf(x[d]));
        }
        timeline_read(&a, 0, 0, 3, head, x);
        timeline_read(&b, 0, 0, N - 2 - 3, head, y);
        if (_i == 0)
            ck_assert_mem_eq(x, y, dim * sizeof *x);
    }
    if (_i == 0)
        ck_assert_double_le(off / largest, 1e-5);
    else
        ck_assert_msg(off / largest >= 1e-4, "%s: off by %.1e only", models[_i].name,
                      off / largest);
    session_close(&a);
    session_close(&b);
    fixture_close(&fixture);
}
END_TEST

Suite *invariants_suite(void)
{
    Suite *suite = suite_create("invariants");
    TCase *tcase = tcase_create("invariants");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_moved_text, 0, N_MODELS);
    tcase_add_loop_test(tcase, test_moved_policies, 0, 3);
    tcase_add_test(tcase, test_forgotten_text);
    tcase_add_loop_test(tcase, test_cut_text, 0, N_MODELS);
    tcase_add_loop_test(tcase, test_announced_text, 0, 2);
    tcase_add_loop_test(tcase, test_crossing, 0, N_FOLLOWING);
    tcase_add_loop_test(tcase, test_crossing_policies, 0, N_FOLLOWING);
    tcase_add_loop_test(tcase, test_permutation, 0, N_PERMUTED);
    suite_add_tcase(suite, tcase);
    return suite;
}
