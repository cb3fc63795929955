/* save: a session that was saved and restored goes on with the bits of one that never stopped,
 * under every position scheme, context policy and cache type. What else happens to files is in
 * test_restore.c. */
#include "model/save.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/parallel.h"
#include "model/generate.h"
#include "model/restore.h"
#include "tests/model/fixture.h"
#include "tests/model/timeline.h"
#include "tests/suites.h"
#include "tests/support.h"

static const char *const policies[] = {
    "all",
    "window=37",
    "sinks=4,window=60",
    "sinks=130,window=70",
    "lm-infinite,global=5,window=40",
    "rerope,window=32",
    "leaky-rerope,window=32,factor=8",
    "self-extend,group=4,window=24",
    "dual-chunk,chunk=48,cap=63",
};
static const enum format types[] = {FORMAT_F32, FORMAT_F16, FORMAT_BF16, FORMAT_Q8_0, FORMAT_Q4_0};
enum { N_POLICIES = sizeof policies / sizeof policies[0], N_TYPES = 5, TEXT = 300, MORE = 40 };

static void save(const struct fixture *fixture, const struct session *session,
                 const struct sampler *sampler, const int32_t *ids, int64_t n)
{
    struct error err;
    struct save what = {&fixture->checkpoint, session, sampler, ids, n, {"[\"hi\"]", 6}};
    ck_assert_msg(save_write(&what, scratch_path("s"), &err) == 0, "%s", err.text);
}

static void restore(const struct fixture *fixture, struct session *session, struct sampler *sampler,
                    const int32_t *ids, int64_t n)
{
    struct error err;
    struct restore from;
    ck_assert_msg(restore_open(&from, scratch_path("s"), &err) == 0, "%s", err.text);
    ck_assert_msg(restore_session(&from, &fixture->checkpoint, session, sampler, &err) == 0, "%s",
                  err.text);
    ck_assert_int_eq(from.n_ids, n);
    ck_assert_mem_eq(from.ids, ids, (size_t)n * sizeof *ids);
    ck_assert_uint_eq(from.transcript.length, 6);
    ck_assert_mem_eq(from.transcript.bytes, "[\"hi\"]", 6);
    restore_close(&from);
}

/* Both go on in the same way. */
static void expect_same(struct session *a, struct session *b, const int32_t *ids, int n,
                        const char *what)
{
    size_t vocab_size = (size_t)a->model->config.vocab_size;
    float *logits[2] = {malloc((size_t)n * vocab_size * sizeof(float)),
                        malloc((size_t)n * vocab_size * sizeof(float))};
    ck_assert_int_eq(a->position, b->position);
    if (a->position > 0)
        ck_assert_mem_eq(a->logits, b->logits, vocab_size * sizeof(float));
    ck_assert_uint_eq(a->cache.n_blocks, b->cache.n_blocks);
    timeline_feed(a, ids, n, timeline_ragged, logits[0]);
    timeline_feed(b, ids, n, timeline_ragged, logits[1]);
    ck_assert_msg(memcmp(logits[0], logits[1], (size_t)n * vocab_size * sizeof(float)) == 0,
                  "%s: other logits after restoring", what);
    ck_assert_int_eq(a->position, b->position);
    ck_assert_uint_eq(a->cache.n_blocks, b->cache.n_blocks);
    free(logits[0]);
    free(logits[1]);
}

/* Saves after `n` tokens, of which the last `back` are taken back first where that can be. */
static void round_trip(const struct fixture *fixture, const char *policy, enum format kv, int n,
                       int back, const char *name)
{
    struct error err;
    struct session a, b;
    int32_t ids[TEXT + MORE];
    char what[160];
    snprintf(what, sizeof what, "%s, %s, %s, %d tokens, %d back", name, policy,
             format_info[kv].name, n, back);
    timeline_ids(fixture, ids, TEXT + MORE);
    timeline_open(&a, &fixture->model, policy, kv, 3);
    timeline_open(&b, &fixture->model, policy, kv, 3);
    timeline_feed(&a, ids, n, timeline_ragged, NULL);
    if (back > 0 && back <= n && session_truncate(&a, n - back, &err) == 0)
        n -= back;
    save(fixture, &a, NULL, ids, n);
    restore(fixture, &b, NULL, ids, n);
    expect_same(&a, &b, ids + n, MORE, what);
    session_close(&a);
    session_close(&b);
}

