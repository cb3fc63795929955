/* checkpoint: a model file, or a directory of files, as named tensors and metadata; no meaning
 * attached.
 *
 * The format is recognised by content. Whatever the format, names and keys are GGUF's, so nothing
 * above this layer knows where a model came from. Tensors point into the read-only mapping (small
 * ones may be a converted copy): every byte range has been checked to lie inside the file and to
 * overlap no other. */
#ifndef LONGHAND_MODEL_CHECKPOINT_H
#define LONGHAND_MODEL_CHECKPOINT_H

#include "base/error.h"
#include "base/file.h"
#include "base/metadata.h"
#include "kernels/format.h"

enum { TENSOR_DIMS = 4 };

struct tensor {
    struct text name;
    enum format format;
    int n_dims;
    int64_t shape[TENSOR_DIMS]; /* shape[0] varies fastest (columns); unused dimensions are 1 */
    const void *data;
    size_t bytes;
    size_t offset;     /* in its file, for messages */
    const char *place; /* file name, for messages */
};

struct checkpoint {
    char *path;
    const char *container; /* "GGUF v3", "llama2.c", "safetensors" */
    struct file *files;    /* more than one for a split model */
    char **paths;          /* of the files */
    int n_files;
    struct metadata metadata;
    struct tensor *tensors; /* sorted by name */
    size_t n_tensors;
    struct checkpoint_block *owned; /* memory behind names, metadata and small tensors that no file
                                       holds */
};

/* Opens `path`: a file (of a split model the first, whose siblings are found beside it), or the
 * directory of a Hugging Face model. On failure the struct is zeroed. */
int checkpoint_open(struct checkpoint *checkpoint, const char *path, struct error *err);

/* Accepts a zeroed or already closed struct. */
void checkpoint_close(struct checkpoint *checkpoint);

/* NULL when there is none of that name. */
const struct tensor *checkpoint_find(const struct checkpoint *checkpoint, const char *name);

#endif
