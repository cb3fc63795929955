/* perplexity_measure: feeds the stretches of a point and keeps the loss of every piece. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "commands/interrupt.h"
#include "commands/perplexity/perplexity.h"

struct measurement {
    struct subject *subject;
    struct point *point;
    struct session session;
    bool session_open;
    struct scorer scorer;
    int32_t *ids;    /* (longest + 1) */
    double *losses;  /* (longest) */
    double *entropy; /* (n_layers, n_heads) of the last token fed */
    measure_progress *on_progress;
    measure_keep *keep;
    void *context;
    int64_t longest; /* stretch */
    double done;     /* tokens of finished stretches */
    double total;
};

/* An empty timeline: the last stretch's own where its policy can go back, otherwise a new one. */
static int start_timeline(struct measurement *m, struct error *err)
{
    if (m->session_open && session_truncate(&m->session, 0, err) == 0)
        return 0;
    session_close(&m->session);
    m->session_open = false;
    if (engine_open_session(&m->subject->engine, &m->subject->options, &m->session, err))
        return -1;
    m->session_open = true;
    double bytes = session_cache_bytes(&m->session, m->longest);
    size_t allowed = m->subject->options.max_memory;
    if (allowed > 0 && bytes > (double)allowed)
        return error_set(err, "the cache of %lld tokens needs %s, --max-memory allows %s",
                         (long long)m->longest, output_size(bytes).text,
                         output_size((double)allowed).text);
    return 0;
}

static int64_t n_heads(const struct measurement *m)
{
    const struct config *c = &m->subject->engine.model.config;
    return (int64_t)c->n_layers * c->n_heads;
}

static double mean_entropy(const struct measurement *m)
{
    double sum = 0;
    for (int64_t i = 0; i < n_heads(m); i++)
        sum += m->entropy[i];
    return sum / (double)n_heads(m);
}

/* Feeds one stretch; false in *finished where it was interrupted. */
static int feed_stretch(struct measurement *m, const struct stretch *stretch, struct effort *effort,
                        bool *finished, struct error *err)
{
    const struct tokens *tokens = &m->subject->tokens[stretch->file];
    const struct tokenizer *tokenizer = m->subject->engine.tokenizer;
    memcpy(m->ids, tokens->ids + stretch->begin, ((size_t)stretch->n + 1) * sizeof *m->ids);
    if (tokenizer_adds_bos(tokenizer))
        m->ids[0] = tokenizer_bos(tokenizer);
    m->scorer.counts = (struct score_counts){0};
    double start = output_now();
    session_expect(&m->session, stretch->n);
    for (int64_t at = 0; at < stretch->n;) {
        int64_t n = stretch->n - at < SESSION_BATCH ? stretch->n - at : SESSION_BATCH;
        int64_t from = stretch->from <= at ? 0 : stretch->from - at < n ? stretch->from - at : n;
        m->session.entropy = at + n == stretch->n ? m->entropy : NULL;
        if (scorer_feed(&m->scorer, &m->session, m->ids + at, at, n, from, m->losses + at, err))
            return -1;
        double bytes = (double)cache_bytes(&m->session.cache);
        effort->cache_bytes = fmax(effort->cache_bytes, bytes);
        at += n;
        *finished = m->on_progress(m->context, (m->done + (double)at) / m->total);
        if (!*finished)
            return 0;
    }
    effort->seconds = output_now() - start;
    effort->n_fed = stretch->n;
    effort->counts = m->scorer.counts;
    effort->entropy = mean_entropy(m);
    return 0;
}

void point_add_effort(struct point *point, const struct effort *effort)
{
    struct effort *total = &point->effort;
    total->seconds += effort->seconds;
    total->n_fed += effort->n_fed;
    total->cache_bytes = fmax(total->cache_bytes, effort->cache_bytes);
    total->counts.nonfinite += effort->counts.nonfinite;
    total->counts.repeated += effort->counts.repeated;
    total->counts.text += effort->counts.text;
    total->entropy += effort->entropy;
}

static void keep_losses(struct point *point, struct stretch *stretch, const double *losses,
                        const struct effort *effort)
{
    struct piece *piece = &point->pieces[stretch->first_piece];
    for (int64_t at = stretch->from; at < stretch->n; piece++) {
        piece->loss = 0;
        for (int64_t i = 0; i < piece->n; i++)
            piece->loss += losses[at + i];
        at += piece->n;
    }
    stretch->done = true;
    point_add_effort(point, effort);
}

