/* test_program: the program as its users meet it: exit codes, messages, and what goes to which
 * stream. */
#include <check.h>
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/program.h"
#include "tests/suites.h"
#include "tests/support.h"

/* A tiny random model that carries a tokenizer. */
#define TINY "tests/data/llama.gguf"

static const struct refusal misuses[] = {
    {{NULL}, NULL, "no command", "--help"},
    {{"frobnicate"}, NULL, "unknown command \"frobnicate\"", "--help"},
    {{"generate", "--frobnicate"}, NULL, "--frobnicate", "unknown"},
    {{"generate", "-p", "x", "extra"}, NULL, "extra", "unexpected"},
    {{"generate", "-n"}, NULL, "-n", "needs an argument"},
    {{"generate", "-n", "many"}, NULL, "many", "whole number"},
    {{"generate", "-n", "12x"}, NULL, "12x", "whole number"},
    {{"generate", "-n", "-1"}, NULL, "-1", "from 0"},
    {{"generate", "-n", "99999999999999999999"}, NULL, "99999999999999999999", "whole number"},
    {{"generate", "-t", "0"}, NULL, "\"0\"", "from 1"},
    {{"generate", "--temperature", "hot"}, NULL, "hot", "number"},
    {{"generate", "--temperature", "nan"}, NULL, "nan", "number"},
    {{"generate", "--top-k", "-1"}, NULL, "-1", "from 0"},
    {{"generate", "--seed", "-1"}, NULL, "-1", "from 0"},
    {{"generate", "--kv-type", "q3"}, NULL, "q3", "f16"},
    {{"generate", "--stop", ""}, NULL, "--stop", "empty"},
    {{"generate", "-p", "x", "-f", "y"}, NULL, "--prompt", "--file"},
    {{"generate", "--depth", "1"}, NULL, "--depth", "unknown"},
    {{"quantize", "only-one.gguf"}, NULL, "usage", "IN OUT TYPE"},
    {{"generate", "-m", TINY, "-p", "x", "--isa", "abacus"}, NULL, "abacus", "scalar"},
    {{"generate", "-m", TINY, "-p", "x", "--temperature", "-1"}, NULL, "temperature", "-1"},
    {{"generate", "-m", TINY, "-p", "x", "--top-p", "1.5"}, NULL, "top", "1.5"},
    {{"generate", "-m", TINY, "-p", "x", "--min-p", "2"}, NULL, "min", "2"},
    {{"generate", "-m", TINY, "-p", "x", "--repeat-penalty", "0"}, NULL, "penalty", "0"},
};

START_TEST(misuse_is_code_2_and_says_what)
{
    program_check_refusal(&misuses[_i], 2);
}
END_TEST

/* Paths are inside the tree, so that the messages are the same everywhere. */
static const struct refusal failures[] = {
    {{"info", "-m", "no/such.gguf"}, NULL, "no/such.gguf", "No such file"},
    {{"info", "-m", "tests/data"}, NULL, "tests/data", "directory"},
    {{"info", "-m", "/dev/null"}, NULL, "/dev/null", NULL},
    {{"info", "-m", "LICENSE"}, NULL, "LICENSE", "GGUF"},
    {{"generate", "-m", "no/such.gguf", "-p", "x"}, NULL, "no/such.gguf", "No such file"},
    {{"chat", "-m", "no/such.gguf"}, NULL, "no/such.gguf", "No such file"},
    {{"bench", "-m", "no/such.gguf"}, NULL, "no/such.gguf", "No such file"},
    {{"tokenize", "-m", "no/such.gguf", "-p", "x"}, NULL, "no/such.gguf", "No such file"},
    {{"quantize", "no/such.gguf", "/dev/full", "q8_0"}, NULL, "no/such.gguf", "No such file"},
    {{"quantize", TINY, "/dev/full", "q1_0"}, NULL, "q1_0", "q8_0"},
    {{"quantize", TINY, "no/such/out.gguf", "q8_0"}, NULL, "no/such/out.gguf", "No such file"},
    {{"quantize", TINY, TINY, "q8_0"}, NULL, TINY, NULL},
    {{"generate", "-m", TINY, "-f", "no/such.txt"}, NULL, "no/such.txt", "No such file"},
    {{"generate", "-m", TINY, "-f", "tests"}, NULL, "tests", "directory"},
    {{"generate", "-m", TINY, "-f", "/dev/null"}, NULL, "/dev/null", "empty"},
    {{"generate", "-m", TINY, "-p", "caf\xE9"}, NULL, "byte 3 is 0xe9", "UTF-8"},
    {{"generate", "-m", TINY}, "caf\xE9", "standard input: byte 3", "UTF-8"},
    {{"chat", "-m", TINY}, "caf\xE9\n", "byte 3 is 0xe9", "UTF-8"},
    {{"generate", "-m", "tests/data/gpt2.gguf", "-p", ""},
     NULL,
     "prompt is empty",
     "begins a text"},
    {{"generate", "-m", TINY, "-p", "x", "--tokenizer", "no/such.bin"},
     NULL,
     "no/such.bin",
     "No such file"},
    {{"tokenize", "-m", TINY, "-d", "-p", "1 two"}, NULL, "two", "number from 0"},
    {{"tokenize", "-m", TINY, "-d", "-p", "1000000000"}, NULL, "1000000000", "from 0"},
    {{"tokenize", "-m", TINY, "-d", "-p", "-7"}, NULL, "-7", "from 0"},
};