static bool allows(const struct fixture *fixture, const char *policy)
{
    struct context context;
    struct error err;
    ck_assert_int_eq(context_parse(&context, policy, 0, &err), 0);
    return session_allows(&fixture->model, &context, &err) == 0;
}

/* Every policy and cache type, at lengths on both sides of borders: of blocks, windows, chunks and
 * of the rotations that switch. */
static void check_scheme(const char *name, int turn)
{
    static const int lengths[] = {20, 100, 128, 200, TEXT};
    struct fixture fixture;
    char path[128];
    snprintf(path, sizeof path, "positions/%s", name);
    fixture_open(&fixture, path, path, NULL);
    int64_t limit = fixture.model.positions[0].limit;
    for (int p = 0; p < N_POLICIES; p++) {
        int n = lengths[(turn + p) % 5];
        if (allows(&fixture, policies[p]) && n + MORE + 3 <= limit)
            round_trip(&fixture, policies[p], types[(turn + 2 * p) % N_TYPES], n,
                       (turn + p) % 3 * 30, name);
    }
    fixture_close(&fixture);
}

START_TEST(every_scheme_goes_on)
{
    DIR *folder = opendir("tests/data/positions");
    int n = 0;
    ck_assert_ptr_nonnull(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        char name[64];
        char *end = strstr(entry->d_name, ".gguf");
        if (end && (size_t)(end - entry->d_name) < sizeof name) {
            snprintf(name, sizeof name, "%.*s", (int)(end - entry->d_name), entry->d_name);
            /* Not the order of the folder, which differs by machine. */
            check_scheme(name, name[strlen(name) - 1] + name[strlen(name) / 2]);
            n++;
        }
    }
    closedir(folder);
    ck_assert_int_ge(n, 40);
}
END_TEST

START_TEST(every_policy_and_type_goes_on)
{
    struct fixture fixture;
    fixture_open(&fixture, "positions/rope", "positions/rope", NULL);
    for (int p = 0; p < N_POLICIES; p++)
        for (int t = 0; t < N_TYPES; t++) {
            round_trip(&fixture, policies[p], types[t], 1, 0, "rope");
            round_trip(&fixture, policies[p], types[t], 257 + t, 0, "rope");
            round_trip(&fixture, policies[p], types[t], TEXT, 45, "rope");
        }
    fixture_close(&fixture);
}
END_TEST

/* The text is read again when it gets longer than short rotations are for: before, at and after
 * that. */
START_TEST(rotations_switch_after_restoring)
{
    struct fixture fixture;
    fixture_open(&fixture, "positions/rope-longrope", "positions/rope-longrope", NULL);
    ck_assert_int_eq(fixture.model.positions[0].switch_length, 32);
    for (int n = 1; n <= 40; n += n < 28 ? 9 : 1) {
        round_trip(&fixture, "all", FORMAT_F16, n, 0, "longrope");
        round_trip(&fixture, "window=37", FORMAT_F32, n, 0, "longrope");
    }
    fixture_close(&fixture);
}
END_TEST

START_TEST(an_empty_session_is_saved)
{
    struct fixture fixture;
    fixture_open(&fixture, "llama", "llama", NULL);
    round_trip(&fixture, "all", FORMAT_F16, 0, 0, "llama");
    round_trip(&fixture, "sinks=4,window=60", FORMAT_Q8_0, 10, 10, "llama");
    fixture_close(&fixture);
}
END_TEST

/* --- generating ---------------------------------------------------------------------------- */

struct reply {
    struct session session;
    struct sampler sampler;
    struct lookup lookup;
    int32_t ids[400];
    int n;
};

static bool on_token(void *context, int32_t id)
{
    struct reply *run = context;
    run->ids[run->n++] = id;
    return true;
}

static void run_open(struct reply *run, const struct fixture *fixture, const char *policy,
                     const struct sampler_options *options)
{
    struct error err;
    int vocab_size = fixture->model.config.vocab_size;
    *run = (struct reply){0};
    timeline_open(&run->session, &fixture->model, policy, FORMAT_F16, 0);
    ck_assert_int_eq(sampler_open(&run->sampler, options, vocab_size, &err), 0);
    ck_assert_int_eq(lookup_open(&run->lookup, vocab_size, &err), 0);
}

static void run_close(struct reply *run)
{
    session_close(&run->session);
    sampler_close(&run->sampler);
    lookup_close(&run->lookup);
}

