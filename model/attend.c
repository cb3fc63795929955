/* attend: see attend.h.
 *
 * The queries pass over the keys block by block, newest first, each keeping a running maximum and
 * sum (Milakov & Gimelshein 2018, arXiv:1805.02867), so scores never leave the first-level cache.
 */
#include "model/attend.h"

#include <math.h>
#include <string.h>

#include "model/attention.h"
#include "model/turning.h"

/* Keys of a part: short enough that threads can share a long text, long enough that putting parts
 * together costs nothing. */
enum { PART_KEYS = 4 * CACHE_BLOCK };

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

/* What content decides goes on from key to key. */
static int64_t part_keys(const struct position *position)
{
    return position->scheme->add_content ? INT64_MAX : PART_KEYS;
}

static int64_t parts_in(const struct part *whole, int64_t keys)
{
    return whole->begin < whole->end ? (whole->end - 1) / keys - whole->begin / keys + 1 : 0;
}

/* What tokens first .. first + n - 1 of the batch see between them of every segment. */
static void join_segments(const struct session *session, int layer, int first, int n,
                          struct part joined[SEGMENTS_MAX])
{
    for (int s = 0; s < SEGMENTS_MAX; s++)
        joined[s] = (struct part){s, INT64_MAX, 0};
    for (int t = first; t < first + n; t++) {
        struct segment segments[SEGMENTS_MAX];
        context_segments(&session->context, &session->model->config.layers[layer],
                         session->position + t, segments);
        for (int s = 0; s < context_n_segments(&session->context); s++) {
            if (segments[s].begin >= segments[s].end)
                continue;
            if (segments[s].begin < joined[s].begin)
                joined[s].begin = segments[s].begin;
            if (segments[s].end > joined[s].end)
                joined[s].end = segments[s].end;
        }
    }
}

int64_t attend_count_parts(const struct session *session, int layer, int first, int n)
{
    struct part joined[SEGMENTS_MAX];
    int64_t parts = 0;
    join_segments(session, layer, first, n, joined);
    for (int s = 0; s < SEGMENTS_MAX; s++)
        parts += parts_in(&joined[s], part_keys(session->model->layers[layer].position));
    return parts;
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
    join_segments(session, layer, token, tokens, item->segments);
    for (int t = token; t < token + tokens; t++)
        for (int h = head; h < head + heads; h++, item->m++)
            query_open(&item->queries[item->m], session, layer, h, t,
                       item->vectors + (size_t)item->m * query);
    if (item->position->follows_length)
        turning_table(item->position, session_length(session, item->position, item->queries[0].at),
                      item->table);
}

bool attend_find_part(const struct item *item, int64_t i, struct part *part)
{
    int64_t keys = part_keys(item->position);
    for (int s = context_n_segments(&item->session->context) - 1; s >= 0; s--) {
        const struct part *whole = &item->segments[s];
        int64_t n = parts_in(whole, keys);
        if (i >= n) {
            i -= n;
            continue;
        }
        int64_t from = ((whole->end - 1) / keys - i) * keys;
        part->segment = s;
        part->begin = from > whole->begin ? from : whole->begin;
        part->end = i > 0 ? from + keys : whole->end;
        return true;
    }
    return false;
}

/* Keys [begin, end) of a block, as they are stored or, where positions need it, in floats. */
static struct stored read_keys(const struct item *item, int form, int64_t block, size_t begin,
                               size_t end)
{
    const struct session *session = item->session;
    const struct position *p = item->position;
    int layer = item->layer;
    int strip = attention_strip(session, layer, form);
    if (!p->follows_length && p->vector_heads[VECTORS_KEY] == 0)
        return cache_find(&session->cache, layer, strip, block, item->kv_head, begin);
    enum format format;
    const float *floats = item->keys;
    const void *keys = cache_read(&session->cache, item->k, layer, strip, block, item->kv_head, end,
                                  p->follows_length ? item->raw : item->keys, &format);
    if (p->follows_length)
        turning_keys(p, item->k, item->table, keys, format, begin, end, item->keys);
    else if (format == FORMAT_F16)
        for (size_t d = 0; d < item->dim; d++)
            item->k->f32_from_f16((const uint16_t *)keys + d * CACHE_BLOCK, CACHE_BLOCK,
                                  item->keys + d * CACHE_BLOCK);
    else
        floats = keys;
    return (struct stored){.format = FORMAT_F32, .elements = floats + begin, .stride = CACHE_BLOCK};
}

/* Calls table_add_scores, or with weights table_add_values, for every run of keys [begin, end) of a
 * block that starts at `start`. */
static void add_by_distance(const struct item *item, struct query *query, int s, int64_t start,
                            size_t begin, size_t end, const float *keys, float *scores, bool values)
{
    const struct session *session = item->session;
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
        query_visible(&item->queries[i], s, start, &begin, &end);
        first = begin < end && begin < first ? begin : first;
        last = begin < end && end > last ? end : last;
        q[i] = query_for_block(&item->queries[i], s, start);
        out[i] = item->queries[i].out;
    }
    if (first >= last)
        return;
    enum { LANES = 16 };
    size_t aligned = first / LANES * LANES; /* whole lanes up to the end of a block are there */
    int form = item->queries[0].segments[s].form;
    struct stored keys = read_keys(item, form, block, aligned, last);
    struct stored values =
        cache_find(&session->cache, layer, STRIP_VALUES, block, item->kv_head, first);
    keys.ahead = values.elements;
    if (start > item->segments[s].begin)
        values.ahead = cache_find(&session->cache, layer, attention_strip(session, layer, form),
                                  block - 1, item->kv_head, 0)
                           .elements;
    item->k->attend_scores(item->scores + aligned, CACHE_BLOCK, q, item->m, &keys, last - aligned,
                           item->dim);
    for (int i = 0; i < item->m; i++)
        fold(item, &item->queries[i], s, start, first, last,
             keys.format == FORMAT_F32 ? (const float *)keys.elements - aligned : NULL,
             item->scores + i * CACHE_BLOCK);
    item->k->attend_values(out, item->scores + first, CACHE_BLOCK, item->m, &values, last - first,
                           item->dim);
}

void attend_part(struct item *item, const struct part *part)
{
    for (int i = 0; i < item->m; i++) {
        struct query *query = &item->queries[i];
        query_turn(query, part->segment);
        query->max = -INFINITY;
        query->sum = 0;
        memset(query->out, 0, item->dim * sizeof *query->out);
    }
    for (int64_t block = (part->end - 1) / CACHE_BLOCK; block >= part->begin / CACHE_BLOCK; block--)
        attend_block(item, part->segment, block);
}
