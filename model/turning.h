/* turning: keys that are stored raw and rotated as they are read, for schemes whose rotation of
 * every key changes with every token (dynamic NTK).
 *
 * A block's keys are turned by their offsets in the block only, and the query by its distance from
 * the block's first key: the product depends on the difference alone. */
#ifndef LONGHAND_MODEL_TURNING_H
#define LONGHAND_MODEL_TURNING_H

#include "model/cache.h"
#include "model/position/position.h"

/* Floats of a table of angles. */
size_t turning_table_size(const struct position *position);

/* cosines, then sines, (rotated / 2, CACHE_BLOCK): of the rotation by 0 .. CACHE_BLOCK - 1 places
 * in a text of `length` tokens. */
void turning_table(const struct position *position, int64_t length, float *table);

/* Lanes [begin, end) of keys (head_dim, CACHE_BLOCK), F32 or F16, turned into `out`, F32 of the
 * same shape. */
void turning_keys(const struct position *position, const struct kernels *kernels,
                  const float *table, const void *keys, enum format format, size_t begin,
                  size_t end, float *out);

#endif
