/* session: what cannot be fed is refused and changes nothing; memory is what is reported, grows
 * with the text, and may run out. */
#include "model/session.h"

#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "kernels/parallel.h"
#include "model/attention.h"
#include "tests/model/timeline.h"
#include "tests/suites.h"
#include "tests/support.h"

static void open_session(struct session *session, const struct fixture *fixture)
{
    struct error err;
    ck_assert_msg(session_open(session, &fixture->model,
                               &(struct session_options){.kv = FORMAT_F32}, &err) == 0,
                  "%s", err.text);
}

static void feed(struct session *session, const int32_t *ids, int64_t n)
{
    struct error err;
    ck_assert_msg(session_feed(session, ids, n, NULL, &err) == 0, "%s", err.text);
}

/* The session, which has been fed the first `done` tokens, goes on as if nothing had happened to
 * it. */
static void check_goes_on(struct session *session, const struct fixture *fixture, int done)
{
    ck_assert_int_eq(session->position, done);
    feed(session, fixture->ids + done, fixture->n - done);
    int vocab_size = fixture->model.config.vocab_size;
    const float *expected = fixture->expected + (size_t)(fixture->n - 1) * (size_t)vocab_size;
    ck_assert_double_le(fixture_difference(fixture, session->logits, expected, (size_t)vocab_size),
                        1e-4);
}

static void refuse(struct session *session, const int32_t *ids, int64_t n, const char *message)
{
    struct error err = {""};
    int64_t position = session->position;
    size_t bytes = session_bytes(session);
    ck_assert_int_eq(session_feed(session, ids, n, NULL, &err), -1);
    ck_assert_msg(strstr(err.text, message) != NULL, "no \"%s\" in \"%s\"", message, err.text);
    ck_assert_int_eq(session->position, position);
    ck_assert_uint_eq(session_bytes(session), bytes);
}

START_TEST(test_bad_ids)
{
    struct fixture fixture;
    struct session session;
    fixture_open(&fixture, "qwen2", "qwen2", NULL);
    open_session(&session, &fixture);
    int32_t vocab_size = fixture.model.config.vocab_size;
    char message[64];
    snprintf(message, sizeof message, "token 2 of the text: id %d, allowed: 0 to %d", vocab_size,
             vocab_size - 1);
    refuse(&session, (int32_t[]){0, 1, vocab_size}, 3, message);
    feed(&session, fixture.ids, 10);
    refuse(&session, (int32_t[]){0, 1, vocab_size}, 3, message);
    refuse(&session, (int32_t[]){-1}, 1, "token 0 of the text: id -1, allowed: 0 to");
    refuse(&session, (int32_t[]){5, INT32_MAX, 5}, 3, "token 1 of the text: id 2147483647");
    refuse(&session, (int32_t[]){INT32_MIN}, 1, "id -2147483648");
    check_goes_on(&session, &fixture, 10);
    session_close(&session);
    fixture_close(&fixture);
}
END_TEST

START_TEST(test_learned_positions_end)
{
    static int32_t ids[129];
    struct fixture fixture;
    struct error err;
    struct session session;
    fixture_open(&fixture, "gpt2", "gpt2", NULL);
    open_session(&session, &fixture);
    ck_assert_int_eq(fixture.model.positions[0].limit, 128);
    const char *message =
        "reaches position 128, but the model has learned positions up to 127 only";
    refuse(&session, ids, 129, message);
    feed(&session, fixture.ids, 50);
    refuse(&session, ids, 79, message);
    check_goes_on(&session, &fixture, 50);
    feed(&session, ids, 64);
    ck_assert_int_eq(session.position, 128);
    refuse(&session, ids, 1, message);
    ck_assert_int_eq(session_truncate(&session, 127, &err), 0);
    feed(&session, ids, 1);
    session_close(&session);
    fixture_close(&fixture);
}
END_TEST

/* Adds what the allocator gave, and what it may have rounded up by: a cache line and its own
 * header, or the rest of a page where it maps the memory. */
static void add_allocation(void *pointer, size_t *bytes, size_t *slack)
{
    size_t size = malloc_usable_size(pointer);
    *bytes += size;
    *slack += size < 1 << 17 ? 128 : 128 + 4096;
}

static void check_bytes(const struct session *session)
{
    void *const pointers[] = {
        session->activations.x, session->workspace.activations, session->workspace.scale,
        session->workspace.sum, session->workspace.thread,      session->logits,
        session->parts,
    };
    size_t bytes = 0, slack = 0;
    for (size_t i = 0; i < sizeof pointers / sizeof pointers[0]; i++)
        if (pointers[i])
            add_allocation(pointers[i], &bytes, &slack);
    for (int i = 0; i < session->cache.n_layers * STRIPS_MAX; i++) {
        const struct strip *strip = &session->cache.strips[i];
        for (int64_t b = 0; b < strip->n_blocks; b++)
            add_allocation(strip->blocks[b], &bytes, &slack);
    }
    ck_assert_uint_ge(bytes, session_bytes(session));
    ck_assert_uint_le(bytes, session_bytes(session) + slack);
}

