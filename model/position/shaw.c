/* shaw: a trained vector for every distance up to K, one for all beyond, added to the keys and
 * perhaps to the values (Shaw et al. 2018, arXiv:1803.02155). A decoder looks back only, so the
 * file has K + 1 rows, row r for distance r. */
#include <stdio.h>
#include <string.h>

#include "model/position/position.h"

static int open_rows(struct position *position, const struct position_source *source,
                     struct error *err)
{
    int head_dim = position->config->head_dim;
    int64_t rows = position_rows(source, "attn_rel_k.weight", head_dim, err);
    if (rows < 0 ||
        position_read(source, "attn_rel_k.weight", REQUIRED, rows, head_dim,
                      &position->tensors[VECTORS_QUERY], err) ||
        position_read(source, "attn_rel_v.weight", OPTIONAL, rows, head_dim,
                      &position->tensors[VECTORS_VALUE], err))
        return -1;
    position->last_distance = rows - 1;
    position->vector_heads[VECTORS_QUERY] = 1;
    position->vector_heads[VECTORS_VALUE] = position->tensors[VECTORS_VALUE] ? 1 : 0;
    return 0;
}

static void describe(const struct position *position, char *text, size_t size)
{
    snprintf(text, size, "distances up to %lld, %s", (long long)position->last_distance,
             position->tensors[VECTORS_VALUE] ? "keys and values" : "keys");
}

static void vectors(const struct position *position, enum position_vectors which, int64_t distance,
                    float *r)
{
    size_t row = (size_t)(distance < position->last_distance ? distance : position->last_distance);
    size_t head_dim = (size_t)position->config->head_dim;
    memcpy(r, position->tensors[which] + row * head_dim, head_dim * sizeof *r);
}

const struct position_scheme position_shaw = {.name = "shaw",
                                              .nature = POSITION_WHOLE,
                                              .layered = true,
                                              .open = open_rows,
                                              .describe = describe,
                                              .vectors = vectors};
