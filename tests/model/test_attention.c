/* attention: against softmax(q k + bias) v written out in double, over several blocks of the cache,
 * for every way that heads and tokens are put together. */
#include "model/attention.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/parallel.h"
#include "tests/suites.h"

enum { TOKENS = 300 };

/* A session that nothing but attention could use: one layer, random queries, keys and values. */
struct setup {
    struct model model;
    struct position position;
    struct layer layer;
    struct layer_config layer_config;
    struct position_table table;
    struct session session;
    float *keys;   /* (TOKENS, n_kv_heads, head_dim) what the cache holds */
    float *values; /* the same shape */
};

static float uniform(float limit)
{
    return limit * ((float)rand() / (float)RAND_MAX * 2 - 1);
}

static size_t width(const struct config *c)
{
    return (size_t)(c->n_heads + 2 * c->n_kv_heads) * (size_t)c->head_dim;
}

static void *allocate(size_t n)
{
    void *memory = calloc(n, sizeof(float));
    ck_assert_ptr_nonnull(memory);
    return memory;
}

/* Keys grow with their position, so that the largest score is in block after block. */
static void store_all(struct setup *s)
{
    const struct config *c = &s->model.config;
    size_t n = (size_t)c->n_kv_heads * (size_t)c->head_dim;
    s->keys = allocate(TOKENS * n);
    s->values = allocate(TOKENS * n);
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t i = 0; i < n; i++) {
            /* multiples of 1/64 up to 16: exact in f16 */
            s->keys[t * n + i] = rintf(uniform(2 + 6 * (float)t / TOKENS) * 64) / 64;
            s->values[t * n + i] = rintf(uniform(1) * 64) / 64;
        }
        cache_store(&s->session.cache, &s->model.kernels, 0, 0, (int64_t)t, s->keys + t * n);
        cache_store(&s->session.cache, &s->model.kernels, 0, STRIP_VALUES, (int64_t)t,
                    s->values + t * n);
    }
}

static void setup_open(struct setup *s, const char *isa, enum position_kind kind,
                       const int shape[3], enum format kv)
{
    static const struct checkpoint nothing = {.metadata.place = "m.gguf"};
    static const struct architecture architecture = {.name = "bloom", .alibi_max_bias = 8};
    struct error err;
    *s = (struct setup){.layer_config.position = kind};
    s->model.config = (struct config){.architecture = &architecture,
                                      .layers = &s->layer_config,
                                      .n_layers = 1,
                                      .n_heads = shape[0],
                                      .n_kv_heads = shape[1],
                                      .head_dim = shape[2]};
    const struct config *c = &s->model.config;
    struct position_source source = {.config = c, .checkpoint = &nothing};
    ck_assert_int_eq(kernels_select(&s->model.kernels, isa, &err), 0);
    ck_assert_msg(position_open(&s->position, &source, &err) == 0, "%s", err.text);
    s->layer.position = &s->position;
    s->model.layers = &s->layer;
    s->model.positions = &s->position;
    s->model.n_positions = 1;
    s->session.model = &s->model;
    s->session.tables = &s->table;
    ck_assert_int_eq(cache_open(&s->session.cache, c, (int[]){1}, kv, 0, &err), 0);
    ck_assert_int_eq(cache_reserve(&s->session.cache, TOKENS, &err), 0);
    store_all(s);
    struct activations *a = &s->session.activations;
    a->qkv = allocate(TOKENS * width(c));
    a->heads = allocate(TOKENS * (size_t)(c->n_heads * c->head_dim));
    a->thread_floats = attention_scratch(&s->model);
    a->thread = allocate(3 * a->thread_floats);
    for (size_t i = 0; i < TOKENS * width(c); i++)
        a->qkv[i] = uniform(1);
}

static void setup_close(struct setup *s)
{
    free(s->session.activations.qkv);
    free(s->session.activations.heads);
    free(s->session.activations.thread);
    free(s->keys);
    free(s->values);
    cache_close(&s->session.cache);
    position_close(&s->position);
}

/* As the paper has it: powers of 2^(-8/P), and for the heads past the largest power of two P the
 * odd ones of twice as many. */
