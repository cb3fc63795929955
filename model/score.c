/* score: see score.h. */
#include "model/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "kernels/parallel.h"

enum { LOGITS_BYTES = 64 << 20, LEAST_BATCH = 16, SUM_LENGTH = 256 };

int scorer_open(struct scorer *scorer, const struct model *model, struct error *err)
{
    size_t vocab_size = (size_t)model->config.vocab_size;
    size_t batch = LOGITS_BYTES / sizeof(float) / vocab_size;
    batch = batch < LEAST_BATCH ? LEAST_BATCH : batch < SESSION_BATCH ? batch : SESSION_BATCH;
    size_t floats;
    *scorer = (struct scorer){.vocab_size = model->config.vocab_size, .batch = (int)batch};
    if (size_mul(batch, vocab_size, &floats))
        scorer->logits = size_alloc(floats, sizeof *scorer->logits);
    return scorer->logits ? 0 : error_memory(err, "logits", batch * vocab_size * sizeof(float));
}

void scorer_close(struct scorer *scorer)
{
    free(scorer->logits);
    *scorer = (struct scorer){0};
}

/* All bits of the exponent set: neither a comparison nor a sum would be sure to show a NaN. */
static bool all_finite(const float *x, int n)
{
    const uint32_t exponent = 0x7f800000;
    uint32_t found = 0;
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        found |= (bits & exponent) == exponent;
    }
    return !found;
}

double score_loss(const struct kernels *kernels, float *logits, int n, int32_t target)
{
    if (!all_finite(logits, n))
        return NAN;
    float max = kernels->max(logits, (size_t)n);
    double shifted = (double)logits[target] - (double)max;
    double sum = 0;
    for (int i = 0; i < n; i += SUM_LENGTH) {
        int length = n - i < SUM_LENGTH ? n - i : SUM_LENGTH;
        sum += (double)kernels->exp_sum(logits + i, (size_t)length, max);
    }
    return log(sum) - shifted;
}

struct rows {
    const struct kernels *kernels;
    const struct scorer *scorer;
    const int32_t *targets;
    double *losses;
};

static void score_rows(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct rows *rows = context;
    size_t vocab_size = (size_t)rows->scorer->vocab_size;
    for (int i = begin; i < end; i++)
        rows->losses[i] = score_loss(rows->kernels, rows->scorer->logits + (size_t)i * vocab_size,
                                     rows->scorer->vocab_size, rows->targets[i]);
}

static int check_target(const struct scorer *scorer, int32_t id, struct error *err)
{
    if (id >= 0 && id < scorer->vocab_size)
        return 0;
    return error_set(err, "the token to be scored: id %d, allowed: 0 to %d", (int)id,
                     scorer->vocab_size - 1);
}

int scorer_feed(struct scorer *scorer, struct session *session, const int32_t *ids, int64_t n,
                int64_t from, double *losses, struct error *err)
{
    if (from > 0 && session_feed(session, ids, from, NULL, err))
        return -1;
    for (int64_t at = from; at < n; at += scorer->batch) {
        int rows = n - at < scorer->batch ? (int)(n - at) : scorer->batch;
        if (session_feed(session, ids + at, rows, scorer->logits, err) ||
            check_target(scorer, ids[at + rows], err))
            return -1;
        struct rows work = {&session->model->kernels, scorer, ids + at + 1, losses + at};
        parallel_for(rows, 8, score_rows, &work);
        for (int i = 0; i < rows; i++)
            scorer->n_nonfinite += isnan(losses[at + i]) != 0;
    }
    return 0;
}
