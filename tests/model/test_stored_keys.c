/* stored_keys: what must hold for the keys in the cache: which places they know of, that they are
 * pure rotations, that nothing changes them, and that so the query does all moving. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tests/model/timeline.h"
#include "tests/suites.h"
#include "tests/support.h"

/* --- files of the fixtures, changed ----------------------------------------------------------- */

/* A copy of a fixture's file in the scratch folder. */
struct copy {
    uint8_t *data;
    size_t size;
    struct checkpoint checkpoint;
    struct model model;
};

static void copy_read(struct copy *copy, const char *name)
{
    struct file file;
    struct error err;
    char path[128];
    snprintf(path, sizeof path, "tests/data/%s.gguf", name);
    ck_assert_msg(file_open(&file, path, &err) == 0, "%s", err.text);
    *copy = (struct copy){.data = malloc(file.size), .size = file.size};
    ck_assert_ptr_nonnull(copy->data);
    memcpy(copy->data, file.data, file.size);
    file_close(&file);
}

/* The bytes behind a key and its type. */
static uint8_t *copy_key(struct copy *copy, const char *key)
{
    uint8_t *found = memmem(copy->data, copy->size, key, strlen(key));
    ck_assert_msg(found != NULL, "no %s", key);
    return found + strlen(key) + 4;
}

/* The scheme of a layer; names have four letters. An array has its own type, length, and items of
 * a length and a text; one text for all layers has a length. */
static void copy_set_scheme(struct copy *copy, int layer, const char *name)
{
    uint8_t *value = copy_key(copy, "longhand.position.type");
    uint8_t *text = value[-4] == GGUF_ARRAY ? value + 4 + 8 + layer * 12 + 8 : value + 8;
    ck_assert(memcmp(text, "rope", 4) == 0 || memcmp(text, "none", 4) == 0);
    memcpy(text, name, 4);
}

static void copy_open(struct copy *copy, const struct model_options *options)
{
    struct error err;
    const char *path = scratch_write("copy.gguf", copy->data, copy->size);
    ck_assert_msg(checkpoint_open(&copy->checkpoint, path, &err) == 0, "%s", err.text);
    ck_assert_msg(model_open(&copy->model, &copy->checkpoint, options, &err) == 0, "%s", err.text);
}

static void copy_close(struct copy *copy)
{
    model_close(&copy->model);
    checkpoint_close(&copy->checkpoint);
    free(copy->data);
}

/* --- 9: layers of other schemes --------------------------------------------------------------- */

/* Whether tokens [0, n) of two sessions have the same bits of keys in a layer. */
static bool same_keys(const struct session *a, const struct session *b, int layer, int n)
{
    float x[256], y[256];
    size_t bytes = (size_t)a->cache.head_dim * sizeof *x;
    for (int at = 0; at < n; at++)
        for (int head = 0; head < a->cache.n_kv_heads; head++) {
            timeline_read(a, layer, 0, at, head, x);
            timeline_read(b, layer, 0, at, head, y);
            if (memcmp(x, y, bytes) != 0)
                return false;
        }
    return true;
}

/* nope-mix with its NoPE layer first, where its input is the embedding alone. */
static void open_nope_first(struct copy *copy, const struct rope_override *rope)
{
    copy_read(copy, "positions/nope-mix");
    copy_set_scheme(copy, 0, "none");
    copy_set_scheme(copy, 3, "rope");
    copy_open(copy, &(struct model_options){.isa = "scalar", .rope = rope});
}

/* NoPE layers among rotary ones: their keys know neither another theta nor another place. Those of
 * the rotary layers know both. */
START_TEST(test_nope_layers)
{
    enum { N = 96 };
    struct copy copies[2];
    struct session first, theta, moved;
    struct fixture fixture;
    scratch_make();
    fixture_open(&fixture, "positions/nope-mix", "positions/nope-mix", "scalar");
    open_nope_first(&copies[0], NULL);
    open_nope_first(&copies[1], &(struct rope_override){.kind = -1, .base = 300});
    timeline_open(&first, &copies[0].model, "all", FORMAT_F16, 0);
    timeline_open(&moved, &copies[0].model, "all", FORMAT_F16, 1000003);
    timeline_open(&theta, &copies[1].model, "all", FORMAT_F16, 0);
    timeline_feed(&first, fixture.ids, N, timeline_whole, NULL);
    timeline_feed(&moved, fixture.ids, N, timeline_whole, NULL);
    timeline_feed(&theta, fixture.ids, N, timeline_whole, NULL);
    ck_assert(same_keys(&first, &theta, 0, N));
    ck_assert(same_keys(&first, &moved, 0, N));
    ck_assert(!same_keys(&first, &theta, 1, N));
    ck_assert(!same_keys(&first, &moved, 1, N));
    session_close(&first);
    session_close(&moved);
    session_close(&theta);
    copy_close(&copies[0]);
    copy_close(&copies[1]);
    fixture_close(&fixture);
    scratch_remove();
}
END_TEST

