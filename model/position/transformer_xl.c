/* transformer_xl: sinusoids of the distance, projected per layer, meet the query; two trained
 * vectors a head stand for the query's own place (Dai et al. 2019, arXiv:1901.02860):
 *     score = scale * ((q + u) . k + (q + v) . W R[distance])
 *     R[d] = [sin(d w_0), sin(d w_1), ... | cos(d w_0), ...], w_t = 10000^(-2t / dim)
 * Distances from clamp_length on share its vector. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "model/keys.h"
#include "model/position/position.h"

enum { WEIGHT, CONTENT, RELATIVE }; /* W, u, v in position->tensors */

static int open_projection(struct position *position, const struct position_source *source,
                           struct error *err)
{
    const struct config *config = position->config;
    struct keys keys = {.metadata = &source->checkpoint->metadata,
                        .prefix = config->architecture->name,
                        .err = err};
    int clamp = 0;
    keys_int(&keys, "position.clamp_length", OPTIONAL, 0, INT32_MAX, &clamp);
    if (keys.failed)
        return -1;
    if (config->dim % 2 != 0)
        return keys_refuse(&keys, "embedding_length", config->dim, "even");
    if (position_read(source, "attn_rel.weight", REQUIRED,
                      (int64_t)config->n_kv_heads * config->head_dim, config->dim,
                      &position->tensors[WEIGHT], err) ||
        position_read(source, "attn_rel_u.weight", REQUIRED, config->n_heads, config->head_dim,
                      &position->tensors[CONTENT], err) ||
        position_read(source, "attn_rel_v.weight", REQUIRED, config->n_heads, config->head_dim,
                      &position->tensors[RELATIVE], err))
        return -1;
    size_t n = (size_t)config->dim / 2;
    double *frequency = size_alloc(n, sizeof *frequency);
    if (!frequency)
        return error_memory(err, "frequencies", n * sizeof *frequency);
    for (size_t t = 0; t < n; t++)
        frequency[t] = pow(10000, -2 * (double)t / config->dim);
    position->parameters = frequency;
    position->content_bias = position->tensors[CONTENT];
    position->relative_bias = position->tensors[RELATIVE];
    position->vector_heads[VECTORS_QUERY] = config->n_kv_heads;
    if (clamp > 0)
        position->last_distance = clamp;
    return 0;
}

static void describe(const struct position *position, char *text, size_t size)
{
    if (position->last_distance < INT64_MAX)
        snprintf(text, size, "distances up to %lld", (long long)position->last_distance);
    else
        snprintf(text, size, "any distance");
}

static void vectors(const struct position *position, enum position_vectors which, int64_t distance,
                    float *r)
{
    enum { CHUNK = 256 }; /* frequencies at a time */
    (void)which;
    const struct config *config = position->config;
    const double *frequency = position->parameters;
    size_t rows = (size_t)config->n_kv_heads * (size_t)config->head_dim;
    size_t dim = (size_t)config->dim;
    struct kernels scalar;
    kernels_scalar(&scalar);
    if (distance > position->last_distance)
        distance = position->last_distance;
    memset(r, 0, rows * sizeof *r);
    for (size_t first = 0; first < dim / 2; first += CHUNK) {
        float sines[CHUNK], cosines[CHUNK];
        size_t n = dim / 2 - first < CHUNK ? dim / 2 - first : CHUNK;
        for (size_t t = 0; t < n; t++) {
            double angle = (double)distance * frequency[first + t];
            sines[t] = (float)sin(angle);
            cosines[t] = (float)cos(angle);
        }
        for (size_t row = 0; row < rows; row++) {
            const float *w = position->tensors[WEIGHT] + row * dim + first;
            r[row] += scalar.dot_f32(w, sines, n) + scalar.dot_f32(w + dim / 2, cosines, n);
        }
    }
}

const struct position_scheme position_transformer_xl = {.name = "transformer-xl",
                                                        .nature = POSITION_WHOLE,
                                                        .layered = true,
                                                        .open = open_projection,
                                                        .describe = describe,
                                                        .vectors = vectors};
