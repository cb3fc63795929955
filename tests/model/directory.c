/* directory: see directory.h. */
#include "tests/model/directory.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

void directory_init(struct directory *directory)
{
    *directory = (struct directory){.metadata = {.place = "m.gguf"}};
}

void directory_free(struct directory *directory)
{
    metadata_free(&directory->metadata);
    for (int i = 0; i < directory->n_arrays; i++)
        free(directory->arrays[i].data);
    *directory = (struct directory){0};
}

void directory_set(struct directory *directory, const char *key, struct metadata_value value)
{
    struct error err;
    struct metadata *metadata = &directory->metadata;
    for (size_t i = 0; i < metadata->n_entries; i++) {
        if (text_equals(metadata->entries[i].key, key)) {
            metadata->entries[i].value = value;
            if (value.type == METADATA_TYPE_COUNT)
                metadata->entries[i] = metadata->entries[--metadata->n_entries];
            return;
        }
    }
    if (value.type == METADATA_TYPE_COUNT)
        return;
    ck_assert_int_lt(directory->n_names, 32);
    char *copy = directory->names[directory->n_names++];
    ck_assert_uint_lt(strlen(key), sizeof directory->names[0]);
    memcpy(copy, key, strlen(key) + 1);
    ck_assert_int_eq(metadata_add(metadata, (struct text){copy, strlen(copy)}, value, &err), 0);
}

struct metadata_value value_u32(uint32_t value)
{
    return (struct metadata_value){.type = METADATA_U32, .u = value};
}

struct metadata_value value_u64(uint64_t value)
{
    return (struct metadata_value){.type = METADATA_U64, .u = value};
}

struct metadata_value value_i64(int64_t value)
{
    return (struct metadata_value){.type = METADATA_I64, .i = value};
}

struct metadata_value value_f32(double value)
{
    return (struct metadata_value){.type = METADATA_F32, .f = value};
}

struct metadata_value value_bool(bool value)
{
    return (struct metadata_value){.type = METADATA_BOOL, .u = value};
}

struct metadata_value value_text(const char *value)
{
    return (struct metadata_value){.type = METADATA_STRING, .text = {value, strlen(value)}};
}

struct metadata_value value_absent(void)
{
    return (struct metadata_value){.type = METADATA_TYPE_COUNT};
}

struct bytes *directory_array(struct directory *directory)
{
    ck_assert_int_lt(directory->n_arrays, 8);
    return &directory->arrays[directory->n_arrays++];
}

struct metadata_value value_array(enum metadata_type type, uint64_t count,
                                  const struct bytes *bytes)
{
    return (struct metadata_value){.type = METADATA_ARRAY,
                                   .array = {type, count, bytes->data, bytes->size}};
}

struct metadata_value value_f32s(struct directory *directory, const float *values, int n)
{
    struct bytes *bytes = directory_array(directory);
    for (int i = 0; i < n; i++)
        bytes_add_f32(bytes, values[i]);
    return value_array(METADATA_F32, (uint64_t)n, bytes);
}

struct metadata_value value_ints(struct directory *directory, enum metadata_type type, size_t size,
                                 const int64_t *values, int n)
{
    struct bytes *bytes = directory_array(directory);
    for (int i = 0; i < n; i++)
        bytes_add_uint(bytes, (uint64_t)values[i], size);
    return value_array(type, (uint64_t)n, bytes);
}

struct metadata_value value_texts(struct directory *directory, const char *const *values, int n)
{
    struct bytes *bytes = directory_array(directory);
    for (int i = 0; i < n; i++)
        bytes_add_text(bytes, values[i]);
    return value_array(METADATA_STRING, (uint64_t)n, bytes);
}