/* --- 10: pure rotations, and m ---------------------------------------------------------------- */

static const char *const rotary[] = {
    "rope",
    "rope-halves",
    "rope-partial",
    "rope-partial-halves",
    "rope-linear",
    "rope-ntk",
    "rope-dynamic",
    "rope-yarn",
    "rope-yarn-mscale",
    "rope-llama3",
    "rope-yarn",
    "rope-dynamic-yarn",
    "rope-yarn-untruncated",
    "rope-yarn-borders",
    "rope-longrope",
    "rope-longrope-short",
};
enum { N_ROTARY = sizeof rotary / sizeof rotary[0] };

/* Every pair of a cached key has the length that it has in the raw key. */
static void check_pairs(const struct position *position, const float *key, const float *raw)
{
    int dim = position->config->head_dim, pairs = position->rotated / 2;
    for (int t = 0; t < pairs; t++) {
        int a = position->pairs == ROPE_HALVES ? t : 2 * t;
        int b = position->pairs == ROPE_HALVES ? t + pairs : 2 * t + 1;
        double found = hypot((double)key[a], (double)key[b]);
        double expected = hypot((double)raw[a], (double)raw[b]);
        ck_assert_double_le(fabs(found - expected), 4e-7 * expected);
    }
    ck_assert_mem_eq(key + 2 * pairs, raw + 2 * pairs, (size_t)(dim - 2 * pairs) * sizeof *key);
}

/* Cached keys are the raw timeline_ones, which the same file without positions has in its first
 * layer, turned: no m, no decay, at any place. Where angles follow the length they are the raw
 * ones. */
START_TEST(test_key_norms)
{
    static const int64_t origins[] = {0, 1000, 10000000};
    enum { N = 96 };
    char name[64];
    snprintf(name, sizeof name, "positions/%s", rotary[_i]);
    struct fixture fixture;
    struct copy copy;
    struct session raw, turned;
    scratch_make();
    fixture_open(&fixture, name, name, NULL);
    copy_read(&copy, name);
    copy_set_scheme(&copy, 0, "none");
    copy_open(&copy, NULL);
    timeline_open(&raw, &copy.model, "all", FORMAT_F32, 0);
    timeline_feed(&raw, fixture.ids, N, timeline_whole, NULL);
    for (size_t i = 0; i < sizeof origins / sizeof origins[0]; i++) {
        const struct position *position = fixture.model.layers[0].position;
        float x[256], y[256];
        timeline_open(&turned, &fixture.model, "all", FORMAT_F32, origins[i]);
        timeline_feed(&turned, fixture.ids, N, timeline_whole, NULL);
        for (int at = 0; at < N; at++)
            for (int head = 0; head < fixture.model.config.n_kv_heads; head++) {
                timeline_read(&raw, 0, 0, at, head, x);
                timeline_read(&turned, 0, 0, at, head, y);
                check_pairs(position, y, x);
            }
        ck_assert_int_eq(same_keys(&raw, &turned, 0, N), position->follows_length);
        session_close(&turned);
    }
    session_close(&raw);
    copy_close(&copy);
    fixture_close(&fixture);
    scratch_remove();
}
END_TEST

/* YaRN's m grows all scores by its square: an m of 1.25 is the same as none and queries, all of
 * whose dimensions are turned, 1.5625 times as long. */
