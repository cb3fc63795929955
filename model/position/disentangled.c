/* disentangled: DeBERTa's attention (He et al. 2020, arXiv:2006.03654), looking back only. One
 * trained embedding E[x] a bucket x of distance, shared by the layers, is projected by every layer
 * to keys that the query meets (c2p) and queries that the key meets (p2c); either may be absent:
 *     score = (q . k + q . Kr[x] + k . Qr[x]) / sqrt((1 + c2p + p2c) * head_dim)
 * Half the buckets are single distances and the others grow with the logarithm; without
 * position.buckets all are single. The last one takes all that is farther. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "model/keys.h"
#include "model/position/position.h"

struct parameters {
    int64_t rows;     /* buckets */
    int middle;       /* distances beyond share buckets; 0: none do */
    int max_distance; /* from max_distance - 1 on they are in the last one */
};

/* In position->tensors: Kr under VECTORS_QUERY, Qr under VECTORS_KEY, both (rows, heads, head_dim),
 * and what only opening needs. */
enum { EMBEDDINGS = VECTORS_COUNT, NORM, NORM_BIAS, WEIGHT, BIAS };

static int64_t bucket(const struct parameters *p, int64_t distance)
{
    if (p->middle == 0)
        return distance < p->rows ? distance : p->rows - 1;
    if (distance <= p->middle)
        return distance;
    if (distance >= p->max_distance - 1)
        return p->rows - 1;
    double share = log((double)distance / p->middle) / log((p->max_distance - 1.0) / p->middle);
    return p->middle + (int64_t)ceil(share * (p->middle - 1));
}

static int64_t first_of_last(const struct parameters *p)
{
    int64_t low = 0;
    int64_t high = p->middle == 0 ? p->rows - 1 : p->max_distance - 1; /* is in the last */
    while (low < high) {
        int64_t between = low + (high - low) / 2;
        if (bucket(p, between) == p->rows - 1)
            high = between;
        else
            low = between + 1;
    }
    return high;
}

static int read_buckets(struct parameters *p, const struct position_source *source,
                        struct keys *keys, struct error *err)
{
    int buckets = 0;
    *p = (struct parameters){0};
    keys_int(keys, "position.buckets", OPTIONAL, 0, INT32_MAX, &buckets);
    keys_int(keys, "position.max_distance", buckets > 0 ? REQUIRED : OPTIONAL, 0, INT32_MAX,
             &p->max_distance);
    if (keys->failed)
        return -1;
    if (buckets % 2 != 0)
        return keys_refuse(keys, "position.buckets", buckets, "even");
    if (buckets == 0 && p->max_distance != 0)
        return keys_refuse(keys, "position.max_distance", p->max_distance,
                           "0 without position.buckets");
    p->middle = buckets / 2;
    if (buckets > 0 && p->max_distance < p->middle + 2)
        return keys_refuse(keys, "position.max_distance", p->max_distance,
                           "position.buckets / 2 + 2 and more");
    p->rows = buckets;
    if (buckets == 0)
        p->rows = position_rows(source, "attn_rel.weight", source->config->dim, err);
    return p->rows < 0 ? -1 : 0;
}

/* E, normalised where the file has a norm for it. */
static int read_embeddings(struct position *position, const struct position_source *source,
                           struct keys *keys, struct error *err)
{
    const struct parameters *p = position->parameters;
    int dim = position->config->dim;
    float **tensors = position->tensors;
    double epsilon = 1e-7;
    keys_double(keys, "position.norm_epsilon", OPTIONAL, &epsilon);
    if (keys->failed)
        return -1;
    if (!(epsilon >= 0 && epsilon < 1))
        return keys_refuse(keys, "position.norm_epsilon", epsilon, "0 to 1");
    if (position_read(source, "attn_rel.weight", REQUIRED, p->rows, dim, &tensors[EMBEDDINGS],
                      err) ||
        position_read(source, "attn_rel_norm.weight", OPTIONAL, 1, dim, &tensors[NORM], err) ||
        position_read(source, "attn_rel_norm.bias", OPTIONAL, 1, dim, &tensors[NORM_BIAS], err))
        return -1;
    struct kernels scalar;
    kernels_scalar(&scalar);
    for (int64_t row = 0; tensors[NORM] && row < p->rows; row++) {
        float *e = tensors[EMBEDDINGS] + row * dim;
        scalar.layer_norm(e, e, tensors[NORM], tensors[NORM_BIAS], (size_t)dim, (float)epsilon);
    }
    return 0;
}

