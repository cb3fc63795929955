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

static int count_blocks(int vocab_size)
{
    return vocab_size / SAMPLER_BLOCK + (vocab_size % SAMPLER_BLOCK != 0);
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
    size_t n_blocks = (size_t)count_blocks(vocab_size);
    sampler->candidates = size_alloc(n, sizeof *sampler->candidates);
    sampler->weights = size_alloc(n, sizeof *sampler->weights);
    sampler->logits = size_alloc(n, sizeof *sampler->logits);
    sampler->largest = size_alloc(n_blocks, sizeof *sampler->largest);
    sampler->changed = calloc(n_blocks, sizeof *sampler->changed);
    sampler->recent = size_alloc((size_t)options->repeat_last, sizeof *sampler->recent);
    if (!sampler->candidates || !sampler->weights || !sampler->logits || !sampler->largest ||
        !sampler->changed || !sampler->recent) {
        sampler_close(sampler);
        return error_memory(err, "the sampler",
                            n * (sizeof *sampler->candidates + 2 * sizeof *sampler->logits));
    }
    return 0;
}

void sampler_close(struct sampler *sampler)
{
    free(sampler->candidates);
    free(sampler->weights);
    free(sampler->logits);
    free(sampler->largest);
    free(sampler->changed);
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

void sampler_look_back(struct sampler *sampler, const int32_t *ids, int64_t n)
{
    int64_t last = sampler->options.repeat_last;
    sampler->n_recent = 0;
    for (int64_t i = n > last ? n - last : 0; i < n; i++)
        sampler_accept(sampler, ids[i]);
}

/* The logits after the penalty are in pieces: blocks that it has changed are copies. */
static const float *block_of(const struct sampler *sampler, const float *logits, int block)
{
    return (sampler->changed[block] ? sampler->logits : logits) + (size_t)block * SAMPLER_BLOCK;
}

static float logit_of(const struct sampler *sampler, const float *logits, int32_t id)
{
    return block_of(sampler, logits, id / SAMPLER_BLOCK)[id % SAMPLER_BLOCK];
}

static int block_size(const struct sampler *sampler, int block)
{
    int left = sampler->vocab_size - block * SAMPLER_BLOCK;
    return left < SAMPLER_BLOCK ? left : SAMPLER_BLOCK;
}

/* Divides positive logits of recent tokens by the penalty and multiplies negative ones, once per
 * token. */
static void penalise(struct sampler *sampler, const float *logits)
{
    int64_t last = sampler->options.repeat_last;
    int64_t n = sampler->n_recent < last ? sampler->n_recent : last;
    float penalty = sampler->options.repeat_penalty;
    memset(sampler->changed, 0,
           (size_t)count_blocks(sampler->vocab_size) * sizeof *sampler->changed);
    for (int64_t i = 0; i < n; i++) {
        int32_t id = sampler->recent[i];
        if (id < 0 || id >= sampler->vocab_size)
            continue;
        int block = id / SAMPLER_BLOCK;
        size_t begin = (size_t)block * SAMPLER_BLOCK;
        if (!sampler->changed[block])
            memcpy(sampler->logits + begin, logits + begin,
                   (size_t)block_size(sampler, block) * sizeof *logits);
        sampler->changed[block] = true;
        sampler->logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
    }
}

/* Minus infinity where there is nothing but NaN, which no comparison holds for. */
static float largest_of(const float *x, int n)
{
    enum { LANES = 16 };
    float most[LANES];
    for (int lane = 0; lane < LANES; lane++)
        most[lane] = -INFINITY;
    for (; n >= LANES; n -= LANES, x += LANES)
        for (int lane = 0; lane < LANES; lane++)
            most[lane] = x[lane] > most[lane] ? x[lane] : most[lane];
    for (int i = 0; i < n; i++)
        most[i] = x[i] > most[i] ? x[i] : most[i];
    for (int lane = 1; lane < LANES; lane++)
        most[0] = most[lane] > most[0] ? most[lane] : most[0];
    return most[0];
}

/* The first of the largest logits; leaves the largest one of every block in `largest`. */
static int32_t find_largest(struct sampler *sampler, const float *logits)
{
    int n_blocks = count_blocks(sampler->vocab_size);
    int best = 0;
    for (int b = 0; b < n_blocks; b++) {
        sampler->largest[b] = largest_of(block_of(sampler, logits, b), block_size(sampler, b));
        if (sampler->largest[b] > sampler->largest[best])
            best = b;
    }
    const float *x = block_of(sampler, logits, best);
    int n = block_size(sampler, best);
    for (int i = 0; i < n; i++)
        if (x[i] == sampler->largest[best] && x[i] > -INFINITY)
            return best * SAMPLER_BLOCK + i;
    return 0;
}

/* The tokens with logits of at least `floor`, by id; reads only the blocks that have any. */
static size_t gather(struct sampler *sampler, const float *logits, float floor)
{
    struct candidate *c = sampler->candidates;
    int n_blocks = count_blocks(sampler->vocab_size);
    size_t n = 0;
    for (int b = 0; b < n_blocks; b++) {
        if (!(sampler->largest[b] >= floor))
            continue;
        const float *x = block_of(sampler, logits, b);
        int size = block_size(sampler, b);
        for (int i = 0; i < size; i++)
            if (x[i] >= floor && x[i] > -INFINITY)
                c[n++] = (struct candidate){.id = b * SAMPLER_BLOCK + i, .logit = x[i]};
    }
    return n;
}

/* A logit that k tokens reach at least: the k-th of the largest ones of the blocks. */
static float floor_of_first(struct sampler *sampler, int k)
{
    struct candidate *c = sampler->candidates;
    int n_blocks = count_blocks(sampler->vocab_size);
    float floor = INFINITY;
    if (n_blocks <= k)
        return -INFINITY;
    for (int b = 0; b < n_blocks; b++)
        c[b] = (struct candidate){.id = b, .logit = sampler->largest[b]};
    candidates_first(c, (size_t)n_blocks, (size_t)k);
    for (int i = 0; i < k; i++)
        floor = c[i].logit < floor ? c[i].logit : floor;
    return floor;
}

union number {
    float value;
    int32_t bits;
};

/* exp(x) for x <= 0, to 2e-7 of it; 0 from -87 on and for NaN. Arithmetic without branches or
 * comparisons of floats, which compilers turn into vectors, with the same bits everywhere: with
 * x = n ln 2 + r, exp(x) is 2^n times the series of exp(r), |r| <= ln 2 / 2. */
static float exponential(float x)
{
    const union number round = {0x1.8p23F}; /* floats of this size are whole numbers */
    const union number end = {87};
    union number in = {x};
    union number whole = {x * 1.44269504F + round.value};
    float n = whole.value - round.value;
    float r = (x - n * 0.693359375F) - n * -2.12194440e-4F; /* ln 2 in two parts */
    float series = 1.98412698e-4F;
    series = series * r + 1.38888889e-3F;
    series = series * r + 8.33333333e-3F;
    series = series * r + 4.16666667e-2F;
    series = series * r + 1.66666667e-1F;
    series = series * r + 0.5F;
    union number power = {.bits = (int32_t)(((uint32_t)whole.bits + 127) << 23)};
    union number result = {(series * r * r + r + 1) * power.value};
    result.bits &= (in.bits & INT32_MAX) < end.bits ? -1 : 0;
    return result.value;
}

static double sum_of(const float *x, size_t n)
{
    enum { LANES = 8 };
    double sum[LANES] = {0};
    for (; n >= LANES; n -= LANES, x += LANES)
        for (int lane = 0; lane < LANES; lane++)
            sum[lane] += (double)x[lane];
    for (size_t i = 0; i < n; i++)
        sum[i] += (double)x[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* weights[i] = exp((logit of token i - most) / temperature) for all tokens; returns their sum. */
static double weigh_all(struct sampler *sampler, const float *logits, float most, float temperature)
{
    double total = 0;
    int n_blocks = count_blocks(sampler->vocab_size);
    for (int b = 0; b < n_blocks; b++) {
        const float *x = block_of(sampler, logits, b);
        float *w = sampler->weights + (size_t)b * SAMPLER_BLOCK;
        int n = block_size(sampler, b);
        for (int i = 0; i < n; i++)
            w[i] = exponential((x[i] - most) / temperature);
        total += sum_of(w, (size_t)n);
    }
    return total;
}

static int32_t draw_from_all(struct sampler *sampler, double total, int32_t best)
{
    int n_blocks = count_blocks(sampler->vocab_size);
    double left = draw(sampler->rng) * total;
    for (int b = 0; b < n_blocks; b++) {
        const float *w = sampler->weights + (size_t)b * SAMPLER_BLOCK;
        int n = block_size(sampler, b);
        double sum = sum_of(w, (size_t)n);
        if (left >= sum) {
            left -= sum;
            continue;
        }
        for (int i = 0; i < n; i++) {
            left -= (double)w[i];
            if (left < 0)
                return b * SAMPLER_BLOCK + i;
        }
    }
    return best; /* rounding */
}

/* The tokens from some logit on, weights of which sum to `sum` at least: looks further down until
 * they do. */
static size_t gather_sum(struct sampler *sampler, const float *logits, float most, double sum)
{
    size_t n = 0;
    for (float down = 2; down <= 128; down *= 2) { /* weights end at exp(-87) */
        n = gather(sampler, logits, most - down);
        double found = 0;
        for (size_t i = 0; i < n; i++)
            found += (double)sampler->weights[sampler->candidates[i].id];
        if (found >= sum)
            break;
    }
    return n;
}

/* What the filters leave, at the front of sampler->candidates; returns how many. */
static size_t filter(struct sampler *sampler, const float *logits, float most)
{
    const struct sampler_options *o = &sampler->options;
    struct candidate *c = sampler->candidates;
    double total = 0;
    size_t n;
    if (o->min_p == 0 && o->top_k == 0) {
        total = weigh_all(sampler, logits, most, 1);
        n = gather_sum(sampler, logits, most, (double)o->top_p * total);
    } else {
        /* min-p goes first because it is the cheapest and leaves few to look at. */
        float floor = most + logf(o->min_p); /* minus infinity when min-p is off */
        if (o->top_k > 0 && o->top_p < 1)    /* else the order of all of them counts below */
            floor = fmaxf(floor, floor_of_first(sampler, o->top_k));
        n = gather(sampler, logits, floor);
    }
    if (o->top_k > 0 && (size_t)o->top_k < n) {
        candidates_first(c, n, (size_t)o->top_k);
        n = (size_t)o->top_k;
    }
    if (o->top_p == 1)
        return n;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        c[i].weight = exponential(c[i].logit - most);
        sum += (double)c[i].weight;
    }
    return candidates_sum(c, n, (double)o->top_p * (total > 0 ? total : sum));
}

int32_t sampler_next(struct sampler *sampler, const float *logits)
{
    const struct sampler_options *o = &sampler->options;
    if (o->repeat_penalty != 1)
        penalise(sampler, logits);
    int32_t best = find_largest(sampler, logits);
    float most = logit_of(sampler, logits, best);
    if (o->temperature == 0 || isnan(most) || isinf(most))
        return best;
    if (o->min_p == 0 && o->top_k == 0 && o->top_p == 1)
        return draw_from_all(sampler, weigh_all(sampler, logits, most, o->temperature), best);

    struct candidate *c = sampler->candidates;
    size_t n = filter(sampler, logits, most);
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        c[i].weight = exponential((c[i].logit - most) / o->temperature);
        total += (double)c[i].weight;
    }
    double left = draw(sampler->rng) * total;
    if (o->top_p < 1) /* in the order of likelihood */
        return c[candidates_sum(c, n, left) - 1].id;
    for (size_t i = 0; i < n; i++) {
        left -= (double)c[i].weight;
        if (left < 0)
            return c[i].id;
    }
    return c[n - 1].id;
}
