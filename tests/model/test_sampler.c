/* sampler: greedy choice, numbers that are none, the generator against published numbers, penalty,
 * options at and beyond their ends. */
#include "model/sampler.h"

#include <check.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "tests/model/sampling.h"
#include "tests/suites.h"
#include "tests/support.h"

START_TEST(test_greedy)
{
    struct sampler_options options = sampler_defaults;
    options.temperature = 0;
    ck_assert_int_eq(next_once(&options, (float[]){1, 5, 5, -2, 5}, 5),
                     1); /* ties: the lowest id */
    ck_assert_int_eq(next_once(&options, (float[]){-3, -3}, 2), 0);
    ck_assert_int_eq(next_once(&options, (float[]){0, -0.0F, 0}, 3), 0);
    ck_assert_int_eq(next_once(&options, (float[]){-9, -8}, 2), 1);
    ck_assert_int_eq(next_once(&options, (float[]){7}, 1), 0);
}
END_TEST

/* NaN counts as minus infinity; nothing else may come of it. */
START_TEST(test_not_numbers)
{
    static const struct {
        float logits[4];
        int32_t expected;
    } rows[] = {
        {{NAN, 1, 2, NAN}, 2},
        {{1, NAN, NAN, NAN}, 0},
        {{NAN, NAN, NAN, NAN}, 0},
        {{NAN, -INFINITY, NAN, -INFINITY}, 0},
        {{-INFINITY, -5, NAN, NAN}, 1},
        {{3, INFINITY, 4, INFINITY}, 1},
        {{-INFINITY, -INFINITY, -INFINITY, -INFINITY}, 0},
    };
    struct sampler_options greedy = sampler_defaults, few = plain, many = sampler_defaults;
    greedy.temperature = 0;
    few.top_k = 1;
    many.temperature = 1e-3F;
    many.repeat_penalty = 1.5F;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_int_eq(next_once(&greedy, rows[i].logits, 4), rows[i].expected);
        ck_assert_int_eq(next_once(&few, rows[i].logits, 4), rows[i].expected);
        ck_assert_int_eq(next_once(&many, rows[i].logits, 4), rows[i].expected);
    }
    for (uint64_t seed = 0; seed < 200; seed++) { /* never drawn */
        struct sampler_options options = plain;
        options.seed = seed;
        options.temperature = 1000;
        int32_t id = next_once(&options, (float[]){NAN, 1, -INFINITY, 2}, 4);
        ck_assert(id == 1 || id == 3);
    }
}
END_TEST

START_TEST(test_vocabulary_of_one)
{
    struct sampler_options options = sampler_defaults;
    options.repeat_penalty = 2;
    struct sampler sampler;
    open_sampler(&sampler, &options, 1);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(sampler_next(&sampler, (float[]){(float)(i - 50)}), 0);
        sampler_accept(&sampler, 0);
    }
    sampler_close(&sampler);
    sampler_close(&sampler);
}
END_TEST

/* splitmix64 of 1234567, and xoshiro256** of the state 1, 2, 3, 4: the numbers that implementations
 * everywhere are tested with. */
START_TEST(test_generator)
{
    static const uint64_t state[] = {6457827717110365317u, 3203168211198807973u,
                                     9817491932198370423u, 4593380528125082431u};
    static const uint64_t numbers[] = {11520u,
                                       0u,
                                       1509978240u,
                                       1215971899390074240u,
                                       1216172134540287360u,
                                       607988272756665600u,
                                       16172922978634559625u,
                                       8476171486693032832u,
                                       10595114339597558777u,
                                       2904607092377533576u};
    static float logits[1000]; /* all equally likely: the draw is the number's first digits */
    struct sampler_options options = plain;
    options.seed = 1234567;
    struct sampler sampler;
    open_sampler(&sampler, &options, 1000);
    ck_assert_mem_eq(sampler.rng, state, sizeof state);
    for (uint64_t i = 0; i < 4; i++)
        sampler.rng[i] = i + 1;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        ck_assert_int_eq(sampler_next(&sampler, logits),
                         (int)((double)numbers[i] * 0x1p-64 * 1000));
    sampler_close(&sampler);
}
END_TEST

