/* attention: see attention.h.
 *
 * One item of work is a key-value head and a few queries that read it: the heads of its group, of
 * one or more neighbouring tokens. Segment by segment (model/context.h) they pass over the cache
 * once, block by block, newest first, each keeping a running maximum and sum (Milakov & Gimelshein
 * 2018, arXiv:1805.02867), so scores never leave the first-level cache. A query's blocks come in
 * the same order and sizes whatever the batch, so batches change no bit. */
#include "model/attention.h"

#include <math.h>
#include <string.h>

#include "kernels/parallel.h"
#include "model/query.h"
#include "model/turning.h"

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

/* What a thread computes at a time. */
struct item {
    const struct task *task;
    const struct position *position;
    const struct kernels *k;
    size_t dim;
    int kv_head;
    int m;
    struct query queries[QUERIES_MAX];
    float *scores;  /* (QUERIES_MAX, CACHE_BLOCK) */
    float *keys;    /* (head_dim, CACHE_BLOCK) unpacked */
    float *raw;     /* the same, before they are turned */
    float *table;   /* of turning */
    float *vectors; /* the queries' */
};

size_t attention_scratch(const struct model *model)
{
    size_t dim = (size_t)model->config.head_dim;
    size_t table = 0;
    for (int i = 0; i < model->n_positions; i++) {
        size_t size = turning_table_size(&model->positions[i]);
        table = size > table ? size : table;
    }
    return QUERIES_MAX * (query_floats(model) + CACHE_BLOCK) + 2 * dim * CACHE_BLOCK + table;
}

int attention_strip(const struct session *session, int layer, int form)
{
    return form < session->cache.n_forms[layer] ? form : 0;
}

static size_t position_index(const struct session *session, const struct position *position, int t)
{
    size_t scheme = (size_t)(position - session->model->positions);
    return scheme * (size_t)session->activations.tokens + (size_t)t;
}

float *attention_query_turns(const struct session *session, const struct position *position, int t,
                             int segment)
{
    size_t n = (size_t)context_n_segments(&session->context);
    size_t row = position_index(session, position, t) * n + (size_t)segment;
    return session->activations.query_turns + row * (size_t)session->model->config.head_dim;
}

float *attention_key_turns(const struct session *session, const struct position *position, int t,
                           int form)
{
    size_t n = (size_t)context_n_forms(&session->context);
    size_t row = position_index(session, position, t) * n + (size_t)form;
    return session->activations.key_turns + row * (size_t)session->model->config.head_dim;
}

/* Lanes [begin, end) of a block's keys, in *format. */
static const void *read_keys(const struct item *item, int form, int64_t block, size_t begin,
                             size_t end, enum format *format)
{
    const struct session *session = item->task->session;
    const struct position *p = item->position;
    int layer = item->task->layer_index;
    int strip = attention_strip(session, layer, form);
    bool unpack = p->follows_length || p->vector_heads[VECTORS_KEY] > 0;
    const void *keys = cache_read(&session->cache, item->k, layer, strip, block, item->kv_head, end,
                                  p->follows_length ? item->raw : item->keys, format);
    if (p->follows_length)
        turning_keys(p, item->k, item->table, keys, *format, begin, end, item->keys);
    else if (unpack && *format == FORMAT_F16)
        for (size_t d = 0; d < item->dim; d++)
            item->k->f32_from_f16((const uint16_t *)keys + d * CACHE_BLOCK, CACHE_BLOCK,
                                  item->keys + d * CACHE_BLOCK);
    else
        return keys;
    *format = FORMAT_F32;
    return item->keys;
}

/* Calls table_add_scores, or with weights table_add_values, for every run of keys [begin, end) of a
 * block that starts at `start`. */
