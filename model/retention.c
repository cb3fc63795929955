/* retention: see retention.h. */
#include "model/retention.h"

#include "model/attention.h"

/* What of a strip queries from `next` on see: [0, sinks) and [first, ...). */
static void kept(const struct session *session, int layer, int strip, int64_t next, int64_t *sinks,
                 int64_t *first)
{
    const struct layer_config *config = &session->model->config.layers[layer];
    if (strip != STRIP_VALUES && session->cache.n_forms[layer] > 1)
        context_kept(&session->context, config, strip, next, sinks, first);
    else
        context_kept_any(&session->context, config, next, sinks, first);
}

static bool is_strip(const struct session *session, int layer, int strip)
{
    return strip == STRIP_VALUES || strip < session->cache.n_forms[layer];
}

void retention_evict(struct session *session)
{
    int64_t next = session->held < session->position ? session->held : session->position;
    for (int l = 0; l < session->model->config.n_layers; l++)
        for (int strip = 0; strip < STRIPS_MAX; strip++) {
            int64_t sinks;
            int64_t first;
            if (!is_strip(session, l, strip))
                continue;
            kept(session, l, strip, next, &sinks, &first);
            cache_evict(&session->cache, l, strip, sinks, first);
        }
}

bool retention_stays(const struct session *session, int64_t from, int64_t to)
{
    for (int l = 0; l < session->model->config.n_layers; l++)
        for (int strip = 0; strip < STRIPS_MAX; strip++) {
            int64_t sinks[2];
            int64_t first[2];
            if (!is_strip(session, l, strip))
                continue;
            kept(session, l, strip, from, &sinks[0], &first[0]);
            kept(session, l, strip, to, &sinks[1], &first[1]);
            if (sinks[0] != sinks[1] || first[0] / CACHE_BLOCK != first[1] / CACHE_BLOCK)
                return false;
        }
    return true;
}

double session_cache_bytes(const struct session *session, int64_t n)
{
    const struct config *c = &session->model->config;
    /* A batch lets go of keys only when it is through. */
    int64_t next = n > SESSION_BATCH ? n - SESSION_BATCH : 0;
    int64_t end = (n + CACHE_BLOCK - 1) / CACHE_BLOCK;
    double blocks = 0;
    for (int l = 0; l < c->n_layers; l++)
        for (int strip = 0; strip < STRIPS_MAX; strip++) {
            int64_t sinks;
            int64_t first;
            if (!is_strip(session, l, strip))
                continue;
            kept(session, l, strip, next, &sinks, &first);
            int64_t before = (sinks + CACHE_BLOCK - 1) / CACHE_BLOCK;
            int64_t from = first / CACHE_BLOCK;
            blocks += (double)(from > before ? end - from + before : end);
        }
    return blocks * (double)cache_block_bytes(&session->cache);
}

bool retention_holds(const struct session *session, int64_t n)
{
    for (int l = 0; l < session->model->config.n_layers; l++)
        for (int strip = 0; strip < STRIPS_MAX; strip++)
            if (is_strip(session, l, strip) && !cache_holds(&session->cache, l, strip, 0, n))
                return false;
    return true;
}

bool retention_sees(const struct session *session, int64_t at, int64_t *missing)
{
    const struct config *c = &session->model->config;
    for (int l = 0; l < c->n_layers; l++) {
        struct segment segments[SEGMENTS_MAX];
        context_segments(&session->context, &c->layers[l], at, segments);
        for (int s = 0; s < context_n_segments(&session->context); s++) {
            int64_t begin = segments[s].begin;
            int64_t end = segments[s].end < at ? segments[s].end : at;
            int strip = attention_strip(session, l, segments[s].form);
            *missing = begin;
            if (begin < end && !(cache_holds(&session->cache, l, strip, begin, end) &&
                                 cache_holds(&session->cache, l, STRIP_VALUES, begin, end)))
                return false;
        }
    }
    return true;
}

bool retention_suffices(const struct session *session, int *layer)
{
    int64_t n = session->position;
    for (int l = 0; l < session->model->config.n_layers; l++)
        for (int strip = 0; strip < STRIPS_MAX; strip++) {
            int64_t sinks;
            int64_t first;
            if (!is_strip(session, l, strip))
                continue;
            kept(session, l, strip, n, &sinks, &first);
            *layer = l;
            if (!cache_holds(&session->cache, l, strip, 0, sinks < n ? sinks : n) ||
                !cache_holds(&session->cache, l, strip, first, n))
                return false;
        }
    return true;
}
