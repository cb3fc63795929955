/* rope: vectors computed in double from the formulas of the papers; what only distance may decide.
 */
#include "model/position/position.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"

enum { HEAD_DIM = 128, TENSORS = 3 };

static const struct architecture interleaved = {.name = "llama", .rope_pairs = ROPE_INTERLEAVED};
static const struct architecture halves = {.name = "llama", .rope_pairs = ROPE_HALVES};
static const struct architecture ours = {.name = "longhand"};

/* A model of one layer, its file and its position. */
struct head {
    struct metadata metadata;
    float numbers[TENSORS][HEAD_DIM];
    struct tensor tensors[TENSORS];
    struct checkpoint checkpoint;
    struct layer_config layer;
    struct config config;
    struct position position;
    struct kernels kernels;
};

static void head_init(struct head *head, const struct architecture *architecture, int dim,
                      double base)
{
    *head = (struct head){
        .metadata = {.place = "m.gguf"},
        .layer = {.position = POSITION_ROPE, .rope_base = base, .rope_scaling = true},
        .config = {.architecture = architecture, .n_heads = 1, .n_kv_heads = 1, .head_dim = dim},
    };
}

static void head_close(struct head *head)
{
    position_close(&head->position);
    metadata_free(&head->metadata);
}

/* A tensor with the same number for every pair; added in the order of the names. */
static struct tensor *add_tensor(struct head *head, const char *name, float value)
{
    size_t i = head->checkpoint.n_tensors++;
    int pairs = head->config.head_dim / 2;
    for (int t = 0; t < pairs; t++)
        head->numbers[i][t] = value;
    head->tensors[i] = (struct tensor){.name = {name, strlen(name)},
                                       .format = FORMAT_F32,
                                       .n_dims = 1,
                                       .shape = {pairs, 1, 1, 1},
                                       .data = head->numbers[i],
                                       .bytes = (size_t)pairs * sizeof(float),
                                       .offset = 64,
                                       .place = "m.gguf"};
    return &head->tensors[i];
}

/* "name=value ..." in one buffer that the caller keeps: numbers with a point are floats, others
 * integers; a name that begins with a point is one of the scaling's, one with @ a tensor. */
static void add_keys(struct head *head, char *keys, char names[16][64])
{
    int n = 0;
    struct error err;
    for (char *key = strtok(keys, " "); key; key = strtok(NULL, " "), n++) {
        char *text = strchr(key, '='), *end;
        *text++ = '\0';
        double number = strtod(text, &end);
        if (key[0] == '@') {
            snprintf(names[n], 64, "rope_%s.weight", key + 1);
            add_tensor(head, names[n], (float)number);
            continue;
        }
        struct metadata_value value = {.type = METADATA_F32, .f = number};
        if (*end)
            value = (struct metadata_value){.type = METADATA_STRING, .text = {text, strlen(text)}};
        if (!strcmp(text, "false"))
            value = (struct metadata_value){.type = METADATA_BOOL, .u = 0};
        if (!*end && !strpbrk(text, ".n"))
            value = (struct metadata_value){.type = METADATA_U32, .u = (uint64_t)number};
        snprintf(names[n], 64, "%s%s", key[0] == '.' ? "llama.rope.scaling" : "", key);
        struct text name = {names[n], strlen(names[n])};
        ck_assert_int_eq(metadata_add(&head->metadata, name, value, &err), 0);
    }
    ck_assert_int_eq(metadata_sort(&head->metadata, &err), 0);
}

static int head_open(struct head *head, const struct rope_override *override, struct error *err)
{
    head->config.layers = &head->layer;
    head->checkpoint.path = (char *)"m.gguf";
    head->checkpoint.metadata = head->metadata;
    head->checkpoint.tensors = head->tensors;
    const struct position_source source = {&head->config, &head->checkpoint, 0, override};
    return position_open(&head->position, &source, err);
}

/* Without any key. */
static void open_plain(struct head *head, const struct architecture *architecture, int dim,
                       double base, const char *isa)
{
    struct error err;
    head_init(head, architecture, dim, base);
    ck_assert_msg(head_open(head, NULL, &err) == 0, "%s", err.text);
    ck_assert_int_eq(kernels_select(&head->kernels, isa, &err), 0);
}