static void add_by_distance(const struct item *item, struct query *query, int s, int64_t start,
                            size_t begin, size_t end, const float *keys, float *scores, bool values)
{
    const struct session *session = item->task->session;
    const struct position *p = item->position;
    const struct segment *segment = &query->segments[s];
    const struct position_table *table = &session->tables[p - session->model->positions];
    while (begin < end) {
        int64_t j = start + (int64_t)begin;
        int64_t n;
        struct run run = {.head = query->head, .place = (double)session->origin + segment->place};
        context_run(&session->context, segment->form, j, (int64_t)(end - begin), &run.step, &n);
        run.distance = segment->place - context_key_place(&session->context, segment->form, j);
        run.n = (int)n;
        if (values)
            table_add_values(table, p, item->k, &run, scores + begin, query->out);
        else
            table_add_scores(table, p, item->k, &run, query->relative, keys ? keys + begin : NULL,
                             scores + begin);
        begin += (size_t)n;
    }
}

/* Folds the scores of lanes [first, last) of a block into the query's softmax; they become weights,
 * those that the query does not see zero. */
static void fold(const struct item *item, struct query *query, int s, int64_t start, size_t first,
                 size_t last, const float *keys, float *scores)
{
    const struct kernels *k = item->k;
    const struct position *p = item->position;
    size_t begin;
    size_t end;
    query_visible(query, s, start, &begin, &end);
    if (begin >= end) {
        memset(scores + first, 0, (last - first) * sizeof *scores);
        return;
    }
    if (p->scheme->bias || p->scheme->add_bias || p->scheme->vectors)
        add_by_distance(item, query, s, start, begin, end, keys, scores, false);
    if (p->scheme->add_content)
        p->scheme->add_content(p, query->row, &query->state, (int)(end - begin), scores + begin);
    float max = k->max(scores + begin, end - begin);
    if (max > query->max) {
        float shrink = expf(query->max - max);
        k->scale(query->out, item->dim, shrink);
        query->sum *= shrink;
        query->max = max;
    }
    query->sum += k->exp_sum(scores + begin, end - begin, query->max);
    if (p->vector_heads[VECTORS_VALUE] > 0)
        add_by_distance(item, query, s, start, begin, end, NULL, scores, true);
    memset(scores + first, 0, (begin - first) * sizeof *scores);
    memset(scores + end, 0, (last - end) * sizeof *scores);
}

/* All queries over the keys that segment s of any of them has in one block. */
static void attend_block(struct item *item, int s, int64_t block)
{
    const struct session *session = item->task->session;
    int layer = item->task->layer_index;
    int64_t start = block * CACHE_BLOCK;
    size_t first = CACHE_BLOCK;
    size_t last = 0;
    const float *q[QUERIES_MAX];
    float *out[QUERIES_MAX];
    for (int i = 0; i < item->m; i++) {
        size_t begin;
        size_t end;
        query_visible(&item->queries[i], s, start, &begin, &end);
        first = begin < end && begin < first ? begin : first;
        last = begin < end && end > last ? end : last;
        q[i] = query_for_block(&item->queries[i], s, start);
        out[i] = item->queries[i].out;
    }
    if (first >= last)
        return;
    enum format format;
    enum { LANES = 16 };
    size_t aligned = first / LANES * LANES; /* whole lanes up to the end of a block are there */
    const void *keys =
        read_keys(item, item->queries[0].segments[s].form, block, aligned, last, &format);
    item->k->attend_scores(item->scores + aligned, CACHE_BLOCK, q, item->m,
                           (const uint8_t *)keys +
                               aligned * (size_t)format_info[format].block_bytes,
                           CACHE_BLOCK, format, last - aligned, item->dim);
    for (int i = 0; i < item->m; i++)
        fold(item, &item->queries[i], s, start, first, last, format == FORMAT_F32 ? keys : NULL,
             item->scores + i * CACHE_BLOCK);
    const void *values = cache_read(&session->cache, item->k, layer, STRIP_VALUES, block,
                                    item->kv_head, last, item->raw, &format);
    item->k->attend_values(out, item->scores + first, CACHE_BLOCK, item->m,
                           (const uint8_t *)values +
                               first * item->dim * (size_t)format_info[format].block_bytes,
                           format, last - first, item->dim);
}

