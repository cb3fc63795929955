/* test_options: options about positions and the cache, through the program: what they take, what
 * they refuse and with which exit code. */
#include <check.h>
#include <cjson/cJSON.h>
#include <stdlib.h>

#include "tests/program.h"
#include "tests/suites.h"

#define TINY "tests/data/llama.gguf"
#define POSITIONS "tests/data/positions/"
#define ONES "1,1,1,1,1,1,1,1,1,1,1,"
#define GENERATE "generate", "-m", TINY, "-p", "the"
#define COUNT(array) (int)(sizeof array / sizeof array[0])

static const struct refusal misuses[] = {
    {{"generate", "--rope-scaling", "stretch"},
     NULL,
     "--rope-scaling: \"stretch\"",
     "none, linear"},
    {{"generate", "--rope-scaling"}, NULL, "--rope-scaling", "needs an argument"},
    {{"generate", "--rope-factor", "0.5"}, NULL, "--rope-factor: \"0.5\"", "from 1 to"},
    {{"generate", "--rope-factor", "nan"}, NULL, "--rope-factor: \"nan\"", "from 1 to"},
    {{"generate", "--rope-base", "0"}, NULL, "--rope-base: \"0\"", "from 1 to"},
    {{"generate", "--rope-base", "1e4x"}, NULL, "1e4x", "from 1 to"},
    {{"generate", "--train-length", "0"}, NULL, "--train-length: \"0\"", "from 1 to"},
    {{"generate", "--train-length", "4k"}, NULL, "4k", "whole number"},
    {{"generate", "--max-memory", "0"}, NULL, "--max-memory: \"0\"", "bytes"},
    {{"generate", "--max-memory", "-1G"}, NULL, "-1G", "bytes"},
    {{"generate", "--max-memory", "G"}, NULL, "\"G\"", "bytes"},
    {{"generate", "--max-memory", "5KB"}, NULL, "5KB", "bytes"},
    {{"generate", "--max-memory", "1e40"}, NULL, "1e40", "bytes"},
    {{"generate", "--kv-type", "q4_k"}, NULL, "q4_k", "f32, f16, bf16, q8_0, q4_0"},
    {{"generate", "--at", "1"}, NULL, "--at", "unknown"},
    {{"bench", "--depth", "0,x"}, NULL, "--depth: \"x\"", "from 0"},
    {{"bench", "--prompt-tokens", "8,"}, NULL, "--prompt-tokens: \"\"", "whole number"},
    {{"bench", "--depth", ONES ONES ONES "1"}, NULL, "--depth: more than", "32"},
    {{"info", "--at", "-1"}, NULL, "--at: \"-1\"", "from 0"},
    {{"info", "--max-memory", "1G"}, NULL, "--max-memory", "unknown"},
    {{"tokenize", "--context", "all"}, NULL, "--context", "unknown"},
    /* The notation of a policy, in every command that takes one */
    {{GENERATE, "--context", "mirror"}, NULL, "\"mirror\": unknown", "dual-chunk"},
    {{GENERATE, "--context", ""}, NULL, "unknown", "all, window="},
    {{GENERATE, "--context", "window=0"}, NULL, "window is \"0\"", "from 1"},
    {{GENERATE, "--context", "sinks=4,window"}, NULL, "window has no number", "window=NUMBER"},
    {{GENERATE, "--context", "rerope,group=4"}, NULL, "group", "window, log-length"},
    {{"chat", "-m", TINY, "--context", "mirror"}, NULL, "\"mirror\": unknown", "all"},
    {{"chat", "-m", TINY, "--template", "mirror"}, NULL, "--template mirror: no such", "chatml"},
    {{"bench", "-m", TINY, "--context", "mirror"}, NULL, "\"mirror\": unknown", "all"},
    {{"info", "-m", TINY, "--context", "mirror"}, NULL, "\"mirror\": unknown", "all"},
    {{"info", "-m", POSITIONS "learned.gguf", "--at", "96"}, NULL, "--at: 96", "end at 95"},
};

START_TEST(misuse_is_code_2_and_says_what)
{
    program_check_refusal(&misuses[_i], 2);
}
END_TEST

/* What a model, not the notation, forbids. */
static const struct refusal failures[] = {
    {{GENERATE, "--rope-scaling", "yarn"}, NULL, "yarn needs a factor", "--rope-factor"},
    {{GENERATE, "--rope-scaling", "longrope"}, NULL, "rope_factors_long.weight", "longrope"},
    {{"generate", "-m", POSITIONS "alibi.gguf", "-p", "a", "--rope-scaling", "linear"},
     NULL,
     "--rope-scaling: the model's position scheme is \"alibi\"",
     "expected rope"},
    {{"generate", "-m", POSITIONS "t5.gguf", "-p", "a", "--rope-factor", "2"},
     NULL,
     "--rope-factor: the model's position scheme is \"t5\"",
     "expected rope"},
    {{"info", "-m", POSITIONS "none.gguf", "--rope-base", "500"},
     NULL,
     "--rope-base: the model's position scheme is \"none\"",
     "expected rope"},
    {{"generate", "-m", POSITIONS "learned.gguf", "-p", "a", "--context", "self-extend"},
     NULL,
     "context self-extend,group=4,window=24",
     "\"learned\""},
    {{"chat", "-m", POSITIONS "fire.gguf", "--context", "sinks=4,window=8"}, NULL, "fire", "move"},
    {{"bench", "-m", POSITIONS "rope-dynamic.gguf", "--context", "rerope"},
     NULL,
     "rope",
     "follows the length"},
    {{"info", "-m", POSITIONS "t5.gguf", "--context", "leaky-rerope"}, NULL, "t5", "whole"},
    /* 2 layers, 2 heads of 16 numbers of 2 bytes each for keys and values, in blocks of 128 */
    {{GENERATE, "-n", "200", "--max-memory", "20K"}, NULL, "202 tokens", "allows 20.0 kB"},
    {{GENERATE, "-n", "2000", "--max-memory", "0.02M", "--kv-type", "q4_0"},
     NULL,
     "as Q4_0",
     "allows 20.0 kB"},
    {{"chat", "-m", TINY, "-n", "500", "--max-memory", "1K"}, "hello\n", "needs", "1.00 kB"},
    {{"chat", "-m", TINY, "--template", "LICENSE"}, NULL, "LICENSE: chat template", "chatml"},
    {{"chat", "-m", TINY, "--template", "gemma", "--system", "a"}, "b\n", "gemma", "system"},
};

