/* lookup: guesses against what a search through the whole text finds. */
#include "model/lookup.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"
#include "tests/support.h"

static void open_lookup(struct lookup *lookup)
{
    struct error err;
    ck_assert_msg(lookup_open(lookup, 10, &err) == 0, "%s", err.text);
}

static void add(struct lookup *lookup, const int32_t *ids, int n)
{
    for (int i = 0; i < n; i++)
        lookup_add(lookup, ids[i]);
}

/* The guesses after ids[n], and `n_expected` of them. */
static void check_draft(const int32_t *ids, int n, int64_t most, const int32_t *expected,
                        int n_expected)
{
    int32_t draft[LOOKUP_DRAFT];
    struct lookup lookup;
    open_lookup(&lookup);
    add(&lookup, ids, n);
    ck_assert_int_eq(lookup_draft(&lookup, most, draft), n_expected);
    if (n_expected > 0)
        ck_assert_mem_eq(draft, expected, (size_t)n_expected * sizeof *draft);
    lookup_close(&lookup);
}

#define DRAFT(most, n_expected, expected, ...)                                                    \
    check_draft((const int32_t[]){__VA_ARGS__}, sizeof(int32_t[]){__VA_ARGS__} / sizeof(int32_t), \
                most, expected, n_expected)

START_TEST(test_what_followed)
{
    /* A long match: all that followed. */
    int32_t text[80];
    for (int i = 0; i < 80; i++)
        text[i] = i % 45; /* 35 tokens for the second time */
    check_draft(text, 80, 100, text + 35, 7);
    check_draft(text, 80, 7, text + 35, 7);
    check_draft(text, 80, 3, text + 35, 3);
    check_draft(text, 80, 0, NULL, 0);
    check_draft(text, 80, -1, NULL, 0);
    /* Two tokens are no match, and a text that was never so has none. */
    DRAFT(100, 0, NULL, 1, 2, 3, 4, 0, 1, 2);
    DRAFT(100, 0, NULL, 1, 2, 3, 4, 5, 6, 7, 8);
    DRAFT(100, 0, NULL, 1, 2);
    DRAFT(100, 0, NULL, 1);
    /* The end of the text goes on with itself. */
    for (int period = 1; period <= 3; period++) {
        int32_t expected[7];
        for (int i = 0; i < 80; i++)
            text[i] = i % period;
        for (int i = 0; i < 7; i++)
            expected[i] = (80 + i) % period;
        check_draft(text, 80, 100, expected, 7);
    }
}
END_TEST

START_TEST(test_longest_and_latest)
{
    /* 7 8 9 came with 5 6 before it, and later without. */
    const int32_t longest[] = {1};
    DRAFT(1, 1, longest, 4, 5, 6, 7, 8, 9, 1, 0, 7, 8, 9, 2, 0, 4, 5, 6, 7, 8, 9);
    const int32_t latest[] = {2};
    DRAFT(1, 1, latest, 0, 7, 8, 9, 1, 3, 7, 8, 9, 2, 0, 5, 7, 8, 9);
}
END_TEST

/* A match that turns out wrong is given up at once; one that was right is kept, though what it
 * says came later once more. */
START_TEST(test_follows)
{
    static const int32_t ids[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 7, 8, 9, 5, 1, 2, 3};
    int32_t draft[LOOKUP_DRAFT];
    struct lookup lookup;
    open_lookup(&lookup);
    add(&lookup, ids, sizeof ids / sizeof ids[0]);
    for (int32_t id = 4; id <= 9; id++) {
        ck_assert_int_eq(lookup_draft(&lookup, 1, draft), 1);
        ck_assert_int_eq(draft[0], id);
        lookup_add(&lookup, id);
    }
    ck_assert_int_eq(lookup_draft(&lookup, 1, draft), 1);
    ck_assert_int_eq(draft[0], 0); /* not 5, which followed 7 8 9 the last time */
    lookup_add(&lookup, 3);
    ck_assert_int_eq(lookup_draft(&lookup, 1, draft), 0);
    lookup_close(&lookup);
}
END_TEST

/* It stops guessing where it is wrong, and takes it up again where it is right, without anybody's
 * having checked a guess. */
START_TEST(test_watches_itself)
{
    enum { ROUNDS = 200 };
    int32_t draft[LOOKUP_DRAFT];
    struct lookup lookup;
    open_lookup(&lookup);
    unsigned random = 1;
    int guesses = 0, quiet = 0;
    for (int i = 0; i < ROUNDS; i++) { /* 1 2 3 and then anything */
        add(&lookup, (const int32_t[]){1, 2, 3}, 3);
        int n = lookup_draft(&lookup, 100, draft);
        guesses += i < 10 ? n : 0;
        quiet += i >= ROUNDS / 2 && n == 0;
        random = random * 1103515245 + 12345;
        lookup_add(&lookup, 10 + (int32_t)(random >> 4));
    }
    ck_assert_int_gt(guesses, 0);
    ck_assert_int_eq(quiet, ROUNDS / 2);
    guesses = 0;
    for (int i = 0; i < ROUNDS; i++) {
        add(&lookup, (const int32_t[]){1, 2, 3}, 3);
        guesses += lookup_draft(&lookup, 100, draft);
        lookup_add(&lookup, 4);
    }
    ck_assert_int_gt(guesses, ROUNDS);
    lookup_close(&lookup);
}
END_TEST

/* The ring turns, and places wrap around: what is within reach is found, nothing else is. */
START_TEST(test_long_text)
{
    int32_t draft[LOOKUP_DRAFT];
    struct lookup lookup;
    static const int32_t quote[] = {1000000, 1000001, 1000002, 1000003, 1000004, 1000005};
    static const int64_t gaps[] = {0, 1000, LOOKUP_TOKENS - 40, LOOKUP_TOKENS + 3};
    for (int wraps = 0; wraps < 2; wraps++)
        for (size_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++) {
            open_lookup(&lookup);
            for (int32_t i = 0; i < LOOKUP_TOKENS; i++) /* the ring is full of what it once was */
                lookup_add(&lookup, i * 3);
            if (wraps)
                lookup.n = (uint32_t)-5000;
            add(&lookup, quote, 6);
            for (int64_t i = 0; i < gaps[g]; i++)
                lookup_add(&lookup, 2000000 + (int32_t)i);
            add(&lookup, quote, 4);
            int n = lookup_draft(&lookup, 1, draft);
            ck_assert_int_eq(n, gaps[g] < LOOKUP_TOKENS ? 1 : 0);
            if (n > 0)
                ck_assert_int_eq(draft[0], quote[4]);
            lookup_close(&lookup);
        }
}
END_TEST

START_TEST(test_no_memory)
{
    int failed = 0;
    for (long n = 1;; n++) {
        struct lookup lookup;
        struct error err;
        support_fail_memory(n, false);
        int result = lookup_open(&lookup, 1000, &err);
        support_fail_memory(0, false);
        lookup_close(&lookup);
        lookup_close(&lookup);
        if (support_memory_failures() == 0)
            break;
        ck_assert_int_eq(result, -1);
        ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
        failed++;
    }
    ck_assert_int_eq(failed, 4);
}
END_TEST

Suite *lookup_suite(void)
{
    Suite *suite = suite_create("lookup");
    TCase *tcase = tcase_create("lookup");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_what_followed);
    tcase_add_test(tcase, test_longest_and_latest);
    tcase_add_test(tcase, test_follows);
    tcase_add_test(tcase, test_watches_itself);
    tcase_add_test(tcase, test_long_text);
    tcase_add_test(tcase, test_no_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
