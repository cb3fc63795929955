/* session: see session.h. */
#include "model/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "kernels/parallel.h"
#include "model/attention.h"
#include "model/forward.h"
#include "model/retention.h"

/* One allocation, cut into the arrays of `a`, whose first is its start. */
static int activations_reserve(struct session *session, int tokens, struct error *err)
{
    struct activations *a = &session->activations;
    const struct model *model = session->model;
    int threads = parallel_threads();
    if (tokens <= a->tokens && threads <= a->threads)
        return 0;
    tokens = tokens > a->tokens ? tokens : a->tokens;
    const struct config *c = &model->config;
    size_t n = (size_t)tokens;
    size_t heads = (size_t)c->n_heads * (size_t)c->head_dim;
    size_t qkv = heads + 2 * (size_t)c->n_kv_heads * (size_t)c->head_dim;
    size_t angles = (size_t)model->n_positions * (size_t)c->head_dim;
    size_t keys = (size_t)c->n_kv_heads * (size_t)c->head_dim;
    size_t thread = attention_scratch(model);
    thread = thread > keys ? thread : keys;
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
        {&a->query_turns, n * angles * (size_t)context_n_segments(&session->context)},
        {&a->key_turns, n * angles * (size_t)context_n_forms(&session->context)},
        {&a->thread, (size_t)threads * thread},
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
    a->thread_floats = thread;
    a->bytes = total * sizeof(float);
    return 0;
}

/* Policies that take keys to be elsewhere than they are. */
static bool moves_keys(const struct context *context)
{
    return context->kind > CONTEXT_WINDOW ||
           (context->kind == CONTEXT_WINDOW && context->sinks > 0);
}

int session_allows(const struct model *model, const struct context *context, struct error *err)
{
    char policy[CONTEXT_TEXT_BYTES];
    context_text(context, policy, sizeof policy);
    bool extends = context->kind > CONTEXT_WINDOW;
    bool any_places = false;
    for (int i = 0; i < model->n_positions; i++) {
        const struct position *p = &model->positions[i];
        const char *why = NULL;
        if (p->scheme->nature == POSITION_ABSOLUTE && extends)
            why = "depends on the place of a token itself, so distances cannot be changed";
        else if (p->scheme->nature == POSITION_ABSOLUTE && p->scheme->add_bias &&
                 moves_keys(context))
            why = "depends on the place of a token itself, so keys cannot move";
        else if (p->follows_length && extends)
            why =
                "with a scaling that follows the length of the text already changes all distances";
        else if (p->scheme->nature == POSITION_WHOLE && context->factor > 0)
            why = "knows whole distances only";
        if (why)
            return error_set(err, "context %s: the model's position scheme \"%s\" %s", policy,
                             p->scheme->name, why);
        any_places = any_places || p->scheme->nature != POSITION_PLACELESS;
    }
    if (extends && !any_places)
        return error_set(err,
                         "context %s: the model's position scheme \"%s\" has no distances "
                         "that could be changed",
                         policy, model->positions[0].scheme->name);
    return 0;
}

/* Keys of schemes that rotate them are stored in every form of the policy; others need but one. */
static int open_cache(struct session *session, const struct session_options *options,
                      struct error *err)
{
    const struct model *model = session->model;
    const struct config *c = &model->config;
    int *n_forms = calloc((size_t)c->n_layers, sizeof *n_forms);
    if (!n_forms)
        return error_memory(err, "the forms of keys", (size_t)c->n_layers * sizeof *n_forms);
    for (int l = 0; l < c->n_layers; l++)
        n_forms[l] =
            model->layers[l].position->rotated > 0 ? context_n_forms(&session->context) : 1;
    int result = cache_open(&session->cache, c, n_forms, options->kv, options->max_bytes, err);
    free(n_forms);
    return result;
}

int session_open(struct session *session, const struct model *model,
                 const struct session_options *options, struct error *err)
{
    *session = (struct session){
        .model = model, .context = options->context, .origin = options->origin, .held = INT64_MAX};
    if (session_allows(model, &options->context, err) || open_cache(session, options, err))
        return -1;
    session->logits = size_alloc((size_t)model->config.vocab_size, sizeof *session->logits);
    session->tables = calloc((size_t)model->n_positions, sizeof *session->tables);
    if (!session->logits || !session->tables) {
        session_close(session);
        return error_memory(err, "logits",
                            (size_t)model->config.vocab_size * sizeof *session->logits);
    }
    return 0;
}