static double slope(int head, int n_heads)
{
    int p = 1;
    while (2 * p <= n_heads)
        p *= 2;
    return pow(2, head < p ? -8.0 * (head + 1) / p : -4.0 * (2 * (head - p) + 1) / p);
}

/* One head of the token whose query is q, at position `at`. */
static void brute_force(const struct setup *s, const float *q, int head, size_t at, double *out)
{
    const struct config *c = &s->model.config;
    size_t dim = (size_t)c->head_dim, n = (size_t)c->n_kv_heads * dim;
    size_t kv = (size_t)(head / (c->n_heads / c->n_kv_heads)) * dim;
    double weights[TOKENS], largest = -INFINITY, sum = 0;
    for (size_t j = 0; j <= at; j++) {
        double dot = 0;
        for (size_t d = 0; d < dim; d++)
            dot += (double)q[d] * (double)s->keys[j * n + kv + d];
        weights[j] = dot / sqrt((double)dim);
        if (s->layer_config.position == POSITION_ALIBI)
            weights[j] -= slope(head, c->n_heads) * (double)(at - j);
        largest = fmax(largest, weights[j]);
    }
    memset(out, 0, dim * sizeof *out);
    for (size_t j = 0; j <= at; j++) {
        double weight = exp(weights[j] - largest);
        sum += weight;
        for (size_t d = 0; d < dim; d++)
            out[d] += weight * (double)s->values[j * n + kv + d];
    }
    for (size_t d = 0; d < dim; d++)
        out[d] /= sum;
}

/* Tokens first..first+n-1 of a batch that starts at `start`. Values are at most 1, so are the sums;
 * scores of size 20 in f32 are off by some 1e-6 of themselves, and the weights by as much. */
static void check_batch(struct setup *s, int64_t start, int first, int n)
{
    const struct config *c = &s->model.config;
    size_t dim = (size_t)c->head_dim;
    struct session *session = &s->session;
    session->position = start;
    attention(session, 0, first, n);
    for (int t = first; t < first + n; t++) {
        for (int head = 0; head < c->n_heads; head++) {
            double expected[256];
            const float *q = session->activations.qkv + (size_t)t * width(c) + (size_t)head * dim;
            const float *found =
                session->activations.heads + ((size_t)t * (size_t)c->n_heads + (size_t)head) * dim;
            brute_force(s, q, head, (size_t)(start + t), expected);
            for (size_t d = 0; d < dim; d++)
                if (!(fabs((double)found[d] - expected[d]) <= 2e-5))
                    ck_abort_msg("%s: token %d at %d, head %d: %.8f, expected %.8f",
                                 s->model.kernels.name, t, (int)start + t, head, (double)found[d],
                                 expected[d]);
        }
    }
}

/* heads, heads of keys and values, length: alone, in groups, in groups larger than an item, odd. */
static const int shapes[][3] = {{4, 4, 16}, {6, 2, 32},  {40, 2, 8},
                                {3, 1, 5},  {17, 1, 20}, {2, 2, 80}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

START_TEST(test_brute_force)
{
    static const enum position_kind schemes[] = {POSITION_NONE, POSITION_ALIBI};
    srand(6);
    for (int tier = 0; kernels_available(tier); tier++) {
        for (int i = 0; i < 4; i++) {
            struct setup s;
            parallel_set_threads(1 + i % 3);
            setup_open(&s, kernels_available(tier), schemes[i % 2], shapes[_i],
                       i / 2 ? FORMAT_F16 : FORMAT_F32);
            check_batch(&s, 0, 0, 7);
            check_batch(&s, 299, 0, 1);
            check_batch(&s, CACHE_BLOCK - 3, 0, 5);
            check_batch(&s, 2 * CACHE_BLOCK - 1, 2, 17);
            check_batch(&s, 130, 168, 1);
            setup_close(&s);
        }
    }
}
END_TEST

Suite *attention_suite(void)
{
    Suite *suite = suite_create("attention");
    TCase *tcase = tcase_create("attention");
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, test_brute_force, 0, N_SHAPES);
    suite_add_tcase(suite, tcase);
    return suite;
}
