/* learned: absolute embeddings, one trained row a place, added to the token's (GPT-2). Some tables
 * begin with rows that belong to no place (OPT: 2). There is no place beyond the table. */
#include <stdio.h>

#include "base/size.h"
#include "model/keys.h"
#include "model/position/position.h"

struct learned {
    const struct tensor *table; /* (rows, dim) */
    int offset;                 /* the row of place 0 */
};

static int open_table(struct position *position, const struct position_source *source,
                      struct error *err)
{
    const struct checkpoint *checkpoint = source->checkpoint;
    const struct tensor *table = checkpoint_find(checkpoint, "position_embd.weight");
    if (!table)
        return error_set(err, "%s: tensor \"position_embd.weight\" is missing", checkpoint->path);
    if (table->n_dims != 2 || table->shape[0] != position->config->dim || table->shape[1] < 1)
        return error_set(err,
                         "%s: tensor \"position_embd.weight\" at byte %zu: shape (%lld,%lld), "
                         "expected (%d,places)",
                         table->place, table->offset, (long long)table->shape[0],
                         (long long)table->shape[1], position->config->dim);
    struct keys keys = {.metadata = &checkpoint->metadata,
                        .prefix = position->config->architecture->name,
                        .err = err};
    int offset = 0;
    keys_int(&keys, "position.offset", OPTIONAL, 0, INT32_MAX, &offset);
    if (keys.failed)
        return -1;
    if (offset >= table->shape[1])
        return error_set(err, "%s: %s is %d, but \"position_embd.weight\" has %lld rows",
                         checkpoint->path, keys_name(&keys, "position.offset"), offset,
                         (long long)table->shape[1]);
    struct learned *learned = size_alloc(1, sizeof *learned);
    if (!learned)
        return error_memory(err, "learned positions", sizeof *learned);
    *learned = (struct learned){table, offset};
    position->parameters = learned;
    position->limit = table->shape[1] - offset;
    return 0;
}

static void describe(const struct position *position, char *text, size_t size)
{
    const struct learned *learned = position->parameters;
    int n = snprintf(text, size, "%lld places", (long long)position->limit);
    if (learned->offset > 0 && n > 0 && (size_t)n < size)
        snprintf(text + n, size - (size_t)n, ", the first in row %d", learned->offset);
}

static void embed(const struct position *position, int64_t at, float *x)
{
    enum { CHUNK = 256 }; /* holds a block of any format */
    const struct learned *learned = position->parameters;
    const struct tensor *table = learned->table;
    size_t dim = (size_t)position->config->dim;
    const struct format_info *info = &format_info[table->format];
    const uint8_t *row = (const uint8_t *)table->data +
                         (size_t)(at + learned->offset) * format_row_bytes(table->format, dim);
    for (size_t d = 0; d < dim; d += CHUNK) {
        float part[CHUNK];
        size_t n = dim - d < CHUNK ? dim - d : CHUNK;
        format_dequantize(table->format,
                          row + d / (size_t)info->block_len * (size_t)info->block_bytes, n, part);
        for (size_t i = 0; i < n; i++)
            x[d + i] += part[i];
    }
}

const struct position_scheme position_learned = {.name = "learned",
                                                 .nature = POSITION_ABSOLUTE,
                                                 .open = open_table,
                                                 .describe = describe,
                                                 .embed = embed};
