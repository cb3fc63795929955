/* test_info: what info says of positions, policies and single queries, as text and as JSON. */
#include <check.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/program.h"
#include "tests/suites.h"

#define POSITIONS "tests/data/positions/"
#define COUNT(array) (int)(sizeof array / sizeof array[0])

static cJSON *info_json(const char *const *arguments)
{
    char *out = program_output(arguments, NULL);
    cJSON *object = cJSON_Parse(out);
    ck_assert_msg(cJSON_IsObject(object), "%s", out);
    free(out);
    return object;
}

static double item(const cJSON *array, int i)
{
    const cJSON *number = cJSON_GetArrayItem(array, i);
    ck_assert(cJSON_IsNumber(number));
    return number->valuedouble;
}

/* Model and a line of its text. */
static const struct {
    const char *model;
    const char *line;
} lines[] = {
    {"rope", "position         rope, base 10000, "},
    {"rope", "rope scaling     none\n"},
    {"rope-yarn", "rope scaling     yarn, factor "},
    {"rope", "training length  48 tokens\n"},
    {"nope-mix", "halves: layers 0-2\n                 none: layer 3\n"},
    {"local-global", ", window 12: layers 0-1\n"},
    {"llama4-like", ", chunks of 24: layers 0-2\n"},
    {"three-schemes", "t5, 12 buckets, the last from distance 44"},
    /* 2 layers, 2 heads of 8, keys and values; 8 numbers share a scale */
    {"alibi", "bytes a token: F32 256, F16 128, BF16 128, Q4_0 48, Q8_0 80\n"},
    {"alibi", "192         3072          192         3072\n"},  /* 4 and 64 times 48 */
    {"learned", "48           96           48           96\n"}, /* as far as positions go */
    {"rope-linear", "\n  sinks=4,window=60  "},
    {"t5", "leaky-rerope,window=24,factor=16        no: the model's position scheme \"t5\" knows"},
    {"learned", "no: the model's position scheme \"learned\" depends on the place"},
};

START_TEST(text_says_scheme_length_and_policies)
{
    char model[256];
    snprintf(model, sizeof model, POSITIONS "%s.gguf", lines[_i].model);
    char *out = program_output((const char *const[]){"info", "-m", model, NULL}, NULL);
    ck_assert_msg(strstr(out, lines[_i].line), "\"%s\" is not in: %s", lines[_i].line, out);
    free(out);
}
END_TEST

/* Longest distances at 192 and 3072 tokens of a model trained on 48, and the bytes of its cache:
 * blocks of 128 tokens, 64 bytes each of keys or values in both layers together. */
static const struct {
    const char *policy; /* as the table writes it */
    double distance[2];
    double blocks[2]; /* of keys in every form, and values */
} policies[] = {
    {"all", {191, 3071}, {2 * 2, 2 * 24}},
    /* tokens 2560 - 1023 and later, once the last batch of 512 has come */
    {"window=1024", {191, 1023}, {2 * 2, 2 * 12}},
    {"rerope,window=24", {24, 24}, {3 * 2, -1}},
    /* floor(i / 4) + 12 - 3 */
    {"self-extend,group=4,window=12", {47 + 9, 767 + 9}, {3 * 2, -1}},
    /* 24 + (i - 24) / 16, rounded up */
    {"leaky-rerope,window=24,factor=16", {35, 215}, {3 * 2, -1}},
    {"lm-infinite,global=10,window=48,cap=48", {48, 48}, {3 * 2, -1}},
    {"sinks=4,window=44", {47, 47}, {2 * 2, -1}},
    {"dual-chunk,chunk=30,cap=36", {36, 36}, {2 * 2, 2 * 24}},
};

START_TEST(json_says_what_policies_do)
{
    cJSON *object = info_json(
        (const char *const[]){"info", "--json", "-m", POSITIONS "rope-halves.gguf", NULL});
    const cJSON *contexts = cJSON_GetObjectItem(object, "contexts");
    const cJSON *found = NULL;
    const cJSON *context;
    ck_assert_int_eq(cJSON_GetArraySize(contexts), COUNT(policies));
    cJSON_ArrayForEach(context, contexts)
    {
        const char *policy = cJSON_GetStringValue(cJSON_GetObjectItem(context, "policy"));
        if (strcmp(policy, policies[_i].policy) == 0)
            found = context;
    }
    ck_assert_msg(found, "%s", policies[_i].policy);
    ck_assert(cJSON_IsTrue(cJSON_GetObjectItem(found, "allowed")));
    double token = cJSON_GetObjectItem(object, "cache_bytes_per_token")->valuedouble;
    for (int i = 0; i < 2; i++) {
        ck_assert_double_eq(item(cJSON_GetObjectItem(found, "longest_distances"), i),
                            policies[_i].distance[i]);
        if (policies[_i].blocks[i] > 0)
            ck_assert_double_eq(item(cJSON_GetObjectItem(found, "cache_bytes"), i),
                                policies[_i].blocks[i] * 128 * token / 2);
    }
    cJSON_Delete(object);
}
END_TEST

