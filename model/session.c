/* session: see session.h. */
#include "model/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "kernels/parallel.h"
#include "model/attention.h"
#include "model/forward.h"

/* One allocation, cut into the arrays of `a`, whose first is its start. */
static int activations_reserve(struct activations *a, const struct model *model, int tokens,
                               struct error *err)
{
    int threads = parallel_threads();
    if (tokens <= a->tokens && threads <= a->threads)
        return 0;
    tokens = tokens > a->tokens ? tokens : a->tokens;
    const struct config *c = &model->config;
    size_t n = (size_t)tokens;
    size_t heads = (size_t)c->n_heads * (size_t)c->head_dim;
    size_t qkv = heads + 2 * (size_t)c->n_kv_heads * (size_t)c->head_dim;
    size_t angles = (size_t)model->n_positions * (size_t)(c->head_dim / 2);
    struct {
        float **array;
        size_t floats;
    } parts[] = {
        {&a->x, n * (size_t)c->dim},
        {&a->h, n * (size_t)c->dim},
        {&a->qkv, n * qkv},
        {&a->heads, n * heads},
        {&a->gate, n * (size_t)c->hidden_dim},
        {&a->up, n * (size_t)c->hidden_dim},
        {&a->y, n * (size_t)c->dim},
        {&a->cos, n * angles},
        {&a->sin, n * angles},
        {&a->thread, (size_t)threads * attention_scratch(c)},
    };
    enum { LINE = CACHE_LINE / sizeof(float), PARTS = sizeof parts / sizeof parts[0] };
    size_t total = 0;
    for (int i = 0; i < PARTS; i++)
        total += (parts[i].floats + LINE - 1) / LINE * LINE;
    float *memory = size_alloc(total, sizeof(float));
    if (!memory)
        return error_memory(err, "activations", total * sizeof(float));
    free(a->x);
    for (int i = 0; i < PARTS; i++) {
        *parts[i].array = memory;
        memory += (parts[i].floats + LINE - 1) / LINE * LINE;
    }
    a->tokens = tokens;
    a->threads = threads;
    a->bytes = total * sizeof(float);
    return 0;
}

int session_open(struct session *session, const struct model *model, enum format kv,
                 struct error *err)
{
    *session = (struct session){.model = model};
    if (cache_open(&session->cache, &model->config, kv, err))
        return -1;
    session->logits = size_alloc((size_t)model->config.vocab_size, sizeof *session->logits);
    if (!session->logits)
        return error_memory(err, "logits",
                            (size_t)model->config.vocab_size * sizeof *session->logits);
    return 0;
}

void session_close(struct session *session)
{
    cache_close(&session->cache);
    workspace_free(&session->workspace);
    free(session->activations.x);
    free(session->logits);
    *session = (struct session){0};
}

static int check_ids(const struct session *session, const int32_t *ids, int64_t n,
                     struct error *err)
{
    const struct model *model = session->model;
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= model->config.vocab_size)
            return error_set(err, "token %lld of the text: id %d, allowed: 0 to %d", (long long)i,
                             (int)ids[i], model->config.vocab_size - 1);
    for (int i = 0; i < model->n_positions; i++)
        if (n > model->positions[i].limit - session->position)
            return error_set(
                err,
                "the text reaches position %lld, but the model has %s positions up to %lld only",
                (long long)(session->position + n - 1), model->positions[i].scheme->name,
                (long long)(model->positions[i].limit - 1));
    return 0;
}

static int make_room(struct session *session, int64_t n, struct error *err)
{
    const struct config *c = &session->model->config;
    int batch = n < SESSION_BATCH ? (int)n : SESSION_BATCH;
    int cols = c->n_heads * c->head_dim;
    cols = cols > c->dim ? cols : c->dim;
    cols = cols > c->hidden_dim ? cols : c->hidden_dim;
    if (activations_reserve(&session->activations, session->model, batch, err) ||
        workspace_reserve(&session->workspace, batch, cols, err))
        return -1;
    return cache_reserve(&session->cache, session->position + n, err);
}

int session_feed(struct session *session, const int32_t *ids, int64_t n, float *logits,
                 struct error *err)
{
    if (check_ids(session, ids, n, err) || make_room(session, n, err))
        return -1;
    size_t vocab_size = (size_t)session->model->config.vocab_size;
    for (int64_t done = 0; done < n; done += SESSION_BATCH) {
        int batch = n - done < SESSION_BATCH ? (int)(n - done) : SESSION_BATCH;
        bool last = done + batch == n;
        if (logits)
            forward(session, ids + done, batch, LOGITS_ALL, logits + (size_t)done * vocab_size);
        else
            forward(session, ids + done, batch, last ? LOGITS_LAST : LOGITS_NONE, session->logits);
        session->position += batch;
    }
    if (logits)
        memcpy(session->logits, logits + (size_t)(n - 1) * vocab_size, vocab_size * sizeof *logits);
    return 0;
}

void session_truncate(struct session *session, int64_t n)
{
    cache_truncate(&session->cache, n);
    session->position = n;
}

size_t session_bytes(const struct session *session)
{
    return cache_bytes(&session->cache) + session->activations.bytes +
           workspace_bytes(&session->workspace) +
           (size_t)session->model->config.vocab_size * sizeof *session->logits;
}