START_TEST(failure_is_code_1_and_says_what)
{
    program_check_refusal(&failures[_i], 1);
}
END_TEST

START_TEST(empty_and_cut_models_are_refused)
{
    static const struct {
        size_t bytes;
        const char *said;
    } cuts[] = {{0, "empty"}, {3, "model"}, {4, "model"}, {20, "model"}, {5000, "model"}};
    char image[5000];
    FILE *f = fopen(TINY, "rb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fread(image, 1, sizeof image, f), sizeof image);
    fclose(f);
    scratch_make();
    struct refusal refusal = {
        .arguments = {"info", "-m", scratch_write("model", image, cuts[_i].bytes)},
        .found = cuts[_i].said};
    program_check_refusal(&refusal, 1);
    scratch_remove();
}
END_TEST

static const char *const help_lines[][PROGRAM_ARGUMENTS] = {
    {"--help"}, {"-h"}, {"help"}, {"generate", "--help"}, {"quantize", "-h"}, {"--version"},
};

START_TEST(help_goes_to_stdout)
{
    struct program program = {.arguments = help_lines[_i]};
    program_run(&program);
    ck_assert_int_eq(program.status, 0);
    ck_assert_str_eq(program.err, "");
    ck_assert_msg(strstr(program.out, "longhand"), "stdout: %s", program.out);
    program_free(&program);
}
END_TEST

START_TEST(help_names_every_command)
{
    static const char *const names[] = {"generate", "chat",     "bench",
                                        "info",     "tokenize", "quantize"};
    struct program program = {.arguments = (const char *const[]){"--help", NULL}};
    program_run(&program);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert_msg(strstr(program.out, names[i]), "%s", names[i]);
    program_free(&program);
}
END_TEST

/* What cannot be written is never lost in silence. The last one is slow. */
static const char *const writers[][PROGRAM_ARGUMENTS] = {
    {"--help"},
    {"--version"},
    {"generate", "--help"},
    {"info", "-m", TINY},
    {"info", "-m", TINY, "--json"},
    {"tokenize", "-m", TINY, "-p", "the"},
    {"tokenize", "-m", TINY, "-d", "-p", "5 6 7"},
    {"generate", "-m", TINY, "-p", "the", "-n", "8"},
    {"generate", "-m", TINY, "-p", "the", "-n", "8", "--json"},
    {"bench", "-m", TINY, "--prompt-tokens", "8", "--new-tokens", "2", "-r", "1"},
};

static void check_lost_output(const char *const *arguments, enum program_stdout kind)
{
    struct program program = {.arguments = arguments, .stdout_is = kind};
    program_run(&program);
    ck_assert_msg(program.status == 1, "exit code %d; stderr: %s", program.status, program.err);
    ck_assert_msg(strstr(program.err, "standard output"), "stderr: %s", program.err);
    program_free(&program);
}

START_TEST(full_stdout_is_a_failure)
{
    check_lost_output(writers[_i], STDOUT_FULL);
}
END_TEST

START_TEST(closed_stdout_is_a_failure)
{
    check_lost_output(writers[_i], STDOUT_CLOSED);
}
END_TEST

START_TEST(broken_pipe_is_a_failure)
{
    check_lost_output(writers[_i], STDOUT_BROKEN);
}
END_TEST

START_TEST(prompt_comes_from_option_file_or_stdin)
{
#define GENERATE "generate", "-m", TINY, "-n", "16", "--seed", "7"
    char *expected = program_output((const char *const[]){GENERATE, "-p", "the hand", NULL}, NULL);
    ck_assert_uint_gt(strlen(expected), 0);
    scratch_make();
    const char *path = scratch_write("prompt", "the hand", 8);
    char *from_file = program_output((const char *const[]){GENERATE, "-f", path, NULL}, NULL);
    char *from_stdin = program_output((const char *const[]){GENERATE, NULL}, "the hand");
    scratch_remove();
    ck_assert_str_eq(from_file, expected);
    ck_assert_str_eq(from_stdin, expected);
    free(expected);
    free(from_file);
    free(from_stdin);
}
END_TEST

START_TEST(same_seed_same_text_on_any_threads)
{
    char *texts[3];
    for (int i = 0; i < 3; i++)
        texts[i] = program_output((const char *const[]){GENERATE, "-p", "the", "-t",
                                                        (const char *[]){"1", "2", "3"}[i], NULL},
                                  NULL);
    char *other =
        program_output((const char *const[]){GENERATE, "-p", "the", "--seed", "8", NULL}, NULL);
    ck_assert_str_eq(texts[0], texts[1]);
    ck_assert_str_eq(texts[0], texts[2]);
    ck_assert_str_ne(texts[0], other);
    for (int i = 0; i < 3; i++)
        free(texts[i]);
    free(other);
}
END_TEST

START_TEST(json_is_one_object_a_line)
{
    static const char *const lines[][PROGRAM_ARGUMENTS] = {
        {"generate", "-m", TINY, "-p", "the", "-n", "8", "--json"},
        {"info", "-m", TINY, "--json"},
        {"tokenize", "-m", TINY, "-p", "the", "--json"},
        {"bench", "-m", TINY, "--prompt-tokens", "8", "--new-tokens", "0", "-r", "1", "--json"},
    };
    char *out = program_output(lines[_i], NULL);
    ck_assert_ptr_eq(strchr(out, '\n'), out + strlen(out) - 1);
    cJSON *object = cJSON_Parse(out);
    ck_assert_msg(cJSON_IsObject(object), "%s", out);
    cJSON_Delete(object);
    free(out);
}
END_TEST

START_TEST(tokenize_goes_there_and_back)
{
    static const char text[] = "the hand, and\n  \t\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80 <s>";
    char *ids =
        program_output((const char *const[]){"tokenize", "-m", TINY, "-p", text, NULL}, NULL);
    char *back = program_output((const char *const[]){"tokenize", "-m", TINY, "-d", NULL}, ids);
    ck_assert_str_eq(back, text);
    free(ids);
    free(back);
}
END_TEST

/* What llama2.c prints for an empty prompt at temperature 0 in 256 steps. */
START_TEST(stories_are_those_of_llama2c)
{
    static const char *const threads[] = {"1", "2", "3"};
    char model[256], tokenizer[256], expected_path[256];
    if (!support_shared("data/stories260K/stories260K.bin", model, sizeof model) ||
        !support_shared("data/stories260K/tok512.bin", tokenizer, sizeof tokenizer) ||
        !support_shared("data/stories260K/greedy-256.txt", expected_path, sizeof expected_path))
        return;
    char expected[4096];
    FILE *f = fopen(expected_path, "rb");
    ck_assert_ptr_nonnull(f);
    size_t n = fread(expected, 1, sizeof expected - 1, f);
    fclose(f);
    expected[n] = '\0';
    char *text = program_output((const char *const[]){"generate", "-m", model, "--tokenizer",
                                                      tokenizer, "--temperature", "0", "-p", "",
                                                      "-n", "256", "-t", threads[_i], NULL},
                                NULL);
    ck_assert_str_eq(text, expected);
    free(text);
}
END_TEST

#define COUNT(array) (int)(sizeof array / sizeof array[0])

Suite *program_suite(void)
{
    Suite *suite = suite_create("program");
    TCase *refusals = tcase_create("refusals");
    tcase_add_loop_test(refusals, misuse_is_code_2_and_says_what, 0, COUNT(misuses));
    tcase_add_loop_test(refusals, failure_is_code_1_and_says_what, 0, COUNT(failures));
    tcase_add_loop_test(refusals, empty_and_cut_models_are_refused, 0, 5);
    suite_add_tcase(suite, refusals);
    TCase *streams = tcase_create("streams");
    tcase_set_timeout(streams, 30);
    tcase_add_loop_test(streams, help_goes_to_stdout, 0, COUNT(help_lines));
    tcase_add_test(streams, help_names_every_command);
    tcase_add_loop_test(streams, full_stdout_is_a_failure, 0, COUNT(writers));
    tcase_add_loop_test(streams, closed_stdout_is_a_failure, 0, COUNT(writers) - 1);
    tcase_add_loop_test(streams, broken_pipe_is_a_failure, 0, COUNT(writers) - 1);
    tcase_add_loop_test(streams, json_is_one_object_a_line, 0, 4);
    suite_add_tcase(suite, streams);
    TCase *results = tcase_create("results");
    tcase_set_timeout(results, 20);
    tcase_add_test(results, prompt_comes_from_option_file_or_stdin);
    tcase_add_test(results, same_seed_same_text_on_any_threads);
    tcase_add_test(results, tokenize_goes_there_and_back);
    tcase_add_loop_test(results, stories_are_those_of_llama2c, 0, 3);
    suite_add_tcase(suite, results);
    return suite;
}
