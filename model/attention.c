/* attention: see attention.h.
 *
 * The keys of a query come in parts (model/attend.h), newest first, and each part's softmax is
 * merged into the whole in that order. A prompt's items take their parts one after the other. A
 * single token has few items, and its parts are shared out: computed apart, then merged in the same
 * order, so that neither the number of threads nor the batch changes a bit. */
#include "model/attention.h"

#include <math.h>
#include <string.h>

#include "kernels/parallel.h"
#include "model/attend.h"

enum { SPLIT_TOKENS = 4 /* more have items enough for all threads */ };

/* The softmax of one query over all parts so far. */
struct total {
    float max;
    float sum;
    float *out; /* (head_dim) */
};

struct task {
    const struct session *session;
    int layer;
    int first; /* token of the batch */
    int n;
    int heads_per_item; /* query heads of one group that an item takes */
    int tokens_per_item;
    int items_per_token; /* along the heads */
    int n_items;
    int n_parts; /* of an item at most, where parts are shared out */
};

size_t attention_scratch(const struct model *model)
{
    return attend_scratch(model) + QUERIES_MAX * (size_t)model->config.head_dim;
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

static struct task make_task(const struct session *session, int layer, int first, int n)
{
    const struct config *c = &session->model->config;
    int group = c->n_heads / c->n_kv_heads;
    struct task task = {.session = session, .layer = layer, .first = first, .n = n};
    task.heads_per_item = group < QUERIES_MAX ? group : QUERIES_MAX;
    /* Keys are turned for one token at a time. */
    task.tokens_per_item = session->model->layers[layer].position->follows_length
                               ? 1
                               : QUERIES_MAX / task.heads_per_item;
    task.items_per_token =
        c->n_kv_heads * ((group + task.heads_per_item - 1) / task.heads_per_item);
    task.n_items = task.items_per_token * ((n + task.tokens_per_item - 1) / task.tokens_per_item);
    return task;
}

/* The query heads and tokens that an item takes. */
struct extent {
    int head;
    int heads;
    int token;
    int tokens;
};

static struct extent extent_of(const struct task *task, int index)
{
    const struct config *c = &task->session->model->config;
    int group = c->n_heads / c->n_kv_heads;
    int splits = task->items_per_token / c->n_kv_heads; /* of a group */
    int kv_head = index % task->items_per_token / splits;
    int head = kv_head * group + index % splits * task->heads_per_item;
    int token = index / task->items_per_token * task->tokens_per_item;
    int heads_left = (kv_head + 1) * group - head;
    int tokens_left = task->n - token;
    return (struct extent){
        .head = head,
        .heads = heads_left < task->heads_per_item ? heads_left : task->heads_per_item,
        .token = task->first + token,
        .tokens = tokens_left < task->tokens_per_item ? tokens_left : task->tokens_per_item,
    };
}

static void open_item(const struct task *task, int index, struct item *item, float *scratch)
{
    struct extent e = extent_of(task, index);
    attend_open(item, task->session, task->layer, e.head, e.heads, e.token, e.tokens, scratch);
}

static void merge(const struct kernels *k, struct total *total, float max, float sum,
                  const float *out, size_t n)
{
    if (sum == 0) /* a part of which this query sees nothing */
        return;
    float largest = max > total->max ? max : total->max;
    float keep = total->sum > 0 ? expf(total->max - largest) : 0;
    float add = expf(max - largest);
    k->scale(total->out, n, keep);
    for (size_t d = 0; d < n; d++)
        total->out[d] += add * out[d];
    total->sum = total->sum * keep + add * sum;
    total->max = largest;
}

/* The results of an item's queries, token by token, head by head. */
static void finish(const struct task *task, struct extent e, struct total *totals)
{
    const struct session *session = task->session;
    const struct config *c = &session->model->config;
    size_t dim = (size_t)c->head_dim;
    for (int i = 0; i < e.tokens * e.heads; i++) {
        size_t row =
            (size_t)(e.token + i / e.heads) * (size_t)c->n_heads + (size_t)(e.head + i % e.heads);
        session->model->kernels.scale(totals[i].out, dim, 1 / totals[i].sum);
        memcpy(session->activations.heads + row * dim, totals[i].out, dim * sizeof(float));
    }
}

static void open_totals(struct total totals[QUERIES_MAX], size_t dim, float *memory)
{
    for (int i = 0; i < QUERIES_MAX; i++)
        totals[i] = (struct total){-INFINITY, 0, memory + (size_t)i * dim};
    memset(memory, 0, QUERIES_MAX * dim * sizeof *memory);
}

static float *thread_memory(const struct task *task, int thread)
{
    const struct activations *a = &task->session->activations;
    return a->thread + (size_t)thread * a->thread_floats;
}

/* Items [begin, end), part after part. */
static void items_body(void *context, int begin, int end, int thread)
{
    const struct task *task = context;
    float *scratch = thread_memory(task, thread);
    struct item item;
    struct total totals[QUERIES_MAX];
    struct part part;
    for (int index = begin; index < end; index++) {
        open_item(task, index, &item, scratch);
        open_totals(totals, item.dim, scratch + attend_scratch(task->session->model));
        for (int64_t p = 0; attend_find_part(&item, p, &part); p++) {
            attend_part(&item, &part);
            for (int i = 0; i < item.m; i++)
                merge(item.k, &totals[i], item.queries[i].max, item.queries[i].sum,
                      item.queries[i].out, item.dim);
        }
        finish(task, extent_of(task, index), totals);
    }
}

/* Where query i of a part leaves its maximum, its sum and its values. */
static float *left_by(const struct task *task, int index, int p, int i)
{
    size_t row = ((size_t)index * (size_t)task->n_parts + (size_t)p) * QUERIES_MAX + (size_t)i;
    return task->session->parts + row * ((size_t)task->session->model->config.head_dim + 2);
}

/* Parts of items: number u is part u % n_parts of item u / n_parts. */
static void parts_body(void *context, int begin, int end, int thread)
{
    const struct task *task = context;
    struct item item;
    struct part part;
    for (int u = begin; u < end; u++) {
        int index = u / task->n_parts;
        int p = u % task->n_parts;
        if (u == begin || p == 0)
            open_item(task, index, &item, thread_memory(task, thread));
        bool found = attend_find_part(&item, p, &part);
        if (found)
            attend_part(&item, &part);
        for (int i = 0; i < item.m; i++) {
            float *left = left_by(task, index, p, i);
            left[0] = item.queries[i].max;
            left[1] = found ? item.queries[i].sum : 0;
            memcpy(left + 2, item.queries[i].out, item.dim * sizeof *left);
        }
    }
}

static void merge_body(void *context, int begin, int end, int thread)
{
    const struct task *task = context;
    const struct model *model = task->session->model;
    size_t dim = (size_t)model->config.head_dim;
    struct total totals[QUERIES_MAX];
    for (int index = begin; index < end; index++) {
        struct extent e = extent_of(task, index);
        open_totals(totals, dim, thread_memory(task, thread));
        for (int p = 0; p < task->n_parts; p++)
            for (int i = 0; i < e.tokens * e.heads; i++) {
                const float *left = left_by(task, index, p, i);
                merge(&model->kernels, &totals[i], left[0], left[1], left + 2, dim);
            }
        finish(task, e, totals);
    }
}

/* Floats of session->parts to share out the parts of few items; 0: they are not shared out. */
static size_t shared_floats(const struct task *task)
{
    const struct session *session = task->session;
    if (task->n > SPLIT_TOKENS || task->n_items >= 4 * parallel_threads())
        return 0;
    size_t parts = (size_t)attend_count_parts(session, task->layer, task->first, task->n);
    return (size_t)task->n_items * parts * QUERIES_MAX *
           ((size_t)session->model->config.head_dim + 2);
}

size_t attention_parts(const struct session *session, int n)
{
    size_t most = 0;
    for (int l = 0; l < session->model->config.n_layers; l++) {
        struct task task = make_task(session, l, 0, n);
        size_t floats = shared_floats(&task);
        most = floats > most ? floats : most;
    }
    return most;
}

void attention(struct session *session, int layer, int first, int n)
{
    enum { SMALL_WORK = 1 << 16 };
    const struct config *c = &session->model->config;
    struct task task = make_task(session, layer, first, n);
    int64_t work = (session->position + first + n) * c->head_dim * c->n_heads * n;
    bool alone = work < SMALL_WORK;
    size_t floats = alone ? 0 : shared_floats(&task);
    if (floats > 0 && floats <= session->parts_floats) {
        task.n_parts = (int)attend_count_parts(session, layer, first, n);
        if (task.n_parts > 1) {
            /* Neighbours for a thread: the end of each part asks for the beginning of the next. */
            parallel_for_shrinking(task.n_items * task.n_parts, 1, parts_body, &task);
            parallel_for(task.n_items, task.n_items, merge_body, &task);
            return;
        }
    }
    parallel_for(task.n_items, alone ? task.n_items : 1, items_body, &task);
}
