/* test_pretokenize: how each rule splits, against the Hugging Face tokenizers
 * (tests/data/splits.txt, made by scripts/splits.py), and that adversarial text takes linear time.
 */
#include "tokenizer/pretokenize.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/suites.h"

static struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

struct found {
    char hex[4096];
    size_t used;
    const char *next; /* where the next piece must start */
};

static int note_piece(void *context, const char *bytes, size_t n)
{
    struct found *found = context;
    ck_assert_ptr_eq(bytes, found->next);
    found->next = bytes + n;
    if (found->used > 0)
        found->hex[found->used++] = ' ';
    for (size_t i = 0; i < n; i++)
        found->used +=
            (size_t)snprintf(found->hex + found->used, 3, "%02x", (unsigned char)bytes[i]);
    return 0;
}

static void check_line(const struct pretokenizer *pretokenizer, const char *line)
{
    char text[2048];
    size_t n = 0;
    for (const char *at = line; *at; at += 2) {
        at += *at == ' ';
        unsigned byte;
        ck_assert_int_eq(sscanf(at, "%2x", &byte), 1);
        text[n++] = (char)byte;
    }
    struct error err;
    struct pretokenizer_scratch scratch = {0};
    struct found found = {.next = text};
    ck_assert_int_eq(pretokenizer_split(pretokenizer, &scratch, text, n, note_piece, &found, &err),
                     0);
    pretokenizer_scratch_free(&scratch);
    ck_assert_str_eq(found.hex, line);
}

START_TEST(rules_split_as_their_tokenizers_do)
{
    FILE *file = fopen("tests/data/splits.txt", "r");
    ck_assert_ptr_nonnull(file);
    char line[8192];
    struct pretokenizer pretokenizer = {0};
    struct error err;
    int rules = 0, texts = 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#') {
            pretokenizer_close(&pretokenizer);
            ck_assert_int_eq(pretokenizer_open(&pretokenizer, text_of(line + 2), &err), 0);
            rules++;
        } else {
            check_line(&pretokenizer, line);
            texts++;
        }
    }
    pretokenizer_close(&pretokenizer);
    fclose(file);
    ck_assert_int_eq(rules, 7);
    ck_assert_int_ge(texts, 7 * 100);
}
END_TEST

static const char *const names[] = {
    "gpt-2",     "mpt",    "llama-bpe", "llama3",       "llama-v3",       "qwen2", "falcon",
    "starcoder", "refact", "smollm",    "deepseek-llm", "deepseek-coder", "bloom", "default"};
enum { N_NAMES = sizeof names / sizeof names[0] };

static int count_piece(void *context, const char *bytes, size_t n)
{
    (void)bytes;
    *(size_t *)context += n;
    return 0;
}

START_TEST(long_runs_take_linear_time)
{
    static const char *const units[] = {" ",  "a",    "\n",  "1",           "'",
                                        " x", "x \n", "\t ", "\xE3\x80\x80"};
    enum { SIZE = 1 << 18 };
    struct error err;
    struct pretokenizer pretokenizer;
    ck_assert_int_eq(pretokenizer_open(&pretokenizer, text_of(names[_i]), &err), 0);
    char *text = malloc(SIZE + 1);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t n = strlen(units[u]), length = SIZE / n * n;
        for (size_t at = 0; at < length; at++)
            text[at] = units[u][at % n];
        text[length++] = 'x'; /* what looks for the end of the text must not find it */
        struct pretokenizer_scratch scratch = {0};
        size_t bytes = 0;
        clock_t start = clock();
        ck_assert_int_eq(
            pretokenizer_split(&pretokenizer, &scratch, text, length, count_piece, &bytes, &err),
            0);
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        pretokenizer_scratch_free(&scratch);
        ck_assert_uint_eq(bytes, length);
        ck_assert_msg(seconds < 2, "%s: \"%s\": %f s", names[_i], units[u], seconds);
    }
    free(text);
    pretokenizer_close(&pretokenizer);
}
END_TEST

static int stop(void *context, const char *bytes, size_t n)
{
    (void)bytes;
    (void)n;
    return ++*(int *)context == 2 ? -1 : 0;
}

START_TEST(a_piece_that_fails_stops_the_split)
{
    struct error err;
    struct pretokenizer pretokenizer;
    struct pretokenizer_scratch scratch = {0};
    int calls = 0;
    ck_assert_int_eq(pretokenizer_open(&pretokenizer, text_of("falcon"), &err), 0);
    ck_assert_int_eq(pretokenizer_split(&pretokenizer, &scratch, "a b c d", 7, stop, &calls, &err),
                     -1);
    ck_assert_int_eq(calls, 2);
    pretokenizer_scratch_free(&scratch);
    pretokenizer_close(&pretokenizer);
    pretokenizer_close(&pretokenizer);
}
END_TEST

START_TEST(unknown_names_are_refused)
{
    static const char *const bad[] = {"", "gpt-3", "gpt", "-2", "gpt-2 mpt", "llama-bpe\n"};
    struct error err;
    struct pretokenizer pretokenizer;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_int_eq(pretokenizer_open(&pretokenizer, text_of(bad[i]), &err), -1);
    ck_assert_int_eq(pretokenizer_open(&pretokenizer, text_of("gpt-\x1b[2J"), &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "gpt-\\x1b[2J"));
    for (size_t i = 0; i < N_NAMES; i++)
        ck_assert_msg(strstr(err.text, names[i]) != NULL, "%s is not in %s", names[i], err.text);
}
END_TEST

Suite *pretokenize_suite(void)
{
    Suite *suite = suite_create("pretokenize");
    TCase *tcase = tcase_create("pretokenize");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, rules_split_as_their_tokenizers_do);
    tcase_add_loop_test(tcase, long_runs_take_linear_time, 0, N_NAMES);
    tcase_add_test(tcase, a_piece_that_fails_stops_the_split);
    tcase_add_test(tcase, unknown_names_are_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
