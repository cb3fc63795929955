/* model: see model.h. */
#include "model/model.h"

#include <stdlib.h>

#include "model/weights.h"

/* Every layer of the architectures so far has the same scheme. */
static int open_positions(struct model *model, const struct checkpoint *checkpoint,
                          struct error *err)
{
    model->positions = calloc(1, sizeof *model->positions);
    if (!model->positions)
        return error_memory(err, "the position scheme", sizeof *model->positions);
    model->n_positions = 1;
    if (position_open(&model->positions[0], &model->config, checkpoint, err))
        return -1;
    for (int l = 0; l < model->config.n_layers; l++)
        model->layers[l].position = &model->positions[0];
    return 0;
}

static void count_weights(struct model *model, const struct checkpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct tensor *tensor = &checkpoint->tensors[i];
        size_t n = 1;
        for (int d = 0; d < TENSOR_DIMS; d++)
            n *= (size_t)tensor->shape[d];
        model->n_weights += n;
        model->weight_bytes += tensor->bytes;
    }
    /* Generation reads everything but the rows of the embedding that it does not look up. */
    const struct matrix *embedding = &model->embedding;
    model->token_bytes = model->weight_bytes;
    if (model->output.w.data != embedding->data)
        model->token_bytes -=
            (size_t)embedding->rows * format_row_bytes(embedding->format, (size_t)embedding->cols);
}

int model_open(struct model *model, const struct checkpoint *checkpoint, const char *isa,
               struct error *err)
{
    *model = (struct model){0};
    if (kernels_select(&model->kernels, isa, err))
        return -1;
    int vocab_size = weights_vocab_size(checkpoint, err);
    if (vocab_size < 0 || config_read(&model->config, &checkpoint->metadata, vocab_size, err) ||
        weights_read(model, checkpoint, err) || open_positions(model, checkpoint, err)) {
        model_close(model);
        return -1;
    }
    count_weights(model, checkpoint);
    return 0;
}

void model_close(struct model *model)
{
    for (int i = 0; i < model->n_positions; i++)
        position_close(&model->positions[i]);
    free(model->positions);
    free(model->layers);
    *model = (struct model){0};
}
