/* test_notices: what generate and chat say, once, about a text that outgrows things, and the same
 * as JSON. */
#include <check.h>
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/program.h"
#include "tests/suites.h"

#define POSITIONS "tests/data/positions/"
/* 37 tokens of the models there: longer than any training length below. */
#define PROMPT "the hand the hand the hand the hand the hand the hand the hand the hand the hand"
#define COUNT(array) (int)(sizeof array / sizeof array[0])

/* Runs what must succeed. */
static struct program run(const char *const *arguments, const char *input)
{
    struct program program = {.arguments = arguments, .input = input};
    program_run(&program);
    ck_assert_msg(program.status == 0, "exit code %d: %s", program.status, program.err);
    return program;
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        n++;
    return n;
}

/* Model, options and what is said past its training length, which is 48 (96 where positions are
 * learned, 64 where rope is scaled) and is taken to be 4 where options say nothing else. */
static const struct {
    const char *model;
    const char *options[4];
    const char *said;
} notes[] = {
    {"none", {NULL}, "4 tokens: there are no positions that could run out]"},
    {"sinusoidal", {NULL}, "sinusoidal goes on to places it was not trained on]"},
    {"learned", {NULL}, "learned positions end at 96]"},
    {"rope", {NULL}, "rope goes on to places it was not trained on (see --context, --rope-sc"},
    {"rope-linear", {NULL}, "rope goes on, stretched (linear, factor"},
    {"rope-dynamic", {NULL}, "rope is stretched as the text grows (dynamic, factor 2 over 4)]"},
    {"rope", {"--rope-scaling", "ntk", "--rope-factor", "8"}, "stretched (ntk, factor 8)]"},
    {"xpos", {NULL}, "xpos goes on to distances it was not trained on (see --context)]"},
    {"alibi", {NULL}, "alibi goes on: made for it]"},
    {"kerple-log", {NULL}, "kerple goes on: made for it]"},
    {"sandwich", {NULL}, "sandwich goes on: made for it]"},
    {"t5", {NULL}, "t5 goes on: all distances from"},
    {"shaw", {NULL}, "shaw goes on: all distances from 16 on are alike]"},
    {"transformer-xl", {NULL}, "transformer-xl goes on to distances it was not trained on"},
    {"fire", {NULL}, "fire goes on: it sees distances as shares of the text]"},
    {"cope", {NULL}, "cope goes on: it counts by content]"},
    {"nope-mix", {NULL}, "rope goes on to places"},
    {"three-schemes", {NULL}, "alibi goes on: made for it; t5 goes on"},
    {"llama4-like", {"--train-length", "30"}, "own windows hold; distances stay below 30]"},
    /* 30 - 4 slots beside the sinks */
    {"alibi",
     {"--context", "sinks=4", "--train-length", "30"},
     "the window keeps the last 26 tokens and the first 4; distances stay below 30]"},
    {"rope", {"--context", "window=64"}, "keeps the last 64 tokens; distances grow to 63]"},
    {"sinusoidal",
     {"--context", "window=3"},
     "the window keeps the last 3 tokens; sinusoidal goes on to places"},
    {"rope",
     {"--context", "lm-infinite", "--train-length", "30"},
     "keeps the last 30 tokens and the first 10; distances grow to 30]"},
    {"rope",
     {"--context", "rerope,window=9", "--train-length", "30"},
     "over 9 back to be 9 back; distances stay below 30]"},
    /* floor(d / 16) + 9: below 30 up to d = 9 + 16 * 20, which token 330 has for the first time */
    {"rope",
     {"--context", "leaky-rerope,window=9", "--train-length", "30"},
     "over 9 tokens back to be 16 times nearer; distances stay below 30 up to 330 tokens]"},
    /* floor(i / 4) - 0 + 8 - 2 < 30: i < 96 */
    {"rope",
     {"--context", "self-extend,window=8", "--train-length", "30"},
     "8 or more tokens back in groups of 4; distances stay below 30 up to 96 tokens]"},
    {"rope",
     {"--context", "dual-chunk,chunk=10,cap=12", "--train-length", "30"},
     "no token to be over 12 back; distances stay below 30]"},
};

START_TEST(passing_the_training_length_is_said_once)
{
    char model[256];
    const char *arguments[PROGRAM_ARGUMENTS] = {"generate", "-m", model, "-n",
                                                "40",       "-v", "-p",  PROMPT};
    snprintf(model, sizeof model, POSITIONS "%s.gguf", notes[_i].model);
    int n = 8;
    bool length_given = false;
    for (int i = 0; i < 4 && notes[_i].options[i]; i++) {
        arguments[n++] = notes[_i].options[i];
        length_given = length_given || strcmp(notes[_i].options[i], "--train-length") == 0;
    }
    if (!length_given) {
        arguments[n++] = "--train-length";
        arguments[n++] = "4";
    }
    struct program program = run(arguments, NULL);
    ck_assert_int_eq(count(program.err, "past the training length of"), 1);
    ck_assert_msg(strstr(program.err, notes[_i].said), "\"%s\" is not in: %s", notes[_i].said,
                  program.err);
    program_free(&program);
}
END_TEST

