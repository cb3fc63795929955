/* fuzz_safetensors: any bytes as a safetensors file. What is read must lie inside it. */
#include <stdlib.h>
#include <string.h>

#include "model/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

/* A copy on the heap, so that the sanitizer sees a step past the end. */
static void *copy(const void *bytes, size_t size)
{
    void *out = malloc(size > 0 ? size : 1);
    require(out != NULL);
    memcpy(out, bytes, size);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char name[] = "/nonexistent/model.safetensors";
    struct file file = {copy(data, size), size};
    char *path = copy(name, sizeof name);
    struct checkpoint checkpoint = {
        .files = copy(&file, sizeof file), .paths = copy(&path, sizeof path), .n_files = 1};
    struct error err = {""};
    int result = safetensors_read(&checkpoint, 0, &err);
    require((result == 0) == (err.text[0] == 0));
    for (size_t i = 0; i < checkpoint.n_tensors; i++) {
        const struct tensor *tensor = &checkpoint.tensors[i];
        const uint8_t *start = tensor->data;
        require(start == file.data + tensor->offset && tensor->bytes > 0);
        require(tensor->offset <= size && tensor->bytes <= size - tensor->offset);
        require(tensor->n_dims >= 1 && tensor->n_dims <= TENSOR_DIMS);
    }
    checkpoint.files[0] = (struct file){0}; /* it is not a mapping */
    checkpoint_close(&checkpoint);
    free((void *)(uintptr_t)file.data);
    return 0;
}
