/* endurance_keys: see endurance_keys.h. */
#include "tests/endurance_keys.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/codec.h"
#include "tests/endurance_input.h"

static size_t layer_size(const struct config *c)
{
    return (size_t)c->n_kv_heads * (size_t)c->head_dim;
}

size_t endurance_keys_size(const struct model *model)
{
    return (size_t)model->config.n_layers * layer_size(&model->config);
}

/* Lane `lane` of keys (dim, CACHE_BLOCK). */
static void read_lane(const struct kernels *k, const void *keys, enum format format, size_t dim,
                      size_t lane, float *x)
{
    for (size_t d = 0; d < dim; d++) {
        size_t i = d * CACHE_BLOCK + lane;
        if (format == FORMAT_F16)
            k->f32_from_f16((const uint16_t *)keys + i, 1, x + d);
        else
            x[d] = ((const float *)keys)[i];
    }
}

void endurance_keys_read(const struct session *session, int64_t begin, int64_t n, float *keys)
{
    const struct config *c = &session->model->config;
    const struct kernels *k = &session->model->kernels;
    size_t dim = (size_t)c->head_dim;
    float *scratch = endurance_alloc(dim * CACHE_BLOCK, sizeof *scratch);
    for (int64_t at = begin; at < begin + n; at++)
        for (int layer = 0; layer < c->n_layers; layer++)
            for (int head = 0; head < c->n_kv_heads; head++, keys += dim) {
                enum format format;
                size_t lane = (size_t)(at % CACHE_BLOCK);
                const void *block = cache_read(&session->cache, k, layer, 0, at / CACHE_BLOCK, head,
                                               lane + 1, scratch, &format);
                read_lane(k, block, format, dim, lane, keys);
            }
    free(scratch);
}