static void turn(const struct head *head, int64_t at, const float *x, float *y)
{
    double cosines[HEAD_DIM / 2], sines[HEAD_DIM / 2];
    float c[HEAD_DIM / 2], s[HEAD_DIM / 2];
    head->position.scheme->angles(&head->position, (double)at, 1, cosines, sines);
    for (int t = 0; t < head->position.rotated / 2; t++) {
        c[t] = (float)cosines[t];
        s[t] = (float)sines[t];
    }
    memmove(y, x, (size_t)head->config.head_dim * sizeof *y);
    position_rotate(&head->position, &head->kernels, y, 1, c, s);
}

/* <R(i) q, R(j) k> */
static double score(const struct head *head, const float *q, int64_t i, const float *k, int64_t j)
{
    float a[HEAD_DIM], b[HEAD_DIM];
    double sum = 0;
    turn(head, i, q, a);
    turn(head, j, k, b);
    for (int d = 0; d < head->config.head_dim; d++)
        sum += (double)a[d] * (double)b[d];
    return sum;
}

START_TEST(test_vectors)
{
    static const struct {
        const struct architecture *pairs;
        int64_t at;
        float expected[4];
    } rows[] = {
        {&interleaved, 0, {1, 2, 3, 4}},
        {&interleaved, 1, {-1.1426397F, 1.9220756F, 2.9598507F, 4.0297995F}},
        {&interleaved, 3, {-1.2722325F, -1.838865F, 2.8786681F, 4.0881866F}},
        {&halves, 0, {1, 2, 3, 4}},
        {&halves, 1, {-1.9841106F, 1.9599007F, 2.4623779F, 4.0197997F}},
        {&halves, 3, {-1.4133525F, 1.8791181F, -2.8288575F, 4.0581911F}},
    };
    static const float x[] = {1, 2, 3, 4}, k[] = {4, -3, 2, -1};
    for (int tier = 0; kernels_available(tier); tier++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct head head;
            float y[4];
            open_plain(&head, rows[i].pairs, 4, 1e4, kernels_available(tier));
            turn(&head, rows[i].at, x, y);
            for (int d = 0; d < 4; d++)
                ck_assert_float_eq_tol(y[d], rows[i].expected[d], 5e-7F);
            double expected = rows[i].pairs == &halves ? -21.006670382 : 2.0968144698;
            static const int64_t places[][2] = {{3, 0}, {5, 2}, {1003, 1000}};
            for (size_t p = 0; p < 3; p++)
                ck_assert_double_eq_tol(score(&head, x, places[p][0], k, places[p][1]), expected,
                                        4e-6);
            head_close(&head);
        }
    }
}
END_TEST

/* The denominator of the exponent is the number of rotated dimensions; the others pass. */
START_TEST(test_partial)
{
    float x[80], y[80];
    for (int d = 0; d < 80; d++)
        x[d] = (float)(d + 1);
    struct head head;
    struct error err;
    char keys[] = "llama.rope.dimension_count=32", names[16][64]; /* Phi-2's shape */
    head_init(&head, &halves, 80, 1e4);
    add_keys(&head, keys, names);
    ck_assert_int_eq(head_open(&head, NULL, &err), 0);
    ck_assert_int_eq(kernels_select(&head.kernels, NULL, &err), 0);
    turn(&head, 5, x, y);
    for (int t = 0; t < 16; t++) {
        double angle = 5 * pow(1e4, -2.0 * t / 32), a = (double)x[t], b = (double)x[t + 16];
        ck_assert_double_eq_tol((double)y[t], a * cos(angle) - b * sin(angle), 1e-5);
        ck_assert_double_eq_tol((double)y[t + 16], a * sin(angle) + b * cos(angle), 1e-5);
    }
    ck_assert_mem_eq(y + 32, x + 32, 48 * sizeof *x);
    head_close(&head);
}
END_TEST

