/* rope: rotary position embedding (Su et al. 2021, arXiv:2104.09864). Pair t of a head is turned by
 * place * base^(-2t / r), r being the number of rotated dimensions. Angles are computed and reduced
 * in double, so that places of any size keep their exact distances. */
#include <math.h>

#include "base/size.h"
#include "model/position/position.h"

/* Llama-3's scaling travels as a divisor of each frequency. */
static int divide_frequencies(struct position *position, const struct checkpoint *checkpoint,
                              struct error *err)
{
    const struct tensor *divisors = checkpoint_find(checkpoint, "rope_freqs.weight");
    if (!divisors)
        return 0;
    int pairs = position->rotated / 2;
    if (divisors->format != FORMAT_F32 || divisors->n_dims != 1 || divisors->shape[0] != pairs)
        return error_set(err,
                         "%s: tensor \"rope_freqs.weight\" at byte %zu: %s with %lld numbers, "
                         "expected F32 with %d",
                         divisors->place, divisors->offset, format_info[divisors->format].name,
                         (long long)divisors->shape[0], pairs);
    for (int t = 0; t < pairs; t++) {
        float divisor;
        format_dequantize(FORMAT_F32, (const uint8_t *)divisors->data + (size_t)t * sizeof divisor,
                          1, &divisor);
        if (!(divisor > 0) || isinf(divisor))
            return error_set(
                err, "%s: tensor \"rope_freqs.weight\": number %d is %g, allowed: more than 0",
                divisors->place, t, (double)divisor);
        position->frequency[t] /= (double)divisor;
    }
    return 0;
}

static int open_frequencies(struct position *position, const struct checkpoint *checkpoint,
                            struct error *err)
{
    const struct config *config = position->config;
    int pairs = config->rope_dims / 2;
    position->rotated = config->rope_dims;
    position->pairs = config->architecture->rope_pairs;
    position->frequency = size_alloc((size_t)pairs, sizeof *position->frequency);
    if (!position->frequency)
        return error_memory(err, "rotary frequencies", (size_t)pairs * sizeof *position->frequency);
    for (int t = 0; t < pairs; t++)
        position->frequency[t] = pow(config->rope_base, -2.0 * t / config->rope_dims);
    return divide_frequencies(position, checkpoint, err);
}

static void angles(const struct position *position, int64_t at, float *cosines, float *sines)
{
    for (int t = 0; t < position->rotated / 2; t++) {
        double angle = (double)at * position->frequency[t];
        cosines[t] = (float)cos(angle);
        sines[t] = (float)sin(angle);
    }
}

const struct position_scheme position_rope = {
    .name = "rope", .open = open_frequencies, .angles = angles};
