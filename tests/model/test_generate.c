/* generate: the loop's ends and its counts, against the same steps by hand. */
#include "model/generate.h"

#include <check.h>
#include <string.h>

#include "tests/model/fixture.h"
#include "tests/suites.h"

enum { PROMPT = 12, MAX = 30 };

/* What the call-backs saw, and when they say stop. */
struct log {
    int32_t ids[2 * MAX];
    int n;
    int stop_after; /* tokens; 0: never */
    int64_t done[8], total[8];
    int n_progress;
    int stop_progress; /* at this call; 0: never */
};

static bool emit(void *context, int32_t id)
{
    struct log *log = context;
    ck_assert_int_lt(log->n, 2 * MAX);
    log->ids[log->n++] = id;
    return log->n != log->stop_after;
}

static bool progress(void *context, int64_t done, int64_t total)
{
    struct log *log = context;
    ck_assert_int_lt(log->n_progress, 8);
    log->done[log->n_progress] = done;
    log->total[log->n_progress++] = total;
    return log->n_progress != log->stop_progress;
}

struct setup {
    struct fixture fixture;
    struct session session;
    struct sampler sampler;
    struct log log;
    struct generate run;
};

static void start(struct setup *s, const char *model, float temperature)
{
    struct error err;
    struct sampler_options options = sampler_defaults;
    options.temperature = temperature;
    options.seed = 7;
    memset(s, 0, sizeof *s);
    fixture_open(&s->fixture, model, model, NULL);
    ck_assert_msg(session_open(&s->session, &s->fixture.model,
                               &(struct session_options){.kv = FORMAT_F32}, &err) == 0,
                  "%s", err.text);
    ck_assert_msg(sampler_open(&s->sampler, &options, s->fixture.model.config.vocab_size, &err) ==
                      0,
                  "%s", err.text);
    s->run = (struct generate){.session = &s->session,
                               .sampler = &s->sampler,
                               .max_tokens = MAX,
                               .emit = emit,
                               .context = &s->log};
}

static void end(struct setup *s)
{
    sampler_close(&s->sampler);
    session_close(&s->session);
    fixture_close(&s->fixture);
}

static void run(struct setup *s, const int32_t *prompt, int64_t n)
{
    struct error err;
    ck_assert_msg(generate(&s->run, prompt, n, &err) == 0, "%s", err.text);
}

/* The likeliest continuation of the fixture's first tokens, token by token. */
static void greedy(const struct fixture *fixture, int32_t *ids, int n)
{
    struct error err;
    struct session session;
    ck_assert_int_eq(
        session_open(&session, &fixture->model, &(struct session_options){.kv = FORMAT_F32}, &err),
        0);
    ck_assert_int_eq(session_feed(&session, fixture->ids, PROMPT, NULL, &err), 0);
    for (int i = 0; i < n; i++) {
        ids[i] = fixture_argmax(session.logits, fixture->model.config.vocab_size);
        ck_assert_int_eq(session_feed(&session, &ids[i], 1, NULL, &err), 0);
    }
    session_close(&session);
}

START_TEST(test_greedy)
{
    static const char *const models[] = {"llama", "gpt2", "bloom"};
    struct setup s;
    int32_t expected[MAX];
    start(&s, models[_i], 0);
    greedy(&s.fixture, expected, MAX);
    run(&s, s.fixture.ids, PROMPT);
    ck_assert_int_eq(s.log.n, MAX);
    ck_assert_mem_eq(s.log.ids, expected, sizeof expected);
    ck_assert_int_eq(s.run.prompt_tokens, PROMPT);
    ck_assert_int_eq(s.run.new_tokens, MAX);
    ck_assert_int_eq(s.session.position, PROMPT + MAX - 1); /* the last one has not been fed */
    ck_assert_double_gt(s.run.prompt_seconds, 0);
    ck_assert_double_gt(s.run.new_seconds, 0);
    end(&s);
}
END_TEST

/* A second call that starts with the last token goes on where the first one stopped, drawing
 * included. */
START_TEST(test_goes_on)
{
    struct setup s;
    int32_t whole[MAX];
    start(&s, "qwen3", 0.9F);
    run(&s, s.fixture.ids, PROMPT);
    memcpy(whole, s.log.ids, sizeof whole);
    end(&s);

    start(&s, "qwen3", 0.9F);
    s.run.max_tokens = 11;
    run(&s, s.fixture.ids, PROMPT);
    ck_assert_int_eq(s.log.n, 11);
    int32_t last = s.log.ids[10];
    s.run.max_tokens = MAX - 11;
    run(&s, &last, 1);
    ck_assert_int_eq(s.run.prompt_tokens, 1);
    ck_assert_int_eq(s.run.new_tokens, MAX - 11);
    ck_assert_int_eq(s.log.n, MAX);
    ck_assert_mem_eq(s.log.ids, whole, sizeof whole);
    ck_assert_int_eq(s.session.position, PROMPT + MAX - 1);
    end(&s);
}
END_TEST