START_TEST(test_seeds)
{
    enum { N = 200 };
    static float logits[500];
    for (int i = 0; i < 500; i++)
        logits[i] = (float)(i * 37 % 101) / 40;
    int32_t ids[3][N];
    for (int run = 0; run < 3; run++) {
        struct sampler_options options = sampler_defaults;
        options.top_k = 0;
        options.seed = run == 2 ? 43 : 42;
        struct sampler sampler;
        open_sampler(&sampler, &options, 500);
        for (int i = 0; i < N; i++)
            ids[run][i] = sampler_next(&sampler, logits);
        sampler_close(&sampler);
    }
    ck_assert_mem_eq(ids[0], ids[1], sizeof ids[0]);
    ck_assert_mem_ne(ids[0], ids[2], sizeof ids[0]);
}
END_TEST

START_TEST(test_penalty)
{
    static const float logits[] = {4, 3, -1, -1.5F, 2.5F};
    float copy[5];
    struct sampler_options options = plain;
    struct sampler sampler;
    memcpy(copy, logits, sizeof copy);
    options.temperature = 0;
    options.repeat_penalty = 1.5F;
    options.repeat_last = 3;
    open_sampler(&sampler, &options, 5);
    ck_assert_int_eq(sampler_next(&sampler, copy), 0);
    sampler_accept(&sampler, 0); /* 4 / 1.5 = 2.67 < 3 */
    ck_assert_int_eq(sampler_next(&sampler, copy), 1);
    sampler_accept(&sampler, 0); /* once only: 4 / 2.25 would be less than 2.5 */
    sampler_accept(&sampler, 1);
    ck_assert_int_eq(sampler_next(&sampler, copy), 0);
    sampler_accept(&sampler, 0); /* 0 0 1 0 -> the last three */
    sampler_accept(&sampler, 4);
    sampler_accept(&sampler, 4);
    sampler_accept(&sampler, 4); /* 0 and 1 are forgotten */
    ck_assert_int_eq(sampler_next(&sampler, copy), 0);
    sampler_accept(&sampler, -7); /* no token of the vocabulary: no harm */
    sampler_accept(&sampler, 5);
    sampler_accept(&sampler, INT32_MAX);
    ck_assert_int_eq(sampler_next(&sampler, copy), 0);
    ck_assert_mem_eq(copy, logits, sizeof copy);
    sampler_close(&sampler);

    /* negative ones are multiplied: -1 * 2 < -1.5 */
    static const float negative[] = {-1, -1.5F, -3};
    options.repeat_penalty = 2;
    open_sampler(&sampler, &options, 3);
    sampler_accept(&sampler, 0);
    ck_assert_int_eq(sampler_next(&sampler, negative), 1);
    sampler_close(&sampler);

    options.repeat_last = 0; /* looks back on nothing */
    open_sampler(&sampler, &options, 3);
    sampler_accept(&sampler, 0);
    ck_assert_int_eq(sampler_next(&sampler, negative), 0);
    sampler_close(&sampler);

    options.repeat_last = 8; /* below 1 it rewards */
    options.repeat_penalty = 0.5F;
    open_sampler(&sampler, &options, 5);
    sampler_accept(&sampler, 4);
    ck_assert_int_eq(sampler_next(&sampler, logits), 4);
    sampler_close(&sampler);
}
END_TEST

/* It comes before the filters and the draw. */
START_TEST(test_penalty_first)
{
    static const float logits[] = {3, 2, 1, 0};
    struct sampler_options options = plain;
    options.repeat_penalty = 1000;
    options.top_k = 2;
    struct sampler sampler;
    open_sampler(&sampler, &options, 4);
    sampler_accept(&sampler, 0);
    int seen[4] = {0};
    for (int i = 0; i < 300; i++)
        seen[sampler_next(&sampler, logits)]++;
    ck_assert(seen[0] == 0 && seen[1] > 0 && seen[2] > 0 && seen[3] == 0);
    sampler_close(&sampler);
}
END_TEST

