/* formats: what checkpoint.c and the readers of the single file formats share; nobody else includes
 * it. A new format is one more file and one more row in checkpoint.c.
 *
 * A reader finds files[0] mapped (that of a directory finds no files) and fills metadata, tensors,
 * container and, where it must, owned. It may leave the checkpoint half-built when it fails. */
#ifndef LONGHAND_MODEL_FORMATS_H
#define LONGHAND_MODEL_FORMATS_H

#include "model/checkpoint.h"

/* Appends a mapped file to files and paths. */
int checkpoint_add_file(struct checkpoint *checkpoint, const char *path, struct error *err);

/* Uninitialised memory for n items that lives as long as the checkpoint; NULL after filling err. */
void *checkpoint_own(struct checkpoint *checkpoint, size_t n, size_t item, const char *what,
                     struct error *err);

/* Makes room for n more tensors; the caller has compared n with the size of its file. */
int checkpoint_reserve_tensors(struct checkpoint *checkpoint, size_t n, struct error *err);

/* Where a tensor is said to be: at byte `offset` of files[file]. shape[0] varies fastest. */
struct tensor_claim {
    struct text name;
    enum format format;
    int n_dims;
    uint64_t shape[TENSOR_DIMS];
    int file;
    uint64_t offset;
};

/* Appends a tensor, for which there is room, after checking dimensions, size and byte range. */
int checkpoint_add_tensor(struct checkpoint *checkpoint, const struct tensor_claim *claim,
                          struct error *err);

/* Everything of checkpoint_open but mapping the first file and cleaning up: for the fuzzer, whose
 * files[0] lies in memory. */
int checkpoint_read(struct checkpoint *checkpoint, struct error *err);

bool gguf_matches(const struct file *file);
int gguf_read(struct checkpoint *checkpoint, struct error *err);

/* The size that the header of a llama2.c checkpoint promises; 0 when there is no such header. */
uint64_t llama2c_bytes(const struct file *file);
bool llama2c_matches(const struct file *file);
int llama2c_read(struct checkpoint *checkpoint, struct error *err);

/* Appends the tensors of files[file], a safetensors file, under the names that it gives them. */
int safetensors_read(struct checkpoint *checkpoint, int file, struct error *err);

/* The directory checkpoint->path. */
int huggingface_read(struct checkpoint *checkpoint, struct error *err);

#endif
