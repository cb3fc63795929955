/* rope_scaling: how far every pair of dimensions of a rotary head turns a place, for every way of
 * stretching the angles past the training length. All of them reduce to one frequency a pair and
 * one factor m on both rotated vectors. */
#ifndef LONGHAND_MODEL_POSITION_ROPE_SCALING_H
#define LONGHAND_MODEL_POSITION_ROPE_SCALING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum rope_scaling_kind {
    ROPE_SCALING_NONE,
    ROPE_SCALING_LINEAR,       /* Chen et al. 2023, arXiv:2306.15595 */
    ROPE_SCALING_NTK,          /* a larger base */
    ROPE_SCALING_DYNAMIC,      /* NTK by the length of the text */
    ROPE_SCALING_YARN,         /* Peng et al. 2023, arXiv:2309.00071 */
    ROPE_SCALING_DYNAMIC_YARN, /* YaRN by the length of the text */
    ROPE_SCALING_LLAMA3,       /* stretched below one frequency, kept above another */
    ROPE_SCALING_LONGROPE,     /* Ding et al. 2024, arXiv:2402.13753: divisors by pair */
    ROPE_SCALING_COUNT
};

/* Resolved: every number that the formulas need. */
struct rope_scaling {
    enum rope_scaling_kind kind;
    double factor;               /* s >= 1 */
    double original_length;      /* L0: tokens trained on before stretching */
    double beta_fast, beta_slow; /* YaRN: 32, 1 */
    bool truncate;               /* YaRN: whole pair numbers as borders */
    double low_freq, high_freq;  /* Llama-3: 1, 4 */
    double attention_factor;     /* m; 0: what the kind's formula says */
    double mscale, mscale_all;   /* YaRN: m = f(mscale) / f(mscale_all) where both are set */
    const float *short_factors;  /* (pairs) LongRoPE; NULL: all 1 */
    const float *long_factors;   /* (pairs) LongRoPE past L0 */
    const float *divisors;       /* (pairs) rope_freqs.weight, or NULL; of any kind */
};

/* What the command line sets in place of the file's. */
struct rope_override {
    int kind;         /* enum rope_scaling_kind; -1: the file's */
    double factor;    /* 0: the file's, or as long as the kind needs none */
    double base;      /* theta; 0: the file's */
    int train_length; /* 0: the file's */
};

/* "linear", ...; NULL past the last. -1 for an unknown name. "su" is longrope's old one. */
const char *rope_scaling_name(enum rope_scaling_kind kind);
int rope_scaling_from_name(const char *name);

/* Whether the frequencies change with every token past original_length. */
bool rope_scaling_follows_length(const struct rope_scaling *scaling);

/* frequency[pairs] in radians a place for a text of `length` tokens, and m, for rotary base
 * `base` over 2 * pairs rotated dimensions. Either result may be NULL: it is left out. */
void rope_scaling_frequencies(const struct rope_scaling *scaling, double base, int pairs,
                              int64_t length, double *frequency, double *m);

#endif