START_TEST(test_emit_stops)
{
    struct setup s;
    start(&s, "llama", 0);
    s.log.stop_after = 5;
    s.run.max_tokens = -1;
    run(&s, s.fixture.ids, PROMPT);
    ck_assert_int_eq(s.log.n, 5);
    ck_assert_int_eq(s.run.new_tokens, 5);
    ck_assert_int_eq(s.session.position, PROMPT + 4);
    end(&s);
}
END_TEST

START_TEST(test_no_new_tokens)
{
    struct setup s;
    start(&s, "llama", 0);
    s.run.max_tokens = 0;
    run(&s, s.fixture.ids, PROMPT);
    ck_assert_int_eq(s.log.n, 0);
    ck_assert_int_eq(s.run.new_tokens, 0);
    ck_assert_int_eq(s.run.prompt_tokens, PROMPT);
    ck_assert_int_eq(s.session.position, PROMPT);
    end(&s);
}
END_TEST

START_TEST(test_progress)
{
    static int32_t prompt[SESSION_BATCH + 88];
    struct setup s;
    start(&s, "llama", 0);
    s.run.progress = progress;
    s.run.max_tokens = 2;
    run(&s, prompt, SESSION_BATCH + 88);
    ck_assert_int_eq(s.log.n_progress, 2);
    ck_assert_int_eq(s.log.done[0], SESSION_BATCH);
    ck_assert_int_eq(s.log.done[1], SESSION_BATCH + 88);
    ck_assert_int_eq(s.log.total[0], SESSION_BATCH + 88);
    ck_assert_int_eq(s.log.total[1], SESSION_BATCH + 88);
    ck_assert_int_eq(s.log.n, 2);
    end(&s);

    start(&s, "llama", 0);
    s.run.progress = progress;
    s.log.stop_progress = 1;
    run(&s, prompt, SESSION_BATCH + 88);
    ck_assert_int_eq(s.log.n_progress, 1);
    ck_assert_int_eq(s.log.n, 0);
    ck_assert_int_eq(s.run.prompt_tokens, SESSION_BATCH);
    ck_assert_int_eq(s.run.new_tokens, 0);
    ck_assert_int_eq(s.session.position, SESSION_BATCH);
    end(&s);
}
END_TEST

START_TEST(test_errors)
{
    struct setup s;
    struct error err;
    start(&s, "gpt2", 0);
    ck_assert_int_eq(generate(&s.run, (int32_t[]){1, -5}, 2, &err), -1);
    ck_assert_msg(strstr(err.text, "id -5") != NULL, "%s", err.text);
    ck_assert_int_eq(s.run.prompt_tokens, 0);
    ck_assert_int_eq(s.run.new_tokens, 0);
    ck_assert_int_eq(s.log.n, 0);

    static int32_t prompt[120]; /* the table of positions ends at 128 */
    s.run.max_tokens = -1;
    ck_assert_int_eq(generate(&s.run, prompt, 120, &err), -1);
    ck_assert_msg(strstr(err.text, "reaches position 128") != NULL, "%s", err.text);
    ck_assert_int_eq(s.log.n, 9); /* the ninth has a position no more */
    ck_assert_int_eq(s.run.new_tokens, 9);
    ck_assert_int_eq(s.session.position, 128);
    end(&s);
}
END_TEST

/* The penalty looks back on the prompt, too. */
START_TEST(test_prompt_is_penalised)
{
    struct setup s;
    start(&s, "llama", 0);
    sampler_close(&s.sampler);
    struct error err;
    struct sampler_options options = sampler_defaults;
    options.temperature = 0;
    options.repeat_penalty = 1000;
    ck_assert_int_eq(sampler_open(&s.sampler, &options, s.fixture.model.config.vocab_size, &err),
                     0);
    run(&s, s.fixture.ids, PROMPT);
    for (int i = 0; i < MAX; i++) {
        for (int j = 0; j < PROMPT; j++)
            ck_assert_int_ne(s.log.ids[i], s.fixture.ids[j]);
        for (int j = 0; j < i; j++)
            ck_assert_int_ne(s.log.ids[i], s.log.ids[j]);
    }
    end(&s);
}
END_TEST

Suite *generate_suite(void)
{
    Suite *suite = suite_create("generate");
    TCase *tcase = tcase_create("generate");
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, test_greedy, 0, 3);
    tcase_add_test(tcase, test_goes_on);
    tcase_add_test(tcase, test_emit_stops);
    tcase_add_test(tcase, test_no_new_tokens);
    tcase_add_test(tcase, test_progress);
    tcase_add_test(tcase, test_errors);
    tcase_add_test(tcase, test_prompt_is_penalised);
    suite_add_tcase(suite, tcase);
    return suite;
}
