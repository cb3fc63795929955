/* query: see query.h. */
#include "model/query.h"

#include <string.h>

#include "model/attention.h"

/* The parts that have head_dim floats each. */
enum { PARTS = 5 };

size_t query_floats(const struct model *model)
{
    int row = 0;
    for (int i = 0; i < model->n_positions; i++)
        row = model->positions[i].row_length > row ? model->positions[i].row_length : row;
    return PARTS * (size_t)model->config.head_dim + (size_t)row;
}

/* y = (x + bias) * scale */
static void scaled_sum(float *y, const float *x, const float *bias, size_t n, float scale)
{
    for (size_t d = 0; d < n; d++)
        y[d] = (bias ? x[d] + bias[d] : x[d]) * scale;
}

/* Head `head` of token `token` as it was projected. */
static const float *projected(const struct session *session, int head, int token)
{
    const struct config *c = &session->model->config;
    size_t dim = (size_t)c->head_dim;
    size_t width = (size_t)(c->n_heads + 2 * c->n_kv_heads) * dim;
    return session->activations.qkv + (size_t)token * width + (size_t)head * dim;
}

/* y = (q + bias[head]) * scale */
static void scale_query(const struct session *session, int layer, int head, int token,
                        const float *bias, float *y)
{
    const struct config *c = &session->model->config;
    size_t dim = (size_t)c->head_dim;
    float scale = session->model->layers[layer].position->scale *
                  (float)context_query_factor(&session->context, &c->layers[layer],
                                              session->position + token);
    scaled_sum(y, projected(session, head, token), bias ? bias + (size_t)head * dim : NULL, dim,
               scale);
}

void query_scaled(const struct session *session, int layer, int head, int token, float *y)
{
    const struct position *p = session->model->layers[layer].position;
    scale_query(session, layer, head, token, p->content_bias, y);
}

void query_relative(const struct session *session, int layer, int head, int token, float *y)
{
    const struct position *p = session->model->layers[layer].position;
    scale_query(session, layer, head, token, p->relative_bias, y);
}

void query_content(const struct session *session, int layer, int head, int token, float *row)
{
    const struct position *p = session->model->layers[layer].position;
    p->scheme->content_row(p, projected(session, head, token), row);
}

void query_rotate(const struct session *session, const struct position *position, int token, int s,
                  float *y)
{
    if (position->rotated == 0 || position->follows_length)
        return;
    const float *cos = attention_query_turns(session, position, token, s);
    position_rotate(position, &session->model->kernels, y, 1, cos,
                    cos + position->config->head_dim / 2);
}

void query_open(struct query *query, const struct session *session, int layer, int head, int token,
                float *memory)
{
    const struct config *c = &session->model->config;
    const struct position *p = session->model->layers[layer].position;
    size_t dim = (size_t)c->head_dim;
    *query = (struct query){
        .session = session,
        .position = p,
        .head = head,
        .token = token,
        .at = session->position + token,
        .base = memory,
        .turned = memory + dim,
        .block = memory + 2 * dim,
        .relative = memory + 3 * dim,
        .out = memory + 4 * dim,
        .content = memory + PARTS * dim,
    };
    fold_start(&query->softmax, query->out, dim);
    context_segments(&session->context, &c->layers[layer], query->at, query->segments);
    query_scaled(session, layer, head, token, query->base);
    if (p->vector_heads[VECTORS_QUERY] > 0)
        query_relative(session, layer, head, token, query->relative);
    if (p->scheme->content_row)
        query_content(session, layer, head, token, query->content);
}

void query_turn(struct query *query, int s)
{
    const struct position *p = query->position;
    memcpy(query->turned, query->base, (size_t)p->config->head_dim * sizeof *query->turned);
    query_rotate(query->session, p, query->token, s, query->turned);
}

const float *query_for_block(struct query *query, int s, int64_t start)
{
    const struct session *session = query->session;
    const struct position *p = query->position;
    if (!p->scheme->decay && !p->follows_length)
        return query->turned;
    float a[POSITION_PAIRS_MAX];
    float b[POSITION_PAIRS_MAX];
    const struct segment *segment = &query->segments[s];
    double distance = segment->place - context_key_place(&session->context, segment->form, start);
    memcpy(query->block, query->turned, (size_t)p->config->head_dim * sizeof *query->block);
    if (p->scheme->decay) {
        p->scheme->decay(p, distance, a);
        position_multiply(p, query->block, 1, a);
    } else {
        position_turns(p, distance, session_length(session, p, query->at), true, a, b);
        position_rotate(p, &session->model->kernels, query->block, 1, a, b);
    }
    return query->block;
}

void query_visible(const struct segment *segment, int64_t start, size_t *begin, size_t *end)
{
    int64_t a = segment->begin - start;
    int64_t b = segment->end - start;
    *begin = a <= 0 ? 0 : a < CACHE_BLOCK ? (size_t)a : CACHE_BLOCK;
    *end = b <= 0 ? 0 : b < CACHE_BLOCK ? (size_t)b : CACHE_BLOCK;
}