void session_close(struct session *session)
{
    for (int i = 0; session->tables && i < session->model->n_positions; i++)
        table_free(&session->tables[i]);
    free(session->tables);
    cache_close(&session->cache);
    workspace_free(&session->workspace);
    free(session->activations.x);
    free(session->parts);
    free(session->history);
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
        if (n > model->positions[i].limit - session->origin - session->position)
            return error_set(
                err,
                "the text reaches position %lld, but the model has %s positions up to %lld only",
                (long long)(session->origin + session->position + n - 1),
                model->positions[i].scheme->name, (long long)(model->positions[i].limit - 1));
    return 0;
}

/* Better to refuse a text at once than after most of it. */
static int check_bytes(const struct session *session, int64_t n, struct error *err)
{
    size_t allowed = session->cache.max_bytes;
    double bytes = allowed > 0 ? session_cache_bytes(session, n) : 0;
    if (bytes <= (double)allowed)
        return 0;
    return error_set(err, "the cache of %lld tokens needs %.1f MB, allowed: %.1f MB", (long long)n,
                     bytes / 1e6, (double)allowed / 1e6);
}

/* Distances that the schemes' tables have to know for a text of n tokens. */
static int reserve_tables(struct session *session, int64_t n, struct error *err)
{
    const struct model *model = session->model;
    for (int i = 0; i < model->n_positions; i++) {
        const struct position *p = &model->positions[i];
        int64_t most = context_max_distance(&session->context, p->layer, n);
        if (table_reserve(&session->tables[i], p, most + 1, err))
            return -1;
    }
    return 0;
}

static int reserve_parts(struct session *session, int n, struct error *err)
{
    size_t floats = attention_parts(session, n);
    if (floats <= session->parts_floats)
        return 0;
    floats += floats / 2; /* it grows with the text */
    float *parts = size_alloc(floats, sizeof *parts);
    if (!parts)
        return error_memory(err, "parts of attention", floats * sizeof *parts);
    free(session->parts);
    session->parts = parts;
    session->parts_floats = floats;
    return 0;
}

static int make_room(struct session *session, int n, struct error *err)
{
    const struct config *c = &session->model->config;
    int cols = c->n_heads * c->head_dim;
    cols = cols > c->dim ? cols : c->dim;
    cols = cols > c->hidden_dim ? cols : c->hidden_dim;
    if (activations_reserve(session, n, err) ||
        workspace_reserve(&session->workspace, n, cols, err) ||
        reserve_tables(session, session->position + n, err) || reserve_parts(session, n, err))
        return -1;
    return cache_reserve(&session->cache, session->position + n, err);
}

/* How much of a text of n tokens is seen at once. */
static int64_t seen_length(const struct session *session, const struct position *position,
                           int64_t n)
{
    int64_t most = context_max_distance(&session->context, position->layer, n) + 1;
    return most < n ? most : n;
}

int64_t session_length(const struct session *session, const struct position *position, int64_t at)
{
    return seen_length(session, position, position->follows_length ? at + 1 : session->length);
}

/* Whether a text of n tokens turns keys in another way than the cache has them. */
static bool switches(const struct session *session, int64_t n)
{
    for (int i = 0; i < session->model->n_positions; i++) {
        const struct position *p = &session->model->positions[i];
        bool was_long = seen_length(session, p, session->length) > p->switch_length;
        bool is_long = seen_length(session, p, n) > p->switch_length;
        if (p->switch_length > 0 && was_long != is_long)
            return true;
    }
    return false;
}

