/* checkpoint: see checkpoint.h. This file tells the formats apart and owns what they have in
 * common: files, the list of tensors, its checks and look-up. */
#include "model/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/size.h"
#include "model/formats.h"

static const struct {
    const char *name; /* what a file may be, for the message when it is nothing */
    bool (*matches)(const struct file *file);
    int (*read)(struct checkpoint *checkpoint, struct error *err);
} formats[] = {
    {"GGUF v2 or v3", gguf_matches, gguf_read},
    {"llama2.c", llama2c_matches, llama2c_read},
};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

/* What people try to open by mistake. */
static const struct {
    size_t offset;
    const char *magic;
    const char *description;
} strangers[] = {
    {0, "PK\3\4", "a ZIP archive or PyTorch checkpoint"},
    {8, "{\"", "a safetensors file (name its directory instead)"},
    {0, "{", "a JSON file (name the directory of the model instead)"},
    {0, "version https://git-lfs", "a Git LFS pointer: the file itself was not downloaded"},
    {0, "24ka", "a llama2.c export of version 1 or 2; only the legacy export is supported"},
    {0, "lmgg", "a GGML file from before GGUF"},
    {0, "fmgg", "a GGML file from before GGUF"},
    {0, "tjgg", "a GGML file from before GGUF"},
    {0, "\177ELF", "a program"},
    {0, "\x89PNG", "a PNG image"},
    {0, "\x1f\x8b", "a gzip archive"},
    {0, "\x80\2", "a Python pickle"},
};
enum { N_STRANGERS = sizeof strangers / sizeof strangers[0] };

static bool is_plain_text(const struct file *file)
{
    size_t n = file->size < 256 ? file->size : 256;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = file->data[i];
        if (c == 0x7F || (c < 0x20 && (c < '\t' || c > '\r')))
            return false;
    }
    return true;
}

static const char *describe_stranger(const struct file *file)
{
    for (size_t i = 0; i < N_STRANGERS; i++) {
        size_t length = strlen(strangers[i].magic), end = strangers[i].offset + length;
        if (file->size >= end &&
            memcmp(file->data + strangers[i].offset, strangers[i].magic, length) == 0)
            return strangers[i].description;
    }
    return is_plain_text(file) ? "a text file" : "unknown data";
}

static int refuse_stranger(const struct checkpoint *checkpoint, struct error *err)
{
    const struct file *file = &checkpoint->files[0];
    char names[128] = "";
    for (size_t i = 0, used = 0; i < N_FORMATS && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "",
                                 formats[i].name);
    uint64_t promised = llama2c_bytes(file);
    if (promised > 0)
        return error_set(
            err, "%s: looks like a llama2.c checkpoint of %llu bytes, but has %zu: truncated?",
            checkpoint->path, (unsigned long long)promised, file->size);
    return error_set(err, "%s: looks like %s, expected a model: %s", checkpoint->path,
                     describe_stranger(file), names);
}

int checkpoint_add_file(struct checkpoint *checkpoint, const char *path, struct error *err)
{
    size_t n = (size_t)checkpoint->n_files + 1;
    struct file *files = realloc(checkpoint->files, n * sizeof *files);
    if (!files)
        return error_memory(err, "list of files", n * sizeof *files);
    checkpoint->files = files;
    char **paths = realloc(checkpoint->paths, n * sizeof *paths);
    if (!paths)
        return error_memory(err, "list of files", n * sizeof *paths);
    checkpoint->paths = paths;
    size_t length = strlen(path) + 1;
    char *copy = malloc(length);
    if (!copy)
        return error_memory(err, "file name", length);
    memcpy(copy, path, length);
    if (file_open(&files[n - 1], path, err) != 0) {
        free(copy);
        return -1;
    }
    paths[n - 1] = copy;
    checkpoint->n_files++;
    return 0;
}

/* A piece of memory that lives as long as its checkpoint. */
struct checkpoint_block {
    struct checkpoint_block *next;
    max_align_t bytes[];
};