static void attend_segment(struct item *item, int s)
{
    int64_t begin = INT64_MAX;
    int64_t end = 0;
    for (int i = 0; i < item->m; i++) {
        const struct segment *segment = &item->queries[i].segments[s];
        if (segment->begin < segment->end) {
            begin = segment->begin < begin ? segment->begin : begin;
            end = segment->end > end ? segment->end : end;
        }
    }
    if (begin >= end)
        return;
    for (int i = 0; i < item->m; i++)
        query_turn(&item->queries[i], s);
    for (int64_t block = (end - 1) / CACHE_BLOCK; block >= begin / CACHE_BLOCK; block--)
        attend_block(item, s, block);
}

static void attend_item(const struct task *task, int kv_head, int head0, int token0, int tokens,
                        float *scratch)
{
    struct session *session = task->session;
    const struct model *model = session->model;
    const struct config *c = &model->config;
    size_t dim = (size_t)c->head_dim;
    size_t part = query_floats(model);
    int group_end = (kv_head + 1) * (c->n_heads / c->n_kv_heads);
    int heads = group_end - head0 < task->heads_per_item ? group_end - head0 : task->heads_per_item;
    struct item item = {.task = task,
                        .position = task->layer->position,
                        .k = &model->kernels,
                        .dim = dim,
                        .kv_head = kv_head,
                        .scores = scratch,
                        .keys = scratch + QUERIES_MAX * CACHE_BLOCK};
    item.raw = item.keys + dim * CACHE_BLOCK;
    item.vectors = item.raw + dim * CACHE_BLOCK;
    item.table = item.vectors + QUERIES_MAX * part;
    for (int t = token0; t < token0 + tokens; t++)
        for (int head = head0; head < head0 + heads; head++, item.m++)
            query_open(&item.queries[item.m], session, task->layer_index, head, t,
                       item.vectors + (size_t)item.m * part);
    if (item.position->follows_length)
        turning_table(item.position, session_length(session, item.position, item.queries[0].at),
                      item.table);
    for (int s = context_n_segments(&session->context) - 1; s >= 0; s--)
        attend_segment(&item, s);
    for (int i = 0; i < item.m; i++) {
        struct query *query = &item.queries[i];
        item.k->scale(query->out, dim, 1 / query->sum);
        memcpy(session->activations.heads +
                   ((size_t)query->token * (size_t)c->n_heads + (size_t)query->head) * dim,
               query->out, dim * sizeof *query->out);
    }
}

static void items_body(void *context, int begin, int end, int thread)
{
    const struct task *task = context;
    struct session *session = task->session;
    const struct config *c = &session->model->config;
    int group = c->n_heads / c->n_kv_heads;
    int splits = task->items_per_token / c->n_kv_heads; /* of a group */
    float *scratch =
        session->activations.thread + (size_t)thread * session->activations.thread_floats;
    for (int item = begin; item < end; item++) {
        int kv_head = item % task->items_per_token / splits;
        int head0 = kv_head * group + item % splits * task->heads_per_item;
        int token = item / task->items_per_token * task->tokens_per_item;
        int tokens =
            task->n - token < task->tokens_per_item ? task->n - token : task->tokens_per_item;
        attend_item(task, kv_head, head0, task->first + token, tokens, scratch);
    }
}

void attention(struct session *session, int layer, int first, int n)
{
    const struct config *c = &session->model->config;
    struct task task = {.session = session,
                        .layer = &session->model->layers[layer],
                        .layer_index = layer,
                        .first = first,
                        .n = n};
    int group = c->n_heads / c->n_kv_heads;
    task.heads_per_item = group < QUERIES_MAX ? group : QUERIES_MAX;
    /* Keys are turned for one token at a time. */
    task.tokens_per_item =
        task.layer->position->follows_length ? 1 : QUERIES_MAX / task.heads_per_item;
    task.items_per_token =
        c->n_kv_heads * ((group + task.heads_per_item - 1) / task.heads_per_item);
    int items = task.items_per_token * ((n + task.tokens_per_item - 1) / task.tokens_per_item);
    enum { SMALL_WORK = 1 << 16 };
    int64_t work = (session->position + first + n) * c->head_dim * c->n_heads * n;
    parallel_for(items, work < SMALL_WORK ? items : 1, items_body, &task);
}
