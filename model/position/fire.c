/* fire: a small trained net of how far back a key is as a share of the whole text (Li et al. 2023,
 * arXiv:2310.04418):
 *
 *     bias = net(u)    u = psi(distance) / (psi(max(length, place)) + 1e-6)    psi(x) = ln(c x + 1)
 *
 * so the true place of the query matters, not only distances. The net has one input and one hidden
 * layer of ReLUs: for every head it is a broken line, whose pieces are found once. */
#include <math.h>
#include <stdio.h>

#include "base/size.h"
#include "model/position/position.h"

static const double epsilon = 1e-6;

enum { C, LENGTH, IN_BIAS, IN_WEIGHT, OUT_WEIGHT, OUT_BIAS }; /* tensors[] */

/* slope * u + height, from u = `from` to where the next piece begins. */
struct piece {
    double from;
    double slope;
    double height;
};

struct fire {
    double c;
    double length;
    int hidden;
    int n_pieces;
    struct piece pieces[]; /* (n_heads, n_pieces); the first is from -infinity */
};

/* Where a hidden unit turns on or off. */
struct knot {
    double at;
    int unit;
};

static int compare_knots(const void *a, const void *b)
{
    double x = ((const struct knot *)a)->at, y = ((const struct knot *)b)->at;
    return (x > y) - (x < y);
}

/* Adds what a unit of weight w and bias b contributes where it is on. */
static void add_unit(struct piece *sum, double out, double w, double b)
{
    sum->slope += out * w;
    sum->height += out * b;
}

/* The pieces of one head: units of rising slope are on above their knots, those of falling slope
 * below, and summing each kind from its own end never subtracts. */
static void make_pieces(struct fire *fire, const struct position *position, int head,
                        const struct knot *knots)
{
    const float *w = position->tensors[IN_WEIGHT], *b = position->tensors[IN_BIAS];
    const float *out = position->tensors[OUT_WEIGHT] + (size_t)head * (size_t)fire->hidden;
    struct piece *pieces = fire->pieces + (size_t)head * (size_t)fire->n_pieces;
    struct piece rising = {.height = (double)position->tensors[OUT_BIAS][head]};
    struct piece falling = {0};
    for (int k = 0; k < fire->hidden; k++)
        if (w[k] == 0 && b[k] > 0)
            add_unit(&rising, (double)out[k], 0, (double)b[k]);
    int last = fire->n_pieces - 1;
    for (int i = 0; i <= last; i++) {
        int k = i > 0 ? knots[i - 1].unit : 0;
        if (i > 0 && w[k] > 0)
            add_unit(&rising, (double)out[k], (double)w[k], (double)b[k]);
        pieces[i] = rising;
        pieces[i].from = i > 0 ? knots[i - 1].at : -INFINITY;
    }
    for (int i = last; i >= 0; i--) {
        int k = i < last ? knots[i].unit : 0;
        if (i < last && w[k] < 0)
            add_unit(&falling, (double)out[k], (double)w[k], (double)b[k]);
        pieces[i].slope += falling.slope;
        pieces[i].height += falling.height;
    }
}

static int make_net(struct position *position, int hidden, struct error *err)
{
    const float *w = position->tensors[IN_WEIGHT], *b = position->tensors[IN_BIAS];
    int n_heads = position->config->n_heads, n_knots = 0;
    struct knot *knots = size_alloc((size_t)hidden, sizeof *knots);
    if (!knots)
        return error_memory(err, "FIRE", (size_t)hidden * sizeof *knots);
    for (int k = 0; k < hidden; k++)
        if (w[k] != 0)
            knots[n_knots++] = (struct knot){-(double)b[k] / (double)w[k], k};
    qsort(knots, (size_t)n_knots, sizeof *knots, compare_knots);
    /* About as many pieces as output weights, which the file does have. */
    struct fire *fire;
    size_t bytes = sizeof *fire + (size_t)n_heads * (size_t)(n_knots + 1) * sizeof fire->pieces[0];
    fire = size_alloc(1, bytes);
    if (fire) {
        *fire = (struct fire){.c = fabs((double)*position->tensors[C]),
                              .length = fabs((double)*position->tensors[LENGTH]),
                              .hidden = hidden,
                              .n_pieces = n_knots + 1};
        for (int head = 0; head < n_heads; head++)
            make_pieces(fire, position, head, knots);
    }
    free(knots);
    position->parameters = fire;
    return fire ? 0 : error_memory(err, "FIRE", bytes);
}

/* Numbers of the hidden layer's bias; 0 when there is no such tensor. */
static int64_t hidden_size(const struct position_source *source)
{
    char full[POSITION_NAME_BYTES];
    const struct tensor *bias = position_find(source, "attn_rel_in.bias", full);
    return bias ? bias->shape[0] : 0;
}

static int open_net(struct position *position, const struct position_source *source,
                    struct error *err)
{
    enum { HIDDEN_MAX = 1 << 16 };
    int64_t hidden = hidden_size(source);
    if (hidden > HIDDEN_MAX)
        return error_set(err, "%s: tensor \"attn_rel_in.bias\" has %lld numbers, allowed: 1 to %d",
                         source->checkpoint->path, (long long)hidden, HIDDEN_MAX);
    int n_heads = position->config->n_heads;
    const struct {
        const char *name;
        int64_t rows, cols;
    } tensors[] = {
        [C] = {"attn_rel_c.weight", 1, 1},
        [LENGTH] = {"attn_rel_length.weight", 1, 1},
        [IN_BIAS] = {"attn_rel_in.bias", 1, hidden},
        [IN_WEIGHT] = {"attn_rel_in.weight", 1, hidden},
        [OUT_WEIGHT] = {"attn_rel_out.weight", n_heads, hidden},
        [OUT_BIAS] = {"attn_rel_out.bias", 1, n_heads},
    };
    for (int i = 0; i < (int)(sizeof tensors / sizeof tensors[0]); i++)
        if (position_read(source, tensors[i].name, REQUIRED, tensors[i].rows, tensors[i].cols,
                          &position->tensors[i], err) ||
            position_check(source, tensors[i].name, position->tensors[i],
                           tensors[i].rows * tensors[i].cols, err))
            return -1;
    return make_net(position, (int)hidden, err);
}

static void describe(const struct position *position, char *text, size_t size)
{
    const struct fire *fire = position->parameters;
    snprintf(text, size, "%d hidden units, c %g, length %g", fire->hidden, fire->c, fire->length);
}

static double psi(const struct fire *fire, double x)
{
    return log(fire->c * x + 1);
}

static void add_bias(const struct position *position, int head, double place, double distance,
                     double step, int n, float *scores)
{
    const struct fire *fire = position->parameters;
    double whole = psi(fire, fmax(fire->length, place)) + epsilon;
    /* u falls from key to key, so the pieces come one after the other, from the last. */
    const struct piece *piece = fire->pieces + (size_t)(head + 1) * (size_t)fire->n_pieces - 1;
    for (int j = 0; j < n; j++) {
        double u = psi(fire, distance - step * j) / whole;
        while (u < piece->from)
            piece--;
        scores[j] += (float)(piece->slope * u + piece->height);
    }
}

const struct position_scheme position_fire = {.name = "fire",
                                              .nature = POSITION_ABSOLUTE,
                                              .layered = true,
                                              .open = open_net,
                                              .describe = describe,
                                              .add_bias = add_bias};
