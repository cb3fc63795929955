/* attend_packed: see attend_packed.h.
 *
 * Part by part and block by block, newest first; at each block chunk by chunk of PACKED_QUERIES
 * queries: scores, weights, values. Queries are numbered token by token, head by head. */
#include "model/attend_packed.h"

#include <string.h>

#include "model/attention.h"
#include "model/query.h"

/* Floats of queries that an item may have: with their sums they stay in the second-level cache, and
 * they are so many that packing a block costs little beside multiplying with it. */
enum { ITEM_FLOATS = 32768, TOKENS_MAX = 512, LINE = 16 /* floats */ };

struct packed_item {
    const struct session *session;
    const struct position *position;
    const struct kernels *k;
    int layer;
    int head;
    int heads;
    int token;
    int tokens;
    int m;
    size_t dim;
    size_t ld;                                /* packed_dim(dim) */
    struct part joined[SEGMENTS_MAX];         /* what any of them sees */
    struct segment (*segments)[SEGMENTS_MAX]; /* (tokens) */
    float *queries;                           /* packed, chunk by chunk */
    float *keys;                              /* packed */
    float *values;                            /* packed */
    float *scores;                            /* (PACKED_QUERIES, CACHE_BLOCK) */
    float *raw;             /* (head_dim, CACHE_BLOCK) keys or values; or queries */
    float *relative;        /* (queries, head_dim) */
    float *content;         /* (queries, row_length) */
    double *states;         /* (queries) */
    struct softmax *parts;  /* (queries) of the part at hand: ld floats each */
    struct softmax *totals; /* (queries) in activations.heads */
};

bool attend_packed_allows(const struct position *position)
{
    return !position->follows_length && !position->scheme->decay;
}

int attend_packed_queries(const struct model *model)
{
    size_t chunks = ITEM_FLOATS / PACKED_QUERIES / packed_dim((size_t)model->config.head_dim);
    return (int)(chunks > 0 ? chunks : 1) * PACKED_QUERIES;
}

/* --- scratch ---------------------------------------------------------------------------------- */

/* Cuts the next array off the scratch, or only counts where there is none. */
static void *take(float *scratch, size_t *used, size_t floats)
{
    float *array = scratch ? scratch + *used : NULL;
    *used += (floats + LINE - 1) / LINE * LINE;
    return array;
}

/* Lays an item's arrays out; returns their floats. */
static size_t lay_out(struct packed_item *item, const struct model *model, float *scratch)
{
    size_t queries = (size_t)attend_packed_queries(model);
    size_t dim = (size_t)model->config.head_dim, ld = packed_dim(dim);
    size_t relative = 0, row = 0, used = 0;
    for (int i = 0; i < model->n_positions; i++) {
        const struct position *p = &model->positions[i];
        relative = p->vector_heads[VECTORS_QUERY] > 0 ? dim : relative;
        row = p->row_length > (int)row ? (size_t)p->row_length : row;
    }
    item->segments = take(scratch, &used, TOKENS_MAX * sizeof *item->segments / sizeof(float));
    item->queries = take(scratch, &used, queries * ld);
    item->keys = take(scratch, &used, CACHE_BLOCK * ld);
    item->values = take(scratch, &used, CACHE_BLOCK * ld);
    item->scores = take(scratch, &used, PACKED_QUERIES * CACHE_BLOCK);
    item->raw = take(scratch, &used, dim * CACHE_BLOCK);
    item->relative = take(scratch, &used, queries * relative);
    item->content = take(scratch, &used, queries * row);
    item->states = take(scratch, &used, queries * sizeof *item->states / sizeof(float));
    item->parts = take(scratch, &used, queries * sizeof *item->parts / sizeof(float));
    item->totals = take(scratch, &used, queries * sizeof *item->totals / sizeof(float));
    float *out = take(scratch, &used, queries * ld);
    for (size_t i = 0; scratch && i < queries; i++)
        item->parts[i].out = out + i * ld;
    return used;
}

size_t attend_packed_scratch(const struct model *model)
{
    struct packed_item item;
    return lay_out(&item, model, NULL) + LINE; /* to begin at a line */
}

/* --- an item ---------------------------------------------------------------------------------- */

static int head_of(const struct packed_item *item, int i)
{
    return item->head + i % item->heads;
}

static int token_of(const struct packed_item *item, int i)
{
    return item->token + i / item->heads;
}

static void open_queries(struct packed_item *item)
{
    const struct session *session = item->session;
    const struct position *p = item->position;
    int n_heads = session->model->config.n_heads;
    for (int t = 0; t < item->tokens; t++)
        context_segments(&session->context, &session->model->config.layers[item->layer],
                         session->position + item->token + t, item->segments[t]);
    for (int i = 0; i < item->m; i++) {
        size_t head = (size_t)head_of(item, i), token = (size_t)token_of(item, i);
        fold_start(&item->totals[i],
                   session->activations.heads + (token * (size_t)n_heads + head) * item->dim,
                   item->dim);
        item->states[i] = 0;
        if (p->vector_heads[VECTORS_QUERY] > 0)
            query_relative(session, item->layer, (int)head, (int)token,
                           item->relative + (size_t)i * item->dim);
        if (p->scheme->content_row)
            query_content(session, item->layer, (int)head, (int)token,
                          item->content + (size_t)i * (size_t)p->row_length);
    }
}

