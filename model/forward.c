/* forward: see forward.h. Reads like the papers:
 *
 *   x = scale embedding[id] (+ position)               h = norm(x)
 *   q, k, v = W h   clip and norm q and k         k (rotated), v -> cache
 *   y = Wo softmax(q k + position) v                   x = x + norm(y)
 *   h = norm(x)                                        y = Wdown (activation(Wgate h) * Wup h)
 *   logits = scale W norm(x)                           x = x + norm(y)
 *
 * Few architectures have the scales and the norms of y. With a parallel residual both halves read
 * the same x. */
#include "model/forward.h"

#include <string.h>

#include "kernels/parallel.h"
#include "model/attention.h"
#include "model/entropy.h"

/* What the parallel loops over tokens share. Rows below `first` of the batch are finished: nobody
 * asks for their logits and their keys and values are stored. */
struct pass {
    struct session *session;
    const struct kernels *k;
    const struct config *config;
    const struct layer *layer;
    int layer_index;
    const int32_t *ids;
    int n;
    int first;
    int wanted_from; /* the first token whose logits are wanted, n for none */
    float *logits;
    const struct norm *post_norm; /* of y, in the loops that add it */
    const struct norm *norm;      /* from x to h, in the loops that need one */
};

static size_t qkv_width(const struct config *c)
{
    return (size_t)(c->n_heads + 2 * c->n_kv_heads) * (size_t)c->head_dim;
}

/* Loops over tokens are worth a thread only when a token is some thousand operations. */
static void for_tokens(struct pass *pass, int first, parallel_body *body)
{
    enum { SMALL_WORK = 1 << 14 };
    int n = pass->n - first;
    int grain = SMALL_WORK / pass->config->dim + 1;
    pass->first = first;
    parallel_for(n, grain, body, pass);
}

static void apply_norm(const struct pass *pass, const struct norm *norm, float *y, const float *x,
                       size_t n)
{
    if (pass->config->architecture->norm == NORM_RMS)
        pass->k->rms_norm(y, x, norm->weight, n, pass->config->norm_epsilon);
    else
        pass->k->layer_norm(y, x, norm->weight, norm->bias, n, pass->config->norm_epsilon);
}

static void embed_tokens(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct model *model = pass->session->model;
    const struct matrix *w = &model->embedding;
    size_t dim = (size_t)pass->config->dim;
    size_t row_bytes = format_row_bytes(w->format, dim);
    for (int t = begin; t < end; t++) {
        float *x = pass->session->activations.x + (size_t)t * dim;
        format_dequantize(w->format, (const uint8_t *)w->data + (size_t)pass->ids[t] * row_bytes,
                          dim, x);
        if (pass->config->embedding_scale != 1)
            pass->k->scale(x, dim, pass->config->embedding_scale);
        for (int i = 0; i < model->n_positions; i++)
            if (model->positions[i].scheme->embed)
                model->positions[i].scheme->embed(
                    &model->positions[i], pass->session->origin + pass->session->position + t, x);
        if (model->embedding_norm.weight)
            apply_norm(pass, &model->embedding_norm, x, x, dim);
    }
}

static void compute_turns(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct session *session = pass->session;
    size_t half = (size_t)(pass->config->head_dim / 2);
    for (int i = 0; i < session->model->n_positions; i++) {
        const struct position *p = &session->model->positions[i];
        if (p->rotated == 0 || p->follows_length)
            continue;
        double origin = (double)session->origin;
        for (int t = begin; t < end; t++) {
            int64_t at = session->position + t;
            int64_t length = session_length(session, p, at);
            struct segment segments[SEGMENTS_MAX];
            context_segments(&session->context, p->layer, at, segments);
            for (int s = 0; s < context_n_segments(&session->context); s++) {
                float *turns = attention_query_turns(session, p, t, s);
                position_turns(p, origin + segments[s].place, length, true, turns, turns + half);
            }
            for (int form = 0; form < context_n_forms(&session->context); form++) {
                float *turns = attention_key_turns(session, p, t, form);
                position_turns(p, origin + context_key_place(&session->context, form, at), length,
                               false, turns, turns + half);
            }
        }
    }
}

static void norm_tokens(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct activations *a = &pass->session->activations;
    size_t dim = (size_t)pass->config->dim;
    for (int t = pass->first + begin; t < pass->first + end; t++)
        apply_norm(pass, pass->norm, a->h + (size_t)t * dim, a->x + (size_t)t * dim, dim);
}

static void normalise(struct pass *pass, const struct norm *norm, int first)
{
    pass->norm = norm;
    for_tokens(pass, first, norm_tokens);
}

static void clip(float *x, size_t n, float limit)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] > limit ? limit : x[i] < -limit ? -limit : x[i];
}

