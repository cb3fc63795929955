/* attention: see attention.h.
 *
 * One item of work is a key-value head and a few queries that read it: the heads of its group, of
 * one or more neighbouring tokens. They pass over the cache once, block by block, each keeping a
 * running maximum and sum (Milakov & Gimelshein 2018, arXiv:1805.02867), so scores never leave the
 * first-level cache. A query's blocks come in the same order and sizes whatever the batch, so
 * batches change no bit. */
#include "model/attention.h"

#include <math.h>
#include <string.h>

#include "kernels/parallel.h"

/* Scratch of a thread: queries scaled, accumulators and scores of one item. */
size_t attention_scratch(const struct config *config)
{
    return QUERIES_MAX * (2 * (size_t)config->head_dim + CACHE_BLOCK);
}

struct task {
    struct session *session;
    const struct layer *layer;
    int layer_index;
    int first; /* token of the batch */
    int n;
    int heads_per_item; /* query heads of one group that an item takes */
    int tokens_per_item;
    int items_per_token; /* along the heads */
};

/* One query of an item: head and token, its running softmax, and where its result goes. */
struct query {
    int head;
    int64_t position;
    float max;
    float sum;
    float *out;
};

/* Folds the scores of positions start..start+n-1 into the query's softmax; they become weights. */
static void fold(const struct task *task, struct query *query, float *scores, int64_t start,
                 size_t n)
{
    const struct kernels *k = &task->session->model->kernels;
    const struct position *position = task->layer->position;
    int64_t visible = query->position + 1 - start;
    size_t live = visible <= 0 ? 0 : visible < (int64_t)n ? (size_t)visible : n;
    if (live > 0) {
        if (position->scheme->add_bias)
            position->scheme->add_bias(position, query->head, query->position - start, (int)live,
                                       scores);
        float max = k->max(scores, live);
        if (max > query->max) {
            float shrink = expf(query->max - max);
            k->scale(query->out, (size_t)task->session->model->config.head_dim, shrink);
            query->sum *= shrink;
            query->max = max;
        }
        query->sum += k->exp_sum(scores, live, query->max);
    }
    memset(scores + live, 0, (n - live) * sizeof *scores);
}

static void attend_item(const struct task *task, int kv_head, int head0, int token0, int tokens,
                        float *scratch)
{
    struct session *session = task->session;
    const struct kernels *k = &session->model->kernels;
    const struct config *c = &session->model->config;
    size_t dim = (size_t)c->head_dim;
    size_t width = (size_t)(c->n_heads + 2 * c->n_kv_heads) * dim;
    int group_end = (kv_head + 1) * (c->n_heads / c->n_kv_heads);
    int heads = group_end - head0 < task->heads_per_item ? group_end - head0 : task->heads_per_item;
    float scale = 1 / sqrtf((float)c->head_dim);
    float *scores = scratch + 2 * QUERIES_MAX * dim;
    struct query queries[QUERIES_MAX];
    const float *q[QUERIES_MAX];
    float *out[QUERIES_MAX];
    int m = 0;
    for (int t = token0; t < token0 + tokens; t++) {
        for (int head = head0; head < head0 + heads; head++, m++) {
            float *scaled = scratch + (size_t)m * dim;
            memcpy(scaled, session->activations.qkv + (size_t)t * width + (size_t)head * dim,
                   dim * sizeof *scaled);
            k->scale(scaled, dim, scale);
            q[m] = scaled;
            out[m] = scratch + (QUERIES_MAX + (size_t)m) * dim;
            memset(out[m], 0, dim * sizeof *out[m]);
            queries[m] = (struct query){head, session->position + t, -INFINITY, 0, out[m]};
        }
    }
    int64_t end = session->position + token0 + tokens;
    for (int64_t start = 0; start < end; start += CACHE_BLOCK) {
        int64_t block = start / CACHE_BLOCK;
        size_t n = end - start < CACHE_BLOCK ? (size_t)(end - start) : CACHE_BLOCK;
        k->attend_scores(scores, CACHE_BLOCK, q, m,
                         cache_keys(&session->cache, block, task->layer_index, kv_head),
                         CACHE_BLOCK, session->cache.format, n, dim);
        for (int i = 0; i < m; i++)
            fold(task, &queries[i], scores + (size_t)i * CACHE_BLOCK, start, n);
        k->attend_values(out, scores, CACHE_BLOCK, m,
                         cache_values(&session->cache, block, task->layer_index, kv_head),
                         session->cache.format, n, dim);
    }
    for (int i = 0; i < m; i++) {
        k->scale(out[i], dim, 1 / queries[i].sum);
        size_t t = (size_t)(queries[i].position - session->position);
        memcpy(session->activations.heads +
                   (t * (size_t)c->n_heads + (size_t)queries[i].head) * dim,
               out[i], dim * sizeof *out[i]);
    }
}

static void items_body(void *context, int begin, int end, int thread)
{
    const struct task *task = context;
    struct session *session = task->session;
    const struct config *c = &session->model->config;
    int group = c->n_heads / c->n_kv_heads;
    int splits = task->items_per_token / c->n_kv_heads; /* of a group */
    float *scratch = session->activations.thread + (size_t)thread * attention_scratch(c);
    for (int item = begin; item < end; item++) {
        int kv_head = item % task->items_per_token / splits;
        int head0 = kv_head * group + item % splits * task->heads_per_item;
        int token = item / task->items_per_token * task->tokens_per_item;
        int tokens =
            task->n - token < task->tokens_per_item ? task->n - token : task->tokens_per_item;
        attend_item(task, kv_head, head0, task->first + token, tokens, scratch);
    }
}

void attention(struct session *session, const struct layer *layer, int layer_index, int first,
               int n)
{
    const struct config *c = &session->model->config;
    struct task task = {
        .session = session, .layer = layer, .layer_index = layer_index, .first = first, .n = n};
    int group = c->n_heads / c->n_kv_heads;
    task.heads_per_item = group < QUERIES_MAX ? group : QUERIES_MAX;
    task.tokens_per_item = QUERIES_MAX / task.heads_per_item;
    task.items_per_token =
        c->n_kv_heads * ((group + task.heads_per_item - 1) / task.heads_per_item);
    int items = task.items_per_token * ((n + task.tokens_per_item - 1) / task.tokens_per_item);
    enum { SMALL_WORK = 1 << 16 };
    int64_t work = (session->position + first + n) * c->head_dim * c->n_heads * n;
    parallel_for(items, work < SMALL_WORK ? items : 1, items_body, &task);
}
