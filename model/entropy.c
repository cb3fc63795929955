/* entropy: see entropy.h. The weights of a query are made once more, block by block as attention
 * makes them, for they are kept nowhere. */
#include "model/entropy.h"

#include <math.h>

#include "model/attend.h"

/* Of the keys so far, whose scores are s: with w = exp(s - max), the sums of w and of w ln w. */
struct spread {
    double max;
    double sum;
    double logs;
};

/* The same keys, against a larger maximum. */
static void raise_max(struct spread *spread, double max)
{
    double down = spread->max - max;
    spread->logs = exp(down) * (spread->logs + down * spread->sum);
    spread->sum *= exp(down);
    spread->max = max;
}

static void add(struct spread *total, struct spread part)
{
    if (part.sum == 0) /* nothing is seen */
        return;
    if (total->sum == 0) {
        *total = part;
        return;
    }
    if (part.max > total->max)
        raise_max(total, part.max);
    else
        raise_max(&part, total->max);
    total->sum += part.sum;
    total->logs += part.logs;
}

static struct spread of_weights(const float *weights, size_t n, double max)
{
    struct spread spread = {.max = max};
    for (size_t i = 0; i < n; i++)
        if (weights[i] > 0) {
            double weight = (double)weights[i];
            spread.sum += weight;
            spread.logs += weight * log(weight);
        }
    return spread;
}

/* Adds what each query sees of one block of a part. */
static void add_block(struct item *item, const struct part *block, struct spread *totals)
{
    attend_part(item, block);
    for (int i = 0; i < item->m; i++) {
        const struct query *query = &item->queries[i];
        size_t begin, end;
        query_visible(&query->segments[block->segment], block->begin / CACHE_BLOCK * CACHE_BLOCK,
                      &begin, &end);
        if (begin < end)
            add(&totals[i], of_weights(item->scores + i * CACHE_BLOCK + begin, end - begin,
                                       (double)query->softmax.max));
    }
}

static void add_part(struct item *item, const struct part *part, struct spread *totals)
{
    for (int64_t end = part->end; end > part->begin;) {
        int64_t start = (end - 1) / CACHE_BLOCK * CACHE_BLOCK;
        struct part block = {part->segment, start > part->begin ? start : part->begin, end};
        add_block(item, &block, totals);
        end = block.begin;
    }
}

void entropy_of_heads(const struct session *session, int layer, int token, double *heads)
{
    const struct config *c = &session->model->config;
    int group = c->n_heads / c->n_kv_heads;
    struct item item;
    struct part part;
    for (int head = 0; head < c->n_heads; head += item.m) {
        int left = group - head % group;
        struct spread totals[QUERIES_MAX] = {{0}};
        attend_open(&item, session, layer, head, left < QUERIES_MAX ? left : QUERIES_MAX, token, 1,
                    session->activations.thread);
        for (int64_t p = 0; parts_find(item.segments, item.position, p, &part); p++)
            add_part(&item, &part, totals);
        for (int i = 0; i < item.m; i++)
            heads[head + i] = log(totals[i].sum) - totals[i].logs / totals[i].sum;
    }
}
