/* test_summarize: the command through the program: what it reads, what it says of it, what it
 * refuses, and what Ctrl-C leaves. */
#include <check.h>
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/program.h"
#include "tests/suites.h"
#include "tests/support.h"

#define TINY "tests/data/llama.gguf" /* trained, it says, on 128 tokens */

#define TEXT "The ship came in. Anna lost a ring in the hall! Who saw it? Nobody did."

static double number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItem(object, name);
    ck_assert_msg(cJSON_IsNumber(item), "no number \"%s\"", name);
    return item->valuedouble;
}

static const char *string(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItem(object, name);
    ck_assert_msg(cJSON_IsString(item), "no text \"%s\"", name);
    return item->valuestring;
}

/* Stretches are in order, and as long as is said. */
static double check_ranges(const cJSON *object, const char *name)
{
    const cJSON *part = cJSON_GetObjectItem(object, name);
    double bytes = 0;
    double last = -1;
    const cJSON *range;
    cJSON_ArrayForEach(range, cJSON_GetObjectItem(part, "ranges"))
    {
        double from = cJSON_GetArrayItem(range, 0)->valuedouble;
        double to = cJSON_GetArrayItem(range, 1)->valuedouble;
        ck_assert_double_gt(from, last);
        ck_assert_double_gt(to, from);
        bytes += to - from;
        last = to;
    }
    ck_assert_double_eq(bytes, number(part, "bytes"));
    return bytes;
}

/* Read and skipped make up the document, in bytes and tokens. */
static void check_coverage(const cJSON *object, size_t bytes)
{
    ck_assert_double_eq(number(object, "bytes"), (double)bytes);
    ck_assert_double_eq(check_ranges(object, "read") + check_ranges(object, "skipped"),
                        (double)bytes);
    ck_assert_double_le(check_ranges(object, "unseen"), check_ranges(object, "read"));
    ck_assert_double_eq(number(cJSON_GetObjectItem(object, "read"), "tokens") +
                            number(cJSON_GetObjectItem(object, "skipped"), "tokens"),
                        number(object, "tokens"));
}

enum { MAX_WORDS = 20 };

/* The JSON of `summarize --json -q` with these arguments. */
static cJSON *summarize(const char *const *arguments, const char *input)
{
    const char *words[MAX_WORDS + 4] = {"summarize", "--json", "-q"};
    int n = 3;
    for (int i = 0; arguments[i]; i++)
        words[n++] = arguments[i];
    char *out = program_output(words, input);
    cJSON *object = cJSON_Parse(out);
    ck_assert_msg(object != NULL, "%s", out);
    free(out);
    return object;
}

/* TEXT seven times over; free it. */
static char *repeated(const char *blank)
{
    size_t size = 7 * (sizeof TEXT + 2);
    char *text = malloc(size);
    ck_assert_ptr_nonnull(text);
    size_t n = 0;
    for (int i = 0; i < 7; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s", TEXT, blank);
    return text;
}

/* Sentences, lines, words without end, white space, and characters of every length. */
static char *ragged(unsigned seed, size_t *length)
{
    static const char *const pieces[] = {"word ",    "Word. ", "\n", "\n\n", "日本", "。",
                                         "longlong", "   ",    "é",  "😀",    "! ",   "a"};
    char *text = malloc(4096);
    ck_assert_ptr_nonnull(text);
    uint64_t state = seed;
    size_t wanted = 1 + seed * 379 % 2500;
    for (*length = 0; *length < wanted;) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        const char *piece = pieces[(state >> 33) % (sizeof pieces / sizeof pieces[0])];
        memcpy(text + *length, piece, strlen(piece));
        *length += strlen(piece);
    }
    memcpy(text + *length, "x", 2);
    *length += 1;
    return text;
}

START_TEST(coverage_adds_up_to_every_byte)
{
    static const char *const options[][6] = {
        {NULL},
        {"--strategy", "whole", NULL},
        {"--context", "window=64", NULL},
        {"--context", "sinks=4,window=40", NULL},
        {"--chunk", "60", "-n", "8", NULL},
        {"--chunk", "100", "--strategy", "chunks", "--context", "window=32"},
    };
    size_t length;
    char *text = ragged((unsigned)_i + 1, &length);
    const char *words[MAX_WORDS] = {"-m", TINY, "-n", "4"};
    for (int i = 0; i < 6 && options[_i % 6][i]; i++)
        words[4 + i] = options[_i % 6][i];
    cJSON *object = summarize(words, text);
    check_coverage(object, length);
    ck_assert_double_eq(check_ranges(object, "skipped"), 0);
    cJSON_Delete(object);
    free(text);
}
END_TEST

