/* test_perplexity: the command through the program: its numbers beside those of transformers,
 * llama.cpp and StreamingLLM on the same models and text (scripts/check_perplexity.py made them),
 * going on after an interruption, and what goes wrong. */
#include <check.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/program.h"
#include "tests/suites.h"
#include "tests/support.h"

#define POSITIONS "tests/data/positions/"
#define ROPE POSITIONS "rope.gguf"
#define LLAMA "tests/data/llama.gguf"
#define LLAMA_FOLDER "tests/data/huggingface/llama" /* other tokens */
#define TEXT "LICENSE"
#define COUNT(array) (int)(sizeof array / sizeof array[0])

static double number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItem(object, name);
    ck_assert_msg(cJSON_IsNumber(item), "%s", name);
    return item->valuedouble;
}

/* The i-th line of JSON, parsed. */
static cJSON *line_of(const char *text, int i)
{
    for (; i > 0 && text; i--) {
        text = strchr(text, '\n');
        text = text ? text + 1 : NULL;
    }
    cJSON *object = text ? cJSON_Parse(text) : NULL;
    ck_assert_ptr_nonnull(object);
    return object;
}

static int count_lines(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static const struct {
    const char *arguments[PROGRAM_ARGUMENTS];
    double loss;
    int tokens;
    double tolerance;
} outsiders[] = {
    /* transformers, in double: segments, and windows */
    {{"perplexity", "-m", LLAMA_FOLDER, "-f", TEXT, "-n", "180", "--lengths", "60", "--kv-type",
      "f32", "--json"},
     6.610770282,
     180,
     1e-5},
    {{"perplexity", "-m", LLAMA_FOLDER, "-f", TEXT, "-n", "184", "--mode", "sliding", "--lengths",
      "64", "--stride", "24", "--kv-type", "f32", "--json"},
     6.600373641,
     184,
     1e-5},
    /* StreamingLLM, token by token, in double */
    {{"perplexity", "-m", ROPE, "-f", TEXT, "-n", "100", "--mode", "streaming", "--context",
      "sinks=4,window=12", "--kv-type", "f32", "--json"},
     3.971710658,
     100,
     1e-5},
    {{"perplexity", "-m", POSITIONS "alibi.gguf", "-f", TEXT, "-n", "100", "--mode", "streaming",
      "--context", "sinks=4,window=12", "--kv-type", "f32", "--json"},
     5.189278222,
     100,
     1e-5},
    /* llama.cpp, whose cache rounds to 16 bits */
    {{"perplexity", "-m", LLAMA, "-f", TEXT, "--like", "llama.cpp", "--lengths", "64", "--json"},
     6.558282783,
     465,
     1e-3},
    {{"perplexity", "-m", "tests/data/bloom.gguf", "-f", TEXT, "--like", "llama.cpp", "--lengths",
      "64", "--json"},
     7.428140392,
     465,
     1e-3},
};

START_TEST(losses_are_those_of_others)
{
    char *out = program_output(outsiders[_i].arguments, NULL);
    cJSON *result = line_of(out, count_lines(out) - 1);
    ck_assert(cJSON_IsTrue(cJSON_GetObjectItem(result, "whole")));
    ck_assert_double_eq_tol(number(result, "loss"), outsiders[_i].loss, outsiders[_i].tolerance);
    ck_assert_double_eq(number(result, "tokens"), outsiders[_i].tokens);
    ck_assert_double_eq_tol(number(result, "perplexity"), exp(number(result, "loss")), 1e-6);
    cJSON_Delete(result);
    free(out);
}
END_TEST

START_TEST(bins_are_means_by_place_and_sum_to_the_whole)
{
    char *out = program_output((const char *[]){"perplexity", "-m", LLAMA_FOLDER, "-f", TEXT, "-n",
                                                "180", "--mode", "positions", "--lengths", "60",
                                                "--kv-type", "f32", "--json", NULL},
                               NULL);
    /* transformers, in double, of three segments */
    static const int ends[] = {1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 60};
    static const double losses[] = {5.995781647, 6.714197906, 5.203014967, 5.869461474,
                                    5.424972212, 5.928392242, 6.440580775, 6.679058906,
                                    6.957879400, 6.477632749, 6.859140534, 6.751154513};
    double loss = 0;
    double tokens = 0;
    ck_assert_int_eq(count_lines(out), COUNT(ends) + 1);
    for (int i = 0; i < COUNT(ends); i++) {
        cJSON *bin = line_of(out, i);
        int first = i > 0 ? ends[i - 1] + 1 : 1;
        ck_assert_double_eq(number(bin, "first"), first);
        ck_assert_double_eq(number(bin, "last"), ends[i]);
        ck_assert_double_eq(number(bin, "tokens"), 3 * (ends[i] - first + 1));
        ck_assert_double_eq_tol(number(bin, "loss"), losses[i], 1e-4);
        loss += number(bin, "loss") * number(bin, "tokens");
        tokens += number(bin, "tokens");
        cJSON_Delete(bin);
    }
    cJSON *whole = line_of(out, COUNT(ends));
    ck_assert_double_eq(tokens, 180);
    ck_assert_double_eq_tol(loss / tokens, number(whole, "loss"), 1e-9);
    cJSON_Delete(whole);
    free(out);
}
END_TEST

START_TEST(bits_are_counted_by_the_bytes_of_the_file)
{
    struct stat info;
    ck_assert_int_eq(stat(TEXT, &info), 0);
    char *out = program_output((const char *[]){"perplexity", "-m", LLAMA, "-f", TEXT, "--mode",
                                                "streaming", "--json", NULL},
                               NULL);
    cJSON *whole = line_of(out, count_lines(out) - 1);
    double bits = number(whole, "loss") * number(whole, "tokens") / log(2);
    ck_assert_double_eq_tol(number(whole, "bits_per_byte"), bits / (double)info.st_size, 1e-6);
    cJSON_Delete(whole);
    free(out);
}
END_TEST

#define SWEEP \
    "perplexity", "-m", ROPE, "-m", POSITIONS "alibi.gguf", "-f", TEXT, "--lengths", "16,64"

/* All numbers but those of speed. */
static void check_same_results(const char *a, const char *b)
{
    static const char *const names[] = {"length",         "tokens",          "loss",
                                        "perplexity_low", "perplexity_high", "bits_per_byte",
                                        "cache_bytes"};
    ck_assert_int_eq(count_lines(a), count_lines(b));
    for (int i = 0; i < count_lines(a); i++) {
        cJSON *x = line_of(a, i);
        cJSON *y = line_of(b, i);
        for (int k = 0; k < COUNT(names); k++)
            ck_assert_msg(number(x, names[k]) == number(y, names[k]), "%s", names[k]);
        cJSON_Delete(x);
        cJSON_Delete(y);
    }
}

START_TEST(threads_and_several_models_change_nothing)
{
    char *one = program_output((const char *[]){SWEEP, "--json", "-t", "1", NULL}, NULL);
    char *three = program_output((const char *[]){SWEEP, "--json", "-t", "3", NULL}, NULL);
    ck_assert_int_eq(count_lines(one), 4);
    check_same_results(one, three);
    free(one);
    free(three);
}
END_TEST

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    char *text = calloc(1 << 20, 1);
    ck_assert_uint_lt(fread(text, 1, 1 << 20, f), 1 << 20);
    fclose(f);
    return text;
}

