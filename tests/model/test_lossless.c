/* lossless: what is generated with guesses is what is generated without them: tokens, draws, the
 * session afterwards, errors. On the scalar tier, where a batch has the bits of single tokens. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/parallel.h"
#include "model/generate.h"
#include "tests/model/fixture.h"
#include "tests/suites.h"
#include "tests/support.h"

enum { PROMPT = 20, MOST = 320, GO_ON = 12 };

struct setting {
    const char *policy;
    enum format kv;
    struct sampler_options sampler;
    int max_tokens;
    int stop_after; /* emit says so; 0: never */
    size_t max_bytes;
};

/* A generated text and how it ended, and what came when it went on from there. */
struct reply {
    int32_t ids[MOST + GO_ON];
    int n;
    int stop_after;
    int result;
    char message[sizeof(struct error)];
    int64_t position[2];
    size_t blocks; /* of the cache */
    uint64_t rng[4];
    float *logits; /* (vocab_size) */
    int64_t guessed, accepted;
};

static bool emit(void *context, int32_t id)
{
    struct reply *text = context;
    text->ids[text->n++] = id;
    return text->n != text->stop_after;
}

static const struct sampler_options greedy = {
    .top_p = 1, .repeat_penalty = 1, .repeat_last = 64, .seed = 1};

/* A lookup that has seen `text` behind the prompt, every `wrong`-th token another one. */
static void prime(struct lookup *lookup, const struct fixture *fixture, const struct reply *text,
                  int wrong)
{
    struct error err;
    int vocab_size = fixture->model.config.vocab_size;
    ck_assert_msg(lookup_open(lookup, vocab_size, &err) == 0, "%s", err.text);
    for (int i = 0; i < PROMPT; i++)
        lookup_add(lookup, fixture->ids[i]);
    for (int i = 0; i < text->n; i++)
        lookup_add(lookup, i % wrong == wrong - 1 ? (text->ids[i] + 1) % vocab_size : text->ids[i]);
}

static void play(const struct fixture *fixture, const struct setting *setting,
                 struct lookup *lookup, long fail, struct reply *text)
{
    struct error err = {""};
    struct session session;
    struct sampler sampler;
    struct session_options options = {.kv = setting->kv, .max_bytes = setting->max_bytes};
    size_t vocab_size = (size_t)fixture->model.config.vocab_size;
    *text = (struct reply){.stop_after = setting->stop_after,
                           .logits = malloc(vocab_size * sizeof *text->logits)};
    ck_assert_ptr_nonnull(text->logits);
    ck_assert_msg(context_parse(&options.context, setting->policy, 64, &err) == 0 &&
                      session_open(&session, &fixture->model, &options, &err) == 0 &&
                      sampler_open(&sampler, &setting->sampler, (int)vocab_size, &err) == 0,
                  "%s", err.text);
    struct generate run = {.session = &session,
                           .sampler = &sampler,
                           .lookup = lookup,
                           .max_tokens = setting->max_tokens,
                           .emit = emit,
                           .context = text};
    support_fail_memory(fail, false);
    text->result = generate(&run, fixture->ids, PROMPT, &err);
    support_fail_memory(0, false);
    memcpy(text->logits, session.logits, vocab_size * sizeof *text->logits);
    text->position[0] = session.position;
    text->blocks = session.cache.n_blocks;
    text->guessed = run.guessed_tokens;
    text->accepted = run.accepted_tokens;
    text->stop_after = 0;
    if (text->result)
        snprintf(text->message, sizeof text->message, "%s", err.text);
    else if (text->n > 0) {
        run.max_tokens = GO_ON;
        text->result = generate(&run, &text->ids[text->n - 1], 1, &err);
        text->guessed += run.guessed_tokens;
        text->accepted += run.accepted_tokens;
    }
    text->position[1] = session.position;
    memcpy(text->rng, sampler.rng, sizeof text->rng);
    sampler_close(&sampler);
    session_close(&session);
}