START_TEST(a_short_text_is_read_whole_and_a_long_one_in_chunks)
{
    const char *const arguments[] = {"-m", TINY, "-n", "6", NULL};
    cJSON *object = summarize(arguments, TEXT);
    ck_assert_str_eq(string(object, "strategy"), "whole");
    ck_assert_double_eq(number(object, "requests"), 1);
    cJSON_Delete(object);
    char *text = repeated("\n\n");
    object = summarize(arguments, text);
    ck_assert_str_eq(string(object, "strategy"), "chunks");
    ck_assert_double_gt(number(object, "levels"), 1);
    const cJSON *part;
    cJSON_ArrayForEach(part, cJSON_GetObjectItem(object, "parts"))
    {
        string(part, "summary");
        /* Every chunk ends with a sentence. */
        size_t to = (size_t)number(part, "to");
        while (to > 0 && strchr(" \n", text[to - 1]))
            to--;
        ck_assert_ptr_nonnull(strchr(".!?", text[to - 1]));
    }
    cJSON_Delete(object);
    free(text);
}
END_TEST

/* The window has let go of all but its tokens by then. */
START_TEST(what_the_policy_let_go_of_is_told)
{
    const char *const arguments[] = {"-m", TINY, "-n", "4", "--context", "window=40", NULL};
    char *text = repeated(" ");
    cJSON *object = summarize(arguments, text);
    ck_assert_str_eq(string(object, "strategy"), "whole");
    check_coverage(object, strlen(text));
    const cJSON *unseen = cJSON_GetObjectItem(object, "unseen");
    const cJSON *range = cJSON_GetArrayItem(cJSON_GetObjectItem(unseen, "ranges"), 0);
    ck_assert_double_eq(cJSON_GetArrayItem(range, 0)->valuedouble, 0);
    double seen = number(object, "tokens") - number(unseen, "tokens");
    ck_assert_double_le(seen, 40);
    ck_assert_double_ge(seen, 20); /* the rest is the request's own words */
    cJSON_Delete(object);
    free(text);
}
END_TEST

/* ... of every chunk, too: the window has half of one. */
START_TEST(what_the_policy_let_go_of_in_chunks_is_told)
{
    const char *const arguments[] = {"-m",         TINY,        "-n",      "4",
                                     "--strategy", "chunks",    "--chunk", "120",
                                     "--context",  "window=50", NULL};
    char *text = repeated(" ");
    cJSON *object = summarize(arguments, text);
    ck_assert_str_eq(string(object, "strategy"), "chunks");
    check_coverage(object, strlen(text));
    double unseen = check_ranges(object, "unseen");
    ck_assert_double_gt(unseen, 0.2 * (double)strlen(text));
    ck_assert_double_lt(unseen, 0.8 * (double)strlen(text));
    cJSON_Delete(object);
    free(text);
}
END_TEST

START_TEST(the_same_seed_gives_the_same_summary)
{
    size_t length;
    char *text = ragged(6, &length);
    const char *words[] = {"summarize", "-m",      TINY, "-q",     "--temperature",
                           "0.8",       "--chunk", "60", "--seed", "7",
                           "-n",        "6",       NULL};
    char *first = program_output(words, text);
    char *second = program_output(words, text);
    ck_assert_str_eq(first, second);
    free(first);
    free(second);
    free(text);
}
END_TEST