static double norm(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

void endurance_keys_norms(const struct session *session, double *norms)
{
    const struct config *c = &session->model->config;
    size_t dim = (size_t)c->head_dim;
    float *keys = endurance_alloc(CACHE_BLOCK * endurance_keys_size(session->model), sizeof *keys);
    const float *key = keys;
    endurance_keys_read(session, session->position - CACHE_BLOCK, CACHE_BLOCK, keys);
    memset(norms, 0, (size_t)c->n_layers * sizeof *norms);
    for (int at = 0; at < CACHE_BLOCK; at++)
        for (int layer = 0; layer < c->n_layers; layer++)
            for (int head = 0; head < c->n_kv_heads; head++, key += dim)
                norms[layer] += norm(key, dim) / (CACHE_BLOCK * c->n_kv_heads);
    free(keys);
}

/* --- shifts in place -------------------------------------------------------------------------- */

/* The keys of one head, in a cache of their own. */
struct shifted {
    const struct kernels *k;
    const struct codec *codec;
    const struct position *position;
    size_t dim;
    size_t n;
    size_t stride;      /* of `first` */
    const float *first; /* (n) keys before they were stored */
    void *stored;       /* a head, as codec.h draws it */
    float *loaded;      /* (dim, CACHE_BLOCK) scratch */
    float *x;           /* (n, dim) as the cache has them */
    float *cosines, *sines;
};

static void store_and_load(struct shifted *s)
{
    for (size_t i = 0; i < s->n; i++)
        s->codec->put_key(s->k, s->stored, s->dim, i, s->x + i * s->dim);
    const void *keys = s->stored;
    if (s->codec->get_keys) {
        s->codec->get_keys(s->k, s->stored, s->dim, (s->n + 15) / 16 * 16, s->loaded);
        keys = s->loaded;
    }
    enum format format = s->codec->get_keys ? FORMAT_F32 : FORMAT_F16;
    for (size_t i = 0; i < s->n; i++)
        read_lane(s->k, keys, format, s->dim, i, s->x + i * s->dim);
}

/* How far the keys are from the first ones turned once by all places. */
static double relative_error(struct shifted *s, int count)
{
    double wrong = 0;
    double all = 0;
    float *exact = endurance_alloc(s->dim, sizeof *exact);
    position_turns(s->position, -count, 0, false, s->cosines, s->sines);
    for (size_t i = 0; i < s->n; i++) {
        memcpy(exact, s->first + i * s->stride, s->dim * sizeof *exact);
        position_rotate(s->position, s->k, exact, 1, s->cosines, s->sines);
        for (size_t d = 0; d < s->dim; d++) {
            double off = (double)s->x[i * s->dim + d] - (double)exact[d];
            wrong += off * off;
            all += (double)exact[d] * (double)exact[d];
        }
    }
    free(exact);
    return sqrt(wrong / all);
}

static void shift_head(struct shifted *s, const int *counts, int n_counts, double *errors)
{
    for (size_t i = 0; i < s->n; i++)
        memcpy(s->x + i * s->dim, s->first + i * s->stride, s->dim * sizeof *s->x);
    store_and_load(s);
    for (int i = 0, done = 0; i < n_counts; i++) {
        position_turns(s->position, -1, 0, false, s->cosines, s->sines);
        for (; done < counts[i]; done++) {
            for (size_t j = 0; j < s->n; j++)
                position_rotate(s->position, s->k, s->x + j * s->dim, 1, s->cosines, s->sines);
            store_and_load(s);
        }
        errors[i] += relative_error(s, done);
    }
}

/* errors[n_counts]: after so many shifts, which rise, of keys (n, ...), n <= CACHE_BLOCK. */
static void shift(const struct model *model, enum format format, const float *keys, int n,
                  const int *counts, int n_counts, double *errors)
{
    const struct config *c = &model->config;
    size_t dim = (size_t)c->head_dim;
    struct shifted s = {
        .k = &model->kernels,
        .codec = codec_find(format),
        .dim = dim,
        .n = (size_t)n,
        .stride = endurance_keys_size(model),
        .stored = endurance_alloc(1, codec_bytes(codec_find(format), dim)),
        .loaded = endurance_alloc(dim * CACHE_BLOCK, sizeof(float)),
        .x = endurance_alloc(dim * (size_t)n, sizeof(float)),
        .cosines = endurance_alloc(dim, sizeof(float)),
        .sines = endurance_alloc(dim, sizeof(float)),
    };
    memset(errors, 0, (size_t)n_counts * sizeof *errors);
    for (int layer = 0; layer < c->n_layers; layer++)
        for (int head = 0; head < c->n_kv_heads; head++) {
            s.position = model->layers[layer].position;
            s.first = keys + (size_t)layer * layer_size(c) + (size_t)head * dim;
            shift_head(&s, counts, n_counts, errors);
        }
    for (int i = 0; i < n_counts; i++)
        errors[i] /= c->n_layers * c->n_kv_heads;
    free(s.stored);
    free(s.loaded);
    free(s.x);
    free(s.cosines);
    free(s.sines);
}

/* The keys of positions [begin, begin + n) of a text of n_ids tokens, in F32. */
static float *first_keys(const struct model *model, const int32_t *ids, int n_ids, int begin, int n)
{
    struct error err;
    struct session session;
    struct session_options options = {.kv = FORMAT_F32};
    float *keys = endurance_alloc((size_t)n * endurance_keys_size(model), sizeof *keys);
    endurance_demand(session_open(&session, model, &options, &err), &err);
    endurance_demand(session_feed(&session, ids, n_ids, NULL, &err), &err);
    endurance_keys_read(&session, begin, n, keys);
    session_close(&session);
    return keys;
}

void endurance_keys_print_shifts(const struct model *model, const int32_t *ids, int sinks,
                                 int window)
{
    enum { N_NEAR = 4, N_FAR = 2 };
    const enum format types[] = {FORMAT_F16, FORMAT_Q8_0};
    const int near[N_NEAR] = {0, 1, 16, window - 1}, far[N_FAR] = {1000, 100000};
    int n = sinks + window;
    float *keys = first_keys(model, ids, n, n - CACHE_BLOCK, CACHE_BLOCK);
    float *kept = first_keys(model, ids, n, 0, sinks);
    printf("  in place instead, relative error after shifts\n         ");
    for (int i = 0; i < N_NEAR; i++)
        printf(" %8d", near[i]);
    printf("   sinks:");
    for (int i = 0; i < N_FAR; i++)
        printf(" %8d", far[i]);
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        double errors[N_NEAR + N_FAR];
        shift(model, types[t], keys, CACHE_BLOCK, near, N_NEAR, errors);
        shift(model, types[t], kept, sinks, far, N_FAR, errors + N_NEAR);
        printf("\n  %-7s", format_info[types[t]].name);
        for (int i = 0; i < N_NEAR + N_FAR; i++)
            printf("%s %8.1e", i == N_NEAR ? "         " : "", errors[i]);
    }
    printf("\n");
    free(keys);
    free(kept);
}
