/* sinusoidal: absolute embeddings that nobody trained, sines and cosines of the row number (Vaswani
 * et al. 2017, arXiv:1706.03762), added to the token's. Models do not agree on the order of the
 * columns, t = 0 .. D/2 - 1:
 *
 *     interleaved    | sin 0 | cos 0 | sin 1 | cos 1 | ...    w[t] = base^(-2t / D)
 *     concatenated   | sin 0 | sin 1 | ... | cos 0 | cos 1 | ...     the same
 *     fairseq        as concatenated                          w[t] = base^(-t / (D/2 - 1))
 *
 * Fairseq's row 1 stands for padding, so its text begins in row 2. */
#include <math.h>
#include <stdio.h>

#include "base/size.h"
#include "model/keys.h"
#include "model/position/position.h"

enum layout { LAYOUT_INTERLEAVED, LAYOUT_CONCATENATED, LAYOUT_FAIRSEQ, LAYOUT_COUNT };

static const char *const layout_names[LAYOUT_COUNT] = {"interleaved", "concatenated", "fairseq"};

struct sinusoidal {
    int layout; /* enum layout */
    int offset; /* the row of place 0 */
    double base;
    double frequency[]; /* (dim / 2) in radians a row */
};

static int read_keys(struct sinusoidal *read, int dim, struct keys *keys)
{
    keys_choice(keys, "position.layout", layout_names, LAYOUT_COUNT, &read->layout);
    if (read->layout == LAYOUT_FAIRSEQ)
        read->offset = 2;
    keys_int(keys, "position.offset", OPTIONAL, 0, INT32_MAX, &read->offset);
    keys_double(keys, "position.base", OPTIONAL, &read->base);
    if (keys->failed)
        return -1;
    if (!(read->base >= 1 && read->base <= 1e15))
        return keys_refuse(keys, "position.base", read->base, "1 to 1e15");
    if (dim % 2 != 0)
        return keys_refuse(keys, "embedding_length", dim, "an even number");
    if (dim < 4 && read->layout == LAYOUT_FAIRSEQ)
        return keys_refuse(keys, "embedding_length", dim, "4 or more");
    return 0;
}

static int open_frequencies(struct position *position, const struct position_source *source,
                            struct error *err)
{
    struct keys keys = {.metadata = &source->checkpoint->metadata,
                        .prefix = position->config->architecture->name,
                        .err = err};
    struct sinusoidal read = {.base = 10000};
    int dim = position->config->dim;
    if (read_keys(&read, dim, &keys))
        return -1;
    int pairs = dim / 2;
    size_t bytes = sizeof read + (size_t)pairs * sizeof read.frequency[0];
    struct sinusoidal *sinusoidal = size_alloc(1, bytes);
    if (!sinusoidal)
        return error_memory(err, "sinusoidal positions", bytes);
    *sinusoidal = read;
    position->parameters = sinusoidal;
    double last = read.layout == LAYOUT_FAIRSEQ ? pairs - 1 : pairs;
    for (int t = 0; t < pairs; t++)
        sinusoidal->frequency[t] = pow(read.base, -t / last);
    return 0;
}

static void describe(const struct position *position, char *text, size_t size)
{
    const struct sinusoidal *sinusoidal = position->parameters;
    snprintf(text, size, "%s, base %g, the first in row %d", layout_names[sinusoidal->layout],
             sinusoidal->base, sinusoidal->offset);
}

static void embed(const struct position *position, int64_t at, float *x)
{
    const struct sinusoidal *sinusoidal = position->parameters;
    double row = (double)at + sinusoidal->offset;
    int pairs = position->config->dim / 2;
    bool interleaved = sinusoidal->layout == LAYOUT_INTERLEAVED;
    float *cosines = interleaved ? x + 1 : x + pairs;
    int step = interleaved ? 2 : 1;
    for (int t = 0; t < pairs; t++) {
        double angle = row * sinusoidal->frequency[t];
        x[t * step] += (float)sin(angle);
        cosines[t * step] += (float)cos(angle);
    }
}

const struct position_scheme position_sinusoidal = {.name = "sinusoidal",
                                                    .nature = POSITION_ABSOLUTE,
                                                    .open = open_frequencies,
                                                    .describe = describe,
                                                    .embed = embed};
