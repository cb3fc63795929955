/* fold: see fold.h. */
#include "model/fold.h"

#include <math.h>
#include <string.h>

/* What no sum of floats beside 1 shows; products with less may be subnormal, which is slow. */
#define NOTHING 0x1p-64F

struct fold fold_open(const struct session *session, const struct position *position, int form,
                      int64_t start, const float *keys)
{
    double step;
    int64_t n;
    context_run(&session->context, form, start, CACHE_BLOCK, &step, &n);
    return (struct fold){
        .session = session,
        .position = position,
        .table = &session->tables[position - session->model->positions],
        .k = &session->model->kernels,
        .dim = (size_t)position->config->head_dim,
        .form = form,
        .start = start,
        .keys = keys,
        .straight = step == 1 && n == CACHE_BLOCK,
        .place = context_key_place(&session->context, form, start),
    };
}

/* The run of keys from lane `begin` on that lie evenly. */
static struct run find_run(const struct fold *fold, const struct row *row, size_t begin, size_t end)
{
    const struct context *context = &fold->session->context;
    int64_t j = fold->start + (int64_t)begin;
    int64_t n;
    struct run run = {.head = row->head, .place = (double)fold->session->origin + row->place};
    context_run(context, fold->form, j, (int64_t)(end - begin), &run.step, &n);
    run.distance = row->place - context_key_place(context, fold->form, j);
    run.n = (int)n;
    return run;
}

static void add_scores(const struct fold *fold, const struct row *row, size_t begin, size_t end,
                       float *scores)
{
    while (begin < end) {
        struct run run = find_run(fold, row, begin, end);
        table_add_scores(fold->table, fold->position, fold->k, &run, row->relative,
                         fold->keys ? fold->keys + begin : NULL, scores + begin);
        begin += (size_t)run.n;
    }
}

static void add_values(const struct fold *fold, const struct row *row, size_t begin, size_t end,
                       const float *weights, float *out)
{
    while (begin < end) {
        struct run run = find_run(fold, row, begin, end);
        table_add_values(fold->table, fold->position, fold->k, &run, weights + begin, out);
        begin += (size_t)run.n;
    }
}

/* What is added to the scores of lanes [begin, end), where it lies in a row of the table or is a
 * slope times distances that floats hold, whose products round as those in double would. */
static bool find_bias(const struct fold *fold, const struct row *row, size_t begin, size_t end,
                      struct bias *bias)
{
    const struct position_scheme *scheme = fold->position->scheme;
    double distance = row->place - fold->place - (double)begin;
    if (!fold->straight || scheme->vectors)
        return false;
    if (scheme->slope) {
        *bias = (struct bias){.slope = scheme->slope(fold->position, row->head),
                              .distance = (float)distance};
        return distance < 0x1p24 && distance == (double)(int)distance;
    }
    struct run run = {.head = row->head, .distance = distance, .step = 1, .n = (int)(end - begin)};
    bias->row = table_bias(fold->table, &run);
    return bias->row != NULL;
}

void fold_row(const struct fold *fold, const struct row *row, size_t first, size_t last,
              size_t begin, size_t end, float *scores, struct softmax *softmax)
{
    const struct position *p = fold->position;
    const struct position_scheme *scheme = p->scheme;
    if (begin >= end) {
        memset(scores + first, 0, (last - first) * sizeof *scores);
        return;
    }
    struct bias bias;
    bool biased = false;
    if (scheme->bias || scheme->add_bias || scheme->vectors) {
        biased = find_bias(fold, row, begin, end, &bias);
        if (!biased)
            add_scores(fold, row, begin, end, scores);
    }
    if (scheme->add_content)
        scheme->add_content(p, row->content, row->state, (int)(end - begin), scores + begin);
    float shrink = fold->k->softmax(scores + begin, biased ? &bias : NULL, end - begin,
                                    &softmax->max, &softmax->sum);
    if (shrink != 1)
        fold->k->scale(softmax->out, fold->dim, shrink);
    if (p->vector_heads[VECTORS_VALUE] > 0)
        add_values(fold, row, begin, end, scores, softmax->out);
    if (begin > first)
        memset(scores + first, 0, (begin - first) * sizeof *scores);
    if (end < last)
        memset(scores + end, 0, (last - end) * sizeof *scores);
}

void fold_start(struct softmax *softmax, float *out, size_t dim)
{
    memset(out, 0, dim * sizeof *out);
    *softmax = (struct softmax){-INFINITY, 0, out};
}

void fold_merge(const struct kernels *k, struct softmax *total, const struct softmax *part,
                size_t dim)
{
    if (part->sum == 0) /* of which the query sees nothing */
        return;
    float add = 1;
    if (part->max > total->max) {
        float keep = expf(total->max - part->max);
        k->scale(total->out, dim, keep);
        total->sum *= keep;
        total->max = part->max;
    } else {
        add = expf(part->max - total->max);
        if (add < NOTHING)
            return;
    }
    struct stored values = {.format = FORMAT_F32, .elements = part->out};
    k->attend_values(&total->out, &add, 1, 1, &values, 1, dim);
    total->sum += add * part->sum;
}
