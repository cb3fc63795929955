/* kerple: kernels of the distance with two trained numbers a head (Chi et al. 2022,
 * arXiv:2205.09921): score - p ln(1 + a * distance), or score - a * distance^p. */
#include <math.h>
#include <stdio.h>

#include "base/size.h"
#include "model/keys.h"
#include "model/position/position.h"

enum kernel { KERNEL_LOG, KERNEL_POWER, KERNEL_COUNT };

static const char *const kernel_names[KERNEL_COUNT] = {"log", "power"};

enum { P, A }; /* tensors[] (n_heads) */

struct kerple {
    int kernel; /* enum kernel */
};

static int read_positive(struct position *position, const struct position_source *source,
                         const char *name, float **out, struct error *err)
{
    int n_heads = position->config->n_heads;
    if (position_read(source, name, REQUIRED, 1, n_heads, out, err) ||
        position_check(source, name, *out, n_heads, err))
        return -1;
    for (int head = 0; head < n_heads; head++)
        if (!((*out)[head] > 0))
            return error_set(
                err, "%s: tensor \"%s\" of layer %d: number %d is %g, allowed: more than 0",
                source->checkpoint->path, name, source->layer, head, (double)(*out)[head]);
    return 0;
}

static int open_kernel(struct position *position, const struct position_source *source,
                       struct error *err)
{
    struct keys keys = {.metadata = &source->checkpoint->metadata,
                        .prefix = position->config->architecture->name,
                        .err = err};
    int kernel = KERNEL_LOG;
    keys_choice(&keys, "position.kind", kernel_names, KERNEL_COUNT, &kernel);
    if (keys.failed ||
        read_positive(position, source, "attn_rel_p.weight", &position->tensors[P], err) ||
        read_positive(position, source, "attn_rel_a.weight", &position->tensors[A], err))
        return -1;
    struct kerple *kerple = size_alloc(1, sizeof *kerple);
    if (!kerple)
        return error_memory(err, "KERPLE", sizeof *kerple);
    kerple->kernel = kernel;
    position->parameters = kerple;
    return 0;
}

static void describe(const struct position *position, char *text, size_t size)
{
    const struct kerple *kerple = position->parameters;
    snprintf(text, size, "%s", kernel_names[kerple->kernel]);
}

static double bias(const struct position *position, int head, double distance)
{
    const struct kerple *kerple = position->parameters;
    double p = (double)position->tensors[P][head], a = (double)position->tensors[A][head];
    return kerple->kernel == KERNEL_LOG ? -p * log1p(a * distance) : -a * pow(distance, p);
}

const struct position_scheme position_kerple = {.name = "kerple",
                                                .nature = POSITION_REAL,
                                                .layered = true,
                                                .open = open_kernel,
                                                .describe = describe,
                                                .bias = bias};
