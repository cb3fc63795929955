/* query: see query.h. */
#include "model/query.h"

#include <math.h>
#include <string.h>

#include "model/attention.h"

/* The parts that have head_dim floats each. */
enum { PARTS = 5, PAIRS_MAX = 2048 };

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

void query_open(struct query *query, const struct session *session, int layer, int head, int token,
                float *memory)
{
    const struct config *c = &session->model->config;
    const struct position *p = session->model->layers[layer].position;
    const struct layer_config *layer_config = &c->layers[layer];
    size_t dim = (size_t)c->head_dim;
    size_t width = (size_t)(c->n_heads + 2 * c->n_kv_heads) * dim;
    size_t row = (size_t)head * dim;
    const float *q = session->activations.qkv + (size_t)token * width + row;
    *query = (struct query){
        .session = session,
        .position = p,
        .head = head,
        .token = token,
        .at = session->position + token,
        .max = -INFINITY,
        .base = memory,
        .turned = memory + dim,
        .block = memory + 2 * dim,
        .relative = memory + 3 * dim,
        .out = memory + 4 * dim,
        .row = memory + PARTS * dim,
    };
    context_segments(&session->context, layer_config, query->at, query->segments);
    float scale =
        p->scale * (float)context_query_factor(&session->context, layer_config, query->at);
    scaled_sum(query->base, q, p->content_bias ? p->content_bias + row : NULL, dim, scale);
    if (p->vector_heads[VECTORS_QUERY] > 0)
        scaled_sum(query->relative, q, p->relative_bias ? p->relative_bias + row : NULL, dim,
                   scale);
    if (p->scheme->content_row)
        p->scheme->content_row(p, q, query->row);
    memset(query->out, 0, dim * sizeof *query->out);
}

void query_turn(struct query *query, int s)
{
    const struct position *p = query->position;
    size_t dim = (size_t)p->config->head_dim;
    memcpy(query->turned, query->base, dim * sizeof *query->turned);
    if (p->rotated == 0 || p->follows_length)
        return;
    const float *cos = attention_query_turns(query->session, p, query->token, s);
    position_rotate(p, &query->session->model->kernels, query->turned, 1, cos, cos + dim / 2);
}

const float *query_for_block(struct query *query, int s, int64_t start)
{
    const struct session *session = query->session;
    const struct position *p = query->position;
    if (!p->scheme->decay && !p->follows_length)
        return query->turned;
    float a[PAIRS_MAX];
    float b[PAIRS_MAX];
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

void query_visible(const struct query *query, int s, int64_t start, size_t *begin, size_t *end)
{
    int64_t a = query->segments[s].begin - start;
    int64_t b = query->segments[s].end - start;
    *begin = a <= 0 ? 0 : a < CACHE_BLOCK ? (size_t)a : CACHE_BLOCK;
    *end = b <= 0 ? 0 : b < CACHE_BLOCK ? (size_t)b : CACHE_BLOCK;
}
