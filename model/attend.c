/* attend: see attend.h.
 *
 * The queries pass over the keys block by block, newest first, each keeping a running maximum and
 * sum (Milakov & Gimelshein 2018, arXiv:1805.02867), so scores never leave the first-level cache.
 */
#include "model/attend.h"

#include "model/attention.h"
#include "model/turning.h"

size_t attend_scratch(const struct model *model)
{
    size_t dim = (size_t)model->config.head_dim;
    size_t table = 0;
    for (int i = 0; i < model->n_positions; i++) {
        size_t size = turning_table_size(&model->positions[i]);
        table = size > table ? size : table;
    }
    return QUERIES_MAX * (query_floats(model) + CACHE_BLOCK) + 2 * dim * CACHE_BLOCK + table;
}

void attend_open(struct item *item, const struct session *session, int layer, int head, int heads,
                 int token, int tokens, float *scratch)
{
    const struct model *model = session->model;
    const struct config *c = &model->config;
    size_t dim = (size_t)c->head_dim;
    size_t query = query_floats(model);
    item->session = session;
    item->position = model->layers[layer].position;
    item->k = &model->kernels;
    item->layer = layer;
    item->kv_head = head / (c->n_heads / c->n_kv_heads);
    item->dim = dim;
    item->m = 0;
    item->scores = scratch;
    item->keys = scratch + QUERIES_MAX * CACHE_BLOCK;
    item->raw = item->keys + dim * CACHE_BLOCK;
    item->vectors = item->raw + dim * CACHE_BLOCK;
    item->table = item->vectors + QUERIES_MAX * query;
    parts_join(session, layer, token, tokens, item->segments);
    for (int t = token; t < token + tokens; t++)
        for (int h = head; h < head + heads; h++, item->m++)
            query_open(&item->queries[item->m], session, layer, h, t,
                       item->vectors + (size_t)item->m * query);
    if (item->position->follows_length)
        turning_table(item->position, session_length(session, item->position, item->queries[0].at),
                      item->table);
}

/* Lanes [begin, end) of a block's keys, in *format. */
static const void *read_keys(const struct item *item, int form, int64_t block, size_t begin,
                             size_t end, enum format *format)
{
    const struct session *session = item->session;
    const struct position *p = item->position;
    int layer = item->layer;
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

/* The scores of a block become weights. */
static void fold_scores(struct item *item, int s, int64_t start, size_t first, size_t last,
                        const float *keys)
{
    int form = item->queries[0].segments[s].form;
    struct fold fold = fold_open(item->session, item->position, form, start, keys);
    for (int i = 0; i < item->m; i++) {
        struct query *query = &item->queries[i];
        const struct segment *segment = &query->segments[s];
        struct row row = {query->head, segment->place, query->relative, query->content,
                          &query->state};
        size_t begin;
        size_t end;
        query_visible(segment, start, &begin, &end);
        fold_row(&fold, &row, first, last, begin, end, item->scores + i * CACHE_BLOCK,
                 &query->softmax);
    }
}

/* All queries over the keys that segment s of any of them has in one block. */
static void attend_block(struct item *item, int s, int64_t block)
{
    const struct session *session = item->session;
    int layer = item->layer;
    int64_t start = block * CACHE_BLOCK;
    size_t first = CACHE_BLOCK;
    size_t last = 0;
    const float *q[QUERIES_MAX];
    float *out[QUERIES_MAX];
    for (int i = 0; i < item->m; i++) {
        size_t begin;
        size_t end;
        query_visible(&item->queries[i].segments[s], start, &begin, &end);
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
    fold_scores(item, s, start, first, last, format == FORMAT_F32 ? keys : NULL);
    const void *values = cache_read(&session->cache, item->k, layer, STRIP_VALUES, block,
                                    item->kv_head, last, item->raw, &format);
    item->k->attend_values(out, item->scores + first, CACHE_BLOCK, item->m,
                           (const uint8_t *)values +
                               first * item->dim * (size_t)format_info[format].block_bytes,
                           format, last - first, item->dim);
}

void attend_part(struct item *item, const struct part *part)
{
    for (int i = 0; i < item->m; i++) {
        struct query *query = &item->queries[i];
        query_turn(query, part->segment);
        fold_start(&query->softmax, query->out, item->dim);
    }
    for (int64_t block = (part->end - 1) / CACHE_BLOCK; block >= part->begin / CACHE_BLOCK; block--)
        attend_block(item, part->segment, block);
}