/* What a process leaves that ended anywhere: the first bytes of both files. */
START_TEST(an_interrupted_run_goes_on_to_the_same_results)
{
    char csv[512];
    char parts[520];
    scratch_make();
    snprintf(csv, sizeof csv, "%s", scratch_path("results.csv"));
    snprintf(parts, sizeof parts, "%s.parts", csv);
    const char *const arguments[] = {SWEEP, "--json", "--csv", csv, NULL};
    char *expected = program_output(arguments, NULL);
    char *csv_text = read_text(csv);
    char *parts_text = read_text(parts);
    ck_assert_int_eq(count_lines(csv_text), 5);
    static const double shares[] = {0, 0.01, 0.3, 0.77, 0.999, 1};
    for (int i = 0; i < COUNT(shares); i++) {
        scratch_write("results.csv", csv_text, (size_t)(shares[i] * (double)strlen(csv_text)));
        scratch_write("results.csv.parts", parts_text,
                      (size_t)(shares[i] * (double)strlen(parts_text)));
        char *out = program_output(arguments, NULL);
        check_same_results(expected, out);
        char *again = read_text(csv);
        ck_assert_int_eq(count_lines(again), 5);
        free(again);
        free(out);
    }
    free(expected);
    free(csv_text);
    free(parts_text);
    scratch_remove();
}
END_TEST