START_TEST(test_options)
{
    const struct {
        size_t offset;
        float bad[4];
        float good[3];
        const char *name, *allowed;
    } rows[] = {
        {offsetof(struct sampler_options, temperature),
         {-0.1F, 1001, NAN, INFINITY},
         {0, 0.5F, 1000},
         "temperature",
         "0 to 1000"},
        {offsetof(struct sampler_options, top_p),
         {0, -1, 1.01F, NAN},
         {0.001F, 0.5F, 1},
         "top-p",
         "more than 0, at most 1"},
        {offsetof(struct sampler_options, min_p),
         {1, -0.1F, INFINITY, NAN},
         {0, 0.5F, 0.999F},
         "min-p",
         "0 (off) to less than 1"},
        {offsetof(struct sampler_options, repeat_penalty),
         {0, -1, INFINITY, NAN},
         {0.01F, 1, 1000},
         "repeat-penalty",
         "more than 0"},
    };
    struct sampler sampler;
    struct error err;
    char message[96];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int k = 0; k < 7; k++) {
            struct sampler_options options = sampler_defaults;
            float value = k < 4 ? rows[i].bad[k] : rows[i].good[k - 4];
            memcpy((char *)&options + rows[i].offset, &value, sizeof value);
            int result = sampler_open(&sampler, &options, 10, &err);
            ck_assert_int_eq(result, k < 4 ? -1 : 0);
            snprintf(message, sizeof message, "%s is %g, allowed: %s", rows[i].name, (double)value,
                     rows[i].allowed);
            if (k < 4)
                ck_assert_msg(strncmp(err.text, message, strlen(message)) == 0,
                              "\"%s\", expected \"%s\"", err.text, message);
            sampler_close(&sampler);
        }
    }
    struct sampler_options options = sampler_defaults;
    options.top_k = -1;
    ck_assert_int_eq(sampler_open(&sampler, &options, 10, &err), -1);
    ck_assert_str_eq(err.text, "top-k is -1, allowed: 0 (off) or more");
    options = sampler_defaults;
    options.top_k = INT32_MAX; /* more than there are: all */
    ck_assert_int_eq(sampler_open(&sampler, &options, 10, &err), 0);
    sampler_close(&sampler);
    static const int lasts[] = {-1, (1 << 20) + 1};
    for (int i = 0; i < 2; i++) {
        options = sampler_defaults;
        options.repeat_last = lasts[i];
        ck_assert_int_eq(sampler_open(&sampler, &options, 10, &err), -1);
        ck_assert_msg(strstr(err.text, "repeat-last is ") &&
                          strstr(err.text, "allowed: 0 to 1048576"),
                      "%s", err.text);
    }
}
END_TEST

START_TEST(test_no_memory)
{
    struct sampler sampler;
    struct error err;
    int failed = 0;
    for (int n = 1;; n++) {
        support_fail_memory(n, false);
        int result = sampler_open(&sampler, &sampler_defaults, 100, &err);
        support_fail_memory(0, false);
        if (support_memory_failures() == 0)
            break;
        ck_assert_int_eq(result, -1);
        ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
        ck_assert_ptr_null(sampler.candidates);
        failed++;
    }
    ck_assert_int_eq(failed, 6);
    sampler_close(&sampler);
}
END_TEST

Suite *sampler_suite(void)
{
    Suite *suite = suite_create("sampler");
    TCase *tcase = tcase_create("sampler");
    tcase_add_test(tcase, test_greedy);
    tcase_add_test(tcase, test_not_numbers);
    tcase_add_test(tcase, test_vocabulary_of_one);
    tcase_add_test(tcase, test_generator);
    tcase_add_test(tcase, test_seeds);
    tcase_add_test(tcase, test_penalty);
    tcase_add_test(tcase, test_penalty_first);
    tcase_add_test(tcase, test_options);
    tcase_add_test(tcase, test_no_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