START_TEST(test_bytes)
{
    struct fixture fixture;
    struct error err;
    struct session session;
    fixture_open(&fixture, "bloom", "bloom", NULL);
    parallel_set_threads(2);
    open_session(&session, &fixture);
    check_bytes(&session);
    feed(&session, fixture.ids, 1);
    check_bytes(&session);
    ck_assert_int_eq(session.activations.tokens, 1);
    feed(&session, fixture.ids, 64);
    check_bytes(&session);

    /* From here on only the cache grows, a block at a time. */
    size_t before = session_bytes(&session), block = cache_block_bytes(&session.cache);
    size_t strips = 2 * (size_t)fixture.model.config.n_layers; /* of keys and of values */
    for (int i = 0; i < 4; i++) {
        feed(&session, fixture.ids, 64);
        size_t blocks = (size_t)(session.position + CACHE_BLOCK - 1) / CACHE_BLOCK;
        ck_assert_uint_eq(session_bytes(&session), before + (blocks - 1) * strips * block);
        check_bytes(&session);
    }
    ck_assert_int_eq(session_truncate(&session, 1, &err), 0);
    check_bytes(&session);
    ck_assert_uint_eq(session.cache.n_blocks, strips);
    session_close(&session);
    session_close(&session);
    fixture_close(&fixture);
}
END_TEST

/* Scratch is there for every thread, even when there are more of them than when it was made. */
START_TEST(test_more_threads)
{
    struct fixture fixture;
    struct error err;
    struct session session;
    fixture_open(&fixture, "bloom", "bloom", NULL);
    parallel_set_threads(1);
    open_session(&session, &fixture);
    feed(&session, fixture.ids, 32);
    size_t bytes = session_bytes(&session);
    parallel_set_threads(8);
    feed(&session, fixture.ids, 32); /* no more tokens than before */
    check_bytes(&session);
    size_t scratch = attention_scratch(&fixture.model) * sizeof(float);
    ck_assert_uint_ge(session_bytes(&session),
                      bytes + 7 * (scratch + session.workspace.thread_bytes));
    ck_assert_int_eq(session_truncate(&session, 32, &err), 0);
    parallel_set_threads(2);
    check_goes_on(&session, &fixture, 32);
    session_close(&session);
    fixture_close(&fixture);
}
END_TEST

START_TEST(test_no_memory)
{
    struct fixture fixture;
    struct error err;
    int failed = 0;
    fixture_open(&fixture, "llama", "llama", NULL);
    parallel_set_threads(1);
    for (int n = 1;; n++) {
        struct session session;
        support_fail_memory(n, false);
        int result = session_open(&session, &fixture.model,
                                  &(struct session_options){.kv = FORMAT_F32}, &err);
        if (result == 0)
            result = session_feed(&session, fixture.ids, fixture.n, NULL, &err);
        support_fail_memory(0, false);
        bool opened = session.logits != NULL;
        if (result == 0)
            ck_assert_int_eq(session_truncate(&session, 0, &err), 0);
        else
            ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
        if (opened) /* the failure has left it usable */
            check_goes_on(&session, &fixture, 0);
        session_close(&session);
        if (support_memory_failures() == 0)
            break;
        ck_assert_int_eq(result, -1);
        failed++;
    }
    /* Three lists of the cache; logits; tables of positions; activations; four arrays of the
     * workspace; and for keys and values of two layers a list, four blocks, four directories. */
    ck_assert_int_eq(failed, 19);
    fixture_close(&fixture);
}
END_TEST

/* A text that does not fit is refused as often as it comes, and costs nothing. */
START_TEST(test_failed_feeds_keep_no_memory)
{
    static int32_t ids[2000];
    struct fixture fixture;
    struct session session;
    struct error err;
    fixture_open(&fixture, "llama", "llama", NULL);
    parallel_set_threads(1);
    open_session(&session, &fixture);
    feed(&session, fixture.ids, 20);
    size_t bytes = 0;
    for (int i = 0; i < 3; i++) {
        support_fail_memory(8, true); /* somewhere in the blocks of the cache */
        int result = session_feed(&session, ids, 2000, NULL, &err);
        support_fail_memory(0, false);
        ck_assert_int_eq(result, -1);
        ck_assert_msg(strstr(err.text, "out of memory: the cache of") != NULL, "%s", err.text);
        ck_assert_uint_eq(session.cache.n_blocks, 4);
        if (i > 0)
            ck_assert_uint_eq(session_bytes(&session), bytes);
        bytes = session_bytes(&session);
        check_bytes(&session);
    }
    check_goes_on(&session, &fixture, 20);
    session_close(&session);
    fixture_close(&fixture);
}
END_TEST

