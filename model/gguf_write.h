/* gguf_write: writes a GGUF v3 file, tensor by tensor. */
#ifndef LONGHAND_MODEL_GGUF_WRITE_H
#define LONGHAND_MODEL_GGUF_WRITE_H

#include <stdio.h>

#include "base/error.h"
#include "model/checkpoint.h"

/* One tensor to write: the name and shape of `source`, in `format`. */
struct gguf_tensor {
    const struct tensor *source;
    enum format format;
};

/* A file being written under a temporary name, which gguf_write_finish renames to the real one, so
 * that a failure leaves nothing half-written. Zero it first. */
struct gguf_write {
    FILE *file;
    char *path;
    char *temporary;
    size_t written; /* bytes */
};

/* Creates the file and writes header, metadata (general.file_type becomes `file_type`, split keys
 * are dropped) and the directory of tensors[n]. */
int gguf_write_open(struct gguf_write *writer, const char *path, const struct metadata *metadata,
                    int file_type, const struct gguf_tensor *tensors, size_t n, struct error *err);
/* Writes the bytes of the next tensor in the order given, in one or more pieces; `last` pads to the
 * alignment. */
int gguf_write_data(struct gguf_write *writer, const void *data, size_t bytes, bool last,
                    struct error *err);
/* Flushes to disk and gives the file its name. */
int gguf_write_finish(struct gguf_write *writer, struct error *err);
/* Gives up what is not finished: removes the temporary file. Accepts a zeroed or finished struct.
 */
void gguf_write_close(struct gguf_write *writer);

#endif
