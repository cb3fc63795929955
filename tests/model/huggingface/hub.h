/* hub: directories of Hugging Face models, made in the scratch folder from the fixtures of
 * tests/data: transformers' config.json and the weights under transformers' names. */
#ifndef LONGHAND_TESTS_MODEL_HUB_H
#define LONGHAND_TESTS_MODEL_HUB_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "kernels/format.h"

/* The scratch folder as a path of a model. */
const char *hub_path(void);

/* Writes tests/data/huggingface/<name>/<file> to the scratch folder. */
void hub_copy(const char *name, const char *file);

/* Its JSON, which the caller changes and gives to hub_write (freed there). */
cJSON *hub_json(const char *name, const char *file);
void hub_write(const char *file, cJSON *json);

/* Writes model.safetensors with the weights of tests/data/<name>.gguf as transformers has them, in
 * which matrices are `matrices` and vectors `vectors`. */
void hub_write_weights(const char *name, enum format matrices, enum format vectors);

#endif
