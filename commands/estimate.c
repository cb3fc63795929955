/* estimate: see estimate.h. */
#include "commands/estimate.h"

#include <math.h>

#include "commands/limits.h"

/* What was measured on the machines that we know; of reading, the fit corrects it. */
static const double usual_weight = 1.5;

enum { LONG_TEXT = 4096, SURE_TOKENS = 4096, STEPS = 256 };

/* ---- The fit --------------------------------------------------------------------------------- */

/* The pace that fits the batches best if attention weighs so much, and how badly it does. */
static double fit_pace(const struct estimate *estimate, int n, double weight, double *misfit)
{
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < n; i++) {
        const struct estimate_batch *batch = &estimate->batches[i];
        double share = (batch->products + weight * batch->attention) / batch->seconds;
        sum += share;
        squares += share * share;
    }
    double pace = sum / squares;
    *misfit = n - sum * pace; /* the sum of (pace share - 1)^2 */
    return pace;
}

/* The weight that is likeliest, if times scatter by a tenth and weights by a factor of two. */
static void fit(struct estimate *estimate)
{
    int n = estimate->n_batches < ESTIMATE_BATCHES ? estimate->n_batches : ESTIMATE_BATCHES;
    double least = INFINITY;
    for (double log2 = -4; log2 <= 4; log2 += 0.125) {
        double misfit;
        double weight = usual_weight * exp2(log2);
        double pace = fit_pace(estimate, n, weight, &misfit);
        double unlikely = misfit / (0.1 * 0.1) + log2 * log2;
        if (unlikely < least) {
            least = unlikely;
            estimate->weight = weight;
            estimate->pace = pace;
        }
    }
}

void estimate_observe(struct estimate *estimate, int64_t from, int64_t to, double seconds)
{
    double n = (double)(to - from);
    if (n <= 0 || !(seconds > 0))
        return;
    if (estimate->n_batches == 1 && !estimate->warm) {
        estimate->n_batches = 0; /* the first one took memory as well */
        estimate->warm = true;
    }
    estimate->batches[estimate->n_batches++ % ESTIMATE_BATCHES] = (struct estimate_batch){
        .products = n * limits_products(estimate->session->model),
        .attention = n * limits_attention(estimate->session, from + (to - from) / 2),
        .seconds = seconds};
    fit(estimate);
}

/* ---- What follows from it -------------------------------------------------------------------- */

/* Multiply-adds of the attention of tokens [from, to). */
static double attention_of(const struct estimate *estimate, int64_t from, int64_t to)
{
    double attention = 0;
    for (int i = 0; i < STEPS; i++) {
        int64_t begin = from + (to - from) * i / STEPS;
        int64_t end = from + (to - from) * (i + 1) / STEPS;
        if (begin < end)
            attention += (double)(end - begin) *
                         limits_attention(estimate->session, begin + (end - begin) / 2);
    }
    return attention;
}

double estimate_reading(const struct estimate *estimate, int64_t from, int64_t to)
{
    double products = (double)(to - from) * limits_products(estimate->session->model);
    return estimate->pace * (products + estimate->weight * attention_of(estimate, from, to));
}

double estimate_writing(const struct estimate *estimate, int64_t at, int64_t n)
{
    double attention = attention_of(estimate, at, at + n);
    double beside = usual_weight * attention / limits_products(estimate->session->model);
    return estimate->alone * ((double)n + beside);
}

/* ---- What is said ---------------------------------------------------------------------------- */

/* A second of reading, as far as the text has so much, and attention at some depth. */
static bool is_settled(const struct estimate *estimate, int64_t done, int64_t total, double passed)
{
    if (estimate->n_batches < 2)
        return false;
    return done >= total / 4 || (passed >= 1 && done >= SURE_TOKENS);
}

/* Seconds of a token that is fed alone; 0 where there is no memory for one, which reading will say.
 */
static double try_alone(struct session *session)
{
    enum { LEAST = 3, MOST = 32 };
    static const double enough_seconds = 0.03;
    const int32_t any = 0;
    struct error ignored;
    double begun = 0;
    double seconds = 0;
    int n = 0;
    for (; n < LEAST || (n < MOST && seconds < enough_seconds); n++) {
        if (n == 1) /* the first one took memory as well */
            begun = output_now();
        if (session_feed(session, &any, 1, NULL, &ignored))
            break;
        seconds = n > 0 ? output_now() - begun : 0;
    }
    (void)session_truncate(session, 0, &ignored); /* it sees nothing */
    return n > 1 ? seconds / (n - 1) : 0;
}

void estimate_begin(struct estimate *estimate, int64_t total, int64_t more)
{
    estimate->total = total;
    estimate->more = more;
    estimate->started = output_now();
    if (total >= LONG_TEXT && more > 0 && estimate->alone == 0)
        estimate->alone = try_alone(estimate->session);
    estimate->last = output_now();
    estimate->last_done = 0;
    estimate->said = 0;
}

void estimate_progress(struct estimate *estimate, struct output *output, int64_t done)
{
    double now = output_now();
    int64_t total = estimate->total;
    int64_t more = estimate->more;
    estimate_observe(estimate, estimate->last_done, done, now - estimate->last);
    estimate->last = now;
    estimate->last_done = done;
    if (estimate->n_batches == 0)
        return;
    double passed = now - estimate->started;
    double left = estimate_reading(estimate, done, total) + estimate_writing(estimate, total, more);
    if (estimate->said == 0 && total >= LONG_TEXT && is_settled(estimate, done, total, passed)) {
        estimate->said = passed + left;
        output_note(output, "%s will take about %s", more > 0 ? "this" : "reading it",
                    output_duration(passed + left).text);
    }
    if (done < total && passed >= 0.2)
        output_share(output, "reading", passed / (passed + left), left);
    else if (done >= total)
        output_clear(output);
}