static void norm_heads(const struct pass *pass, const struct norm *norm, float *x, int n_heads)
{
    size_t n = (size_t)pass->config->head_dim;
    for (int head = 0; norm->weight && head < n_heads; head++, x += n)
        pass->k->rms_norm(x, x, norm->weight, n, pass->config->norm_epsilon);
}

/* Stores the keys k (n_kv_heads, head_dim) of one token in every form, using as much scratch. */
static void store_keys(const struct pass *pass, int t, const float *k, float *scratch)
{
    struct session *session = pass->session;
    const struct position *p = pass->layer->position;
    int64_t at = session->position + t;
    int n_kv_heads = pass->config->n_kv_heads;
    for (int form = 0; form < session->cache.n_forms[pass->layer_index]; form++) {
        const float *stored = k;
        if (p->rotated > 0 && !p->follows_length) {
            memcpy(scratch, k,
                   (size_t)n_kv_heads * (size_t)pass->config->head_dim * sizeof *scratch);
            const float *cos = attention_key_turns(session, p, t, form);
            position_rotate(p, pass->k, scratch, n_kv_heads, cos, cos + pass->config->head_dim / 2);
            stored = scratch;
        }
        if (p->scheme->decay) {
            float factor[POSITION_PAIRS_MAX];
            double start = context_key_place(&session->context, form, at - at % CACHE_BLOCK);
            p->scheme->decay(p, start - context_key_place(&session->context, form, at), factor);
            position_multiply(p, scratch, n_kv_heads, factor);
        }
        cache_store(&session->cache, pass->k, pass->layer_index, form, at, stored);
    }
}

/* From the raw projections to the finished queries and the stored keys and values. */
static void finish_qkv(void *context, int begin, int end, int thread)
{
    const struct pass *pass = context;
    struct session *session = pass->session;
    const struct config *c = pass->config;
    const struct layer *layer = pass->layer;
    float *scratch =
        session->activations.thread + (size_t)thread * session->activations.thread_floats;
    for (int t = begin; t < end; t++) {
        float *q = session->activations.qkv + (size_t)t * qkv_width(c);
        float *k = q + (size_t)c->n_heads * (size_t)c->head_dim;
        float *v = k + (size_t)c->n_kv_heads * (size_t)c->head_dim;
        if (c->clip_qkv > 0)
            clip(q, qkv_width(c), c->clip_qkv);
        norm_heads(pass, &layer->q_norm, q, c->n_heads);
        norm_heads(pass, &layer->k_norm, k, c->n_kv_heads);
        store_keys(pass, t, k, scratch);
        cache_store(&session->cache, pass->k, pass->layer_index, STRIP_VALUES,
                    session->position + t, v);
    }
}

/* gate = activation(gate) * up, or without a gate up = activation(up) */
static void activate(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct kernels *k = pass->k;
    const struct activations *a = &pass->session->activations;
    const struct architecture *architecture = pass->config->architecture;
    size_t hidden = (size_t)pass->config->hidden_dim;
    size_t from = (size_t)(pass->first + begin) * hidden;
    size_t n = (size_t)(end - begin) * hidden;
    float *x = architecture->gated ? a->gate + from : a->up + from;
    const float *up = architecture->gated ? a->up + from : NULL;
    switch (architecture->activation) {
    case ACTIVATION_SILU:
        k->silu(x, up, n);
        break;
    case ACTIVATION_GELU:
        k->gelu(x, up, n);
        break;
    case ACTIVATION_GELU_TANH:
        k->gelu_tanh(x, up, n);
        break;
    }
}

static void add_tokens(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct pass *pass = context;
    const struct activations *a = &pass->session->activations;
    size_t dim = (size_t)pass->config->dim;
    for (int t = pass->first + begin; t < pass->first + end; t++) {
        float *x = a->x + (size_t)t * dim;
        float *y = a->y + (size_t)t * dim;
        if (pass->post_norm->weight)
            apply_norm(pass, pass->post_norm, y, y, dim);
        pass->k->add(x, y, dim);
        if (pass->norm)
            apply_norm(pass, pass->norm, a->h + (size_t)t * dim, x, dim);
    }
}

/* x += norm(y) and, unless `next` is NULL, h = next(x) for what comes next. */
static void add_residual(struct pass *pass, const struct norm *norm, const struct norm *next,
                         int first)
{
    pass->post_norm = norm;
    pass->norm = next;
    for_tokens(pass, first, add_tokens);
}

/* y = w x for the tokens from `first` on; x and y have rows of ldx and ldy floats. */
static void multiply(const struct pass *pass, const struct linear *const *w, int n_products,
                     const float *x, size_t ldx, float *const *y, size_t ldy, int first)
{
    struct product products[3];
    for (int i = 0; i < n_products; i++)
        products[i] = (struct product){&w[i]->w, w[i]->bias, y[i] + (size_t)first * ldy, ldy};
    matmul(pass->k, &pass->session->workspace, x + (size_t)first * ldx, ldx, pass->n - first,
           products, n_products);
}