START_TEST(rouge_and_a_question_are_in_the_report)
{
    scratch_make();
    const char *reference = scratch_write("reference.txt", "the hall", 8);
    const char *const arguments[] = {
        "-m",      TINY,         "-n",   "6",        "--reference",
        reference, "--question", "Who?", "--prompt", "{question} {text} {",
        NULL};
    cJSON *object = summarize(arguments, TEXT);
    ck_assert_str_eq(string(object, "question"), "Who?");
    ck_assert_str_eq(string(object, "wording"), "own");
    const cJSON *rouge = cJSON_GetObjectItem(object, "rouge");
    static const char *const names[] = {"rouge1", "rouge2", "rougeL"};
    for (int i = 0; i < 3; i++) {
        const cJSON *scores = cJSON_GetObjectItem(rouge, names[i]);
        ck_assert_double_le(number(scores, "precision"), 1);
        number(scores, "recall");
        number(scores, "f1");
    }
    cJSON_Delete(object);
    scratch_remove();
}
END_TEST

/* ---- Notes ----------------------------------------------------------------------------------- */

START_TEST(notes_say_what_was_read)
{
    const char *const words[] = {"summarize", "-m", TINY, "-n", "4", "-v", "--chunk", "60", NULL};
    struct program program = {.arguments = words, .input = TEXT TEXT TEXT};
    program_run(&program);
    ck_assert_int_eq(program.status, 0);
    char read[64];
    snprintf(read, sizeof read, "read %zu bytes", strlen(TEXT TEXT TEXT));
    static const char *const said[] = {"bytes each as F16", "read in chunks", "will take about",
                                       "end at 4 tokens", "beyond the weights"};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        ck_assert_msg(strstr(program.err, said[i]), "\"%s\" is not in: %s", said[i], program.err);
    ck_assert_ptr_nonnull(strstr(program.err, read));
    program_free(&program);
}
END_TEST

/* ---- Refusals -------------------------------------------------------------------------------- */

static const struct refusal misuses[] = {
    {{"summarize", "-m", TINY, "--strategy", "half"}, TEXT, "\"half\"", "whole or chunks"},
    {{"summarize", "-m", TINY, "--strategy", "whole", "--chunk", "64"},
     TEXT,
     "--chunk: 64",
     "none"},
    {{"summarize", "-m", TINY, "--chunk", "20"}, TEXT, "20 tokens", "16 or more"},
    {{"summarize", "-m", TINY, "-n", "120", "--strategy", "chunks"}, TEXT, "128 tokens", "(-n)"},
    {{"summarize", "-m", TINY, "--chunk", "0"}, TEXT, "--chunk: \"0\"", "from 1"},
    {{"summarize", "-m", TINY, "-n", "0"}, TEXT, "--tokens: \"0\"", "from 1"},
    {{"summarize", "-m", TINY, "--wording", "poem"}, TEXT, "\"poem\"", "report or chat"},
    {{"summarize", "-m", TINY, "--wording", "chat"}, TEXT, "no chat template", "report"},
    {{"summarize", "-m", TINY, "--prompt", "Say more"}, TEXT, "\"Say more\"", "{text}"},
    {{"summarize", "-m", TINY, "--prompt", "{text}{text}"}, TEXT, "2 times", "once"},
    {{"summarize", "-m", TINY, "--prompt", "{text} {question}"}, TEXT, "1 times", "none without"},
    {{"summarize", "-m", TINY, "--prompt", "{text}", "--question", "Who?"},
     TEXT,
     "0 times",
     "once"},
    {{"summarize", "-m", TINY, "--template", "chatml", "--wording", "report"},
     TEXT,
     "--template",
     "exclude"},
    {{"summarize", "-m", TINY, "--context", "mirror"}, TEXT, "\"mirror\"", "all"},
    {{"summarize", "-m", TINY, "--system", "x"}, TEXT, "--system", "unknown"},
};

START_TEST(misuse_is_code_2)
{
    program_check_refusal(&misuses[_i], 2);
}
END_TEST

static const struct refusal failures[] = {
    {{"summarize", "-m", TINY, "-f", "no/such/file"}, NULL, "no/such/file", "cannot open"},
    {{"summarize", "-m", TINY, "-f", TINY}, NULL, "byte", "UTF-8"},
    {{"summarize", "-m", TINY}, "", "nothing but white space", "expected a text"},
    {{"summarize", "-m", TINY}, " \n\t\n ", "nothing but white space", "expected a text"},
    {{"summarize", "-m", TINY}, "good \xff bad", "byte 5 is 0xff", "UTF-8"},
    {{"summarize", "-m", TINY, "--reference", "no/such/file"}, TEXT, "no/such/file", "cannot"},
    {{"summarize", "-m", TINY, "--strategy", "whole", "--max-memory", "1K"},
     TEXT,
     "needs",
     "allows 1.00 kB"},
};

