/* t5: a trained bias a head and bucket of distances (Raffel et al. 2019, arXiv:1910.10683): near
 * distances have a bucket each, those up to max_distance share by their logarithm, all others have
 * the last one. T5 itself does not scale its dot products. */
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "base/size.h"
#include "model/keys.h"
#include "model/position/position.h"

enum { BUCKETS_MAX = 1 << 20 };

/* tensors[0] (n_buckets, n_heads) */
struct t5 {
    int n_buckets;
    int max_distance;
    bool unscaled;
};

static int bucket_of(const struct t5 *t5, double distance)
{
    int exact = t5->n_buckets / 2;
    if (distance < exact)
        return (int)distance;
    double far = log(distance / exact) / log((double)t5->max_distance / exact);
    return (int)fmin(t5->n_buckets - 1, exact + trunc(far * (t5->n_buckets - exact)));
}

/* The first distance of the last bucket. */
static int64_t last_distance(const struct t5 *t5)
{
    int exact = t5->n_buckets / 2, last = t5->n_buckets - 1;
    double share = (double)(last - exact) / (t5->n_buckets - exact);
    int64_t distance = (int64_t)(exact * pow((double)t5->max_distance / exact, share));
    while (distance > 0 && bucket_of(t5, (double)(distance - 1)) == last)
        distance--;
    while (bucket_of(t5, (double)distance) < last)
        distance++;
    return distance;
}

static int read_keys(struct t5 *read, const struct position_source *source, struct error *err)
{
    struct keys keys = {.metadata = &source->checkpoint->metadata,
                        .prefix = source->config->architecture->name,
                        .err = err};
    int64_t rows = position_rows(source, "attn_rel_b.weight", source->config->n_heads, err);
    if (rows < 0)
        return -1;
    if (rows < 2 || rows > BUCKETS_MAX)
        return error_set(err, "%s: tensor \"attn_rel_b.weight\" has %lld buckets, allowed: 2 to %d",
                         source->checkpoint->path, (long long)rows, BUCKETS_MAX);
    read->n_buckets = (int)rows;
    keys_int(&keys, "attention.relative_buckets_count", OPTIONAL, 2, BUCKETS_MAX, &read->n_buckets);
    keys_int(&keys, "position.max_distance", OPTIONAL, 1, INT_MAX, &read->max_distance);
    keys_bool(&keys, "position.unscaled", &read->unscaled);
    if (keys.failed)
        return -1;
    if (read->n_buckets != rows)
        return error_set(
            err, "%s: %s is %d, but \"attn_rel_b.weight\" has %lld rows", source->checkpoint->path,
            keys_name(&keys, "attention.relative_buckets_count"), read->n_buckets, (long long)rows);
    if (read->max_distance <= rows / 2)
        return keys_refuse(&keys, "position.max_distance", read->max_distance,
                           "more than half the buckets");
    return 0;
}

static int open_buckets(struct position *position, const struct position_source *source,
                        struct error *err)
{
    struct t5 read = {.max_distance = 128, .unscaled = true};
    int n_heads = position->config->n_heads;
    if (read_keys(&read, source, err) ||
        position_read(source, "attn_rel_b.weight", REQUIRED, read.n_buckets, n_heads,
                      &position->tensors[0], err) ||
        position_check(source, "attn_rel_b.weight", position->tensors[0],
                       (int64_t)read.n_buckets * n_heads, err))
        return -1;
    struct t5 *t5 = size_alloc(1, sizeof *t5);
    if (!t5)
        return error_memory(err, "T5 buckets", sizeof *t5);
    *t5 = read;
    position->parameters = t5;
    position->last_distance = last_distance(t5);
    if (t5->unscaled)
        position->scale = 1;
    return 0;
}

static void describe(const struct position *position, char *text, size_t size)
{
    const struct t5 *t5 = position->parameters;
    snprintf(text, size, "%d buckets, the last from distance %lld%s", t5->n_buckets,
             (long long)position->last_distance, t5->unscaled ? ", dot products not scaled" : "");
}

static double bias(const struct position *position, int head, double distance)
{
    size_t row = (size_t)bucket_of(position->parameters, distance);
    return (double)position->tensors[0][row * (size_t)position->config->n_heads + (size_t)head];
}

const struct position_scheme position_t5 = {.name = "t5",
                                            .nature = POSITION_WHOLE,
                                            .layered = true,
                                            .open = open_buckets,
                                            .describe = describe,
                                            .bias = bias};