START_TEST(other_models_and_lengths_go_on)
{
    struct program program = {
        .arguments = (const char *[]){"perplexity", "-m", POSITIONS "learned.gguf", "-m", "none",
                                      "-m", ROPE, "-f", TEXT, "--lengths", "64,100,65536", NULL}};
    program_run(&program);
    ck_assert_int_eq(program.status, 1);
    ck_assert_ptr_nonnull(strstr(program.err, "4 failed; the first: none: cannot open"));
    ck_assert_int_eq(count_lines(program.err), 1);
    ck_assert_ptr_nonnull(
        strstr(program.out, "failed: length 100: the model has learned positions up to 95 only"));
    ck_assert_ptr_nonnull(strstr(program.out, "failed: LICENSE: "));
    ck_assert_ptr_nonnull(strstr(program.out, "\nrope                            64 "));
    ck_assert_ptr_nonnull(strstr(program.out, "\nrope                           100 "));
    program_free(&program);
}
END_TEST

START_TEST(the_shortest_text_has_two_tokens)
{
    char *out = program_output((const char *[]){"perplexity", "-m", LLAMA, "--json", NULL}, "a");
    cJSON *result = line_of(out, 0);
    ck_assert_double_ge(number(result, "tokens"), 1);
    ck_assert(cJSON_IsNull(cJSON_GetObjectItem(result, "perplexity_low")));
    cJSON_Delete(result);
    free(out);
}
END_TEST

START_TEST(a_plot_is_drawn_and_written)
{
    scratch_make();
    const char *path = scratch_path("curve.svg");
    char *out = program_output((const char *[]){SWEEP, "--plot", path, NULL}, NULL);
    ck_assert_ptr_null(strstr(out, "└")); /* no terminal */
    free(out);
    char *svg = read_text(path);
    ck_assert_ptr_nonnull(strstr(svg, ">alibi</text>"));
    free(svg);
    out = program_output((const char *[]){SWEEP, "--plot", "-", NULL}, NULL);
    ck_assert_ptr_nonnull(strstr(out, "tokens of a segment"));
    free(out);
    /* A picture that never came leaves no empty file. */
    struct program program = {.arguments = (const char *[]){"perplexity", "-m", "none", "-f", TEXT,
                                                            "--plot", path, NULL}};
    remove(path);
    program_run(&program);
    ck_assert_int_eq(program.status, 1);
    ck_assert_ptr_null(fopen(path, "r"));
    program_free(&program);
    scratch_remove();
}
END_TEST

static const struct refusal misuses[] = {
    {{"perplexity", "--mode", "all"}, "a", "--mode: \"all\"", "chunked, sliding"},
    {{"perplexity", "--lengths", "256,128"}, "a", "\"256,128\"", "rising"},
    {{"perplexity", "--lengths", "256,"}, "a", "\"256,\"", "rising"},
    {{"perplexity", "--lengths", "0"}, "a", "\"0\"", "rising"},
    {{"perplexity", "--lengths", "99999999999999999999"}, "a", "9999", "rising"},
    {{"perplexity", "--bins", "0"}, "a", "--bins: \"0\"", "octaves"},
    {{"perplexity", "--bins", "4"}, "a", "--bins", "positions"},
    {{"perplexity", "--stride", "4"}, "a", "--stride", "sliding"},
    {{"perplexity", "--mode", "sliding", "--lengths", "8", "--stride", "9"}, "a", "9", "at most"},
    {{"perplexity", "--mode", "streaming", "--lengths", "8"}, "a", "--lengths", "--tokens"},
    {{"perplexity", "--mode", "positions", "--lengths", "8,9"}, "a", "--lengths", "one"},
    {{"perplexity", "--like", "vllm"}, "a", "--like: \"vllm\"", "llama.cpp"},
    {{"perplexity", "--like", "llama.cpp", "--mode", "sliding"}, "a", "--like", "chunked"},
    {{"perplexity", "-p", "text"}, "a", "-p", "unknown"},
    {{"perplexity", "-m", ROPE, "-m", LLAMA, "--context", "mirror"}, "a", "mirror", "all"},
};