START_TEST(what_cannot_be_read_is_code_1)
{
    program_check_refusal(&failures[_i], 1);
}
END_TEST

/* ---- Ctrl-C ---------------------------------------------------------------------------------- */

/* Starts the program with its standard error in a pipe; what it says as a note is awaited. */
static pid_t start(char *const *arguments, int out, int err)
{
    const char *path = getenv("LONGHAND_PROGRAM");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    pid_t child;
    extern char **environ;
    ck_assert_int_eq(
        posix_spawn(&child, path ? path : "./longhand", &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return child;
}

static size_t read_all(int fd, char *text, size_t size)
{
    size_t used = 0;
    for (ssize_t n; used + 1 < size && (n = read(fd, text + used, size - used - 1)) > 0;)
        used += (size_t)n;
    text[used] = '\0';
    return used;
}

/* The text is long enough for the signal to come in its midst; if it should not, that is seen by
 * the exit code, and the sums must hold all the same. */
START_TEST(interrupt_keeps_what_is_done_and_says_how_far)
{
    enum { BYTES = 1 << 21, JSON_BYTES = 1 << 22 };
    scratch_make();
    char *text = malloc(BYTES);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < BYTES; i++)
        text[i] = "The dog saw a cat. "[i % 19];
    const char *path = scratch_write("long.txt", text, BYTES);
    char *arguments[] = {"longhand",   "summarize",
                         "-m",         TINY,
                         "-n",         "4",
                         "--json",     "-v",
                         "-f",         (char *)(uintptr_t)path,
                         "--strategy", _i ? "whole" : "chunks",
                         NULL};
    int out[2];
    int err[2];
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(err, O_CLOEXEC), 0);
    pid_t child = start(arguments, out[1], err[1]);
    close(out[1]);
    close(err[1]);
    char notes[1 << 16] = "";
    for (size_t n = 0; !strstr(notes, "will take about") && n + 1 < sizeof notes; n++)
        if (read(err[0], notes + n, 1) != 1)
            break;
    kill(child, SIGINT);
    char *json = malloc(JSON_BYTES);
    ck_assert_ptr_nonnull(json);
    read_all(out[0], json, JSON_BYTES);
    read_all(err[0], notes, sizeof notes);
    int status;
    waitpid(child, &status, 0);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 130);
    cJSON *object = cJSON_Parse(json);
    ck_assert_ptr_nonnull(object);
    ck_assert_str_eq(string(object, "end"), "interrupted");
    check_coverage(object, BYTES);
    ck_assert_double_gt(check_ranges(object, "read"), 0);
    ck_assert_double_gt(check_ranges(object, "skipped"), 0);
    ck_assert_ptr_nonnull(strstr(notes, "skipped"));
    if (_i == 0)
        ck_assert_int_gt(cJSON_GetArraySize(cJSON_GetObjectItem(object, "parts")), 0);
    cJSON_Delete(object);
    close(out[0]);
    close(err[0]);
    free(json);
    free(text);
    scratch_remove();
}
END_TEST

#define COUNT(array) (int)(sizeof array / sizeof array[0])

Suite *summarize_suite(void)
{
    Suite *suite = suite_create("summarize");
    TCase *tcase = tcase_create("program");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, coverage_adds_up_to_every_byte, 0, 24);
    tcase_add_test(tcase, a_short_text_is_read_whole_and_a_long_one_in_chunks);
    tcase_add_test(tcase, what_the_policy_let_go_of_is_told);
    tcase_add_test(tcase, what_the_policy_let_go_of_in_chunks_is_told);
    tcase_add_test(tcase, the_same_seed_gives_the_same_summary);
    tcase_add_test(tcase, rouge_and_a_question_are_in_the_report);
    tcase_add_test(tcase, notes_say_what_was_read);
    tcase_add_loop_test(tcase, misuse_is_code_2, 0, COUNT(misuses));
    tcase_add_loop_test(tcase, what_cannot_be_read_is_code_1, 0, COUNT(failures));
    tcase_add_loop_test(tcase, interrupt_keeps_what_is_done_and_says_how_far, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
