/* context: the geometry of every context policy.
 *
 * Every policy but dual-chunk parts the keys of a query at the same place: *near* ones, less than W
 * back, which lie where they are (form 0), and *far* ones. What is said of the far ones is where
 * the policies differ. The notation is in context_notation.c. */
#include "model/context.h"

#include <math.h>

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* --- what a layer sees ------------------------------------------------------------------------ */

/* The oldest key that the query at i sees in this layer. Never falls as i rises. */
static int64_t layer_begin(const struct layer_config *layer, int64_t i)
{
    int64_t begin = 0;
    if (layer->window)
        begin = larger(begin, i - layer->window + 1);
    if (layer->chunk)
        begin = larger(begin, i - i % layer->chunk - layer->memory);
    return begin;
}

/* How far back any of the queries [0, n), n > 0, sees in this layer: the last query does, or the
 * last one of the chunk before. */
static int64_t layer_reach(const struct layer_config *layer, int64_t n)
{
    int64_t i = n - 1;
    int64_t reach = i - layer_begin(layer, i);
    if (layer->chunk && i >= layer->chunk) {
        i -= i % layer->chunk + 1;
        reach = larger(reach, i - layer_begin(layer, i));
    }
    return reach;
}

/* The first query from `next` on that sees a key `far` or more back; -1: none ever will. */
static int64_t layer_far_query(const struct layer_config *layer, int64_t far, int64_t next)
{
    int64_t i = larger(next, far);
    if (layer->window && layer->window <= far)
        return -1;
    if (i - layer_begin(layer, i) >= far)
        return i;
    /* The chunk hides them. It grows by a key a query, to its end. */
    int64_t offset = far - layer->memory;
    return offset < layer->chunk ? i - i % layer->chunk + offset : -1;
}

/* --- segments and places ---------------------------------------------------------------------- */

int context_n_segments(const struct context *context)
{
    switch (context->kind) {
    case CONTEXT_WINDOW:
        return context->sinks ? 2 : 1;
    case CONTEXT_LM_INFINITE:
    case CONTEXT_REROPE:
    case CONTEXT_SELF_EXTEND:
        return 2;
    case CONTEXT_DUAL_CHUNK:
        return 3;
    default:
        return 1;
    }
}

int context_n_forms(const struct context *context)
{
    switch (context->kind) {
    case CONTEXT_LM_INFINITE:
    case CONTEXT_REROPE:
    case CONTEXT_SELF_EXTEND:
        return 2;
    default:
        return 1;
    }
}

/* The keys of query i that lie W or more back: they end at `end`, where the near ones begin. */
static struct segment far_segment(const struct context *context, int64_t i, int64_t end)
{
    int64_t window = context->window;
    switch (context->kind) {
    case CONTEXT_WINDOW:
        return (struct segment){.end = smaller(context->sinks, end),
                                .place = (double)smaller(i, context->sinks + window - 1)};
    case CONTEXT_LM_INFINITE:
        return (struct segment){
            .end = smaller(context->sinks, end), .form = 1, .place = (double)context->cap};
    case CONTEXT_SELF_EXTEND:
        return (struct segment){
            .end = end,
            .form = 1,
            .place = (double)(i / context->group + window - window / context->group)};
    default: /* rerope */
        return (struct segment){
            .end = end,
            .form = 1,
            .place = context->factor > 0
                         ? ((double)i + (double)window * (context->factor - 1)) / context->factor
                         : (double)window};
    }
}

void context_segments(const struct context *context, const struct layer_config *layer, int64_t i,
                      struct segment segments[SEGMENTS_MAX])
{
    int n = context_n_segments(context);
    int64_t near = 0;
    double place = (double)i;
    if (context->kind == CONTEXT_DUAL_CHUNK) {
        int64_t chunk = context->chunk;
        int64_t offset = i % chunk;
        near = i - offset;
        place = (double)offset;
        segments[0] = (struct segment){.end = near - chunk, .place = (double)context->cap};
        segments[1] = (struct segment){.begin = near - chunk,
                                       .end = near,
                                       .place = (double)smaller(offset + chunk, context->cap)};
    } else if (context->kind != CONTEXT_ALL) {
        near = i - context->window + 1;
        if (n > 1)
            segments[0] = far_segment(context, i, near);
    }
    segments[n - 1] = (struct segment){.begin = near, .end = i + 1, .place = place};

    int64_t begin = layer_begin(layer, i);
    for (int s = 0; s < n; s++) {
        segments[s].begin = larger(segments[s].begin, begin);
        segments[s].end = larger(segments[s].end, segments[s].begin);
    }
}

double context_key_place(const struct context *context, int form, int64_t j)
{
    if (context->kind == CONTEXT_DUAL_CHUNK)
        return (double)(j % context->chunk);
    if (form == 0)
        return (double)j;
    if (context->kind == CONTEXT_SELF_EXTEND)
        return (double)(j / context->group);
    return context->factor > 0 ? (double)j / context->factor : 0;
}

