/* estimate: see estimate.h. */
#include "commands/estimate.h"

#include <math.h>
#include <stdlib.h>

#include "commands/limits.h"

/* What was measured on the machines that we know; the fit corrects it. */
static const double usual_weight = 1.5;

enum { LONG_TEXT = 4096, SURE_TOKENS = 4096, STEPS = 256 };

/* ---- The fit --------------------------------------------------------------------------------- */

/* The pace that fits the batches best if attention weighs so much, and how badly it does. */
static double fit_pace(const struct estimate_fit *fit, int n, double weight, double *misfit)
{
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < n; i++) {
        const struct estimate_batch *batch = &fit->batches[i];
        double share = (batch->products + weight * batch->attention) / batch->seconds;
        sum += share;
        squares += share * share;
    }
    double pace = sum / squares;
    *misfit = n - sum * pace; /* the sum of (pace share - 1)^2 */
    return pace;
}

/* The weight that is likeliest, if times scatter by a tenth and weights by a factor of two. */
static void fit_weight(struct estimate_fit *fit)
{
    int n = fit->n_batches < ESTIMATE_BATCHES ? fit->n_batches : ESTIMATE_BATCHES;
    double least = INFINITY;
    for (double log2 = -4; log2 <= 4; log2 += 0.125) {
        double misfit;
        double weight = usual_weight * exp2(log2);
        double pace = fit_pace(fit, n, weight, &misfit);
        double unlikely = misfit / (0.1 * 0.1) + log2 * log2;
        if (unlikely < least) {
            least = unlikely;
            fit->weight = weight;
            fit->pace = pace;
        }
    }
}

void estimate_observe(struct estimate *estimate, struct estimate_fit *fit, int64_t from, int64_t to,
                      double seconds)
{
    double n = (double)(to - from);
    if (n <= 0 || !(seconds > 0))
        return;
    fit->batches[fit->n_batches++ % ESTIMATE_BATCHES] = (struct estimate_batch){
        .products = n * limits_products(estimate->session->model),
        .attention = n * limits_attention(estimate->session, from + (to - from) / 2),
        .seconds = seconds};
    fit_weight(fit);
}

/* ---- What follows from it -------------------------------------------------------------------- */

double estimate_seconds(const struct estimate *estimate, const struct estimate_fit *fit,
                        int64_t from, int64_t to)
{
    double attention = 0;
    for (int i = 0; i < STEPS; i++) {
        int64_t begin = from + (to - from) * i / STEPS;
        int64_t end = from + (to - from) * (i + 1) / STEPS;
        if (begin < end)
            attention += (double)(end - begin) *
                         limits_attention(estimate->session, begin + (end - begin) / 2);
    }
    double products = (double)(to - from) * limits_products(estimate->session->model);
    return fit->pace * (products + fit->weight * attention);
}

/* ---- How writing is tried ---------------------------------------------------------------------
 */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Feeds some tokens one by one and takes them back; the median of their times counts. Where that
 * cannot be (no memory), what is to be read next will say so. */
static void try_writing(struct estimate *estimate)
{
    enum { LEAST = 3, MOST = 16 };
    static const double enough_seconds = 0.02;
    struct session *session = estimate->session;
    const int32_t any = 0;
    int64_t at = session->position;
    int64_t expected = session->expected - at;
    double seconds[MOST];
    int n = 0;
    struct error ignored;
    double begun = output_now();
    session_hold(session);
    bool fed = session_feed(session, &any, 1, NULL, &ignored) == 0; /* brings the weights near */
    for (double last = output_now();
         fed && (n < LEAST || (n < MOST && last - begun < enough_seconds)); n++) {
        fed = session_feed(session, &any, 1, NULL, &ignored) == 0;
        seconds[n] = output_now() - last;
        last += seconds[n];
    }
    (void)session_truncate(session, at, &ignored); /* it is held */
    session_expect(session, expected);
    if (!fed)
        return;
    qsort(seconds, (size_t)n, sizeof *seconds, compare);
    estimate_observe(estimate, &estimate->writing, at, at + 1, seconds[n / 2]);
}

/* ---- What is said ---------------------------------------------------------------------------- */

/* A second of reading, as far as the text has so much, and attention at some depth. */
static bool is_settled(const struct estimate *estimate, int64_t done, int64_t total, double passed)
{
    if (estimate->reading.n_batches < 2)
        return false;
    return done >= total / 4 || (passed >= 1 && done >= SURE_TOKENS);
}

void estimate_begin(struct estimate *estimate, int64_t total, int64_t more)
{
    estimate->total = total;
    estimate->more = more;
    estimate->next_try = total >= LONG_TEXT && more > 0 ? 1 : INT64_MAX;
    estimate->started = output_now();
    estimate->last = estimate->started;
    estimate->last_done = 0;
    estimate->said = 0;
}

static void observe_batch(struct estimate *estimate, int64_t done)
{
    double now = output_now();
    if (estimate->warm) /* the first one took memory as well */
        estimate_observe(estimate, &estimate->reading, estimate->last_done, done,
                         now - estimate->last);
    estimate->warm = true;
    if (done >= estimate->next_try && done < estimate->total) {
        try_writing(estimate);
        estimate->next_try = 4 * done;
    }
    estimate->last = output_now();
    estimate->last_done = done;
}

void estimate_progress(struct estimate *estimate, struct output *output, int64_t done)
{
    observe_batch(estimate, done);
    int64_t total = estimate->total;
    if (estimate->reading.n_batches == 0)
        return;
    double passed = estimate->last - estimate->started;
    double left = estimate_seconds(estimate, &estimate->reading, done, total) +
                  estimate_seconds(estimate, &estimate->writing, total, total + estimate->more);
    if (estimate->said == 0 && total >= LONG_TEXT && is_settled(estimate, done, total, passed)) {
        estimate->said = passed + left;
        output_note(output, "%s will take about %s", estimate->more > 0 ? "this" : "reading it",
                    output_duration(passed + left).text);
    }
    if (done < total && passed >= 0.2)
        output_share(output, "reading", passed / (passed + left), left);
    else if (done >= total)
        output_clear(output);
}
