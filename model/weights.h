/* weights: finds the tensors of a model and checks each one's type and shape, once. Called by
 * model_open. */
#ifndef LONGHAND_MODEL_WEIGHTS_H
#define LONGHAND_MODEL_WEIGHTS_H

#include "model/model.h"

/* Fills embedding, norms, output and layers (allocated; layer positions are the caller's) from the
 * checkpoint; model->config is set. A tensor that nothing uses is not an error. */
int weights_read(struct model *model, const struct checkpoint *checkpoint, struct error *err);

/* Rows of the embedding = size of the vocabulary; -1 on error. */
int weights_vocab_size(const struct checkpoint *checkpoint, struct error *err);

#endif