void context_run(const struct context *context, int form, int64_t j, int64_t most, double *step,
                 int64_t *n)
{
    *n = most;
    *step = 1;
    if (context->kind == CONTEXT_DUAL_CHUNK) {
        *n = smaller(most, context->chunk - j % context->chunk);
    } else if (form == 1) {
        *step = context->factor > 0 ? 1 / context->factor : 0;
        if (context->kind == CONTEXT_SELF_EXTEND)
            *n = smaller(most, context->group - j % context->group);
    }
}

/* --- what may go ------------------------------------------------------------------------------ */

/* Keys that are needed: [begin, end), and those from `first` on. */
struct kept {
    int64_t begin;
    int64_t end;
    int64_t first;
};

static struct kept kept_form(const struct context *context, const struct layer_config *layer,
                             int form, int64_t next)
{
    struct kept kept = {.first = layer_begin(layer, next)};
    if (form == 1) {
        int64_t query = layer_far_query(layer, context->window, next);
        int64_t oldest = query < 0 ? next : smaller(next, layer_begin(layer, query));
        if (context->kind == CONTEXT_LM_INFINITE)
            return (struct kept){oldest, context->sinks, next};
        kept.first = oldest;
    } else if (context->kind != CONTEXT_ALL && context->kind != CONTEXT_DUAL_CHUNK) {
        if (context->kind == CONTEXT_WINDOW)
            kept = (struct kept){kept.first, context->sinks, kept.first};
        kept.first = larger(kept.first, next - context->window + 1);
    }
    return kept;
}

static void kept_write(struct kept kept, int64_t *sinks, int64_t *first)
{
    bool any = kept.begin < kept.end;
    bool joined = any && kept.end >= kept.first;
    *sinks = any && !joined ? kept.end : 0;
    *first = joined ? smaller(kept.begin, kept.first) : kept.first;
}

void context_kept(const struct context *context, const struct layer_config *layer, int form,
                  int64_t next, int64_t *sinks, int64_t *first)
{
    kept_write(kept_form(context, layer, form, next), sinks, first);
}

void context_kept_any(const struct context *context, const struct layer_config *layer, int64_t next,
                      int64_t *sinks, int64_t *first)
{
    struct kept kept = kept_form(context, layer, 0, next);
    if (context_n_forms(context) > 1) {
        struct kept far = kept_form(context, layer, 1, next);
        kept = (struct kept){far.begin, far.end, smaller(kept.first, far.first)};
    }
    kept_write(kept, sinks, first);
}

/* --- queries and distances -------------------------------------------------------------------- */

double context_query_factor(const struct context *context, const struct layer_config *layer,
                            int64_t i)
{
    double factor = 1;
    if (context->log_length)
        factor = fmax(1, log((double)i + 1) / log((double)context->log_length));
    if (layer->temperature_scale != 0)
        factor *= 1 + layer->temperature_scale *
                          log(floor(((double)i + 1) / layer->temperature_floor) + 1);
    return factor;
}

/* Exact, but for self-extend and dual-chunk in layers with chunks of their own: there how the two
 * cuts of the text fall together decides, and the answer may be more than is ever met. */
int64_t context_max_distance(const struct context *context, const struct layer_config *layer,
                             int64_t n)
{
    if (n < 1)
        return 0;
    int64_t window = context->window;
    int64_t reach = layer_reach(layer, n);
    int64_t near = smaller(reach, window - 1);
    int64_t chunks = 2 * context->chunk;
    int64_t query;
    switch (context->kind) {
    case CONTEXT_WINDOW: /* once all slots are taken, sinks come no further away */
        return larger(near, layer_reach(layer, smaller(n, context->sinks + window)));
    case CONTEXT_LM_INFINITE:
        query = layer_far_query(layer, window, 0);
        if (query < 0 || query >= n || layer_begin(layer, query) >= context->sinks)
            return near;
        return larger(near, context->cap);
    case CONTEXT_REROPE:
        if (reach <= window || !(context->factor > 0))
            return smaller(reach, window);
        return window + (int64_t)ceil((double)(reach - window) / context->factor);
    case CONTEXT_SELF_EXTEND:
        if (reach < window)
            return reach;
        /* The groups that lie between: they begin at 0, and so no more than that of n - 1 */
        return smaller((n - 1) / context->group, (reach - 1) / context->group + 1) + window -
               window / context->group;
    case CONTEXT_DUAL_CHUNK:
        near = smaller(reach, context->cap);
        if (n - 1 < chunks || reach <= context->chunk)
            return near;
        /* The first query of a chunk, which sees deepest into those before the last */
        return larger(near, context->cap - larger(0, chunks - reach));
    default:
        return reach;
    }
}
