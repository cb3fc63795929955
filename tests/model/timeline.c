/* timeline: see timeline.h. */
#include "tests/model/timeline.h"

#include <check.h>
#include <stdlib.h>

const int timeline_whole[2] = {TIMELINE_LONG, 0}, timeline_ones[2] = {1, 0},
          timeline_ragged[6] = {5, 30, 1, 17, 3, 0};

void timeline_open(struct session *session, const struct model *model, const char *policy,
                   enum format kv, int64_t origin)
{
    struct error err;
    struct session_options options = {.kv = kv, .origin = origin};
    ck_assert_msg(context_parse(&options.context, policy, 0, &err) == 0, "%s", err.text);
    ck_assert_msg(session_open(session, model, &options, &err) == 0, "%s", err.text);
}

void timeline_feed(struct session *session, const int32_t *ids, int n, const int *pieces,
                   float *logits)
{
    struct error err;
    size_t vocab_size = (size_t)session->model->config.vocab_size;
    for (int i = 0; i < n;) {
        int piece = n - i < *pieces ? n - i : *pieces;
        float *out = logits ? logits + (size_t)i * vocab_size : NULL;
        ck_assert_msg(session_feed(session, ids + i, piece, out, &err) == 0, "%s", err.text);
        i += piece;
        pieces += pieces[1] > 0;
    }
}

float *timeline_logits(const struct fixture *fixture, int n, int64_t origin, const int *pieces)
{
    struct session session;
    float *logits = malloc((size_t)n * (size_t)fixture->model.config.vocab_size * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    timeline_open(&session, &fixture->model, "all", FORMAT_F32, origin);
    timeline_feed(&session, fixture->ids, n, pieces, logits);
    session_close(&session);
    return logits;
}

void timeline_ids(const struct fixture *fixture, int32_t *ids, int n)
{
    for (int t = 0; t < n; t++)
        ids[t] = fixture->ids[(t * 7 + t / 64) % fixture->n];
}

void timeline_read(const struct session *session, int layer, int strip, int64_t at, int head,
                   float *x)
{
    const struct cache *cache = &session->cache;
    const struct kernels *k = &session->model->kernels;
    size_t dim = (size_t)cache->head_dim, lane = (size_t)(at % CACHE_BLOCK);
    float *scratch = malloc(dim * CACHE_BLOCK * sizeof *scratch);
    ck_assert_ptr_nonnull(scratch);
    enum format format;
    const void *data =
        cache_read(cache, k, layer, strip, at / CACHE_BLOCK, head, lane + 1, scratch, &format);
    for (size_t d = 0; d < dim; d++) {
        size_t i = strip == STRIP_VALUES ? lane * dim + d : d * CACHE_BLOCK + lane;
        if (format == FORMAT_F16)
            k->f32_from_f16((const uint16_t *)data + i, 1, x + d);
        else
            x[d] = ((const float *)data)[i];
    }
    free(scratch);
}
