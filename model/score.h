/* score: how well a model expects a given text: the loss of every token, -ln of the probability
 * that the model gave it, in nats; and how often what it expects most is a token of just before, as
 * models do that are lost (Welleck et al. 2019, arXiv:1908.04319: rep/128).
 *
 * The logits of a batch are turned into losses at once, so memory does not grow with the text.
 * Log-sum-exp: max-shifted, exponentials and partial sums over 256 of them in f32 (relative error
 * below 1e-6, so 1e-6 nats), the rest in double. */
#ifndef LONGHAND_MODEL_SCORE_H
#define LONGHAND_MODEL_SCORE_H

#include <stdint.h>

#include "base/error.h"
#include "kernels/kernels.h"
#include "model/session.h"

enum { REPEAT_WINDOW = 128 };

/* Of the tokens that were scored. */
struct score_counts {
    int64_t nonfinite; /* whose logits held an infinity or a NaN */
    int64_t repeated;  /* where the likeliest token was among the last REPEAT_WINDOW */
    int64_t text;      /* where the text's own was */
};

struct scorer {
    int vocab_size;
    int batch;                  /* tokens whose logits are held at once */
    float *logits;              /* (batch, vocab_size) */
    struct score_counts *rows;  /* (batch) */
    struct score_counts counts; /* so far */
};

/* Takes the only memory, `batch` rows of logits: as many as fit into 64 MB, 16 at least and
 * SESSION_BATCH at most. */
int scorer_open(struct scorer *scorer, const struct model *model, struct error *err);
void scorer_close(struct scorer *scorer); /* accepts a zeroed struct */

/* Feeds ids[n], n > 0, to the session and writes losses[i], the loss of ids[i + 1] after ids[0..i],
 * for from <= i < n; so ids has n + 1 items, and the last is not fed. Places before `from` are fed
 * without computing their logits. Where logits are not finite the loss is NaN. The `before` tokens
 * that the text has in front of ids lie in front of them in memory, too. */
int scorer_feed(struct scorer *scorer, struct session *session, const int32_t *ids, int64_t before,
                int64_t n, int64_t from, double *losses, struct error *err);

/* The loss of `target` by one row of logits (n), which is overwritten; NaN where any of them is not
 * finite. */
double score_loss(const struct kernels *kernels, float *logits, int n, int32_t target);

#endif