/* While it generates, not before and not without -v. */
START_TEST(the_note_comes_when_the_length_is_passed)
{
    static const char *const lengths[] = {"43", "44"}; /* and 5 of the prompt; trained on: 48 */
    for (int i = 0; i < 2; i++) {
        const char *const arguments[] = {"generate", "-m",       POSITIONS "rope.gguf",
                                         "-p",       "the hand", "-n",
                                         lengths[i], "--seed",   "1",
                                         "-v",       "--json",   NULL};
        struct program program = run(arguments, NULL);
        cJSON *object = cJSON_Parse(program.out);
        ck_assert_double_eq(cJSON_GetObjectItem(object, "prompt_tokens")->valuedouble, 5);
        ck_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(object, "end")), "length");
        ck_assert_int_eq(cJSON_IsTrue(cJSON_GetObjectItem(object, "past_training_length")), i);
        ck_assert_int_eq(cJSON_HasObjectItem(object, "past_training_note"), i);
        ck_assert_int_eq(count(program.err, "past the training length of 48 tokens: rope"), i);
        cJSON_Delete(object);
        program_free(&program);
    }
}
END_TEST

START_TEST(quiet_or_without_a_terminal_nothing_is_said)
{
    const char *const arguments[] = {
        "generate",       "-m", POSITIONS "rope.gguf", "-p", "the hand", "-n", "60",
        "--train-length", "4",  _i ? "-q" : "--json",  NULL};
    free(program_output(arguments, NULL));
}
END_TEST

static double number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItem(object, key);
    ck_assert_msg(cJSON_IsNumber(item), "%s", key);
    return item->valuedouble;
}

START_TEST(json_counts_what_left_the_cache)
{
    const char *const arguments[] = {
        "generate", "-m",        POSITIONS "rope.gguf", "-p", "the hand", "-n", "100", "--seed",
        "1",        "--context", "sinks=3,window=40",   "-v", "--json",   NULL};
    struct program program = run(arguments, NULL);
    cJSON *object = cJSON_Parse(program.out);
    double fed = number(object, "prompt_tokens") + number(object, "new_tokens") - 1;
    ck_assert_double_gt(fed, 60);
    ck_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(object, "context")),
                     "sinks=3,window=40");
    ck_assert_ptr_nonnull(
        strstr(cJSON_GetStringValue(cJSON_GetObjectItem(object, "position_scheme")), "rope"));
    ck_assert_double_eq(number(object, "training_length"), 48);
    /* The next token will see itself, the 39 before it and the sinks. */
    ck_assert_double_eq(number(object, "tokens_kept"), 39 + 3);
    ck_assert_double_eq(number(object, "tokens_evicted"), fed - 39 - 3);
    ck_assert_double_ge(number(object, "cache_bytes_planned"), number(object, "cache_bytes"));
    ck_assert_int_eq(count(program.err, "tokens begin to leave the cache: it keeps the last 40 "
                                        "and the first 3]"),
                     1);
    cJSON_Delete(object);
    program_free(&program);
}
END_TEST

/* 2 heads of 8, 2 layers, f16: 128 bytes a token, in blocks of 128 tokens. */
START_TEST(memory_is_said_before_it_is_taken)
{
    const char *const arguments[] = {
        "generate", "-m", POSITIONS "rope.gguf", "-p", "the hand", "-n", "123", "-v", "--seed",
        "1",        NULL};
    struct program program = run(arguments, NULL);
    ck_assert_msg(
        strncmp(program.err, "cache: up to 16.4 kB for 128 tokens, 128 bytes each as F16", 58) == 0,
        "%s", program.err);
    program_free(&program);
}
END_TEST

START_TEST(a_switch_of_rotations_is_said)
{
    const char *const arguments[] = {"generate", "-m",       POSITIONS "rope-longrope.gguf",
                                     "-p",       "the hand", "-n",
                                     "60",       "--seed",   "3",
                                     "-v",       NULL};
    struct program program = run(arguments, NULL);
    ck_assert_int_eq(count(program.err, "past 32 tokens rope turns keys by its factors for long "
                                        "texts: reading the text so far again]"),
                     1);
    program_free(&program);
}
END_TEST

/* Random replies would not be read as the tokens that they are; they stay those tokens. */
START_TEST(chat_reads_nothing_again_that_a_window_has_lost)
{
    const char *const arguments[] = {"chat",      "-m",        "tests/data/llama.gguf",
                                     "--context", "window=20", "-n",
                                     "300",       "--seed",    "1",
                                     "--json",    "-v",        NULL};
    struct program program = run(arguments, "hello there\nhow are you?\nfine\nyes\n");
    ck_assert_int_eq(count(program.out, "\"reply\""), 4);
    ck_assert_int_eq(count(program.out, "\"context\":\"window=20\""), 4);
    ck_assert_int_eq(count(program.err, "again"), 0);
    ck_assert_int_eq(count(program.err, "past the training length of 128 tokens: the window"), 1);
    ck_assert_int_ge(count(program.err, "have left what the model sees]") +
                         count(program.err, "has left what the model sees]"),
                     1);
    program_free(&program);
}
END_TEST

Suite *notices_suite(void)
{
    Suite *suite = suite_create("notices");
    TCase *tcase = tcase_create("program");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, passing_the_training_length_is_said_once, 0, COUNT(notes));
    tcase_add_test(tcase, the_note_comes_when_the_length_is_passed);
    tcase_add_loop_test(tcase, quiet_or_without_a_terminal_nothing_is_said, 0, 2);
    tcase_add_test(tcase, json_counts_what_left_the_cache);
    tcase_add_test(tcase, memory_is_said_before_it_is_taken);
    tcase_add_test(tcase, a_switch_of_rotations_is_said);
    tcase_add_test(tcase, chat_reads_nothing_again_that_a_window_has_lost);
    suite_add_tcase(suite, tcase);
    return suite;
}