/* W E + b for every row of E, where the file has "<name>.weight", for `heads` heads. */
static int project(struct position *position, const struct position_source *source,
                   const char *name, enum presence presence, enum position_vectors which, int heads,
                   struct error *err)
{
    const struct parameters *p = position->parameters;
    size_t dim = (size_t)position->config->dim;
    size_t width = (size_t)heads * (size_t)position->config->head_dim;
    float **tensors = position->tensors;
    char weight[32], bias[32];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    if (position_read(source, weight, presence, (int64_t)width, (int64_t)dim, &tensors[WEIGHT],
                      err))
        return -1;
    if (!tensors[WEIGHT])
        return 0;
    if (position_read(source, bias, OPTIONAL, 1, (int64_t)width, &tensors[BIAS], err))
        return -1;
    size_t n;
    float *out = size_mul((size_t)p->rows, width, &n) ? size_alloc(n, sizeof *out) : NULL;
    if (!out)
        return error_memory(err, weight, (size_t)p->rows * width * sizeof *out);
    tensors[which] = out;
    position->vector_heads[which] = heads;
    struct kernels scalar;
    kernels_scalar(&scalar);
    for (int64_t row = 0; row < p->rows; row++, out += width)
        for (size_t i = 0; i < width; i++)
            out[i] = scalar.dot_f32(tensors[WEIGHT] + i * dim,
                                    tensors[EMBEDDINGS] + (size_t)row * dim, dim) +
                     (tensors[BIAS] ? tensors[BIAS][i] : 0);
    return 0;
}

static void drop(struct position *position, int begin, int end)
{
    for (int i = begin; i <= end; i++) {
        free(position->tensors[i]);
        position->tensors[i] = NULL;
    }
}

static int open_buckets(struct position *position, const struct position_source *source,
                        struct error *err)
{
    const struct config *config = position->config;
    struct keys keys = {.metadata = &source->checkpoint->metadata,
                        .prefix = config->architecture->name,
                        .err = err};
    bool share = false;
    struct parameters *p = size_alloc(1, sizeof *p);
    position->parameters = p;
    if (!p)
        return error_memory(err, "buckets", sizeof *p);
    keys_bool(&keys, "position.share_att_key", &share);
    if (read_buckets(p, source, &keys, err) || read_embeddings(position, source, &keys, err) ||
        project(position, source, share ? "attn_k" : "attn_rel_k", share ? REQUIRED : OPTIONAL,
                VECTORS_QUERY, config->n_kv_heads, err))
        return -1;
    drop(position, WEIGHT, BIAS);
    if (project(position, source, share ? "attn_q" : "attn_rel_q", share ? REQUIRED : OPTIONAL,
                VECTORS_KEY, config->n_heads, err))
        return -1;
    drop(position, EMBEDDINGS, BIAS);
    int terms = 1;
    for (int which = 0; which < VECTORS_COUNT; which++)
        terms += position->vector_heads[which] > 0;
    if (terms == 1)
        return error_set(err,
                         "%s: layer %d has neither tensor \"attn_rel_k.weight\" nor "
                         "\"attn_rel_q.weight\", expected at least one",
                         source->checkpoint->path, source->layer);
    position->scale = (float)(1 / sqrt((double)terms * config->head_dim));
    position->last_distance = first_of_last(p);
    return 0;
}

static void describe(const struct position *position, char *text, size_t size)
{
    const struct parameters *p = position->parameters;
    bool c2p = position->vector_heads[VECTORS_QUERY] > 0;
    bool p2c = position->vector_heads[VECTORS_KEY] > 0;
    snprintf(text, size, "%lld %sbuckets, distances up to %lld, %s%s%s", (long long)p->rows,
             p->middle > 0 ? "logarithmic " : "", (long long)position->last_distance,
             c2p ? "c2p" : "", c2p && p2c ? " and " : "", p2c ? "p2c" : "");
}

static void vectors(const struct position *position, enum position_vectors which, int64_t distance,
                    float *r)
{
    size_t width = (size_t)position->vector_heads[which] * (size_t)position->config->head_dim;
    size_t row = (size_t)bucket(position->parameters, distance);
    memcpy(r, position->tensors[which] + row * width, width * sizeof *r);
}

const struct position_scheme position_disentangled = {.name = "disentangled",
                                                      .nature = POSITION_WHOLE,
                                                      .layered = true,
                                                      .open = open_buckets,
                                                      .describe = describe,
                                                      .vectors = vectors};