START_TEST(refused_policies_have_a_reason)
{
    cJSON *object =
        info_json((const char *const[]){"info", "--json", "-m", POSITIONS "learned.gguf", NULL});
    const cJSON *context;
    int refused = 0;
    cJSON_ArrayForEach(context, cJSON_GetObjectItem(object, "contexts"))
    {
        bool allowed = cJSON_IsTrue(cJSON_GetObjectItem(context, "allowed"));
        ck_assert_int_eq(allowed, !cJSON_HasObjectItem(context, "reason"));
        ck_assert_int_eq(allowed, cJSON_HasObjectItem(context, "cache_bytes"));
        refused += !allowed;
    }
    ck_assert_int_eq(refused, 5); /* all but all, window and sinks */
    cJSON_Delete(object);
}
END_TEST

/* What the query at `at` sees: keys, their places, its own place; in the order of the text. */
struct view {
    double keys[2];
    double places[2];
    double query;
    const char *stored;
};

static const struct {
    const char *policy;
    const char *at;
    int n;
    struct view views[3];
} queries[] = {
    {"all", "1000", 1, {{{0, 1000}, {0, 1000}, 1000, "turned to their place"}}},
    {"window=10", "1000", 1, {{{991, 1000}, {991, 1000}, 1000, "turned to their place"}}},
    {"window=10", "3", 1, {{{0, 3}, {0, 3}, 3, "turned to their place"}}},
    /* Xiao et al. 2023: places inside the cache of 4 + 10 */
    {"sinks=4,window=10",
     "1000",
     2,
     {{{0, 3}, {0, 3}, 13, "turned to their place"},
      {{991, 1000}, {991, 1000}, 1000, "turned to their place"}}},
    {"lm-infinite,global=5,window=10,cap=12",
     "1000",
     2,
     {{{0, 4}, {0, 0}, 12, "unturned"}, {{991, 1000}, {991, 1000}, 1000, "turned to their place"}}},
    {"rerope,window=10",
     "1000",
     2,
     {{{0, 990}, {0, 0}, 10, "unturned"},
      {{991, 1000}, {991, 1000}, 1000, "turned to their place"}}},
    /* Jin et al. 2024: floor(i / G) + W - floor(W / G) */
    {"self-extend,group=4,window=8",
     "1000",
     2,
     {{{0, 992}, {0, 248}, 256, "turned to their group"},
      {{993, 1000}, {993, 1000}, 1000, "turned to their place"}}},
    {"leaky-rerope,window=8,factor=2",
     "1000",
     2,
     {{{0, 992}, {0, 496}, 504, "turned to a fraction of their place"},
      {{993, 1000}, {993, 1000}, 1000, "turned to their place"}}},
    /* An et al. 2024: 75 = 7 * 10 + 5 */
    {"dual-chunk,chunk=10,cap=14",
     "75",
     3,
     {{{0, 59}, {0, 9}, 14, "turned to their place in the chunk"},
      {{60, 69}, {0, 9}, 14, "turned to their place in the chunk"},
      {{70, 75}, {0, 5}, 5, "turned to their place in the chunk"}}},
};

static void check_pair(const cJSON *segment, const char *key, double first, double last)
{
    ck_assert_double_eq(item(cJSON_GetObjectItem(segment, key), 0), first);
    ck_assert_double_eq(item(cJSON_GetObjectItem(segment, key), 1), last);
}

START_TEST(a_query_sees_what_its_policy_says)
{
    const char *const arguments[] = {"info",      "--json",           "-m",   POSITIONS "rope.gguf",
                                     "--context", queries[_i].policy, "--at", queries[_i].at,
                                     NULL};
    cJSON *object = info_json(arguments);
    const cJSON *query = cJSON_GetObjectItem(object, "query");
    const cJSON *layer = cJSON_GetArrayItem(cJSON_GetObjectItem(query, "layers"), 0);
    const cJSON *segments = cJSON_GetObjectItem(layer, "segments");
    ck_assert_int_eq(cJSON_GetArraySize(segments), queries[_i].n);
    for (int s = 0; s < queries[_i].n; s++) {
        const struct view *view = &queries[_i].views[s];
        const cJSON *segment = cJSON_GetArrayItem(segments, s);
        check_pair(segment, "keys", view->keys[0], view->keys[1]);
        check_pair(segment, "key_places", view->places[0], view->places[1]);
        check_pair(segment, "distances", view->query - view->places[1],
                   view->query - view->places[0]);
        ck_assert_double_eq(cJSON_GetObjectItem(segment, "query_place")->valuedouble, view->query);
        ck_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(segment, "stored")),
                         view->stored);
    }
    cJSON_Delete(object);
}
END_TEST

