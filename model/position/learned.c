/* learned: absolute embeddings, one trained row a place, added to the token's (GPT-2). There is no
 * place beyond the table. */
#include "kernels/half.h"
#include "model/position/position.h"

static int open_table(struct position *position, const struct checkpoint *checkpoint,
                      struct error *err)
{
    const struct tensor *table = checkpoint_find(checkpoint, "position_embd.weight");
    if (!table)
        return error_set(err, "%s: tensor \"position_embd.weight\" is missing", checkpoint->path);
    if (table->n_dims != 2 || table->shape[0] != position->config->dim || table->shape[1] < 1)
        return error_set(err,
                         "%s: tensor \"position_embd.weight\" at byte %zu: shape (%lld,%lld), "
                         "expected (%d,places)",
                         table->place, table->offset, (long long)table->shape[0],
                         (long long)table->shape[1], position->config->dim);
    position->table = table;
    position->limit = table->shape[1];
    return 0;
}

static void embed(const struct position *position, int64_t at, float *x)
{
    enum { CHUNK = 256 }; /* holds a block of any format */
    const struct tensor *table = position->table;
    size_t dim = (size_t)position->config->dim;
    const struct format_info *info = &format_info[table->format];
    const uint8_t *row =
        (const uint8_t *)table->data + (size_t)at * format_row_bytes(table->format, dim);
    for (size_t d = 0; d < dim; d += CHUNK) {
        float part[CHUNK];
        size_t n = dim - d < CHUNK ? dim - d : CHUNK;
        format_dequantize(table->format,
                          row + d / (size_t)info->block_len * (size_t)info->block_bytes, n, part);
        for (size_t i = 0; i < n; i++)
            x[d + i] += part[i];
    }
}

const struct position_scheme position_learned = {
    .name = "learned", .open = open_table, .embed = embed};