static void expect_same(const struct fixture *fixture, const char *name, const struct reply *a,
                        const struct reply *b)
{
    ck_assert_msg(a->n == b->n && memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids) == 0,
                  "%s: another text (%d and %d tokens)", name, a->n, b->n);
    ck_assert_int_eq(a->result, b->result);
    ck_assert_str_eq(a->message, b->message);
    ck_assert_int_eq(a->position[0], b->position[0]);
    ck_assert_int_eq(a->position[1], b->position[1]);
    ck_assert_uint_eq(a->blocks, b->blocks);
    ck_assert_mem_eq(a->rng, b->rng, sizeof a->rng);
    ck_assert_mem_eq(a->logits, b->logits,
                     (size_t)fixture->model.config.vocab_size * sizeof *a->logits);
}

/* Plainly, and with a lookup that knows what comes but for every `wrong`-th token. Returns the
 * tokens accepted. */
static int64_t check(const struct fixture *fixture, const char *name, const struct setting *setting,
                     int wrong)
{
    static struct reply plain, guessed;
    struct lookup lookup;
    play(fixture, setting, NULL, 0, &plain);
    prime(&lookup, fixture, &plain, wrong);
    play(fixture, setting, &lookup, 0, &guessed);
    lookup_close(&lookup);
    expect_same(fixture, name, &plain, &guessed);
    free(plain.logits);
    free(guessed.logits);
    return guessed.accepted;
}

static const char *const policies[] = {
    "all",
    "window=37",
    "window=1",
    "sinks=4,window=60",
    "sinks=130,window=70",
    "lm-infinite,global=5,window=40",
    "rerope,window=32",
    "self-extend,group=4,window=24",
    "dual-chunk,chunk=48,cap=63",
};
enum { N_POLICIES = sizeof policies / sizeof policies[0] };

static void open_scalar(struct fixture *fixture, const char *name)
{
    fixture_open(fixture, name, name, "scalar");
    parallel_set_threads(1);
}

START_TEST(test_policies)
{
    struct fixture fixture;
    open_scalar(&fixture, "positions/rope");
    for (int sampled = 0; sampled < 2; sampled++) {
        struct setting setting = {
            .policy = policies[_i], .kv = FORMAT_F16, .sampler = greedy, .max_tokens = MOST};
        if (sampled)
            setting.sampler = (struct sampler_options){.temperature = 0.7F,
                                                       .top_k = 20,
                                                       .top_p = 0.9F,
                                                       .min_p = 0.02F,
                                                       .repeat_penalty = 1.2F,
                                                       .repeat_last = 16,
                                                       .seed = 9};
        int64_t accepted = check(&fixture, policies[_i], &setting, 11);
        ck_assert_int_gt(accepted, MOST / 3);
    }
    fixture_close(&fixture);
}
END_TEST

/* Every scheme, past its training length; where its positions end, at the same place with the same
 * error. */
START_TEST(test_schemes)
{
    DIR *folder = opendir("tests/data/positions");
    ck_assert_ptr_nonnull(folder);
    int found = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char name[300];
        size_t length = strlen(entry->d_name);
        if (length <= 5 || strcmp(entry->d_name + length - 5, ".gguf") != 0 || found++ % 4 != _i)
            continue;
        struct fixture fixture;
        snprintf(name, sizeof name, "positions/%.*s", (int)length - 5, entry->d_name);
        open_scalar(&fixture, name);
        struct setting setting = {
            .policy = "all", .kv = FORMAT_F32, .sampler = greedy, .max_tokens = 150};
        setting.sampler.temperature = 0.3F;
        int64_t accepted = check(&fixture, name, &setting, 13);
        ck_assert_msg(accepted > 20, "%s: %d accepted", name, (int)accepted);
        fixture_close(&fixture);
    }
    closedir(folder);
    ck_assert_int_gt(found, 30);
}
END_TEST

/* Wherever the text ends, before, in or behind an accepted guess. */
START_TEST(test_ends)
{
    struct fixture fixture;
    open_scalar(&fixture, "llama");
    for (int end = 0; end <= 30; end++) {
        struct setting setting = {
            .policy = "all", .kv = FORMAT_Q8_0, .sampler = greedy, .max_tokens = end};
        check(&fixture, "max_tokens", &setting, 5);
        setting.max_tokens = -1;
        setting.stop_after = end + 1;
        check(&fixture, "stop", &setting, 5);
    }
    fixture_close(&fixture);
}
END_TEST

