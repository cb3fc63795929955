/* sampler: see sampler.h. */
#include "model/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

const struct sampler_options sampler_defaults = {
    .temperature = 0.8F,
    .top_k = 40,
    .top_p = 0.95F,
    .min_p = 0.05F,
    .repeat_penalty = 1,
    .repeat_last = 64,
    .seed = 1,
};

int sampler_check(const struct sampler_options *o, struct error *err)
{
    const struct {
        const char *name;
        bool ok;
        double found;
        const char *allowed;
    } rules[] = {
        {"temperature", o->temperature >= 0 && o->temperature <= 1000, (double)o->temperature,
         "0 to 1000"},
        {"top-k", o->top_k >= 0, o->top_k, "0 (off) or more"},
        {"top-p", o->top_p > 0 && o->top_p <= 1, (double)o->top_p, "more than 0, at most 1 (off)"},
        {"min-p", o->min_p >= 0 && o->min_p < 1, (double)o->min_p, "0 (off) to less than 1"},
        {"repeat-penalty", o->repeat_penalty > 0 && o->repeat_penalty <= 1000,
         (double)o->repeat_penalty, "more than 0, 1 (off), at most 1000"},
        {"repeat-last", o->repeat_last >= 0 && o->repeat_last <= 1 << 20, o->repeat_last,
         "0 to 1048576"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (!rules[i].ok)
            return error_set(err, "%s is %g, allowed: %s", rules[i].name, rules[i].found,
                             rules[i].allowed);
    return 0;
}

/* splitmix64 (Steele et al. 2014) spreads the seed over the generator's state. */
static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

/* xoshiro256** 1.0 (Blackman & Vigna 2018), as a number in [0, 1). */
static double draw(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return (double)(result >> 11) * 0x1p-53;
}

int sampler_open(struct sampler *sampler, const struct sampler_options *options, int vocab_size,
                 struct error *err)
{
    *sampler = (struct sampler){.options = *options, .vocab_size = vocab_size};
    if (sampler_check(options, err))
        return -1;
    uint64_t state = options->seed;
    for (int i = 0; i < 4; i++)
        sampler->rng[i] = splitmix(&state);
    size_t n = (size_t)vocab_size;
    sampler->candidates = size_alloc(n, sizeof *sampler->candidates);
    sampler->logits = size_alloc(n, sizeof *sampler->logits);
    sampler->recent = size_alloc((size_t)options->repeat_last, sizeof *sampler->recent);
    if (!sampler->candidates || !sampler->logits || !sampler->recent) {
        sampler_close(sampler);
        return error_memory(err, "the sampler",
                            n * (sizeof *sampler->candidates + sizeof *sampler->logits));
    }
    return 0;
}

void sampler_close(struct sampler *sampler)
{
    free(sampler->candidates);
    free(sampler->logits);
    free(sampler->recent);
    *sampler = (struct sampler){0};
}

void sampler_accept(struct sampler *sampler, int32_t id)
{
    if (sampler->options.repeat_last == 0)
        return;
    sampler->recent[sampler->n_recent % sampler->options.repeat_last] = id;
    sampler->n_recent++;
}

/* Divides positive logits of recent tokens by the penalty and multiplies negative ones, once per
 * token. */
static void penalise(const struct sampler *sampler, float *logits, const float *original)
{
    int64_t last = sampler->options.repeat_last;
    int64_t n = sampler->n_recent < last ? sampler->n_recent : last;
    float penalty = sampler->options.repeat_penalty;
    for (int64_t i = 0; i < n; i++) {
        int32_t id = sampler->recent[i];
        if (id >= 0 && id < sampler->vocab_size)
            logits[id] = original[id] > 0 ? original[id] / penalty : original[id] * penalty;
    }
}

static int32_t argmax(const float *logits, int n)
{
    int32_t best = 0;
    float largest = -INFINITY; /* which no NaN exceeds */
    for (int i = 0; i < n; i++) {
        if (logits[i] > largest) {
            largest = logits[i];
            best = i;
        }
    }
    return best;
}

/* Likelier first; among equals the lower id, so that the order never depends on the sort. */
static int compare(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void swap(struct candidate *a, struct candidate *b)
{
    struct candidate t = *a;
    *a = *b;
    *b = t;
}

/* Moves the k first in the order of `compare` to the front (quickselect); their own order is open.
 */
static void select_first(struct candidate *c, size_t n, size_t k)
{
    while (n > 1 && k > 0 && k < n) {
        swap(&c[n / 2], &c[n - 1]);
        size_t front = 0;
        for (size_t i = 0; i + 1 < n; i++)
            if (compare(&c[i], &c[n - 1]) < 0)
                swap(&c[i], &c[front++]);
        swap(&c[front], &c[n - 1]);
        if (k <= front) {
            n = front;
        } else {
            c += front + 1;
            n -= front + 1;
            k -= front + 1;
        }
    }
}

/* The smallest set of likeliest tokens whose share reaches top_p, sorted. Grows the sorted front
 * until it does, so that a large vocabulary is rarely sorted whole. */
static size_t nucleus(struct candidate *c, size_t n, double top_p)
{
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)c[i].weight;
    double sum = 0;
    size_t done = 0;
    for (size_t step = 64; done < n; step *= 4) {
        size_t end = n - done < step ? n : done + step;
        select_first(c + done, n - done, end - done);
        qsort(c + done, end - done, sizeof *c, compare);
        for (; done < end; done++) {
            sum += (double)c[done].weight;
            if (sum >= top_p * total)
                return done + 1;
        }
    }
    return n;
}

int32_t sampler_next(struct sampler *sampler, const float *logits)
{
    const struct sampler_options *o = &sampler->options;
    int n_logits = sampler->vocab_size;
    if (o->repeat_penalty != 1) {
        memcpy(sampler->logits, logits, (size_t)n_logits * sizeof *logits);
        penalise(sampler, sampler->logits, logits);
        logits = sampler->logits;
    }
    int32_t best = argmax(logits, n_logits);
    if (o->temperature == 0 || isnan(logits[best]) || isinf(logits[best]))
        return best;

    /* min-p goes first because it is the cheapest and leaves few to look at. */
    struct candidate *c = sampler->candidates;
    size_t n = 0;
    float floor = logits[best] + logf(o->min_p); /* minus infinity when min-p is off */
    for (int i = 0; i < n_logits; i++)
        if (logits[i] >= floor && logits[i] > -INFINITY)
            c[n++] = (struct candidate){i, logits[i]};
    if (o->top_k > 0 && (size_t)o->top_k < n) {
        select_first(c, n, (size_t)o->top_k);
        n = (size_t)o->top_k;
    }
    if (o->top_p < 1) {
        for (size_t i = 0; i < n; i++)
            c[i].weight = expf(c[i].weight - logits[best]);
        n = nucleus(c, n, (double)o->top_p);
    }

    double total = 0;
    for (size_t i = 0; i < n; i++) {
        c[i].weight = expf((logits[c[i].id] - logits[best]) / o->temperature);
        total += (double)c[i].weight;
    }
    double left = draw(sampler->rng) * total;
    for (size_t i = 0; i < n; i++) {
        left -= (double)c[i].weight;
        if (left < 0)
            return c[i].id;
    }
    return c[n - 1].id;
}
