/* attention: see attention.h.
 *
 * The keys of a query come in parts (model/parts.h). The items of a prompt take theirs one after
 * the other; where there are many queries, over keys that are packed for them. A single token has
 * few items, and its parts are shared out: computed apart, then merged in the same order. */
#include "model/attention.h"

#include <string.h>

#include "kernels/parallel.h"
#include "model/attend.h"
#include "model/attend_packed.h"

enum {
    SPLIT_TOKENS = ROW_TOKENS_MAX, /* more have items enough for all threads */
    PACKED_LEAST = 16              /* queries of a key-value head for which packing its keys pays */
};

struct task {
    const struct session *session;
    int layer;
    int first; /* token of the batch */
    int n;
    bool packed;
    int heads_per_item; /* query heads of one group that an item takes */
    int tokens_per_item;
    int items_per_token; /* along the heads */
    int n_items;
    int n_parts; /* of an item at most, where parts are shared out */
};

size_t attention_scratch(const struct model *model)
{
    size_t direct = attend_scratch(model), packed = attend_packed_scratch(model);
    return direct > packed ? direct : packed;
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

/* Tokens of an item of packed queries: so few that every thread gets several items, but no fewer
 * than fill a chunk, nor more than an item has room for. */
static int packed_tokens(const struct task *task)
{
    enum { ITEMS_PER_THREAD = 8 };
    int most = attend_packed_queries(task->session->model) / task->heads_per_item;
    int least = (PACKED_QUERIES + task->heads_per_item - 1) / task->heads_per_item;
    int items = ITEMS_PER_THREAD * parallel_threads() / task->items_per_token + 1;
    int tokens = (task->n + items - 1) / items;
    tokens = tokens < least ? least : tokens;
    return tokens > most ? most : tokens;
}

static struct task make_task(const struct session *session, int layer, int first, int n)
{
    const struct config *c = &session->model->config;
    const struct position *p = session->model->layers[layer].position;
    int group = c->n_heads / c->n_kv_heads;
    struct task task = {.session = session, .layer = layer, .first = first, .n = n};
    task.packed = n > SPLIT_TOKENS && group * n >= PACKED_LEAST && attend_packed_allows(p);
    int queries = task.packed ? attend_packed_queries(session->model) : QUERIES_MAX;
    task.heads_per_item = group < queries ? group : queries;
    task.items_per_token =
        c->n_kv_heads * ((group + task.heads_per_item - 1) / task.heads_per_item);
    if (task.packed)
        task.tokens_per_item = packed_tokens(&task);
    else /* keys are turned for one token at a time */
        task.tokens_per_item = p->follows_length ? 1 : QUERIES_MAX / task.heads_per_item;
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

/* The dearest items, of the newest tokens, come first. */
static struct extent extent_of(const struct task *task, int index)
{
    index = task->n_items - 1 - index;
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

static float *thread_memory(const struct task *task, int thread)
{
    const struct activations *a = &task->session->activations;
    return a->thread + (size_t)thread * a->thread_floats;
}

static void open_item(const struct task *task, int index, struct item *item, int thread)
{
    struct extent e = extent_of(task, index);
    attend_open(item, task->session, task->layer, e.head, e.heads, e.token, e.tokens,
                thread_memory(task, thread));
}

/* --- results: token by token, head by head, where they will stay -------------------------------
 */

static void open_totals(const struct task *task, struct extent e,
                        struct softmax totals[QUERIES_MAX])
{
    const struct config *c = &task->session->model->config;
    size_t dim = (size_t)c->head_dim;
    for (int i = 0; i < e.tokens * e.heads; i++) {
        size_t row =
            (size_t)(e.token + i / e.heads) * (size_t)c->n_heads + (size_t)(e.head + i % e.heads);
        fold_start(&totals[i], task->session->activations.heads + row * dim, dim);
    }
}

static void close_totals(const struct task *task, struct extent e,
                         struct softmax totals[QUERIES_MAX])
{
    const struct model *model = task->session->model;
    for (int i = 0; i < e.tokens * e.heads; i++)
        model->kernels.scale(totals[i].out, (size_t)model->config.head_dim, 1 / totals[i].sum);
}

/* --- items -------------------------------------------------------------------------------------
 */

static void packed_body(void *context, int begin, int end, int thread)
{
    const struct task *task = context;
    for (int index = begin; index < end; index++) {
        struct extent e = extent_of(task, index);
        attend_packed(task->session, task->layer, e.head, e.heads, e.token, e.tokens,
                      thread_memory(task, thread));
    }
}

/* Items [begin, end), part after part. */
static void items_body(void *context, int begin, int end, int thread)
{
    const struct task *task = context;
    struct item item;
    struct softmax totals[QUERIES_MAX];
    struct part part;
    for (int index = begin; index < end; index++) {
        struct extent e = extent_of(task, index);
        open_item(task, index, &item, thread);
        open_totals(task, e, totals);
        for (int64_t p = 0; parts_find(item.segments, item.position, p, &part); p++) {
            attend_part(&item, &part);
            for (int i = 0; i < item.m; i++)
                fold_merge(item.k, &totals[i], &item.queries[i].softmax, item.dim);
        }
        close_totals(task, e, totals);
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
            open_item(task, index, &item, thread);
        if (parts_find(item.segments, item.position, p, &part))
            attend_part(&item, &part);
        for (int i = 0; i < item.m; i++) {
            float *left = left_by(task, index, p, i);
            left[0] = item.queries[i].softmax.max;
            left[1] = item.queries[i].softmax.sum;
            memcpy(left + 2, item.queries[i].out, item.dim * sizeof *left);
        }
    }
}

static void merge_body(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct task *task = context;
    const struct model *model = task->session->model;
    struct softmax totals[QUERIES_MAX];
    for (int index = begin; index < end; index++) {
        struct extent e = extent_of(task, index);
        open_totals(task, e, totals);
        for (int p = 0; p < task->n_parts; p++)
            for (int i = 0; i < e.tokens * e.heads; i++) {
                float *left = left_by(task, index, p, i);
                struct softmax part = {left[0], left[1], left + 2};
                fold_merge(&model->kernels, &totals[i], &part, (size_t)model->config.head_dim);
            }
        close_totals(task, e, totals);
    }
}

/* Parts that the items have at most. */
static int64_t count_parts(const struct task *task)
{
    struct part joined[SEGMENTS_MAX];
    parts_join(task->session, task->layer, task->first, task->n, joined);
    return parts_count(joined, task->session->model->layers[task->layer].position);
}

/* Floats of session->parts to share out the parts of few items; 0: they are not shared out. */
static size_t shared_floats(const struct task *task)
{
    const struct session *session = task->session;
    if (task->n > SPLIT_TOKENS || task->n_items >= 4 * parallel_threads())
        return 0;
    return (size_t)task->n_items * (size_t)count_parts(task) * QUERIES_MAX *
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
        task.n_parts = (int)count_parts(&task);
        if (task.n_parts > 1) {
            /* Neighbouring parts for a thread: the end of one asks for the start of the next. */
            parallel_for_shrinking(task.n_items * task.n_parts, 1, parts_body, &task);
            parallel_for(task.n_items, task.n_items, merge_body, &task);
            return;
        }
    }
    parallel_for(task.n_items, alone ? task.n_items : 1, task.packed ? packed_body : items_body,
                 &task);
}