START_TEST(what_a_model_forbids_is_code_1)
{
    program_check_refusal(&failures[_i], 1);
}
END_TEST

/* Values that are taken, and the description or the policy that they lead to. */
static const struct {
    const char *arguments[PROGRAM_ARGUMENTS];
    const char *key;
    const char *expected;
} taken[] = {
    {{"info", "--json", "-m", POSITIONS "rope.gguf"}, "rope_scaling", "none"},
    {{"info", "--json", "-m", POSITIONS "rope.gguf", "--rope-scaling", "linear", "--rope-factor",
      "4"},
     "rope_scaling",
     "linear, factor 4"},
    {{"info", "--json", "-m", POSITIONS "rope.gguf", "--rope-factor", "2.5"},
     "rope_scaling",
     "linear, factor 2.5"},
    /* m = 0.1 ln 4 + 1 */
    {{"info", "--json", "-m", POSITIONS "rope.gguf", "--rope-scaling", "yarn", "--rope-factor", "4",
      "--train-length", "512"},
     "rope_scaling",
     "yarn, factor 4 over 512, m 1.1386"},
    {{"info", "--json", "-m", POSITIONS "rope-yarn.gguf", "--rope-scaling", "none"},
     "rope_scaling",
     "none"},
    {{"info", "--json", "-m", POSITIONS "rope.gguf", "--context", "window=7"}, NULL, "window=7"},
    {{"info", "--json", "-m", POSITIONS "rope.gguf"}, NULL, "all"},
    /* The defaults of a policy follow the training length. */
    {{"info", "--json", "-m", POSITIONS "rope.gguf", "--context", "sinks=4", "--train-length",
      "1000"},
     NULL,
     "sinks=4,window=996"},
    {{"info", "--json", "-m", POSITIONS "rope.gguf", "--context", "rerope", "--train-length",
      "1000"},
     NULL,
     "rerope,window=500"},
};

START_TEST(values_arrive_where_they_are_meant)
{
    char *out = program_output(taken[_i].arguments, NULL);
    cJSON *object = cJSON_Parse(out);
    cJSON *holder =
        taken[_i].key ? cJSON_GetArrayItem(cJSON_GetObjectItem(object, "positions"), 0) : object;
    cJSON *found = cJSON_GetObjectItem(holder, taken[_i].key ? taken[_i].key : "context");
    ck_assert_str_eq(cJSON_GetStringValue(found), taken[_i].expected);
    cJSON_Delete(object);
    free(out);
}
END_TEST

/* Bytes that a number takes, scales of 32 neighbours included: 2 for each. */
static const struct {
    const char *type;
    const char *name;
    double bytes;
} caches[] = {
    {"f32", "F32", 4},   {"f16", "F16", 2},     {"bf16", "BF16", 2},
    {"q8_0", "Q8_0", 1}, {"q4_0", "Q4_0", 0.5},
};

START_TEST(every_cache_type_generates_and_takes_its_bytes)
{
    const char *const arguments[] = {GENERATE, "-n", "4",      "--kv-type", caches[_i].type,
                                     "--seed", "1",  "--json", NULL};
    char *out = program_output(arguments, NULL);
    cJSON *object = cJSON_Parse(out);
    ck_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(object, "cache_type")),
                     caches[_i].name);
    /* one block of 128 positions for keys and values of 2 layers, 2 heads of 8: the scales of the
     * quantised types are shared by those 8 */
    double scale = caches[_i].bytes < 2 ? 2.0 / 8 : 0;
    ck_assert_double_eq(cJSON_GetObjectItem(object, "cache_bytes")->valuedouble,
                        128 * 2 * 2 * 2 * 8 * (caches[_i].bytes + scale));
    cJSON_Delete(object);
    free(out);
}
END_TEST

Suite *options_suite(void)
{
    Suite *suite = suite_create("options");
    TCase *tcase = tcase_create("options");
    tcase_set_timeout(tcase, 20);
    tcase_add_loop_test(tcase, misuse_is_code_2_and_says_what, 0, COUNT(misuses));
    tcase_add_loop_test(tcase, what_a_model_forbids_is_code_1, 0, COUNT(failures));
    tcase_add_loop_test(tcase, values_arrive_where_they_are_meant, 0, COUNT(taken));
    tcase_add_loop_test(tcase, every_cache_type_generates_and_takes_its_bytes, 0, COUNT(caches));
    suite_add_tcase(suite, tcase);
    return suite;
}
