/* directory: the keys of a checkpoint, made in memory. */
#ifndef LONGHAND_TESTS_MODEL_DIRECTORY_H
#define LONGHAND_TESTS_MODEL_DIRECTORY_H

#include "base/metadata.h"
#include "tests/support.h"

struct directory {
    struct metadata metadata; /* its place is "m.gguf" */
    char names[32][64];
    int n_names;
    struct bytes arrays[8];
    int n_arrays;
};

/* directory_init, set, metadata_sort, directory_free. */
void directory_init(struct directory *directory);
void directory_free(struct directory *directory);

/* Adds or replaces a key; value_absent() takes it away. */
void directory_set(struct directory *directory, const char *key, struct metadata_value value);

struct metadata_value value_u32(uint32_t value);
struct metadata_value value_u64(uint64_t value);
struct metadata_value value_i64(int64_t value);
struct metadata_value value_f32(double value);
struct metadata_value value_bool(bool value);
struct metadata_value value_text(const char *value);
struct metadata_value value_absent(void);

/* An array of `count` items whose bytes the caller appends; lives as long as the directory. */
struct bytes *directory_array(struct directory *directory);
struct metadata_value value_array(enum metadata_type type, uint64_t count,
                                  const struct bytes *bytes);
struct metadata_value value_f32s(struct directory *directory, const float *values, int n);
/* Integers of `size` bytes. */
struct metadata_value value_ints(struct directory *directory, enum metadata_type type, size_t size,
                                 const int64_t *values, int n);
struct metadata_value value_texts(struct directory *directory, const char *const *values, int n);

#endif
