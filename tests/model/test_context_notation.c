/* context_notation: what every policy's text becomes, with which defaults, that writing it and
 * reading it again gives the same policy, and a message for every text that is none. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "model/context.h"
#include "tests/suites.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static bool same(const struct context *a, const struct context *b)
{
    return a->kind == b->kind && a->window == b->window && a->sinks == b->sinks &&
           a->group == b->group && a->chunk == b->chunk && a->cap == b->cap &&
           !(a->factor < b->factor) && !(a->factor > b->factor) && a->log_length == b->log_length;
}

static const struct {
    const char *text;
    int train_length;
    struct context expected;
    const char *canonical;
} good[] = {
    {"all", 0, {.kind = CONTEXT_ALL}, "all"},
    {"all,log-length=4096", 0, {.log_length = 4096}, "all,log-length=4096"},
    {"window=1", 0, {.kind = CONTEXT_WINDOW, .window = 1}, "window=1"},
    {"sinks=4,window=1020",
     0,
     {.kind = CONTEXT_WINDOW, .sinks = 4, .window = 1020},
     "sinks=4,window=1020"},
    {"window=1020,sinks=4",
     0,
     {.kind = CONTEXT_WINDOW, .sinks = 4, .window = 1020},
     "sinks=4,window=1020"},
    {"sinks=0,window=8", 0, {.kind = CONTEXT_WINDOW, .window = 8}, "window=8"},
    {"sinks=4", 1024, {.kind = CONTEXT_WINDOW, .sinks = 4, .window = 1020}, "sinks=4,window=1020"},
    {"lm-infinite",
     4096,
     {.kind = CONTEXT_LM_INFINITE, .sinks = 10, .window = 4096, .cap = 4096},
     "lm-infinite,global=10,window=4096,cap=4096"},
    {"lm-infinite,window=100",
     0,
     {.kind = CONTEXT_LM_INFINITE, .sinks = 10, .window = 100, .cap = 100},
     "lm-infinite,global=10,window=100,cap=100"},
    {"lm-infinite,cap=50,global=0",
     100,
     {.kind = CONTEXT_LM_INFINITE, .window = 100, .cap = 50},
     "lm-infinite,global=0,window=100,cap=50"},
    {"rerope", 4096, {.kind = CONTEXT_REROPE, .window = 2048}, "rerope,window=2048"},
    {"leaky-rerope",
     4096,
     {.kind = CONTEXT_REROPE, .window = 2048, .factor = 16},
     "leaky-rerope,window=2048,factor=16"},
    {"leaky-rerope,factor=1.1,window=3,log-length=2",
     0,
     {.kind = CONTEXT_REROPE, .window = 3, .factor = 1.1, .log_length = 2},
     "leaky-rerope,window=3,factor=1.1,log-length=2"},
    {"self-extend",
     1030,
     {.kind = CONTEXT_SELF_EXTEND, .group = 4, .window = 256},
     "self-extend,group=4,window=256"},
    {"self-extend,group=100",
     1030,
     {.kind = CONTEXT_SELF_EXTEND, .group = 100, .window = 200},
     "self-extend,group=100,window=200"},
    {"dual-chunk",
     4096,
     {.kind = CONTEXT_DUAL_CHUNK, .chunk = 2560, .cap = 3072},
     "dual-chunk,chunk=2560,cap=3072"},
    {"dual-chunk,chunk=3000",
     4096,
     {.kind = CONTEXT_DUAL_CHUNK, .chunk = 3000, .cap = 3512},
     "dual-chunk,chunk=3000,cap=3512"},
    {"dual-chunk,cap=4095",
     4096,
     {.kind = CONTEXT_DUAL_CHUNK, .chunk = 3583, .cap = 4095},
     "dual-chunk,chunk=3583,cap=4095"},
    {"dual-chunk,chunk=6,cap=9",
     0,
     {.kind = CONTEXT_DUAL_CHUNK, .chunk = 6, .cap = 9},
     "dual-chunk,chunk=6,cap=9"},
    {"window=1099511627775",
     0,
     {.kind = CONTEXT_WINDOW, .window = 1099511627775},
     "window=1099511627775"},
};

START_TEST(a_policy_reads_and_writes)
{
    struct error err = {""};
    struct context context;
    char text[256];
    ck_assert_msg(context_parse(&context, good[_i].text, good[_i].train_length, &err) == 0, "%s",
                  err.text);
    ck_assert_msg(same(&context, &good[_i].expected), "%s", good[_i].text);
    context_text(&context, text, sizeof text);
    ck_assert_str_eq(text, good[_i].canonical);
}
END_TEST

static const struct {
    const char *text;
    int train_length;
    const char *message;
} bad[] = {
    {"", 4096, "unknown, expected one of: all, window=1024, sinks=4, lm-infinite, rerope, "},
    {"everything", 4096, "context policy \"everything\": unknown, expected one of: all, "},
    {"ALL", 4096, "unknown, expected one of"},
    {" all", 4096, "unknown, expected one of"},
    {"all ", 4096, "unknown, expected one of"},
    {"log-length=4096", 4096, "unknown, expected one of"},
    {"al", 4096, "unknown, expected one of"},
    {"all,", 4096, "unknown key \"\", allowed with all: log-length"},
    {"window", 4096, "window has no number, expected window=NUMBER"},
    {"sinks", 4096, "sinks has no number"},
    {"sinks=4,window", 4096, "window has no number"},
    {"window=", 4096, "window is \"\", allowed is a whole number from 1 to 1099511627775"},
    {"window=0", 4096, "window is \"0\", allowed is a whole number from 1"},
    {"window=-5", 4096, "window is \"-5\""},
    {"window=+5", 4096, "window is \"+5\""},
    {"window= 5", 4096, "window is \" 5\""},
    {"window=5 ", 4096, "window is \"5 \""},
    {"window=5,,sinks=4", 4096, "unknown key \"\""},
    {"window=5x", 4096, "window is \"5x\""},
    {"window=0x10", 4096, "window is \"0x10\""},
    {"window=1.5", 4096, "window is \"1.5\""},
    {"window=1099511627776", 4096, "window is \"1099511627776\""},
    {"window=99999999999999999999", 4096, "window is \"99999999999999999999\""},
    {"window=5,window=6", 4096, "window is given twice"},
    {"sinks=1,sinks=1,window=5", 4096, "sinks is given twice"},
    {"window=5,group=2", 4096, "unknown key \"group\", allowed with window: sinks, window, log-l"},
    {"window=5,\x1b[2J=2", 4096, "unknown key \"\\x1b[2J\""},
    {"sinks=4", 0, "window must be given: the training length, which would give the default, is"},
    {"sinks=4", 4, "window must be given: a training length of 4 tokens gives no default"},
    {"rerope=5", 4096, "rerope takes no number itself, expected for instance \"rerope\""},
    {"rerope,factor=2", 4096, "unknown key \"factor\", allowed with rerope: window, log-length"},
    {"rerope", 0, "window must be given"},
    {"lm-infinite,sinks=4", 4096, "unknown key \"sinks\", allowed with lm-infinite: global, win"},
    {"lm-infinite", 0, "\"lm-infinite\": window must be given"},
    {"lm-infinite,cap=0", 4096, "cap is \"0\", allowed is a whole number from 1"},
    {"leaky-rerope,factor=1", 4096, "factor is \"1\", allowed is a number greater than 1"},
    {"leaky-rerope,factor=inf", 4096, "factor is \"inf\""},
    {"leaky-rerope,factor=nan", 4096, "factor is \"nan\""},
    {"leaky-rerope,factor=1e999", 4096, "factor is \"1e999\""},
    {"leaky-rerope,factor=1e13", 4096, "factor is \"1e13\""},
    {"leaky-rerope,factor=-2", 4096, "factor is \"-2\""},
    {"leaky-rerope,factor=0x2", 4096, "factor is \"0x2\""},
    {"leaky-rerope,factor=", 4096, "factor is \"\""},
    {"leaky-rerope,factor=2e", 4096, "factor is \"2e\""},
    {"leaky-rerope,factor=2", 0, "window must be given"},
    {"self-extend,group=0", 4096, "group is \"0\""},
    {"self-extend,group=4,window=6", 4096, "window is 6, allowed are multiples of group, 4"},
    {"self-extend", 12, "window must be given"},
    {"dual-chunk", 0, "chunk, cap must be given"},
    {"dual-chunk,chunk=4", 0, "cap must be given"},
    {"dual-chunk,cap=4", 0, "chunk must be given"},
    {"dual-chunk,cap=100", 4096, "chunk must be given"},
    {"dual-chunk,chunk=1099511627775", 4096, "cap must be given"},
    {"dual-chunk,chunk=6,cap=5", 4096, "cap is 5, allowed is chunk, 6, or more"},
    {"all,log-length=1", 4096, "log-length is \"1\", allowed is a whole number from 2"},
};

START_TEST(a_text_that_is_no_policy_is_explained)
{
    struct error err = {""};
    struct context zero = {0};
    struct context context = {.window = 7};
    ck_assert_int_eq(context_parse(&context, bad[_i].text, bad[_i].train_length, &err), -1);
    ck_assert_msg(strstr(err.text, bad[_i].message) != NULL, "\"%s\": %s", bad[_i].text, err.text);
    ck_assert_msg(strncmp(err.text, "context policy \"", 16) == 0, "%s", err.text);
    ck_assert(same(&context, &zero));
}
END_TEST

START_TEST(unknown_policies_are_told_all_others)
{
    struct error err = {""};
    struct context context;
    ck_assert_int_eq(context_parse(&context, "x", 0, &err), -1);
    for (int i = 0; context_example(i); i++)
        ck_assert_msg(strstr(err.text, context_example(i)) != NULL, "%s", err.text);
}
END_TEST

START_TEST(examples_are_policies_of_every_kind)
{
    bool met[CONTEXT_COUNT] = {false};
    int n = 0;
    for (; context_example(n); n++) {
        struct error err = {""};
        struct context context;
        ck_assert_msg(context_parse(&context, context_example(n), 512, &err) == 0, "%s", err.text);
        met[context.kind] = true;
    }
    ck_assert_int_eq(n, 8);
    for (int kind = 0; kind < CONTEXT_COUNT; kind++)
        ck_assert(met[kind]);
    ck_assert_ptr_null(context_example(-1));
    ck_assert_ptr_null(context_example(1000));
}
END_TEST

static uint64_t seed;

static int64_t draw(int64_t min, int64_t max)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return min + (int64_t)((seed >> 20) % (uint64_t)(max - min + 1));
}

START_TEST(what_is_written_reads_the_same)
{
    const int64_t max = (INT64_C(1) << 40) - 1;
    seed = (uint64_t)_i;
    for (int round = 0; round < 500; round++) {
        int64_t range = draw(0, 1) ? max : 100;
        struct context context = {.kind = (enum context_kind)_i};
        if (_i != CONTEXT_ALL && _i != CONTEXT_DUAL_CHUNK)
            context.window = draw(1, range);
        if (_i == CONTEXT_WINDOW || _i == CONTEXT_LM_INFINITE)
            context.sinks = draw(0, 1) * draw(0, range);
        if (_i == CONTEXT_LM_INFINITE)
            context.cap = draw(1, range);
        if (_i == CONTEXT_REROPE && draw(0, 1))
            context.factor = 1 + (double)draw(1, range) / (double)draw(1, 1000);
        if (_i == CONTEXT_SELF_EXTEND) {
            context.group = draw(1, 64);
            context.window = context.group * draw(1, range / 64);
        }
        if (_i == CONTEXT_DUAL_CHUNK) {
            context.chunk = draw(1, range);
            context.cap = draw(context.chunk, max);
        }
        if (draw(0, 1))
            context.log_length = draw(2, range);

        struct error err = {""};
        struct context again;
        char text[256];
        context_text(&context, text, sizeof text);
        ck_assert_msg(context_parse(&again, text, 0, &err) == 0, "%s", err.text);
        ck_assert_msg(same(&context, &again), "%s", text);
    }
}
END_TEST

START_TEST(short_buffers_are_not_passed)
{
    struct context context = {.kind = CONTEXT_WINDOW, .sinks = 4, .window = 1020};
    char text[8] = "#######";
    context_text(&context, text, 6);
    ck_assert_str_eq(text, "sinks");
    ck_assert_int_eq(text[6], '#');
}
END_TEST

Suite *context_notation_suite(void)
{
    Suite *suite = suite_create("context_notation");
    TCase *tc = tcase_create("context_notation");
    tcase_add_loop_test(tc, a_policy_reads_and_writes, 0, COUNT(good));
    tcase_add_loop_test(tc, a_text_that_is_no_policy_is_explained, 0, COUNT(bad));
    tcase_add_test(tc, unknown_policies_are_told_all_others);
    tcase_add_test(tc, examples_are_policies_of_every_kind);
    tcase_add_loop_test(tc, what_is_written_reads_the_same, 0, CONTEXT_COUNT);
    tcase_add_test(tc, short_buffers_are_not_passed);
    suite_add_tcase(suite, tc);
    return suite;
}