START_TEST(test_m)
{
    static const char name[] = "positions/rope-yarn-untruncated";
    struct fixture fixture;
    struct copy copy;
    fixture_open(&fixture, name, name, NULL);
    const struct config *c = &fixture.model.config;
    ck_assert_int_eq(fixture.model.positions[0].rotated, c->head_dim);
    scratch_make();
    copy_read(&copy, name);
    float m;
    uint8_t *value = copy_key(&copy, "rope.scaling.attention_factor");
    memcpy(&m, value, sizeof m);
    ck_assert_float_eq(m, 1.25F);
    memcpy(value, &(float){1}, sizeof m);
    for (int layer = 0; layer < c->n_layers; layer++) {
        char tensor_name[32];
        snprintf(tensor_name, sizeof tensor_name, "blk.%d.attn_q.weight", layer);
        const struct tensor *tensor = checkpoint_find(&fixture.checkpoint, tensor_name);
        ck_assert(tensor && tensor->format == FORMAT_F32);
        for (size_t i = 0; i < tensor->bytes; i += sizeof(float)) {
            float w;
            memcpy(&w, copy.data + tensor->offset + i, sizeof w);
            w *= m * m;
            memcpy(copy.data + tensor->offset + i, &w, sizeof w);
        }
    }
    copy_open(&copy, NULL);
    ck_assert_float_eq(copy.model.positions[0].rotation_scale, 1);
    struct session session;
    float *expected = timeline_logits(&fixture, fixture.n, 0, timeline_whole);
    size_t n_logits = (size_t)fixture.n * (size_t)c->vocab_size;
    float *logits = malloc(n_logits * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    timeline_open(&session, &copy.model, "all", FORMAT_F32, 0);
    timeline_feed(&session, fixture.ids, fixture.n, timeline_whole, logits);
    ck_assert_double_le(fixture_difference(&fixture, logits, expected, n_logits), 1e-5);
    session_close(&session);
    free(logits);
    free(expected);
    copy_close(&copy);
    scratch_remove();
    fixture_close(&fixture);
}
END_TEST

/* --- keys that are stored for long ------------------------------------------------------------ */

/* What a cache in place does to keys whose places shrink: turn by -1, store again. */
struct shift_row {
    enum format format;
    int shifts;
    double error; /* relative, of Gaussian keys of 128 dimensions, base 10000 */
};

static double gaussian(uint64_t *state)
{
    double sum = 0; /* of twelve uniform numbers: near enough */
    for (int i = 0; i < 12; i++) {
        *state = *state * 6364136223846793005U + 1442695040888963407U;
        sum += (double)(*state >> 11) * 0x1p-53;
    }
    return sum - 6;
}

static void store_and_load(const struct kernels *k, enum format format, float *x, size_t n)
{
    uint8_t blocks[512];
    if (format == FORMAT_F16)
        k->f16_from_f32(x, n, (uint16_t *)(void *)blocks);
    else
        format_info[format].quantize(x, n, blocks);
    format_dequantize(format, blocks, n, x);
}

static double shifted_error(const struct kernels *k, enum format format, int shifts)
{
    enum { DIM = 128, PAIRS = DIM / 2, KEYS = 8 };
    uint64_t state = 1;
    double wrong = 0, all = 0;
    for (int key = 0; key < KEYS; key++) {
        float x[DIM], cosines[PAIRS], sines[PAIRS];
        double exact[DIM];
        for (int d = 0; d < DIM; d++) {
            exact[d] = gaussian(&state);
            x[d] = (float)exact[d];
        }
        for (int t = 0; t < PAIRS; t++) {
            double frequency = pow(1e4, -(double)t / PAIRS);
            double a = exact[2 * t], b = exact[2 * t + 1];
            double c = cos(-shifts * frequency), s = sin(-shifts * frequency);
            exact[2 * t] = a * c - b * s;
            exact[2 * t + 1] = a * s + b * c;
            cosines[t] = (float)cos(-frequency);
            sines[t] = (float)sin(-frequency);
        }
        store_and_load(k, format, x, DIM);
        for (int i = 0; i < shifts; i++) {
            k->rotate_interleaved(x, cosines, sines, PAIRS);
            store_and_load(k, format, x, DIM);
        }
        for (int d = 0; d < DIM; d++) {
            wrong += ((double)x[d] - exact[d]) * ((double)x[d] - exact[d]);
            all += exact[d] * exact[d];
        }
    }
    return sqrt(wrong / all);
}

/* Why keys are never turned again: errors of turning them in place, measured elsewhere. */
START_TEST(test_shifts_in_place)
{
    static const struct shift_row rows[] = {
        {FORMAT_F16, 0, 2.1e-4},    {FORMAT_F16, 16, 2.0e-3},    {FORMAT_F16, 256, 2.4e-2},
        {FORMAT_F16, 1024, 6.6e-2}, {FORMAT_Q8_0, 0, 5.4e-3},    {FORMAT_Q8_0, 16, 4.0e-2},
        {FORMAT_Q8_0, 256, 3.4e-1}, {FORMAT_Q8_0, 1024, 9.0e-1},
    };
    struct kernels kernels;
    struct error err;
    ck_assert_int_eq(kernels_select(&kernels, "scalar", &err), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double error = shifted_error(&kernels, rows[i].format, rows[i].shifts);
        ck_assert_msg(error >= rows[i].error / 1.3 && error <= rows[i].error * 1.3,
                      "%s, %d shifts: %.2e, not %.2e", format_info[rows[i].format].name,
                      rows[i].shifts, error, rows[i].error);
    }
}
END_TEST

/* ... and ours: as long as a key is in the cache, sinks past any number of evictions, it is the one
 * that was stored, in every type. */
START_TEST(test_stored_keys)
{
    static const enum format types[] = {FORMAT_F32, FORMAT_F16, FORMAT_BF16, FORMAT_Q8_0,
                                        FORMAT_Q4_0};
    enum { SINKS = 4, WINDOW = 200, N = 2000 };
    static int32_t ids[N];
    static float keys[N][256];
    struct fixture fixture;
    struct session session;
    fixture_open(&fixture, "positions/rope-yarn", "positions/rope-yarn", NULL);
    timeline_ids(&fixture, ids, N);
    size_t bytes = (size_t)fixture.model.config.head_dim * sizeof(float);
    timeline_open(&session, &fixture.model, "sinks=4,window=200", types[_i], 0);
    for (int n = 0; n < N; n++) {
        timeline_feed(&session, ids + n, 1, timeline_ones, NULL);
        timeline_read(&session, 1, 0, n, 0, keys[n]);
        for (int j = 0; n % 50 == 49 && j <= n; j++) {
            float now[256];
            if (j >= SINKS && j <= n - WINDOW)
                continue;
            timeline_read(&session, 1, 0, j, 0, now);
            ck_assert_mem_eq(now, keys[j], bytes);
        }
    }
    ck_assert(!cache_holds(&session.cache, 1, 0, CACHE_BLOCK, N - WINDOW));
    session_close(&session);
    fixture_close(&fixture);
}
END_TEST

/* --- 4: places that change ------------------------------------------------------------------- */

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t d = 0; d < n; d++)
        sum += (double)a[d] * (double)b[d];
    return sum;
}

