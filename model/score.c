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
    scorer->rows = size_alloc(batch, sizeof *scorer->rows);
    if (scorer->logits && scorer->rows)
        return 0;
    scorer_close(scorer);
    return error_memory(err, "logits", batch * vocab_size * sizeof(float));
}

void scorer_close(struct scorer *scorer)
{
    free(scorer->logits);
    free(scorer->rows);
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

/* Of finite logits and their maximum. */
static double loss_below(const struct kernels *kernels, float *logits, int n, int32_t target,
                         float max)
{
    double shifted = (double)logits[target] - (double)max;
    double sum = 0;
    for (int i = 0; i < n; i += SUM_LENGTH) {
        int length = n - i < SUM_LENGTH ? n - i : SUM_LENGTH;
        sum += (double)kernels->exp_sum(logits + i, (size_t)length, max);
    }
    return log(sum) - shifted;
}

double score_loss(const struct kernels *kernels, float *logits, int n, int32_t target)
{
    if (!all_finite(logits, n))
        return NAN;
    return loss_below(kernels, logits, n, target, kernels->max(logits, (size_t)n));
}

struct rows {
    const struct kernels *kernels;
    const struct scorer *scorer;
    const int32_t *ids; /* fed; the target of row i is ids[i + 1] */
    int64_t before;     /* tokens in front of them */
    double *losses;
};

/* What is said of token ids[i] and its logits, whose maximum is max. */
static struct score_counts count_repeats(const struct rows *rows, int64_t i, const float *logits,
                                         float max)
{
    struct score_counts counts = {0};
    int64_t first = i + 1 - REPEAT_WINDOW > -rows->before ? i + 1 - REPEAT_WINDOW : -rows->before;
    for (int64_t j = first; j <= i; j++) {
        counts.repeated |= logits[rows->ids[j]] == max;
        counts.text |= rows->ids[j] == rows->ids[i + 1];
    }
    return counts;
}

static void score_rows(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct rows *rows = context;
    int vocab_size = rows->scorer->vocab_size;
    for (int i = begin; i < end; i++) {
        float *logits = rows->scorer->logits + (size_t)i * (size_t)vocab_size;
        rows->scorer->rows[i] = (struct score_counts){.nonfinite = 1};
        rows->losses[i] = NAN;
        if (!all_finite(logits, vocab_size))
            continue;
        float max = rows->kernels->max(logits, (size_t)vocab_size);
        rows->scorer->rows[i] = count_repeats(rows, i, logits, max);
        rows->losses[i] = loss_below(rows->kernels, logits, vocab_size, rows->ids[i + 1], max);
    }
}

static int check_target(const struct scorer *scorer, int32_t id, struct error *err)
{
    if (id >= 0 && id < scorer->vocab_size)
        return 0;
    return error_set(err, "the token to be scored: id %d, allowed: 0 to %d", (int)id,
                     scorer->vocab_size - 1);
}

int scorer_feed(struct scorer *scorer, struct session *session, const int32_t *ids, int64_t before,
                int64_t n, int64_t from, double *losses, struct error *err)
{
    if (from > 0 && session_feed(session, ids, from, NULL, err))
        return -1;
    for (int64_t at = from; at < n; at += scorer->batch) {
        int rows = n - at < scorer->batch ? (int)(n - at) : scorer->batch;
        if (session_feed(session, ids + at, rows, scorer->logits, err) ||
            check_target(scorer, ids[at + rows], err))
            return -1;
        struct rows work = {&session->model->kernels, scorer, ids + at, before + at, losses + at};
        parallel_for(rows, 8, score_rows, &work);
        for (int i = 0; i < rows; i++) {
            scorer->counts.nonfinite += scorer->rows[i].nonfinite;
            scorer->counts.repeated += scorer->rows[i].repeated;
            scorer->counts.text += scorer->rows[i].text;
        }
    }
    return 0;
}
