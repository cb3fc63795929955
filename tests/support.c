/* support: see support.h. */
#include "tests/support.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool support_shared(const char *name, char *path, size_t path_bytes)
{
    const char *root = getenv("LONGHAND_SHARED");
    int length = snprintf(path, path_bytes, "%s/%s", root ? root : "../shared", name);
    ck_assert_int_lt(length, (int)path_bytes);
    if (access(path, R_OK) == 0)
        return true;
    fprintf(stderr, "skipped: %s is absent\n", path);
    return false;
}

static char scratch[64];
static char scratch_paths[32][256];
static size_t n_scratch_paths;

void scratch_make(void)
{
    snprintf(scratch, sizeof scratch, "/tmp/longhand-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(scratch));
    n_scratch_paths = 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void scratch_remove(void)
{
    ck_assert_int_eq(nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

const char *scratch_path(const char *name)
{
    char *path = scratch_paths[n_scratch_paths++ % 32];
    int length = snprintf(path, sizeof scratch_paths[0], "%s/%s", scratch, name);
    ck_assert_int_lt(length, (int)sizeof scratch_paths[0]);
    return path;
}

const char *scratch_write(const char *name, const void *bytes, size_t size)
{
    const char *path = scratch_path(name);
    unlink(path); /* some file systems write a file that is overwritten to disk at once */
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(size > 0 ? fwrite(bytes, 1, size, file) : 0, size);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

void bytes_add(struct bytes *bytes, const void *data, size_t size)
{
    if (bytes->size + size > bytes->capacity) {
        bytes->capacity = 2 * (bytes->size + size) + 64;
        bytes->data = realloc(bytes->data, bytes->capacity);
        ck_assert_ptr_nonnull(bytes->data);
    }
    if (data && size > 0)
        memcpy(bytes->data + bytes->size, data, size);
    else if (size > 0)
        memset(bytes->data + bytes->size, 0, size);
    bytes->size += size;
}

void bytes_add_uint(struct bytes *bytes, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        bytes_add(bytes, &byte, 1);
    }
}

void bytes_add_text(struct bytes *bytes, const char *text)
{
    bytes_add_uint(bytes, strlen(text), 8);
    bytes_add(bytes, text, strlen(text));
}

void bytes_add_f32(struct bytes *bytes, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bytes_add_uint(bytes, bits, 4);
}

void gguf_image_init(struct gguf_image *image)
{
    *image = (struct gguf_image){.version = 3, .alignment = 32};
}

void gguf_image_free(struct gguf_image *image)
{
    free(image->entries.data);
    free(image->records.data);
    free(image->data.data);
    *image = (struct gguf_image){0};
}

void gguf_image_key(struct gguf_image *image, const char *key, uint32_t type)
{
    bytes_add_text(&image->entries, key);
    bytes_add_uint(&image->entries, type, 4);
    image->n_entries++;
}

void gguf_image_number(struct gguf_image *image, const char *key, uint32_t type, uint64_t value,
                       size_t size)
{
    gguf_image_key(image, key, type);
    bytes_add_uint(&image->entries, value, size);
}

void gguf_image_u32(struct gguf_image *image, const char *key, uint32_t value)
{
    gguf_image_number(image, key, GGUF_U32, value, 4);
}

void gguf_image_f32(struct gguf_image *image, const char *key, float value)
{
    gguf_image_key(image, key, GGUF_F32);
    bytes_add_f32(&image->entries, value);
}

void gguf_image_bool(struct gguf_image *image, const char *key, bool value)
{
    gguf_image_number(image, key, GGUF_BOOL, value, 1);
}

void gguf_image_text(struct gguf_image *image, const char *key, const char *value)
{
    gguf_image_key(image, key, GGUF_STRING);
    bytes_add_text(&image->entries, value);
}

void gguf_image_array(struct gguf_image *image, const char *key, uint32_t item, uint64_t count)
{
    gguf_image_key(image, key, GGUF_ARRAY);
    bytes_add_uint(&image->entries, item, 4);
    bytes_add_uint(&image->entries, count, 8);
}

void gguf_image_texts(struct gguf_image *image, const char *key, const char *const *values,
                      size_t n)
{
    gguf_image_array(image, key, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        bytes_add_text(&image->entries, values[i]);
}

void gguf_image_f32s(struct gguf_image *image, const char *key, const float *values, size_t n)
{
    gguf_image_array(image, key, GGUF_F32, n);
    for (size_t i = 0; i < n; i++)
        bytes_add_f32(&image->entries, values[i]);
}

void gguf_image_i32s(struct gguf_image *image, const char *key, const int32_t *values, size_t n)
{
    gguf_image_array(image, key, GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        bytes_add_uint(&image->entries, (uint32_t)values[i], 4);
}

static void pad(struct bytes *bytes, size_t alignment)
{
    while (bytes->size % alignment != 0)
        bytes_add(bytes, NULL, 1);
}

void gguf_image_record(struct gguf_image *image, const char *name, uint32_t type, uint32_t n_dims,
                       const uint64_t *shape, uint64_t offset)
{
    bytes_add_text(&image->records, name);
    bytes_add_uint(&image->records, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++)
        bytes_add_uint(&image->records, shape[i], 8);
    bytes_add_uint(&image->records, type, 4);
    bytes_add_uint(&image->records, offset, 8);
    image->n_tensors++;
}

void gguf_image_tensor(struct gguf_image *image, const char *name, uint32_t type, uint32_t n_dims,
                       const uint64_t *shape, const void *data, size_t size)
{
    pad(&image->data, image->alignment);
    gguf_image_record(image, name, type, n_dims, shape, image->data.size);
    bytes_add(&image->data, data, size);
}

struct bytes gguf_image_finish(struct gguf_image *image)
{
    struct bytes file = {0};
    bytes_add(&file, "GGUF", 4);
    bytes_add_uint(&file, image->version, 4);
    bytes_add_uint(&file, image->n_tensors, 8);
    bytes_add_uint(&file, image->n_entries, 8);
    bytes_add(&file, image->entries.data, image->entries.size);
    bytes_add(&file, image->records.data, image->records.size);
    if (image->data.size > 0)
        pad(&file, image->alignment);
    bytes_add(&file, image->data.data, image->data.size);
    gguf_image_free(image);
    return file;
}

const char *gguf_image_write(struct gguf_image *image, const char *name)
{
    struct bytes file = gguf_image_finish(image);
    const char *path = scratch_write(name, file.data, file.size);
    free(file.data);
    return path;
}

static long fail_at, calls, failures;
static bool fail_after;

void support_fail_memory(long n, bool and_after)
{
    if (n > 0)
        failures = 0;
    fail_at = n;
    fail_after = and_after;
    calls = 0;
}

long support_memory_failures(void)
{
    return failures;
}

static bool fails_now(void)
{
    if (fail_at == 0)
        return false;
    calls++;
    if (calls != fail_at && (calls < fail_at || !fail_after))
        return false;
    failures++;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails_now() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails_now() ? NULL : __real_aligned_alloc(alignment, size);
}