/* Goes on with `n` tokens after the prompt. */
static void run_on(struct reply *run, bool guess, const int32_t *prompt, int n_prompt, int n)
{
    struct error err;
    struct generate generation = {.session = &run->session,
                                  .sampler = &run->sampler,
                                  .lookup = guess ? &run->lookup : NULL,
                                  .max_tokens = n,
                                  .emit = on_token,
                                  .context = run};
    ck_assert_msg(generate(&generation, prompt, n_prompt, &err) == 0, "%s", err.text);
}

static const struct {
    const char *policy;
    float temperature;
    float penalty;
    bool guess;
} runs[] = {
    {"all", 0, 1, false},
    {"all", 0, 1, true},
    {"all", 1, 1, true},
    {"all", 0.9F, 1.2F, false},
    {"sinks=4,window=60", 1, 1.3F, true},
    {"self-extend,group=4,window=24", 0, 1.1F, true},
};
enum { N_RUNS = sizeof runs / sizeof runs[0] };

/* The last token of a text has been drawn and not fed: the next turn begins with it. */
START_TEST(generation_goes_on)
{
    struct fixture fixture;
    struct reply a, b;
    struct sampler_options options = sampler_defaults, other;
    options.temperature = runs[_i].temperature;
    options.repeat_penalty = runs[_i].penalty;
    options.repeat_last = 20;
    fixture_open(&fixture, "llama", "llama", NULL);
    run_open(&a, &fixture, runs[_i].policy, &options);
    memcpy(a.ids, fixture.ids, 10 * sizeof *a.ids);
    a.n = 10;
    run_on(&a, runs[_i].guess, fixture.ids, 10, 150);
    save(&fixture, &a.session, &a.sampler, a.ids, a.n);
    other = options;
    other.seed = 77;
    run_open(&b, &fixture, runs[_i].policy, &other);
    restore(&fixture, &b.session, &b.sampler, a.ids, a.n);
    memcpy(b.ids, a.ids, sizeof b.ids);
    for (b.n = 0; b.n < a.n; b.n++)
        lookup_add(&b.lookup, b.ids[b.n]);
    ck_assert_int_eq(a.session.position, a.n - 1);
    run_on(&a, runs[_i].guess, a.ids + a.n - 1, 1, 100);
    run_on(&b, runs[_i].guess, b.ids + b.n - 1, 1, 100);
    ck_assert_int_eq(a.n, 260);
    ck_assert_int_eq(b.n, a.n);
    ck_assert_mem_eq(a.ids, b.ids, (size_t)a.n * sizeof *a.ids);
    run_close(&a);
    run_close(&b);
    fixture_close(&fixture);
}
END_TEST

START_TEST(options_of_the_sampler_are_known)
{
    struct fixture fixture;
    struct reply a;
    struct restore from;
    struct error err;
    const struct sampler_options options = {0.7F, 11, 0.9F, 0.02F, 1.1F, 5, 123456789012345};
    fixture_open(&fixture, "llama", "llama", NULL);
    run_open(&a, &fixture, "all", &options);
    run_on(&a, false, fixture.ids, 10, 3);
    save(&fixture, &a.session, &a.sampler, fixture.ids, 12);
    ck_assert_int_eq(restore_open(&from, scratch_path("s"), &err), 0);
    ck_assert(from.sampled);
    ck_assert_float_eq(from.sampler.temperature, 0.7F);
    ck_assert_int_eq(from.sampler.top_k, 11);
    ck_assert_float_eq(from.sampler.top_p, 0.9F);
    ck_assert_float_eq(from.sampler.min_p, 0.02F);
    ck_assert_float_eq(from.sampler.repeat_penalty, 1.1F);
    ck_assert_int_eq(from.sampler.repeat_last, 5);
    ck_assert_uint_eq(from.sampler.seed, 123456789012345);
    restore_close(&from);
    run_close(&a);
    fixture_close(&fixture);
}
END_TEST

static void setup(void)
{
    scratch_make();
    parallel_set_threads(2);
}

Suite *save_suite(void)
{
    Suite *suite = suite_create("save");
    TCase *tcase = tcase_create("save");
    tcase_add_checked_fixture(tcase, setup, scratch_remove);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, every_scheme_goes_on);
    tcase_add_test(tcase, every_policy_and_type_goes_on);
    tcase_add_test(tcase, rotations_switch_after_restoring);
    tcase_add_test(tcase, an_empty_session_is_saved);
    tcase_add_loop_test(tcase, generation_goes_on, 0, N_RUNS);
    tcase_add_test(tcase, options_of_the_sampler_are_known);
    suite_add_tcase(suite, tcase);
    return suite;
}