START_TEST(test_unsupported_cache)
{
    struct fixture fixture;
    struct session session;
    struct error err;
    fixture_open(&fixture, "llama", "llama", NULL);
    ck_assert_int_eq(
        session_open(&session, &fixture.model, &(struct session_options){.kv = FORMAT_Q2_K}, &err),
        -1);
    ck_assert_msg(strstr(err.text, "cache type Q2_K") != NULL, "%s", err.text);
    session_close(&session);
    fixture_close(&fixture);
}
END_TEST

/* Two timelines of one model do not touch each other. */
START_TEST(test_two_sessions)
{
    struct fixture fixture;
    struct session a, b;
    fixture_open(&fixture, "llama3", "llama3", NULL);
    open_session(&a, &fixture);
    open_session(&b, &fixture);
    for (int i = 0; i < 40; i++) {
        feed(&a, fixture.ids + i, 1);
        feed(&b, fixture.ids + 63 - i, 1);
    }
    session_close(&b);
    check_goes_on(&a, &fixture, 40);
    session_close(&a);
    fixture_close(&fixture);
}
END_TEST

/* Who says how long a text will be may feed it in pieces: LongRoPE's long factors hold from its
 * first token on, as when it is fed at once. */
START_TEST(test_expected_length)
{
    struct fixture fixture;
    struct session session;
    struct error err;
    fixture_open(&fixture, "positions/rope-longrope", "positions/rope-longrope", "scalar");
    size_t vocab_size = (size_t)fixture.model.config.vocab_size;
    float *logits = malloc((size_t)fixture.n * vocab_size * sizeof *logits);
    open_session(&session, &fixture);
    session_expect(&session, fixture.n);
    for (int i = 0; i < fixture.n; i += 8)
        ck_assert_int_eq(
            session_feed(&session, fixture.ids + i, 8, logits + (size_t)i * vocab_size, &err), 0);
    double difference =
        fixture_difference(&fixture, logits, fixture.expected, (size_t)fixture.n * vocab_size);
    ck_assert_double_le(difference, 1e-5);
    free(logits);
    session_close(&session);
    fixture_close(&fixture);
}
END_TEST

/* What a policy lets go of behind a place that is held does not matter to who comes back to it,
 * until a batch more has been fed; and it takes no more memory than was said. */
static const char *const forgetful[] = {"window=20", "sinks=4,window=40",
                                        "lm-infinite,global=4,window=30"};

START_TEST(test_held_place)
{
    static int32_t ids[1200];
    struct fixture fixture;
    struct session session;
    struct error err = {""};
    fixture_open(&fixture, "llama", "llama", "scalar");
    size_t vocab_size = (size_t)fixture.model.config.vocab_size;
    float *logits = malloc(vocab_size * sizeof *logits);
    timeline_ids(&fixture, ids, 1200);
    timeline_open(&session, &fixture.model, forgetful[_i], FORMAT_F32, 0);
    feed(&session, ids, 300);
    feed(&session, ids + 300, 1);
    memcpy(logits, session.logits, vocab_size * sizeof *logits);
    ck_assert_int_eq(session_truncate(&session, 300, &err), 0);
    session_hold(&session);
    for (int n = 1; n <= SESSION_BATCH; n += 73) {
        for (int i = 0; i < n; i += 37)
            feed(&session, ids + 300 + i, n - i < 37 ? n - i : 37);
        ck_assert_double_le((double)cache_bytes(&session.cache),
                            session_cache_bytes(&session, 300 + n));
        ck_assert_msg(session_truncate(&session, 300, &err) == 0, "%d: %s", n, err.text);
        feed(&session, ids + 300, 1);
        ck_assert_mem_eq(session.logits, logits, vocab_size * sizeof *logits);
        ck_assert_int_eq(session_truncate(&session, 300, &err), 0);
    }
    for (int i = 0; i < SESSION_BATCH + 128; i += 64)
        feed(&session, ids + 300 + i, 64);
    ck_assert_double_le((double)cache_bytes(&session.cache),
                        session_cache_bytes(&session, session.position));
    ck_assert_int_eq(session_truncate(&session, 300, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "cannot go back from token 940 to 300"));
    free(logits);
    session_close(&session);
    fixture_close(&fixture);
}
END_TEST

Suite *session_suite(void)
{
    Suite *suite = suite_create("session");
    TCase *tcase = tcase_create("session");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_bad_ids);
    tcase_add_test(tcase, test_learned_positions_end);
    tcase_add_test(tcase, test_bytes);
    tcase_add_test(tcase, test_more_threads);
    tcase_add_test(tcase, test_no_memory);
    tcase_add_test(tcase, test_failed_feeds_keep_no_memory);
    tcase_add_test(tcase, test_unsupported_cache);
    tcase_add_test(tcase, test_two_sessions);
    tcase_add_test(tcase, test_expected_length);
    tcase_add_loop_test(tcase, test_held_place, 0, sizeof forgetful / sizeof forgetful[0]);
    suite_add_tcase(suite, tcase);
    return suite;
}
