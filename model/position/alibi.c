/* alibi: attention with linear biases (Press et al. 2021, arXiv:2108.12409): score - slope *
 * distance, the bias not scaled by 1/sqrt(head_dim). Distances stay integers until the product, so
 * they are exact at any length. */
#include <math.h>

#include "base/size.h"
#include "model/position/position.h"

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

static int open_slopes(struct position *position, const struct checkpoint *checkpoint,
                       struct error *err)
{
    (void)checkpoint;
    const struct config *config = position->config;
    position->slope = size_alloc((size_t)config->n_heads, sizeof *position->slope);
    if (!position->slope)
        return error_memory(err, "ALiBi slopes", (size_t)config->n_heads * sizeof *position->slope);
    for (int head = 0; head < config->n_heads; head++)
        position->slope[head] = (float)slope(head, config->n_heads, (double)config->alibi_max_bias);
    return 0;
}

static void add_bias(const struct position *position, int head, int64_t distance, int n,
                     float *scores)
{
    double m = (double)position->slope[head];
    for (int j = 0; j < n; j++)
        scores[j] -= (float)(m * (double)(distance - j));
}

const struct position_scheme position_alibi = {
    .name = "alibi", .open = open_slopes, .add_bias = add_bias};