static void fill_random(float *x, int n)
{
    for (int i = 0; i < n; i++) {
        double u = (rand() + 1.0) / (RAND_MAX + 2.0), v = rand() / (double)RAND_MAX;
        x[i] = (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
    }
}

static double length(const float *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* However long the text, distance 7 is distance 7: angles in float miss this from place 4096 on. */
START_TEST(test_long_positions)
{
    static const int64_t places[] = {1000, 4096, 100000, 1000000, (1 << 24) + 1, 10000000};
    static const double bases[] = {1e4, 5e5, 1e6};
    srand(1);
    for (int trial = 0; trial < 30; trial++) {
        struct head head;
        float q[HEAD_DIM], k[HEAD_DIM];
        fill_random(q, HEAD_DIM);
        fill_random(k, HEAD_DIM);
        open_plain(&head, trial % 2 ? &halves : &interleaved, HEAD_DIM, bases[trial % 3], NULL);
        double tolerance = 1e-6 * length(q, HEAD_DIM) * length(k, HEAD_DIM);
        double expected = score(&head, q, 7, k, 0);
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
            ck_assert_double_eq_tol(score(&head, q, places[i], k, places[i] - 7), expected,
                                    tolerance);
        for (int64_t distance = 0; distance < 5000; distance += 1 + distance / 2)
            ck_assert_double_eq_tol(score(&head, q, distance + 10000000, k, 10000000),
                                    score(&head, q, distance, k, 0), tolerance);
        head_close(&head);
    }
}
END_TEST

/* Cosines and sines against long double. */
START_TEST(test_angles)
{
    static const int64_t places[] = {0, 1, 17, 4095, 131071, 1 << 20, (1 << 24) + 1};
    struct head head;
    double cosines[64], sines[64];
    open_plain(&head, &halves, 128, 1e4, NULL);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        head.position.scheme->angles(&head.position, (double)places[i], 1, cosines, sines);
        for (int t = 0; t < 64; t++) {
            long double angle = (long double)places[i] * powl(1e4L, -2.0L * t / 128);
            double tolerance = 1e-15 + (double)angle * 3e-16; /* two roundings of the angle */
            ck_assert_double_eq_tol(cosines[t], (double)cosl(angle), tolerance);
            ck_assert_double_eq_tol(sines[t], (double)sinl(angle), tolerance);
        }
    }
    head_close(&head);
}
END_TEST

/* The two orders of dimensions are the same rotation: halves, then permuted = permuted, then
 * interleaved. */
START_TEST(test_orders)
{
    struct head a, b;
    float x[HEAD_DIM], permuted[HEAD_DIM], y[HEAD_DIM], z[HEAD_DIM];
    srand(2);
    fill_random(x, HEAD_DIM);
    for (int d = 0; d < HEAD_DIM; d++)
        permuted[d] = x[d / 2 + d % 2 * HEAD_DIM / 2];
    open_plain(&a, &halves, HEAD_DIM, 1e4, "scalar");
    open_plain(&b, &interleaved, HEAD_DIM, 1e4, "scalar");
    turn(&a, 77, x, y);
    turn(&b, 77, permuted, z);
    for (int d = 0; d < HEAD_DIM; d++)
        ck_assert_float_eq(z[d], y[d / 2 + d % 2 * HEAD_DIM / 2]);
    head_close(&a);
    head_close(&b);
}
END_TEST

/* Llama-3.1-8B: base 5e5, factor 8, low 1, high 4, 8192 original places; the divisors in between as
 * published. */
START_TEST(test_llama3)
{
    static const float between[] = {1.207484F, 1.553415F, 2.026313F,
                                    2.694530F, 3.684253F, 5.257327F};
    struct head head;
    struct error err;
    double cosines[64], sines[64];
    head_init(&head, &interleaved, 128, 5e5);
    add_tensor(&head, "rope_freqs.weight", 1);
    for (int t = 29; t < 64; t++)
        head.numbers[0][t] = t >= 35 ? 8 : between[t - 29];
    ck_assert_int_eq(head_open(&head, NULL, &err), 0);
    head.position.scheme->angles(&head.position, 8000, 8001, cosines, sines);
    for (int t = 0; t < 64; t++) {
        double lambda = 6.283185307179586 * pow(5e5, t / 64.0);
        double w = (8192 / lambda - 1) / (4 - 1), th = pow(5e5, -t / 64.0);
        double frequency = lambda < 8192.0 / 4 ? th
                           : lambda > 8192     ? th / 8
                                               : (1 - w) * th / 8 + w * th;
        /* The published divisors have seven digits. */
        double tolerance = 8000 * frequency * (t >= 29 && t < 35 ? 5e-7 : 1e-12);
        ck_assert_double_eq_tol(cosines[t], cos(8000 * frequency), tolerance);
        ck_assert_double_eq_tol(sines[t], sin(8000 * frequency), tolerance);
    }
    ck_assert_float_eq(head.position.rotation_scale, 1);
    head_close(&head);
}
END_TEST

START_TEST(test_bad_divisors)
{
    static const struct {
        float value;
        const char *message;
    } rows[] = {
        {0, "number 2 is 0, allowed: more than 0"},
        {-1, "number 2 is -1, allowed: more than 0"},
        {NAN, "nan, allowed: more than 0"},
        {INFINITY, "number 2 is inf"},
    };
    struct error err;
    for (size_t i = 0; i < 4 + 3; i++) {
        struct head head;
        head_init(&head, &halves, 8, 1e4);
        struct tensor *tensor = add_tensor(&head, "rope_freqs.weight", 1);
        const char *message = "m.gguf: tensor \"rope_freqs.weight\"";
        if (i < 4) {
            head.numbers[0][2] = rows[i].value;
            message = rows[i].message;
        } else if (i == 4) {
            tensor->shape[0] = 3;
            message = "at byte 64: F32 with 3 numbers, expected F32 with 4";
        } else if (i == 5) {
            tensor->format = FORMAT_F16;
            message = "F16 with 4 numbers, expected F32 with 4";
        } else {
            tensor->n_dims = 2;
        }
        ck_assert_int_eq(head_open(&head, NULL, &err), -1);
        ck_assert_msg(strstr(err.text, message) &&
                          strstr(err.text, "m.gguf: tensor \"rope_freqs.weight\""),
                      "%s", err.text);
        head_close(&head);
    }
}
END_TEST

/* Opens a head of 8 dimensions, base 10000, with these keys; its description, or the error. */
static const char *opened(struct head *head, const char *spec, const struct rope_override *override)
{
    static char text[sizeof(struct error)];
    char keys[512], names[16][64];
    struct error err;
    bool own = strstr(spec, "longhand.") != NULL;
    snprintf(keys, sizeof keys, "%s", spec);
    head_init(head, own ? &ours : &halves, 8, 1e4);
    head->config.train_length = strstr(spec, "nolength") ? 0 : 4096;
    add_keys(head, keys, names);
    if (head_open(head, override, &err))
        snprintf(text, sizeof text, "%s", err.text);
    else
        position_describe(&head->position, text, sizeof text);
    /* Names and texts of the metadata die here. */
    metadata_free(&head->metadata);
    return text;
}

struct expectation {
    const char *keys;
    const char *text;
    double m;
    double slowest; /* by how much the last pair is slower than 10000^(-3/4) at 1000 tokens */
};

static void expect(const struct expectation *row, const struct rope_override *override)
{
    struct head head;
    double cosines[4], sines[4];
    const char *text = opened(&head, row->keys, override);
    ck_assert_msg(strstr(text, row->text) != NULL, "%s: %s, expected %s", row->keys, text,
                  row->text);
    if (row->m > 0) {
        ck_assert_ptr_nonnull(head.position.scheme);
        head.position.scheme->angles(&head.position, 1, 1000, cosines, sines);
        double slower = pow(1e4, -0.75) / atan2(sines[3], cosines[3]);
        ck_assert_msg(fabs(slower - row->slowest) < 1e-5 * slower, "%s: slower by %g", row->keys,
                      slower);
        ck_assert_double_eq_tol((double)head.position.rotation_scale, row->m * row->m, 2e-6);
    }
    position_close(&head.position);
}

START_TEST(test_keys)
{
    static const struct expectation rows[] = {
        {"", "rope, base 10000, 8 of 8 dimensions, halves", 1, 1},
        {"llama.rope.dimension_count=8", "8 of 8 dimensions, halves", 1, 1},
        {".type=none .factor=4.0", "8 dimensions, halves", 1, 1},
        {".attn_factor=1.5", "; none, m 1.5000", 1.5, 1},
        {".type=linear", "8 dimensions, halves", 1, 1},
        {".type=linear .factor=4.0", "halves; linear, factor 4", 1, 4},
        {".factor=4.0", "; linear, factor 4", 1, 4},
        {"llama.rope.scale_linear=2.0", "; linear, factor 2", 1, 2},
        {"llama.rope.scale_linear=2.0 .factor=4.0", "; linear, factor 4", 1, 4},
        {".type=linear .factor=4.0 .attn_factor=1.5", "; linear, factor 4, m 1.5000", 1.5, 4},
        {".type=ntk .factor=4.0", "; ntk, factor 4", 1, 4},
        {".type=dynamic .factor=2.0", "; dynamic, factor 2 over 4096", 1, 1},
        {".type=dynamic .original_context_length=500", "; dynamic over 500", 1, 2},
        {".type=yarn .factor=4.0", "; yarn, factor 4 over 4096, m 1.1386", 1.138629436, 4},
        {".type=yarn .original_context_length=1024", "; yarn, factor 4 over 1024", 1.138629436, 4},
        {".type=yarn .factor=4.0 .original_context_length=2048", "factor 4 over 2048", 1.138629436,
         4},
        {".type=yarn .factor=4.0 .attn_factor=0.5", ", m 0.5693", 1.138629436 / 2, 4},
        {".type=yarn .factor=4.0 .attn_factor=0.5 .yarn_attn_factor=2.0", ", m 1.1386", 1.138629436,
         4},
        {".type=yarn .factor=4.0 .attention_factor=1.0 .attn_factor=3.0", "over 4096", 1, 4},
        {".type=yarn .factor=4.0 .yarn_log_multiplier=0.1", ", m 1.1386", 1.138629436, 4},
        {".type=yarn .factor=4.0 .yarn_ext_factor=1.0", ", m 1.1386", 1.138629436, 4},
        {".type=yarn .factor=4.0 .yarn_ext_factor=0.0", "; linear, factor 4", 1, 4},
        {".type=yarn .factor=4.0 .yarn_ext_factor=0.0 .attn_factor=1.5", "; linear", 1.5, 4},
        {".type=yarn .factor=40.0 .mscale=1.0 .mscale_all_dim=0.707", ", m 1.0857",
         1.3688879454 / 1.2608037774, 40},
        /* Borders of 0.2 and 0.1 turns lie at pairs 3.51 and 3.81: the last is before them. */
        {".type=yarn .factor=4.0 .yarn_beta_fast=0.2 .yarn_beta_slow=0.1 .truncate=false", "; yarn",
         1.138629436, 1},
        {".type=dynamic-yarn .original_context_length=250", "; dynamic-yarn over 250", 1, 4},
        /* The last pair, 6283 places long, turns 4096 / 6283 = 0.6519 times. */
        {".type=llama3 .factor=8.0", "; llama3, factor 8 over 4096", 1, 8},
        {".type=llama3 .factor=8.0 .low_freq_factor=0.1 .high_freq_factor=0.6", "; llama3", 1, 1},
        {".type=llama3 .factor=8.0 @freqs=3", "; llama3, factor 8, divided by rope_freqs.weight", 1,
         3},
        {".type=yarn .factor=4.0 @freqs=3", "over 4096, m 1.1386, divided by", 1.138629436, 12},
        {"@freqs=3 nolength=1", "; llama3, divided by rope_freqs.weight", 1, 3},
        {".type=linear .factor=2.0 @freqs=3", "; linear, factor 2, divided by rope_freqs", 1, 6},
        {".original_context_length=128 @factors_long=32 @factors_short=2",
         "; longrope, factor 32 over 128, m 1.3093", 1.3093073414, 32},
        {"@factors_long=32 @factors_short=2", "; longrope over 4096", 1, 2},
        {"@factors_short=2 .factor=32.0 .attn_factor=1.19", ", m 1.1900", 1.19, 2},
        {".type=su .factor=32.0 @factors_short=2", "; longrope, factor 32 over 4096, m 1.1902",
         1.1902380714, 2},
        {".type=longrope @factors_long=32 @factors_short=2 @freqs=5", "divided by rope_freqs", 1,
         5},
        {"longhand.position.pairs=halves", "halves", 1, 1},
        {"longhand.position.pairs=interleaved", "interleaved", 1, 1},
        {"longhand.rope.dimension_count=8", "interleaved", 1, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect(&rows[i], NULL);
}
END_TEST

START_TEST(test_bad_keys)
{
    static const struct expectation rows[] = {
        {"llama.rope.dimension_count=7",
         "m.gguf: llama.rope.dimension_count is 7, allowed: an even number", 0, 0},
        {"llama.rope.dimension_count=10", "\"llama.rope.dimension_count\" is 10, expected 2 to 8",
         0, 0},
        {"llama.rope.dimension_count=0", "\"llama.rope.dimension_count\" is 0, expected 2 to 8", 0,
         0},
        {".type=yarm",
         "m.gguf: llama.rope.scaling.type is \"yarm\", allowed: none, linear, ntk, dynamic, yarn, "
         "dynamic-yarn, llama3, longrope, su",
         0, 0},
        {".factor=0.0", "m.gguf: llama.rope.scaling.factor is 0, allowed: 1 to 1e6", 0, 0},
        {".factor=0.5", "llama.rope.scaling.factor is 0.5, allowed: 1 to 1e6", 0, 0},
        {".factor=-2.0", "llama.rope.scaling.factor is -2, allowed", 0, 0},
        {".factor=nan", "llama.rope.scaling.factor is nan, allowed", 0, 0},
        {".factor=inf", "llama.rope.scaling.factor is inf, allowed", 0, 0},
        {"llama.rope.scale_linear=-1.0", "llama.rope.scale_linear is -1, allowed", 0, 0},
        {".factor=4", "llama.rope.scaling.factor", 0, 0},
        {".type=yarn .factor=4.0 .original_context_length=0",
         "original_context_length\" is 0, expected 1 to", 0, 0},
        {".type=yarn .factor=4.0 .attn_factor=0.0", ".attn_factor is 0, allowed: more than 0", 0,
         0},
        {".type=yarn .factor=4.0 .yarn_attn_factor=nan", ".yarn_attn_factor is nan", 0, 0},
        {".type=yarn .factor=4.0 .attention_factor=-1.0", ".attention_factor is -1", 0, 0},
        {".type=yarn .factor=4.0 .yarn_ext_factor=0.5", "factor is 0.5, allowed: 0 or 1", 0, 0},
        {".type=yarn .factor=4.0 .yarn_beta_fast=0.0", ".yarn_beta_fast is 0, allowed", 0, 0},
        {".type=yarn .factor=4.0 .yarn_beta_slow=-1.0", ".yarn_beta_slow is -1, allowed", 0, 0},
        {".type=yarn .factor=4.0 .mscale=inf", ".mscale is inf, allowed", 0, 0},
        {".type=llama3 .factor=8.0 .high_freq_factor=1.0",
         ".high_freq_factor is 1, allowed: more than low_freq_factor", 0, 0},
        {".type=dynamic-yarn .attn_factor=2.0", ".attn_factor is 2, allowed: none with", 0, 0},
        {".type=yarn", "m.gguf: llama.rope.scaling.factor is missing: yarn needs a factor", 0, 0},
        {".type=ntk", "llama.rope.scaling.factor is missing: ntk needs a factor", 0, 0},
        {".type=llama3", "llama.rope.scaling.factor is missing: llama3 needs a factor", 0, 0},
        {".type=yarn @freqs=3", "llama.rope.scaling.factor is missing: yarn needs", 0, 0},
        {".type=dynamic @freqs=3 nolength=1", "dynamic needs the length", 0, 0},
        {".type=yarn .factor=4.0 nolength=1",
         "m.gguf: llama.rope.scaling.original_context_length is missing, and so is context_length: "
         "yarn needs",
         0, 0},
        {".type=longrope", "\"rope_factors_short.weight\" are missing: longrope is for", 0, 0},
        {".type=yarn .factor=4.0 @factors_long=2",
         "llama.rope.scaling.type is yarn, allowed with tensor \"rope_factors_long.weight\"", 0, 0},
        {"@factors_long=0", "tensor \"rope_factors_long.weight\": number 0 is 0, allowed", 0, 0},
        {"longhand.position.pairs=both",
         "longhand.position.pairs is \"both\", allowed: interleaved, halves", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect(&rows[i], NULL);
}
END_TEST

START_TEST(test_override)
{
    enum { FILE_KIND = -1 };
    static const struct {
        struct rope_override override;
        struct expectation expected;
    } rows[] = {
        {{.kind = FILE_KIND}, {".factor=4.0", "; linear, factor 4", 1, 4}},
        {{.kind = FILE_KIND, .factor = 2}, {".factor=4.0", "; linear, factor 2", 1, 2}},
        {{.kind = FILE_KIND, .factor = 2}, {"", "; linear, factor 2", 1, 2}},
        {{.kind = FILE_KIND, .factor = 2},
         {"@freqs=3", "--rope-factor needs --rope-scaling", 0, 0}},
        {{.kind = FILE_KIND, .factor = 2},
         {".type=yarn .factor=4.0 .attention_factor=3.0", "; yarn, factor 2 over 4096, m 1.0693",
          1.0693147181, 2}},
        {{.kind = FILE_KIND, .train_length = 1024},
         {".type=yarn .factor=4.0 .attention_factor=3.0", "; yarn, factor 4 over 1024, m 3", 3, 4}},
        {{.kind = FILE_KIND, .base = 1e4}, {"", "base 10000, 8 of 8 dimensions", 1, 1}},
        {{.kind = FILE_KIND, .base = 160000}, {"", "base 160000, 8 of 8 dimensions", 1, 8}},
        {{.kind = ROPE_SCALING_NONE}, {".factor=4.0", "8 dimensions, halves", 1, 1}},
        {{.kind = ROPE_SCALING_NONE}, {"@freqs=3", "8 dimensions, halves", 1, 1}},
        {{.kind = ROPE_SCALING_NONE}, {"@factors_short=3 .attn_factor=2.0", "halves", 1, 1}},
        {{.kind = ROPE_SCALING_LINEAR, .factor = 2}, {"@freqs=3", "; linear, factor 2", 1, 2}},
        {{.kind = ROPE_SCALING_LINEAR},
         {"", "llama.rope.scaling.factor is missing: linear needs a factor (--rope-factor)", 0, 0}},
        {{.kind = ROPE_SCALING_NTK}, {"", "ntk needs a factor (--rope-factor)", 0, 0}},
        {{.kind = ROPE_SCALING_YARN}, {"", "yarn needs a factor (--rope-factor)", 0, 0}},
        {{.kind = ROPE_SCALING_YARN, .train_length = 1024},
         {"", "yarn needs a factor (--rope-factor)", 0, 0}},
        {{.kind = ROPE_SCALING_LLAMA3}, {"", "llama3 needs a factor (--rope-factor)", 0, 0}},
        {{.kind = ROPE_SCALING_YARN, .factor = 0.5},
         {"", "--rope-factor is 0.5, allowed: 1", 0, 0}},
        {{.kind = ROPE_SCALING_NTK}, {".factor=4.0", "; ntk, factor 4", 1, 4}},
        {{.kind = ROPE_SCALING_YARN},
         {".factor=4.0 .attn_factor=2.0", ", m 1.1386", 1.138629436, 4}},
        {{.kind = ROPE_SCALING_YARN},
         {".type=yarn .factor=4.0 .attn_factor=2.0", ", m 2.2773", 2 * 1.138629436, 4}},
        {{.kind = ROPE_SCALING_DYNAMIC, .train_length = 500}, {"", "; dynamic over 500", 1, 2}},
        {{.kind = ROPE_SCALING_DYNAMIC_YARN, .train_length = 250},
         {".type=yarn .factor=8.0 .attn_factor=2.0", "; dynamic-yarn, factor 8 over 250", 1, 4}},
        {{.kind = ROPE_SCALING_LLAMA3, .factor = 8}, {"", "llama3, factor 8 over 4096", 1, 8}},
        {{.kind = ROPE_SCALING_LLAMA3}, {"@freqs=3", "; llama3, divided by rope_freqs", 1, 3}},
        {{.kind = ROPE_SCALING_LLAMA3, .factor = 8},
         {"@freqs=3", "; llama3, factor 8 over 4096", 1, 8}},
        {{.kind = ROPE_SCALING_LONGROPE}, {"", "longrope is for models that were", 0, 0}},
        {{.kind = ROPE_SCALING_LONGROPE}, {"@freqs=3", "longrope is for models that were", 0, 0}},
        {{.kind = ROPE_SCALING_LONGROPE},
         {"@factors_short=2 @freqs=3 .attn_factor=1.5", "; longrope over 4096, m 1.5", 1.5, 2}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect(&rows[i].expected, &rows[i].override);
}
END_TEST

/* A layer that the scaling is not for has its own base and nothing else. */
START_TEST(test_layer_without_scaling)
{
    const struct rope_override override = {
        .kind = ROPE_SCALING_LINEAR, .factor = 2, .base = 77, .train_length = 9};
    struct head head;
    struct error err;
    char text[128], keys[] = ".type=yarn .factor=4.0 @freqs=3", names[16][64];
    head_init(&head, &halves, 8, 1e4);
    add_keys(&head, keys, names);
    head.layer.rope_scaling = false;
    ck_assert_int_eq(head_open(&head, &override, &err), 0);
    position_describe(&head.position, text, sizeof text);
    ck_assert_str_eq(text, "rope, base 10000, 8 of 8 dimensions, halves");
    ck_assert_float_eq(head.position.rotation_scale, 1);
    head_close(&head);
}
END_TEST

/* The last pair's angle at place 1, in units of 10000^(-3/4). */
static double last_angle(const struct head *head, int64_t length)
{
    double cosines[4], sines[4];
    head->position.scheme->angles(&head->position, 1, length, cosines, sines);
    return atan2(sines[3], cosines[3]) / pow(1e4, -0.75);
}

START_TEST(test_lengths)
{
    struct head head;
    opened(&head, ".type=dynamic .factor=2.0 .original_context_length=1000", NULL);
    ck_assert(head.position.follows_length && head.position.switch_length == 0);
    ck_assert_double_eq_tol(last_angle(&head, 1000), 1, 1e-12);
    ck_assert_double_eq_tol(last_angle(&head, 1001), 1 / 1.002, 1e-12);
    ck_assert_double_eq_tol(last_angle(&head, 3000), 1.0 / 5, 1e-12);
    ck_assert_double_eq_tol(last_angle(&head, 10), 1, 1e-12);
    ck_assert_float_eq(rope_rotation_scale(&head.position, 3000), 1);
    position_close(&head.position);

    opened(&head, ".type=dynamic-yarn .original_context_length=1000", NULL);
    ck_assert(head.position.follows_length && head.position.switch_length == 0);
    ck_assert_double_eq_tol(last_angle(&head, 1000), 1, 1e-12);
    ck_assert_double_eq_tol(last_angle(&head, 4000), 0.25, 1e-12);
    ck_assert_float_eq(rope_rotation_scale(&head.position, 1000), 1);
    ck_assert_double_eq_tol((double)rope_rotation_scale(&head.position, 4000),
                            1.138629436 * 1.138629436, 2e-7);
    position_close(&head.position);

    opened(&head, "@factors_long=32 @factors_short=2 .original_context_length=128", NULL);
    ck_assert(!head.position.follows_length && head.position.switch_length == 128);
    ck_assert_double_eq_tol(last_angle(&head, 128), 0.5, 1e-12);
    ck_assert_double_eq_tol(last_angle(&head, 129), 1.0 / 32, 1e-12);
    ck_assert_double_eq_tol(last_angle(&head, 1), 0.5, 1e-12);
    for (int64_t length = 1; length < 10000; length *= 10)
        ck_assert_double_eq_tol((double)rope_rotation_scale(&head.position, length),
                                1.3093073414 * 1.3093073414, 2e-7);
    position_close(&head.position);

    opened(&head, "@factors_long=2 @factors_short=2", NULL);
    ck_assert(!head.position.follows_length && head.position.switch_length == 0);
    position_close(&head.position);

    opened(&head, ".type=yarn .factor=4.0", NULL);
    ck_assert(!head.position.follows_length && head.position.switch_length == 0);
    ck_assert_double_eq_tol(last_angle(&head, 1000000), 0.25, 1e-12);
    position_close(&head.position);
}
END_TEST

/* Only distance counts under every scaling, at a length held fixed; m squared is the query's. */
START_TEST(test_scaled_shifts)
{
    static const char *const rows[] = {
        ".factor=4.0",
        ".type=ntk .factor=4.0",
        ".type=yarn .factor=4.0",
        ".type=llama3 .factor=8.0",
        ".type=dynamic .original_context_length=1000",
        ".type=dynamic-yarn .original_context_length=1000",
        "@factors_long=3 @factors_short=2",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct head head;
        double c[3][4], s[3][4];
        opened(&head, rows[i], NULL);
        const struct position *p = &head.position;
        for (double shift = 10; shift <= 1e7; shift *= 10) {
            p->scheme->angles(p, 7, 20000, c[0], s[0]);
            p->scheme->angles(p, shift, 20000, c[1], s[1]);
            p->scheme->angles(p, shift + 7, 20000, c[2], s[2]);
            for (int t = 0; t < 4; t++) {
                ck_assert_double_eq_tol(c[2][t] * c[1][t] + s[2][t] * s[1][t], c[0][t], 1e-8);
                ck_assert_double_eq_tol(s[2][t] * c[1][t] - c[2][t] * s[1][t], s[0][t], 1e-8);
                ck_assert_double_eq_tol(c[2][t] * c[2][t] + s[2][t] * s[2][t], 1, 1e-15);
            }
        }
        position_close(&head.position);
    }
}
END_TEST

Suite *rope_suite(void)
{
    Suite *suite = suite_create("rope");
    TCase *tcase = tcase_create("rope");
    tcase_add_test(tcase, test_vectors);
    tcase_add_test(tcase, test_partial);
    tcase_add_test(tcase, test_long_positions);
    tcase_add_test(tcase, test_angles);
    tcase_add_test(tcase, test_orders);
    tcase_add_test(tcase, test_llama3);
    tcase_add_test(tcase, test_bad_divisors);
    tcase_add_test(tcase, test_keys);
    tcase_add_test(tcase, test_bad_keys);
    tcase_add_test(tcase, test_override);
    tcase_add_test(tcase, test_layer_without_scaling);
    tcase_add_test(tcase, test_lengths);
    tcase_add_test(tcase, test_scaled_shifts);
    suite_add_tcase(suite, tcase);
    return suite;
}