static void project_qkv(struct pass *pass)
{
    const struct config *c = pass->config;
    const struct layer *layer = pass->layer;
    const struct activations *a = &pass->session->activations;
    const struct linear *w[3] = {&layer->qkv[0], &layer->qkv[1], &layer->qkv[2]};
    float *q = a->qkv;
    float *k = q + (size_t)c->n_heads * (size_t)c->head_dim;
    float *y[3] = {q, k, k + (size_t)c->n_kv_heads * (size_t)c->head_dim};
    multiply(pass, w, layer->n_qkv, a->h, (size_t)c->dim, y, qkv_width(c), 0);
    for_tokens(pass, 0, finish_qkv);
}

/* The attention half of a layer, from h to y: keys and values of all tokens, and y from `first`
 * on. */
static void attend(struct pass *pass, int first)
{
    const struct config *c = pass->config;
    const struct activations *a = &pass->session->activations;
    project_qkv(pass);
    if (first == pass->n)
        return;
    attention(pass->session, pass->layer_index, first, pass->n - first);
    if (pass->session->entropy)
        entropy_of_heads(pass->session, pass->layer_index, pass->n - 1,
                         pass->session->entropy + (size_t)pass->layer_index * (size_t)c->n_heads);
    const struct linear *w = &pass->layer->output;
    float *y = a->y;
    multiply(pass, &w, 1, a->heads, (size_t)(c->n_heads * c->head_dim), &y, (size_t)c->dim, first);
}

/* The feed-forward half, from h to y. */
static void feed_forward(struct pass *pass, int first)
{
    const struct config *c = pass->config;
    const struct activations *a = &pass->session->activations;
    const struct linear *in[2] = {&pass->layer->up, &pass->layer->gate};
    float *hidden[2] = {a->up, a->gate};
    multiply(pass, in, c->architecture->gated ? 2 : 1, a->h, (size_t)c->dim, hidden,
             (size_t)c->hidden_dim, first);
    for_tokens(pass, first, activate);
    const struct linear *out = &pass->layer->down;
    float *y = a->y;
    multiply(pass, &out, 1, c->architecture->gated ? a->gate : a->up, (size_t)c->hidden_dim, &y,
             (size_t)c->dim, first);
}

/* From h = attention_norm(x) to h = next(x). */
static void layer_pass(struct pass *pass, const struct norm *next, int first)
{
    const struct layer *layer = pass->layer;
    attend(pass, first);
    if (first == pass->n)
        return;
    if (pass->config->parallel_residual) {
        if (layer->ffn_norm.weight) /* else h, which attention has read, serves both halves */
            normalise(pass, &layer->ffn_norm, first);
        add_residual(pass, &layer->attention_post_norm, NULL, first);
    } else {
        add_residual(pass, &layer->attention_post_norm, &layer->ffn_norm, first);
    }
    feed_forward(pass, first);
    add_residual(pass, &layer->ffn_post_norm, next, first);
}

static void all_layers(void *context)
{
    struct pass *pass = context;
    struct session *session = pass->session;
    const struct model *model = session->model;
    const struct activations *a = &session->activations;
    int n = pass->n;
    for_tokens(pass, 0, embed_tokens);
    for_tokens(pass, 0, compute_turns);
    /* The last layer stores everyone's keys and values, and goes on with those whose logits are
     * wanted. */
    normalise(pass, &model->layers[0].attention_norm, 0);
    for (int l = 0; l < model->config.n_layers; l++) {
        bool last = l == model->config.n_layers - 1;
        pass->layer = &model->layers[l];
        pass->layer_index = l;
        layer_pass(pass, last ? &model->output_norm : &model->layers[l + 1].attention_norm,
                   last ? pass->wanted_from : 0);
    }
    int wanted = n - pass->wanted_from;
    if (wanted == 0)
        return;
    size_t dim = (size_t)model->config.dim;
    struct product product = {&model->output.w, model->output.bias, pass->logits,
                              (size_t)model->config.vocab_size};
    matmul(pass->k, &session->workspace, a->h + (size_t)pass->wanted_from * dim, dim, wanted,
           &product, 1);
    if (model->config.logit_scale != 1)
        pass->k->scale(pass->logits, (size_t)wanted * (size_t)model->config.vocab_size,
                       model->config.logit_scale);
}

void forward(struct session *session, const int32_t *ids, int n, enum forward_logits wanted,
             float *logits)
{
    struct pass pass = {
        .session = session,
        .k = &session->model->kernels,
        .config = &session->model->config,
        .ids = ids,
        .n = n,
        .wanted_from = wanted == LOGITS_ALL    ? 0
                       : wanted == LOGITS_LAST ? n - 1
                                               : n,
        .logits = logits,
    };
    parallel_team(all_layers, &pass);
}