/* The cache's bound and the table of positions end the text where they would without guesses. */
START_TEST(test_limits)
{
    struct fixture fixture;
    open_scalar(&fixture, "gpt2");
    struct setting setting = {
        .policy = "all", .kv = FORMAT_F32, .sampler = greedy, .max_tokens = -1};
    ck_assert_int_gt(check(&fixture, "positions", &setting, 1000), 50);
    fixture_close(&fixture);

    open_scalar(&fixture, "llama");
    struct session session;
    struct error err;
    ck_assert_int_eq(
        session_open(&session, &fixture.model, &(struct session_options){.kv = FORMAT_F32}, &err),
        0);
    setting.max_bytes = (size_t)session_cache_bytes(&session, 128);
    session_close(&session);
    ck_assert_int_gt(check(&fixture, "memory", &setting, 1000), 50);
    fixture_close(&fixture);
}
END_TEST

/* Memory that fails costs a guess or ends the text with an error, and never changes it. */
START_TEST(test_no_memory)
{
    static struct reply plain, guessed;
    struct setting setting = {
        .policy = "sinks=4,window=60", .kv = FORMAT_F32, .sampler = greedy, .max_tokens = 150};
    struct fixture fixture;
    int errors = 0, survived = 0;
    open_scalar(&fixture, "positions/rope");
    play(&fixture, &setting, NULL, 0, &plain);
    for (long n = 1;; n++) {
        struct lookup lookup;
        prime(&lookup, &fixture, &plain, 1000);
        play(&fixture, &setting, &lookup, n, &guessed);
        lookup_close(&lookup);
        free(guessed.logits);
        ck_assert(memcmp(guessed.ids, plain.ids, (size_t)guessed.n * sizeof *plain.ids) == 0);
        if (support_memory_failures() == 0)
            break;
        if (guessed.result) {
            ck_assert_msg(strstr(guessed.message, "out of memory") != NULL, "%s", guessed.message);
            errors++;
        } else {
            ck_assert_int_eq(guessed.n, plain.n);
            survived++;
        }
    }
    ck_assert_int_gt(errors, 0);
    ck_assert_int_gt(survived, 0);
    free(plain.logits);
    fixture_close(&fixture);
}
END_TEST

/* On every tier: the same guesses and the same text for any number of threads. */
START_TEST(test_threads)
{
    static struct reply one, three;
    struct setting setting = {
        .policy = "all", .kv = FORMAT_F16, .sampler = greedy, .max_tokens = 100};
    setting.sampler.temperature = 0.5F;
    for (int tier = 0; kernels_available(tier); tier++) {
        struct fixture fixture;
        struct lookup lookup;
        fixture_open(&fixture, "llama3", "llama3", kernels_available(tier));
        parallel_set_threads(1);
        play(&fixture, &setting, NULL, 0, &three);
        free(three.logits);
        prime(&lookup, &fixture, &three, 9);
        play(&fixture, &setting, &lookup, 0, &one);
        lookup_close(&lookup);
        parallel_set_threads(3);
        prime(&lookup, &fixture, &three, 9);
        play(&fixture, &setting, &lookup, 0, &three);
        lookup_close(&lookup);
        expect_same(&fixture, fixture.model.kernels.name, &one, &three);
        ck_assert_int_eq(one.guessed, three.guessed);
        ck_assert_int_gt(one.accepted, 0);
        free(one.logits);
        free(three.logits);
        fixture_close(&fixture);
    }
}
END_TEST

Suite *lossless_suite(void)
{
    Suite *suite = suite_create("lossless");
    TCase *tcase = tcase_create("lossless");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_policies, 0, N_POLICIES);
    tcase_add_loop_test(tcase, test_schemes, 0, 4);
    tcase_add_test(tcase, test_ends);
    tcase_add_test(tcase, test_limits);
    tcase_add_test(tcase, test_no_memory);
    tcase_add_test(tcase, test_threads);
    suite_add_tcase(suite, tcase);
    return suite;
}