START_TEST(a_query_is_shown_for_every_kind_of_layer)
{
    const char *const arguments[] = {
        "info", "-m", POSITIONS "local-global.gguf", "--at", "40", "--context", "sinks=4", NULL};
    char *out = program_output(arguments, NULL);
    static const char expected[] =
        "\nthe token at position 40 sees, by context sinks=4,window=44:\n"
        "layers 0-1\n"
        "  keys 29 to 40, turned to their place: at 29 to 40, seen from 40 at distances 0 to 11\n"
        "layer 2\n"
        "  keys 0 to 40, turned to their place: at 0 to 40, seen from 40 at distances 0 to 40\n";
    ck_assert_msg(strstr(out, expected), "%s", out);
    free(out);
}
END_TEST

/* The index of a distance in the curves. */
static int find_distance(const cJSON *distances, double distance)
{
    int n = cJSON_GetArraySize(distances);
    for (int i = 0; i < n; i++)
        if (item(distances, i) == distance)
            return i;
    ck_abort_msg("no distance %g", distance);
    return -1;
}

/* Mean cosine over 4 pairs of base 10000; xPos's pairs decay with (t / 4 + 0.4) / 1.4 over 64. */
static double rotation(double distance, bool decays)
{
    double sum = 0;
    for (int t = 0; t < 4; t++)
        sum += cos(distance * pow(10000, -t / 4.0)) *
               (decays ? pow((t / 4.0 + 0.4) / 1.4, distance / 64) : 1);
    return sum / 4;
}

START_TEST(curves_are_those_of_the_formulas)
{
    static const char *const models[] = {POSITIONS "alibi.gguf", POSITIONS "local-global.gguf",
                                         POSITIONS "xpos.gguf", "tests/data/bloom.gguf"};
    static const double distances[] = {0, 1, 2, 3, 5, 100, 511, 512, 1024, 1 << 20};
    cJSON *object = info_json((const char *const[]){"info", "--json", "-m", models[_i], NULL});
    int heads = cJSON_GetObjectItem(object, "heads")->valueint;
    const cJSON *curves = cJSON_GetObjectItem(object, "curves");
    const cJSON *layers = cJSON_GetObjectItem(curves, "layers");
    const cJSON *curve = cJSON_GetArrayItem(layers, cJSON_GetArraySize(layers) - 1);
    const cJSON *bias = cJSON_GetObjectItem(curve, "bias");
    const cJSON *turned = cJSON_GetObjectItem(curve, "rotation");
    bool alibi = _i == 0 || _i == 3;
    ck_assert_int_eq(cJSON_GetArraySize(bias), alibi ? heads : 0);
    ck_assert_int_eq(turned != NULL, !alibi);
    for (int i = 0; i < COUNT(distances); i++) {
        double d = distances[i];
        int at = find_distance(cJSON_GetObjectItem(curves, "distances"), d);
        for (int h = 0; h < heads && alibi && h < 4; h++) /* 4 heads, or the first 4 of 6 */
            ck_assert_double_eq_tol(item(cJSON_GetArrayItem(bias, h), at),
                                    -d * exp2(-2.0 * (h + 1)), 1e-6 * (d + 1));
        if (turned)
            ck_assert_double_eq_tol(item(turned, at), rotation(d, _i == 2), 1e-6);
    }
    cJSON_Delete(object);
}
END_TEST

Suite *info_suite(void)
{
    Suite *suite = suite_create("info");
    TCase *tcase = tcase_create("program");
    tcase_set_timeout(tcase, 20);
    tcase_add_loop_test(tcase, text_says_scheme_length_and_policies, 0, COUNT(lines));
    tcase_add_loop_test(tcase, json_says_what_policies_do, 0, COUNT(policies));
    tcase_add_test(tcase, refused_policies_have_a_reason);
    tcase_add_loop_test(tcase, a_query_sees_what_its_policy_says, 0, COUNT(queries));
    tcase_add_test(tcase, a_query_is_shown_for_every_kind_of_layer);
    tcase_add_loop_test(tcase, curves_are_those_of_the_formulas, 0, 4);
    suite_add_tcase(suite, tcase);
    return suite;
}
