/* support: what several suites need: scratch files, model files built in memory, memory that runs
 * out.
 *
 * None of it knows the code under test: an image is made from the specification of GGUF. */
#ifndef LONGHAND_TESTS_SUPPORT_H
#define LONGHAND_TESTS_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes the path of a file of the data that is not part of the project (LONGHAND_SHARED, or
 * ../shared). False, after saying on stderr that the test is skipped, when it is absent. */
bool support_shared(const char *name, char *path, size_t path_bytes);

/* A scratch folder. Paths that scratch_write returns live until the next scratch_remove. */
void scratch_make(void);
void scratch_remove(void); /* with all that it holds */
const char *scratch_path(const char *name);
const char *scratch_write(const char *name, const void *bytes, size_t size);

/* Bytes that grow; free(bytes.data). */
struct bytes {
    uint8_t *data;
    size_t size;
    size_t capacity;
};
void bytes_add(struct bytes *bytes, const void *data, size_t size);
void bytes_add_uint(struct bytes *bytes, uint64_t value, size_t size); /* little-endian */
void bytes_add_text(struct bytes *bytes, const char *text); /* as GGUF: 64-bit length, bytes */
void bytes_add_f32(struct bytes *bytes, float value);

/* A GGUF file being built. gguf_image_init, add, gguf_image_finish. Every field may be changed
 * before finishing, to lie; entries and records that no function below would make are appended to
 * `entries` and `records` byte by byte (and counted). */
struct gguf_image {
    uint32_t version;
    uint64_t n_entries;
    uint64_t n_tensors;
    size_t alignment; /* of the data; does not write general.alignment */
    struct bytes entries;
    struct bytes records;
    struct bytes data;
};
void gguf_image_init(struct gguf_image *image);
void gguf_image_free(struct gguf_image *image);
/* Starts an entry of GGUF type `type`: the caller appends the value to image->entries. */
void gguf_image_key(struct gguf_image *image, const char *key, uint32_t type);
/* An entry of a scalar type, from the low bytes of `value`. */
void gguf_image_number(struct gguf_image *image, const char *key, uint32_t type, uint64_t value,
                       size_t size);
/* Starts an array: the caller appends the items to image->entries. */
void gguf_image_array(struct gguf_image *image, const char *key, uint32_t item, uint64_t count);
void gguf_image_u32(struct gguf_image *image, const char *key, uint32_t value);
void gguf_image_f32(struct gguf_image *image, const char *key, float value);
void gguf_image_bool(struct gguf_image *image, const char *key, bool value);
void gguf_image_text(struct gguf_image *image, const char *key, const char *value);
void gguf_image_texts(struct gguf_image *image, const char *key, const char *const *values,
                      size_t n);
void gguf_image_f32s(struct gguf_image *image, const char *key, const float *values, size_t n);
void gguf_image_i32s(struct gguf_image *image, const char *key, const int32_t *values, size_t n);
/* A tensor of GGUF type `type` whose data (or zeros, when NULL) take `size` bytes. */
void gguf_image_tensor(struct gguf_image *image, const char *name, uint32_t type, uint32_t n_dims,
                       const uint64_t *shape, const void *data, size_t size);
/* The record alone, offset and all as given. */
void gguf_image_record(struct gguf_image *image, const char *name, uint32_t type, uint32_t n_dims,
                       const uint64_t *shape, uint64_t offset);
/* The file. The image is freed. */
struct bytes gguf_image_finish(struct gguf_image *image);

/* Finishes, writes to the scratch folder and returns the path. */
const char *gguf_image_write(struct gguf_image *image, const char *name);

/* GGUF's numbers of value types and of some tensor types. */
enum {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64
};
enum { GGML_F32 = 0, GGML_F16 = 1, GGML_Q4_0 = 2, GGML_Q8_0 = 8, GGML_Q4_K = 12 };

/* Memory that runs out: the n-th call (from 1) of malloc, calloc, realloc or aligned_alloc from the
 * project's own objects returns NULL, and every call after it too when `and_after`. n = 0 disarms.
 * Works where the test program is linked with --wrap for the four. Between arming and disarming
 * call no libcheck function: it allocates too. */
void support_fail_memory(long n, bool and_after);
/* Calls that failed since arming. */
long support_memory_failures(void);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);

#endif
