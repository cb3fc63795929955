/* xpos: RoPE whose pairs also decay with distance (Sun et al. 2022, arXiv:2212.10554): pair t of a
 * score is multiplied by z[t]^(distance / B), z[t] = (2t / r + 0.4) / 1.4 being less than 1 and
 * smallest for the pairs that turn fastest. */
#include <math.h>
#include <stdio.h>

#include "base/size.h"
#include "model/keys.h"
#include "model/position/position.h"

struct xpos {
    double base;
    double scale_base; /* B */
    double table[];    /* (2, pairs): frequencies, and ln(z) / B */
};

/* A key carries z^(-place / B), counted from its block's first place: at most 3.5^(127 / B). */
static const double SCALE_BASE_MIN = 64;

static int read_scale_base(const struct position_source *source, double *scale_base,
                           struct error *err)
{
    struct keys keys = {
        .metadata = &source->checkpoint->metadata, .prefix = "longhand", .err = err};
    *scale_base = 512;
    keys_double(&keys, "position.scale_base", OPTIONAL, scale_base);
    if (!keys.failed && !(*scale_base >= SCALE_BASE_MIN && *scale_base <= 1e15))
        keys_refuse(&keys, "position.scale_base", *scale_base, "64 to 1e15");
    return keys.failed ? -1 : 0;
}

static int open_xpos(struct position *position, const struct position_source *source,
                     struct error *err)
{
    static const struct rope_scaling none;
    double base, scale_base;
    if (rope_read_shape(position, source, &base, err) || read_scale_base(source, &scale_base, err))
        return -1;
    int pairs = position->rotated / 2;
    size_t bytes = sizeof(struct xpos) + 2 * (size_t)pairs * sizeof(double);
    struct xpos *xpos = size_alloc(bytes, 1);
    position->parameters = xpos;
    if (!xpos)
        return error_memory(err, "xPos frequencies", bytes);
    xpos->base = base;
    xpos->scale_base = scale_base;
    rope_scaling_frequencies(&none, base, pairs, 0, xpos->table, NULL);
    for (int t = 0; t < pairs; t++)
        xpos->table[pairs + t] = log(((double)t / pairs + 0.4) / 1.4) / scale_base;
    return 0;
}

static void angles(const struct position *position, double place, int64_t length, double *cosines,
                   double *sines)
{
    (void)length;
    const struct xpos *xpos = position->parameters;
    rope_turn(xpos->table, position->rotated / 2, place, cosines, sines);
}

static void decay(const struct position *position, double distance, float *factor)
{
    const struct xpos *xpos = position->parameters;
    int pairs = position->rotated / 2;
    for (int t = 0; t < pairs; t++)
        factor[t] = (float)exp(distance * xpos->table[pairs + t]);
}

static void describe(const struct position *position, char *text, size_t size)
{
    const struct xpos *xpos = position->parameters;
    int n = rope_describe_shape(position, xpos->base, text, size);
    if (n > 0 && (size_t)n < size)
        snprintf(text + n, size - (size_t)n, ", decay over %.6g", xpos->scale_base);
}

const struct position_scheme position_xpos = {
    .name = "xpos",
    .nature = POSITION_REAL,
    .open = open_xpos,
    .describe = describe,
    .angles = angles,
    .decay = decay,
};