static int forward_all(struct session *session, const int32_t *ids, int64_t n, float *logits,
                       bool wanted, struct error *err)
{
    size_t vocab_size = (size_t)session->model->config.vocab_size;
    for (int64_t done = 0; done < n;) {
        int batch = n - done < SESSION_BATCH ? (int)(n - done) : SESSION_BATCH;
        bool last = done + batch == n;
        if (session->position + batch - session->held > SESSION_BATCH) {
            session->held = INT64_MAX;
            retention_evict(session);
        }
        if (make_room(session, batch, err))
            return -1;
        if (logits)
            forward(session, ids + done, batch, LOGITS_ALL, logits + (size_t)done * vocab_size);
        else
            forward(session, ids + done, batch, wanted && last ? LOGITS_LAST : LOGITS_NONE,
                    session->logits);
        session->position += batch;
        done += batch;
        retention_evict(session);
    }
    return 0;
}

int session_remember(struct session *session, const int32_t *ids, int64_t n, struct error *err)
{
    bool needed = false;
    for (int i = 0; i < session->model->n_positions; i++)
        needed = needed || session->model->positions[i].switch_length > 0;
    if (!needed)
        return 0;
    int64_t total = session->position + n;
    if (total > session->history_capacity) {
        int64_t capacity = total + total / 2;
        int32_t *grown = realloc(session->history, (size_t)capacity * sizeof *grown);
        if (!grown)
            return error_memory(err, "the tokens so far", (size_t)capacity * sizeof *grown);
        session->history = grown;
        session->history_capacity = capacity;
    }
    memcpy(session->history + session->position, ids, (size_t)n * sizeof *ids);
    return 0;
}

/* What the schemes say of a text of this length has changed: reads what there is again. Takes no
 * memory where nothing of it has left the cache. */
static int read_again(struct session *session, struct error *err)
{
    int64_t n = session->position;
    if (!retention_holds(session, n))
        cache_truncate(&session->cache, 0);
    session->position = 0;
    return n > 0 ? forward_all(session, session->history, n, NULL, false, err) : 0;
}

int session_feed(struct session *session, const int32_t *ids, int64_t n, float *logits,
                 struct error *err)
{
    int64_t start = session->position;
    size_t vocab_size = (size_t)session->model->config.vocab_size;
    int64_t length = start + n > session->expected ? start + n : session->expected;
    bool again = switches(session, length);
    int64_t batch = again && start > n ? start : n;
    if (check_ids(session, ids, n, err) || check_bytes(session, start + n, err) ||
        activations_reserve(session, batch < SESSION_BATCH ? (int)batch : SESSION_BATCH, err) ||
        make_room(session, n < SESSION_BATCH ? (int)n : SESSION_BATCH, err) ||
        session_remember(session, ids, n, err))
        return -1;
    session->length = length;
    if ((again && read_again(session, err)) || forward_all(session, ids, n, logits, true, err)) {
        struct error ignored;
        session_truncate(session, start, &ignored);
        return -1;
    }
    if (logits)
        memcpy(session->logits, logits + (size_t)(n - 1) * vocab_size, vocab_size * sizeof *logits);
    return 0;
}

void session_expect(struct session *session, int64_t n)
{
    session->expected = session->position + n;
}

int session_truncate(struct session *session, int64_t n, struct error *err)
{
    int64_t missing;
    if (!retention_sees(session, n, &missing))
        return error_set(err,
                         "cannot go back from token %lld to %lld: what that one sees, from token "
                         "%lld on, is no longer in the cache",
                         (long long)session->position, (long long)n, (long long)missing);
    cache_truncate(&session->cache, n);
    session->position = n;
    session->expected = 0;
    return 0;
}

void session_hold(struct session *session)
{
    session->held = session->position;
}

bool session_can_return(const struct session *session, int64_t n)
{
    int64_t end = session->position + n;
    return !switches(session, end > session->expected ? end : session->expected) &&
           retention_stays(session, session->position + 1, end);
}

size_t session_bytes(const struct session *session)
{
    size_t bytes = cache_bytes(&session->cache) + session->activations.bytes +
                   workspace_bytes(&session->workspace) +
                   (size_t)session->model->config.vocab_size * sizeof *session->logits +
                   session->parts_floats * sizeof *session->parts +
                   (size_t)session->history_capacity * sizeof *session->history;
    for (int i = 0; i < session->model->n_positions; i++)
        bytes += session->tables[i].bytes;
    return bytes;
}