START_TEST(misuse_is_code_2)
{
    program_check_refusal(&misuses[_i], 2);
}
END_TEST

#define ONE "perplexity", "-m", ROPE, "-f", TEXT, "--lengths", "16"

static const struct refusal failures[] = {
    {{ONE, "--csv", "/dev/full/x"}, NULL, "/dev/full/x: cannot open", NULL},
    {{ONE, "--csv", TEXT}, NULL, "LICENSE: is something else", "key,model"},
    {{ONE, "--plot", "/nowhere/x.svg"}, NULL, "/nowhere/x.svg: cannot open", NULL},
    {{ONE, "--plot", "x.png"}, NULL, "x.png", ".svg"},
    {{ONE, "-f", "nowhere"}, NULL, "nowhere: cannot open", NULL},
    {{ONE, "-f", "/dev/null"}, NULL, "/dev/null: is empty", NULL},
    {{ONE, "-f", ROPE}, NULL, "which begins no UTF-8 character", "UTF-8 text"},
    {{ONE, "--max-memory", "100"}, NULL, "16 tokens needs", "allows 100 bytes"},
    {{"perplexity", "-m", ROPE, "-f", TEXT, "--lengths", "65536"},
     NULL,
     "tokens to predict",
     "needs 65536"},
    {{"perplexity", "-m", ROPE, "-f", TEXT, "--like", "llama.cpp", "--lengths", "4096"},
     NULL,
     "tokens to predict",
     "needs 8191"},
    {{"perplexity", "-m", POSITIONS "alibi.gguf", "--rope-scaling", "linear"},
     "some text",
     "\"alibi\"",
     "expected rope"},
    {{"perplexity", "-m", POSITIONS "alibi.gguf"}, "", "tokens found", "2 or more"},
};

START_TEST(failures_are_code_1_and_say_what)
{
    program_check_refusal(&failures[_i], 1);
}
END_TEST

START_TEST(a_full_disk_keeps_what_was_measured)
{
    char command[2048];
    const char *program = getenv("LONGHAND_PROGRAM");
    scratch_make();
    char csv[512];
    snprintf(csv, sizeof csv, "%s", scratch_path("full.csv"));
    /* Files of at most 512 or 1024 bytes, as the shell counts. */
    snprintf(command, sizeof command,
             "trap '' XFSZ; ulimit -f 1; %s perplexity -m " ROPE " -f " TEXT
             " --lengths 16 --csv %s >/dev/null 2>&1",
             program ? program : "./longhand", csv);
    int status = system(command);
    ck_assert_int_eq(WEXITSTATUS(status), 1);
    char *fresh = program_output((const char *[]){ONE, "--json", NULL}, NULL);
    struct program resumed = {.arguments =
                                  (const char *[]){ONE, "--json", "-v", "--csv", csv, NULL}};
    program_run(&resumed);
    ck_assert_int_eq(resumed.status, 0);
    ck_assert_ptr_nonnull(strstr(resumed.err, " segments are in "));
    check_same_results(fresh, resumed.out);
    free(fresh);
    program_free(&resumed);
    scratch_remove();
}
END_TEST

Suite *perplexity_suite(void)
{
    Suite *suite = suite_create("perplexity");
    TCase *tests = tcase_create("perplexity");
    tcase_set_timeout(tests, 30);
    tcase_add_loop_test(tests, losses_are_those_of_others, 0, COUNT(outsiders));
    tcase_add_test(tests, bins_are_means_by_place_and_sum_to_the_whole);
    tcase_add_test(tests, bits_are_counted_by_the_bytes_of_the_file);
    tcase_add_test(tests, threads_and_several_models_change_nothing);
    tcase_add_test(tests, an_interrupted_run_goes_on_to_the_same_results);
    tcase_add_test(tests, other_models_and_lengths_go_on);
    tcase_add_test(tests, the_shortest_text_has_two_tokens);
    tcase_add_test(tests, a_plot_is_drawn_and_written);
    tcase_add_loop_test(tests, misuse_is_code_2, 0, COUNT(misuses));
    tcase_add_loop_test(tests, failures_are_code_1_and_say_what, 0, COUNT(failures));
    tcase_add_test(tests, a_full_disk_keeps_what_was_measured);
    suite_add_tcase(suite, tests);
    return suite;
}