void *checkpoint_own(struct checkpoint *checkpoint, size_t n, size_t item, const char *what,
                     struct error *err)
{
    size_t bytes = SIZE_MAX;
    struct checkpoint_block *block = NULL;
    if (size_mul(n, item, &bytes) && size_add(bytes, sizeof *block, &bytes))
        block = malloc(bytes);
    if (!block) {
        error_memory(err, what, bytes);
        return NULL;
    }
    block->next = checkpoint->owned;
    checkpoint->owned = block;
    return block->bytes;
}

static void free_blocks(struct checkpoint_block *block)
{
    while (block) {
        struct checkpoint_block *next = block->next;
        free(block);
        block = next;
    }
}

int checkpoint_reserve_tensors(struct checkpoint *checkpoint, size_t n, struct error *err)
{
    size_t bytes = SIZE_MAX;
    struct tensor *tensors = NULL;
    if (size_add(n, checkpoint->n_tensors, &n) && size_mul(n, sizeof *tensors, &bytes) && bytes > 0)
        tensors = realloc(checkpoint->tensors, bytes);
    if (!tensors && bytes > 0)
        return error_memory(err, "list of tensors", bytes);
    if (tensors)
        checkpoint->tensors = tensors;
    return 0;
}

/* Fills shape and bytes. */
static int measure_tensor(struct tensor *tensor, const struct tensor_claim *claim,
                          struct error *err)
{
    const struct format_info *info = &format_info[claim->format];
    if (claim->n_dims < 1 || claim->n_dims > TENSOR_DIMS)
        return error_set(err, "%d dimensions, expected 1 to %d", claim->n_dims, TENSOR_DIMS);
    size_t rows = 1;
    for (int i = 0; i < TENSOR_DIMS; i++) {
        uint64_t extent = i < claim->n_dims ? claim->shape[i] : 1;
        if (extent == 0 || extent > INT64_MAX)
            return error_set(err, "dimension %d is %llu, expected 1 to %lld", i,
                             (unsigned long long)extent, (long long)INT64_MAX);
        tensor->shape[i] = (int64_t)extent;
        if (i > 0 && !size_mul(rows, (size_t)extent, &rows))
            return error_set(err, "its dimensions multiply to more than memory can hold");
    }
    size_t columns = (size_t)tensor->shape[0], block_len = (size_t)info->block_len;
    if (columns % block_len != 0)
        return error_set(err, "%zu columns of %s, expected a multiple of %zu", columns, info->name,
                         block_len);
    size_t row_bytes;
    if (!size_mul(columns / block_len, (size_t)info->block_bytes, &row_bytes) ||
        !size_mul(rows, row_bytes, &tensor->bytes))
        return error_set(err, "its dimensions multiply to more than memory can hold");
    return 0;
}

int checkpoint_add_tensor(struct checkpoint *checkpoint, const struct tensor_claim *claim,
                          struct error *err)
{
    const struct file *file = &checkpoint->files[claim->file];
    const char *place = checkpoint->paths[claim->file];
    struct tensor tensor = {
        .name = claim->name, .format = claim->format, .n_dims = claim->n_dims, .place = place};
    if (measure_tensor(&tensor, claim, err) != 0)
        return error_prefix(err, "%s: tensor \"%s\"", place, text_printable(claim->name).chars);
    if (claim->offset > file->size || tensor.bytes > file->size - (size_t)claim->offset)
        return error_set(
            err,
            "%s: tensor \"%s\" at byte %llu: has %zu bytes, but the file ends at %zu: truncated?",
            place, text_printable(claim->name).chars, (unsigned long long)claim->offset,
            tensor.bytes, file->size);
    tensor.offset = (size_t)claim->offset;
    tensor.data = file->data + tensor.offset;
    checkpoint->tensors[checkpoint->n_tensors++] = tensor;
    return 0;
}