/* Packs the queries as they meet the keys of segment s. */
static void pack_queries(struct packed_item *item, int s)
{
    const float *rows[PACKED_QUERIES];
    for (int first = 0; first < item->m; first += PACKED_QUERIES) {
        int n = item->m - first < PACKED_QUERIES ? item->m - first : PACKED_QUERIES;
        for (int i = 0; i < n; i++) {
            int token = token_of(item, first + i);
            float *row = item->raw + (size_t)i * item->dim;
            query_scaled(item->session, item->layer, head_of(item, first + i), token, row);
            query_rotate(item->session, item->position, token, s, row);
            rows[i] = row;
        }
        item->k->pack_queries(rows, n, item->dim, item->queries + (size_t)first * item->ld);
    }
}

/* Packs the first n keys of a block and its values; returns the keys in F32, laid out as stored,
 * where the scheme asks for them. */
static const float *pack_block(struct packed_item *item, int form, int64_t block, size_t n)
{
    const struct cache *cache = &item->session->cache;
    const struct config *c = &item->session->model->config;
    int kv_head = item->head / (c->n_heads / c->n_kv_heads);
    int strip = attention_strip(item->session, item->layer, form);
    enum format format;
    const void *values = cache_read(cache, item->k, item->layer, STRIP_VALUES, block, kv_head, n,
                                    item->raw, &format);
    item->k->pack_values(values, format, n, item->dim, item->values);
    const void *keys =
        cache_read(cache, item->k, item->layer, strip, block, kv_head, n, item->raw, &format);
    item->k->pack_keys(keys, CACHE_BLOCK, format, n, item->dim, item->keys);
    if (item->position->vector_heads[VECTORS_KEY] == 0)
        return NULL;
    if (format == FORMAT_F16) {
        item->k->f32_from_f16(keys, item->dim * CACHE_BLOCK, item->raw);
        return item->raw;
    }
    return keys;
}

/* Queries [first, first + n) over the block that is packed; `last` is where what they see of it
 * ends. */
static void attend_chunk(struct packed_item *item, const struct fold *fold, int s, int first, int n,
                         size_t last)
{
    const struct kernels *k = item->k;
    const float *queries = item->queries + (size_t)first * item->ld;
    k->packed_scores(item->scores, CACHE_BLOCK, queries, n, item->keys, last, item->dim);
    for (int i = first; i < first + n; i++) {
        const struct segment *segment = &item->segments[token_of(item, i) - item->token][s];
        struct row row = {.head = head_of(item, i),
                          .place = segment->place,
                          .relative = item->relative + (size_t)i * item->dim,
                          .content = item->content + (size_t)i * (size_t)item->position->row_length,
                          .state = &item->states[i]};
        size_t begin;
        size_t end;
        query_visible(segment, fold->start, &begin, &end);
        fold_row(fold, &row, 0, last, begin, end, item->scores + (i - first) * CACHE_BLOCK,
                 &item->parts[i]);
    }
    k->packed_values(item->parts[first].out, item->ld, item->scores, CACHE_BLOCK, n, item->values,
                     last, item->dim);
}

/* Where what queries [first, first + n) see of a block in segment s ends; 0: nothing. */
static size_t seen_by(const struct packed_item *item, int s, int64_t start, int first, int n)
{
    size_t last = 0;
    int end_token = token_of(item, first + n - 1) - item->token;
    for (int t = token_of(item, first) - item->token; t <= end_token; t++) {
        size_t begin;
        size_t end;
        query_visible(&item->segments[t][s], start, &begin, &end);
        last = begin < end && end > last ? end : last;
    }
    return last;
}

static void attend_block(struct packed_item *item, int s, int64_t block)
{
    int64_t start = block * CACHE_BLOCK;
    size_t last = seen_by(item, s, start, 0, item->m);
    if (last == 0)
        return;
    int form = item->segments[0][s].form;
    const float *keys = pack_block(item, form, block, last);
    struct fold fold = fold_open(item->session, item->position, form, start, keys);
    for (int first = 0; first < item->m; first += PACKED_QUERIES) {
        int n = item->m - first < PACKED_QUERIES ? item->m - first : PACKED_QUERIES;
        last = seen_by(item, s, start, first, n);
        if (last > 0)
            attend_chunk(item, &fold, s, first, n, last);
    }
}

static void attend_part(struct packed_item *item, const struct part *part)
{
    for (int i = 0; i < item->m; i++)
        fold_start(&item->parts[i], item->parts[i].out, item->ld);
    for (int64_t block = (part->end - 1) / CACHE_BLOCK; block >= part->begin / CACHE_BLOCK; block--)
        attend_block(item, part->segment, block);
    for (int i = 0; i < item->m; i++)
        fold_merge(item->k, &item->totals[i], &item->parts[i], item->dim);
}

void attend_packed(const struct session *session, int layer, int head, int heads, int token,
                   int tokens, float *scratch)
{
    const struct model *model = session->model;
    struct packed_item item = {
        .session = session,
        .position = model->layers[layer].position,
        .k = &model->kernels,
        .layer = layer,
        .head = head,
        .heads = heads,
        .token = token,
        .tokens = tokens,
        .m = heads * tokens,
        .dim = (size_t)model->config.head_dim,
        .ld = packed_dim((size_t)model->config.head_dim),
    };
    uintptr_t beyond = (uintptr_t)scratch / sizeof(float) % LINE;
    lay_out(&item, model, scratch + (beyond > 0 ? LINE - beyond : 0));
    parts_join(session, layer, token, tokens, item.joined);
    open_queries(&item);
    struct part part;
    int segment = -1;
    for (int64_t i = 0; parts_find(item.joined, item.position, i, &part); i++) {
        if (part.segment != segment)
            pack_queries(&item, part.segment);
        segment = part.segment;
        attend_part(&item, &part);
    }
    for (int i = 0; i < item.m; i++)
        item.k->scale(item.totals[i].out, item.dim, 1 / item.totals[i].sum);
}
