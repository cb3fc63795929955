/* sandwich: what is left of sinusoidal embeddings when only their products with each other stay
 * (Chi et al. 2022, arXiv:2212.10356): the sum over db/2 frequencies of the cosine of the distance,
 * less its value at distance 0, weaker from head to head. */
#include <math.h>
#include <stdio.h>

#include "base/size.h"
#include "model/keys.h"
#include "model/position/position.h"

struct sandwich {
    int pairs;          /* db / 2 */
    int first;          /* frequencies are 10000^(-t / pairs) for t = first .. first + pairs - 1 */
    double frequency[]; /* (pairs) in radians a place */
};

static int open_frequencies(struct position *position, const struct position_source *source,
                            struct error *err)
{
    struct keys keys = {.metadata = &source->checkpoint->metadata,
                        .prefix = position->config->architecture->name,
                        .err = err};
    int dims = 128, first = 0;
    keys_int(&keys, "position.dims", OPTIONAL, 2, 4096, &dims);
    keys_int(&keys, "position.first", OPTIONAL, 0, 1, &first);
    if (keys.failed)
        return -1;
    if (dims % 2 != 0)
        return keys_refuse(&keys, "position.dims", dims, "an even number");
    int pairs = dims / 2;
    struct sandwich *sandwich;
    size_t bytes = sizeof *sandwich + (size_t)pairs * sizeof sandwich->frequency[0];
    sandwich = size_alloc(1, bytes);
    if (!sandwich)
        return error_memory(err, "Sandwich", bytes);
    *sandwich = (struct sandwich){.pairs = pairs, .first = first};
    position->parameters = sandwich;
    for (int t = 0; t < pairs; t++)
        sandwich->frequency[t] = pow(10000, -(double)(first + t) / pairs);
    return 0;
}

static void describe(const struct position *position, char *text, size_t size)
{
    const struct sandwich *sandwich = position->parameters;
    snprintf(text, size, "%d dimensions, frequencies from %d", 2 * sandwich->pairs,
             sandwich->first);
}

static double bias(const struct position *position, int head, double distance)
{
    const struct sandwich *sandwich = position->parameters;
    double sum = 0;
    for (int t = 0; t < sandwich->pairs; t++)
        sum += cos(distance * sandwich->frequency[t]) - 1;
    return sum * position->config->n_heads / (8.0 * (head + 1));
}

const struct position_scheme position_sandwich = {.name = "sandwich",
                                                  .nature = POSITION_REAL,
                                                  .open = open_frequencies,
                                                  .describe = describe,
                                                  .bias = bias};