static int measure_stretches(struct measurement *m, struct error *err)
{
    struct point *point = m->point;
    for (int64_t i = 0; i < point->n_stretches; i++) {
        struct stretch *stretch = &point->stretches[i];
        struct effort effort = {0};
        bool finished = true;
        if (stretch->done)
            continue;
        if (start_timeline(m, err) || feed_stretch(m, stretch, &effort, &finished, err))
            return -1;
        if (!finished)
            return 0;
        keep_losses(point, stretch, m->losses, &effort);
        m->done += (double)stretch->n;
        if (m->keep(m->context, point, i, &effort, err))
            return -1;
    }
    return 0;
}

int measure_point(struct subject *subject, struct point *point, measure_progress *on_progress,
                  measure_keep *keep, void *context, struct error *err)
{
    struct measurement m = {.subject = subject,
                            .point = point,
                            .on_progress = on_progress,
                            .keep = keep,
                            .context = context};
    for (int64_t i = 0; i < point->n_stretches; i++) {
        const struct stretch *stretch = &point->stretches[i];
        m.longest = stretch->n > m.longest ? stretch->n : m.longest;
        m.total += stretch->done ? 0 : (double)stretch->n;
    }
    if (m.total == 0)
        return 0;
    m.ids = size_alloc((size_t)m.longest + 1, sizeof *m.ids);
    m.losses = size_alloc((size_t)m.longest, sizeof *m.losses);
    m.entropy = size_alloc((size_t)n_heads(&m), sizeof *m.entropy);
    int result = 0;
    if (!m.ids || !m.losses || !m.entropy)
        result = error_memory(err, "losses", (size_t)m.longest * sizeof *m.losses);
    if (result == 0)
        result = scorer_open(&m.scorer, &subject->engine.model, err);
    if (result == 0)
        result = measure_stretches(&m, err);
    scorer_close(&m.scorer);
    session_close(&m.session);
    free(m.ids);
    free(m.losses);
    free(m.entropy);
    return result;
}

/* Keys that a query of a stretch of n tokens sees, on average. */
static double mean_keys(const struct context *context, const struct layer_config *layer, int64_t n)
{
    struct segment segments[SEGMENTS_MAX];
    context_segments(context, layer, n - 1, segments);
    double keys = 0;
    for (int i = 0; i < context_n_segments(context); i++)
        if (segments[i].end > segments[i].begin)
            keys += (double)(segments[i].end - segments[i].begin);
    return keys * (1 - keys / 2 / (double)n);
}

double point_cost(const struct point *point, const struct subject *subject)
{
    /* Attention multiplies less fast than the weights, measured. */
    enum { SHORT = 256 };
    static const double slower = 1.5;
    const struct model *model = &subject->engine.model;
    const struct config *c = &model->config;
    double cost = 0;
    for (int64_t i = 0; i < point->n_stretches; i++) {
        const struct stretch *stretch = &point->stretches[i];
        double keys = 0;
        if (stretch->done)
            continue;
        for (int l = 0; l < c->n_layers; l++)
            keys += mean_keys(&subject->engine.context, &c->layers[l], stretch->n) - SHORT / 2;
        double more = slower * 2 * c->n_heads * c->head_dim * keys / (double)model->n_weights;
        cost += (double)stretch->n * fmax(0.5, 1 + more);
    }
    return cost;
}

int measure_speed(const struct subject *subject, double *speed, struct error *err)
{
    enum { ENOUGH = 256 };
    const struct tokens *tokens = &subject->tokens[0];
    int64_t n = tokens->n < ENOUGH ? tokens->n : ENOUGH;
    struct session session;
    int result = engine_open_session(&subject->engine, &subject->options, &session, err);
    for (int i = 0; i < 2 && result == 0; i++) { /* the first one reads the weights from disk */
        double start = output_now();
        struct error ignored;
        result = session_feed(&session, tokens->ids, n, NULL, err);
        *speed = (double)n / (output_now() - start);
        if (session_truncate(&session, 0, &ignored))
            break;
    }
    session_close(&session);
    return result;
}
