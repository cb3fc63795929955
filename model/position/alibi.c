/* alibi: attention with linear biases (Press et al. 2021, arXiv:2108.12409): score - slope *
 * distance, the bias not scaled by 1/sqrt(head_dim), except in Falcon-RW, which scales it with the
 * score and has slopes of eight bits. Distances are exact at any length until the product. */
#include <math.h>
#include <stdio.h>

#include "base/size.h"
#include "kernels/half.h"
#include "model/keys.h"
#include "model/position/position.h"

struct alibi {
    double max_bias;
    bool scaled;
    float slope[]; /* (n_heads) */
};

/* With P the largest power of two <= H: head h < P has 2^(-B (h+1) / P); the others, interleaved
 * between those, 2^(-B (2 (h-P) + 1) / (2 P)). */
static double slope(int head, int n_heads, double max_bias)
{
    int p = 1;
    while (2 * p <= n_heads)
        p *= 2;
    return head < p ? exp2(-max_bias * (head + 1) / p)
                    : exp2(-max_bias * (2 * (head - p) + 1) / (2 * p));
}

static int read_keys(struct alibi *read, const struct position_source *source, struct error *err)
{
    struct keys keys = {.metadata = &source->checkpoint->metadata,
                        .prefix = source->config->architecture->name,
                        .err = err};
    read->max_bias = (double)source->config->architecture->alibi_max_bias;
    keys_double(&keys, "attention.max_alibi_bias", read->max_bias > 0 ? OPTIONAL : REQUIRED,
                &read->max_bias);
    keys_bool(&keys, "position.scaled", &read->scaled);
    if (keys.failed)
        return -1;
    if (!(read->max_bias > 0 && read->max_bias <= 1024))
        return keys_refuse(&keys, "attention.max_alibi_bias", read->max_bias,
                           "more than 0, at most 1024");
    return 0;
}

static int open_slopes(struct position *position, const struct position_source *source,
                       struct error *err)
{
    struct alibi read = {0};
    if (read_keys(&read, source, err))
        return -1;
    int n_heads = position->config->n_heads;
    size_t bytes = sizeof read + (size_t)n_heads * sizeof read.slope[0];
    struct alibi *alibi = size_alloc(1, bytes);
    if (!alibi)
        return error_memory(err, "ALiBi slopes", bytes);
    *alibi = read;
    position->parameters = alibi;
    for (int head = 0; head < n_heads; head++) {
        float m = (float)slope(head, n_heads, read.max_bias);
        if (read.scaled)
            m = (float)((double)bf16_to_f32(bf16_from_f32(m)) / sqrt(position->config->head_dim));
        alibi->slope[head] = m;
    }
    return 0;
}

static void describe(const struct position *position, char *text, size_t size)
{
    const struct alibi *alibi = position->parameters;
    snprintf(text, size, "max bias %g%s", alibi->max_bias,
             alibi->scaled ? ", scaled with the score" : "");
}

static float head_slope(const struct position *position, int head)
{
    const struct alibi *alibi = position->parameters;
    return alibi->slope[head];
}

static void add_bias(const struct position *position, int head, double place, double distance,
                     double step, int n, float *scores)
{
    (void)place;
    double m = (double)head_slope(position, head);
    for (int j = 0; j < n; j++)
        scores[j] -= (float)(m * (distance - step * j));
}

const struct position_scheme position_alibi = {.name = "alibi",
                                               .nature = POSITION_REAL,
                                               .open = open_slopes,
                                               .describe = describe,
                                               .add_bias = add_bias,
                                               .slope = head_slope};
