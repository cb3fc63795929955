/* rope_scaling: the formulas of rope_scaling.h. Below, s is the factor, L0 the original length, n
 * the length of the text, r the number of rotated dimensions and theta[t] = base^(-2t/r) the
 * frequency of pair t without scaling. */
#include "model/position/rope_scaling.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

static const char *const names[ROPE_SCALING_COUNT] = {
    [ROPE_SCALING_NONE] = "none",     [ROPE_SCALING_LINEAR] = "linear",
    [ROPE_SCALING_NTK] = "ntk",       [ROPE_SCALING_DYNAMIC] = "dynamic",
    [ROPE_SCALING_YARN] = "yarn",     [ROPE_SCALING_DYNAMIC_YARN] = "dynamic-yarn",
    [ROPE_SCALING_LLAMA3] = "llama3", [ROPE_SCALING_LONGROPE] = "longrope",
};

const char *rope_scaling_name(enum rope_scaling_kind kind)
{
    return (unsigned)kind < ROPE_SCALING_COUNT ? names[kind] : NULL;
}

int rope_scaling_from_name(const char *name)
{
    for (int kind = 0; kind < ROPE_SCALING_COUNT; kind++)
        if (!strcmp(name, names[kind]))
            return kind;
    return strcmp(name, "su") ? -1 : ROPE_SCALING_LONGROPE;
}

bool rope_scaling_follows_length(const struct rope_scaling *scaling)
{
    return scaling->kind == ROPE_SCALING_DYNAMIC || scaling->kind == ROPE_SCALING_DYNAMIC_YARN;
}

/* How much a text of n tokens stretches its angles: s, or what grows with n. */
static double stretch(const struct rope_scaling *scaling, int64_t length)
{
    double s = scaling->factor, n = (double)length, l0 = scaling->original_length;
    switch (scaling->kind) {
    case ROPE_SCALING_NONE:
        return 1;
    case ROPE_SCALING_DYNAMIC:
        return n > l0 ? s * n / l0 - (s - 1) : 1;
    case ROPE_SCALING_DYNAMIC_YARN:
        return n > l0 ? n / l0 : 1;
    default:
        return s;
    }
}

/* f(x) = 0.1 x ln s + 1 */
static double log_growth(double s, double x)
{
    return s > 1 ? 0.1 * x * log(s) + 1 : 1;
}

static double attention_factor(const struct rope_scaling *scaling, double s)
{
    if (scaling->attention_factor > 0)
        return scaling->attention_factor;
    switch (scaling->kind) {
    case ROPE_SCALING_YARN:
    case ROPE_SCALING_DYNAMIC_YARN:
        return scaling->mscale > 0 && scaling->mscale_all > 0
                   ? log_growth(s, scaling->mscale) / log_growth(s, scaling->mscale_all)
                   : log_growth(s, 1);
    case ROPE_SCALING_LONGROPE:
        return s > 1 && scaling->original_length > 1
                   ? sqrt(1 + log(s) / log(scaling->original_length))
                   : 1;
    default:
        return 1;
    }
}

/* The pair, in fractions, that turns `turns` times over L0 places. */
static double pair_of_turns(double turns, double base, int pairs, double original_length)
{
    return pairs * log(original_length / (2 * PI * turns)) / log(base);
}

/* Pairs before the first border keep their frequency, those past the second are stretched by s, and
 * a line in the pair's number runs between: as all code has it, where the paper's line is one in
 * L0 / wavelength. */
static void stretch_yarn(const struct rope_scaling *scaling, double base, int pairs, double s,
                         double *frequency)
{
    double low = pair_of_turns(scaling->beta_fast, base, pairs, scaling->original_length);
    double high = pair_of_turns(scaling->beta_slow, base, pairs, scaling->original_length);
    if (scaling->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, 2 * pairs - 1);
    for (int t = 0; t < pairs; t++) {
        double stretched = fmin(fmax((t - low) / fmax(0.001, high - low), 0), 1);
        frequency[t] *= stretched / s + (1 - stretched);
    }
}

/* By the number of turns that a pair makes over L0: `high_freq` and more keep their frequency,
 * `low_freq` and less are stretched by s. */
static void stretch_llama3(const struct rope_scaling *scaling, int pairs, double *frequency)
{
    double span = scaling->high_freq - scaling->low_freq;
    for (int t = 0; t < pairs; t++) {
        double turns = scaling->original_length * frequency[t] / (2 * PI);
        double kept = fmin(fmax((turns - scaling->low_freq) / span, 0), 1);
        frequency[t] *= (1 - kept) / scaling->factor + kept;
    }
}

void rope_scaling_frequencies(const struct rope_scaling *scaling, double base, int pairs,
                              int64_t length, double *frequency, double *m)
{
    double s = stretch(scaling, length);
    if (m)
        *m = attention_factor(scaling, s);
    if (!frequency)
        return;
    bool larger_base = scaling->kind == ROPE_SCALING_NTK || scaling->kind == ROPE_SCALING_DYNAMIC;
    if (larger_base && pairs > 1) /* the last of the pairs is stretched by s, the first not */
        base *= pow(s, pairs / (pairs - 1.0));
    for (int t = 0; t < pairs; t++)
        frequency[t] = pow(base, -(double)t / pairs);
    for (int t = 0; t < pairs && scaling->divisors; t++)
        frequency[t] /= (double)scaling->divisors[t];
    switch (scaling->kind) {
    case ROPE_SCALING_LINEAR:
        for (int t = 0; t < pairs; t++)
            frequency[t] /= s;
        break;
    case ROPE_SCALING_YARN:
    case ROPE_SCALING_DYNAMIC_YARN:
        stretch_yarn(scaling, base, pairs, s, frequency);
        break;
    case ROPE_SCALING_LLAMA3:
        if (!scaling->divisors) /* which have it all */
            stretch_llama3(scaling, pairs, frequency);
        break;
    case ROPE_SCALING_LONGROPE: {
        const float *factors = (double)length > scaling->original_length ? scaling->long_factors
                                                                         : scaling->short_factors;
        for (int t = 0; t < pairs && factors; t++)
            frequency[t] /= (double)factors[t];
        break;
    }
    default:
        break;
    }
}
