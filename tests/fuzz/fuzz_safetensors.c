/* fuzz_safetensors: any bytes as a safetensors file. What is read must lie inside it. */
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct checkpoint checkpoint = input_open("/nonexistent/model.safetensors", data, size);
    const uint8_t *bytes = checkpoint.files[0].data;
    struct error err = {""};
    int result = safetensors_read(&checkpoint, 0, &err);
    require((result == 0) == (err.text[0] == 0));
    for (size_t i = 0; i < checkpoint.n_tensors; i++) {
        const struct tensor *tensor = &checkpoint.tensors[i];
        const uint8_t *start = tensor->data;
        require(start == bytes + tensor->offset && tensor->bytes > 0);
        require(tensor->offset <= size && tensor->bytes <= size - tensor->offset);
        require(tensor->n_dims >= 1 && tensor->n_dims <= TENSOR_DIMS);
    }
    input_close(&checkpoint);
    return 0;
}
