/* codec: how the elements of the cache are stored, one row of a table for each format.
 *
 * A codec works on a *head*: the keys, or the values, of one key-value head in one block, laid out
 * as cache.h draws it. `dim` may be any number: the last group of a quantised row is shorter, and
 * the last byte of an odd row of 4 bits holds one element. */
#ifndef LONGHAND_MODEL_CODEC_H
#define LONGHAND_MODEL_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/kernels.h"
#include "model/cache.h"

/* One position's x[dim] into lane (row) `place` of a head of keys (values). Scales stay finite,
 * unless there is a NaN: it makes all elements of its group NaN. */
typedef void codec_put(const struct kernels *kernels, void *head, size_t dim, size_t place,
                       const float *x);
/* Positions [0, n) of a head to floats: keys to the first n lanes of (dim, CACHE_BLOCK), values to
 * (n, dim). */
typedef void codec_get(const struct kernels *kernels, const void *head, size_t dim, size_t n,
                       float *restrict out);

struct codec {
    int bits;     /* of an element */
    bool grouped; /* scales follow the elements */
    codec_put *put_key;
    codec_put *put_value;
    codec_get *get_keys; /* NULL, as is get_values, where kernels read what is stored */
    codec_get *get_values;
};

/* NULL where caches do not come in this format. */
const struct codec *codec_find(enum format format);
/* "f32, f16, ...", for messages. */
const char *codec_names(void);

/* Bytes of a head, a multiple of CACHE_BLOCK. */
size_t codec_bytes(const struct codec *codec, size_t dim);

#endif