static int compare_places(const void *a, const void *b)
{
    const struct tensor *left = a, *right = b;
    uintptr_t x = (uintptr_t)left->data, y = (uintptr_t)right->data;
    return (x > y) - (x < y);
}

static int compare_names(const void *a, const void *b)
{
    const struct tensor *left = a, *right = b;
    return text_compare(left->name, right->name);
}

/* No two tensors may share a byte or a name; leaves them sorted by name. Mappings of different
 * files are disjoint, so addresses compare across files. */
static int index_tensors(struct checkpoint *checkpoint, struct error *err)
{
    struct tensor *tensors = checkpoint->tensors;
    size_t n = checkpoint->n_tensors;
    if (n == 0)
        return 0;
    qsort(tensors, n, sizeof *tensors, compare_places);
    for (size_t i = 1; i < n; i++) {
        const struct tensor *left = &tensors[i - 1], *right = &tensors[i];
        if ((uintptr_t)right->data - (uintptr_t)left->data < left->bytes)
            return error_set(
                err, "%s: tensor \"%s\" at byte %zu overlaps \"%s\" at bytes %zu to %zu",
                right->place, text_printable(right->name).chars, right->offset,
                text_printable(left->name).chars, left->offset, left->offset + left->bytes);
    }
    qsort(tensors, n, sizeof *tensors, compare_names);
    for (size_t i = 1; i < n; i++) {
        const struct tensor *left = &tensors[i - 1], *right = &tensors[i];
        if (text_compare(left->name, right->name) == 0)
            return error_set(
                err,
                "%s: tensor \"%s\" at byte %zu occurs twice, expected once: also at byte %zu of %s",
                left->place, text_printable(left->name).chars, left->offset, right->offset,
                right->place);
    }
    return 0;
}

int checkpoint_read(struct checkpoint *checkpoint, struct error *err)
{
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (!formats[i].matches(&checkpoint->files[0]))
            continue;
        if (formats[i].read(checkpoint, err) != 0)
            return -1;
        return index_tensors(checkpoint, err);
    }
    return refuse_stranger(checkpoint, err);
}

static int read_directory(struct checkpoint *checkpoint, struct error *err)
{
    return huggingface_read(checkpoint, err) != 0 ? -1 : index_tensors(checkpoint, err);
}

static int read_one_file(struct checkpoint *checkpoint, struct error *err)
{
    return checkpoint_add_file(checkpoint, checkpoint->path, err) != 0
               ? -1
               : checkpoint_read(checkpoint, err);
}

int checkpoint_open(struct checkpoint *checkpoint, const char *path, struct error *err)
{
    *checkpoint = (struct checkpoint){0};
    size_t length = strlen(path) + 1;
    checkpoint->path = malloc(length);
    if (!checkpoint->path)
        return error_memory(err, "file name", length);
    memcpy(checkpoint->path, path, length);
    struct stat status;
    int result = stat(path, &status) == 0 && S_ISDIR(status.st_mode)
                     ? read_directory(checkpoint, err)
                     : read_one_file(checkpoint, err);
    if (result != 0)
        checkpoint_close(checkpoint);
    return result;
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    metadata_free(&checkpoint->metadata);
    free(checkpoint->tensors);
    free_blocks(checkpoint->owned);
    for (int i = 0; i < checkpoint->n_files; i++) {
        file_close(&checkpoint->files[i]);
        free(checkpoint->paths[i]);
    }
    free(checkpoint->files);
    free(checkpoint->paths);
    free(checkpoint->path);
    *checkpoint = (struct checkpoint){0};
}

const struct tensor *checkpoint_find(const struct checkpoint *checkpoint, const char *name)
{
    if (checkpoint->n_tensors == 0)
        return NULL;
    struct tensor wanted = {.name = {name, strlen(name)}};
    return bsearch(&wanted, checkpoint->tensors, checkpoint->n_tensors, sizeof wanted,
                   compare_names);
}
