/* model: see model.h. */
#include "model/model.h"

#include <stdlib.h>

#include "model/weights.h"

/* Whether a layer can use the scheme opened for another. */
static bool same_scheme(const struct position *position, const struct layer_config *layer)
{
    return !position->scheme->layered && position->layer->position == layer->position &&
           position->layer->rope_base == layer->rope_base &&
           position->layer->rope_scaling == layer->rope_scaling;
}

static int open_positions(struct model *model, const struct checkpoint *checkpoint,
                          const struct rope_override *override, struct error *err)
{
    const struct config *config = &model->config;
    model->positions = calloc((size_t)config->n_layers, sizeof *model->positions);
    if (!model->positions)
        return error_memory(err, "the position schemes",
                            (size_t)config->n_layers * sizeof *model->positions);
    for (int l = 0; l < config->n_layers; l++) {
        int p = 0;
        while (p < model->n_positions && !same_scheme(&model->positions[p], &config->layers[l]))
            p++;
        struct position_source source = {config, checkpoint, l, override};
        if (p == model->n_positions && position_open(&model->positions[p], &source, err))
            return -1;
        model->n_positions = p == model->n_positions ? p + 1 : model->n_positions;
        model->layers[l].position = &model->positions[p];
    }
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

int model_open(struct model *model, const struct checkpoint *checkpoint,
               const struct model_options *options, struct error *err)
{
    static const struct model_options defaults;
    *model = (struct model){0};
    if (!options)
        options = &defaults;
    if (kernels_select(&model->kernels, options->isa, err))
        return -1;
    int vocab_size = weights_vocab_size(checkpoint, err);
    if (vocab_size < 0 || config_read(&model->config, &checkpoint->metadata, vocab_size, err) ||
        weights_read(model, checkpoint, err) ||
        open_positions(model, checkpoint, options->rope, err)) {
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
    config_close(&model->config);
    *model = (struct model){0};
}
