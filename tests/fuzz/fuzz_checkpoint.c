/* fuzz_checkpoint: any bytes as a model file. What opens must hold what it promises: every tensor
 * and every array lies inside the file, and no two tensors share a byte. */
#include <stdlib.h>

#include "tests/fuzz/input.h"

static void check_array(const struct metadata_value *value)
{
    struct cursor items = cursor_over(value->array.bytes, value->array.size);
    size_t item_bytes = metadata_type_bytes(value->array.type);
    require(value->array.type == METADATA_STRING || item_bytes > 0);
    for (uint64_t i = 0; i < value->array.count; i++) {
        if (value->array.type == METADATA_STRING)
            text_printable(metadata_next_text(&items));
        else
            cursor_uint(&items, item_bytes);
    }
    require(!items.failed && cursor_left(&items) == 0);
}

static void check_metadata(const struct metadata *metadata)
{
    struct error err;
    uint64_t number;
    double real;
    for (size_t i = 0; i < metadata->n_entries; i++) {
        const struct metadata_entry *entry = &metadata->entries[i];
        require(i == 0 || text_compare(metadata->entries[i - 1].key, entry->key) < 0);
        text_printable(entry->key);
        if (entry->value.type == METADATA_STRING)
            text_printable(entry->value.text);
        if (entry->value.type == METADATA_ARRAY)
            check_array(&entry->value);
    }
    metadata_u64(metadata, "llama.block_count", REQUIRED, &number, &err);
    metadata_double(metadata, "llama.rope.freq_base", REQUIRED, &real, &err);
}

static int compare_data(const void *a, const void *b)
{
    const struct tensor *const *left = a, *const *right = b;
    return ((*left)->data > (*right)->data) - ((*left)->data < (*right)->data);
}

static void check_tensors(const struct checkpoint *checkpoint, const uint8_t *data, size_t size)
{
    size_t n = checkpoint->n_tensors;
    const struct tensor **by_data = malloc((n + 1) * sizeof *by_data);
    require(by_data != NULL);
    for (size_t i = 0; i < n; i++) {
        const struct tensor *tensor = &checkpoint->tensors[i];
        const uint8_t *start = tensor->data;
        require(start >= data && start + tensor->bytes <= data + size && tensor->bytes > 0);
        require(start == data + tensor->offset && tensor->format < FORMAT_COUNT);
        require(i == 0 || text_compare(tensor[-1].name, tensor->name) < 0);
        by_data[i] = tensor;
    }
    qsort(by_data, n, sizeof *by_data, compare_data);
    for (size_t i = 1; i < n; i++)
        require((const uint8_t *)by_data[i - 1]->data + by_data[i - 1]->bytes <=
                (const uint8_t *)by_data[i]->data);
    free(by_data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct checkpoint checkpoint = input_open("/nonexistent/m-00001-of-00002.gguf", data, size);
    struct error err = {""};
    if (size > 0 && checkpoint_read(&checkpoint, &err) == 0) {
        check_metadata(&checkpoint.metadata);
        check_tensors(&checkpoint, checkpoint.files[0].data, size);
    } else {
        require(size == 0 || err.text[0] != 0);
    }
    input_close(&checkpoint);
    return 0;
}