/* x turned to a place. */
static void turn(const struct session *session, const float *x, double place, bool query, float *y)
{
    const struct position *p = session->model->layers[session->model->config.n_layers - 1].position;
    float cosines[128], sines[128];
    memcpy(y, x, (size_t)p->config->head_dim * sizeof *y);
    position_turns(p, place, 0, query, cosines, sines);
    position_rotate(p, &session->model->kernels, y, 1, cosines, sines);
}

/* With sinks, every product of the last query with what the cache holds is the one of turning all
 * kept keys, raw, to their slots 0, 1, 2, ... and the query to the last: the paper's way. */
static void check_slots(const struct session *session, const float *q, float (*raw)[256], int n)
{
    enum { SINKS = 4, SLOTS = 64 };
    int layer = session->model->config.n_layers - 1;
    size_t dim = (size_t)session->model->config.head_dim;
    struct segment segments[SEGMENTS_MAX];
    context_segments(&session->context, &session->model->config.layers[layer], n - 1, segments);
    int seen = 0, last = n < SLOTS ? n - 1 : SLOTS - 1;
    for (int s = 0; s < context_n_segments(&session->context); s++)
        for (int64_t j = segments[s].begin; j < segments[s].end; j++, seen++) {
            float key[256], query[256], slot_key[256], slot_query[256];
            timeline_read(session, layer, 0, j, 0, key);
            turn(session, q, segments[s].place, true, query);
            turn(session, raw[j], seen, false, slot_key);
            turn(session, q, last, true, slot_query);
            double norms = sqrt(dot(query, query, dim) * dot(key, key, dim));
            double off = dot(query, key, dim) - dot(slot_query, slot_key, dim);
            ck_assert_msg(fabs(off) <= 1e-5 * norms, "token %d, key %lld: off by %.1e", n - 1,
                          (long long)j, off / norms);
        }
    ck_assert_int_eq(seen, last + 1);
}

START_TEST(test_slots)
{
    static const char *const names[] = {"positions/rope", "positions/rope-yarn"};
    enum { N = 500 };
    static int32_t ids[N];
    static float raw[N][256];
    struct fixture fixture;
    struct session session;
    fixture_open(&fixture, names[_i], names[_i], NULL);
    const struct config *c = &fixture.model.config;
    timeline_ids(&fixture, ids, N);
    timeline_open(&session, &fixture.model, "sinks=4,window=60", FORMAT_F32, 0);
    for (int n = 0; n < N; n++) {
        timeline_feed(&session, ids + n, 1, timeline_ones, NULL);
        const float *q = session.activations.qkv; /* of the last layer, not turned */
        memcpy(raw[n], q + c->n_heads * c->head_dim, (size_t)c->head_dim * sizeof(float));
        if (n < 70 || n > N - 10)
            check_slots(&session, q, raw, n + 1);
    }
    session_close(&session);
    fixture_close(&fixture);
}
END_TEST

Suite *stored_keys_suite(void)
{
    Suite *suite = suite_create("stored_keys");
    TCase *tcase = tcase_create("stored_keys");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_nope_layers);
    tcase_add_loop_test(tcase, test_key_norms, 0, N_ROTARY);
    tcase_add_test(tcase, test_m);
    tcase_add_test(tcase, test_shifts_in_place);
    tcase_add_loop_test(tcase, test_stored_keys, 0, 5);
    tcase_add_loop_test(tcase, test_slots, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
