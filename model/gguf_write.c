/* gguf_write: see gguf_write.h. Layout: ggml's docs/gguf.md. */
#include "model/gguf_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VERSION = 3, ALIGNMENT = 32 };

static int put(struct gguf_write *w, const void *data, size_t bytes, struct error *err)
{
    if (fwrite(data, 1, bytes, w->file) != bytes)
        return error_set(err, "%s: cannot write: %s", w->temporary, strerror(errno));
    w->written += bytes;
    return 0;
}

/* An unsigned integer of n bytes, little-endian. */
static int put_uint(struct gguf_write *w, uint64_t value, size_t n, struct error *err)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    return put(w, bytes, n, err);
}

static int put_text(struct gguf_write *w, struct text text, struct error *err)
{
    return put_uint(w, text.length, 8, err) || put(w, text.bytes, text.length, err) ? -1 : 0;
}

static int put_pad(struct gguf_write *w, struct error *err)
{
    static const uint8_t zeros[ALIGNMENT];
    return put(w, zeros, (ALIGNMENT - w->written % ALIGNMENT) % ALIGNMENT, err);
}

static int put_value(struct gguf_write *w, const struct metadata_value *value, struct error *err)
{
    if (put_uint(w, value->type, 4, err))
        return -1;
    switch (value->type) {
    case METADATA_STRING:
        return put_text(w, value->text, err);
    case METADATA_ARRAY:
        return put_uint(w, value->array.type, 4, err) || put_uint(w, value->array.count, 8, err) ||
                       put(w, value->array.bytes, value->array.size, err)
                   ? -1
                   : 0;
    case METADATA_F32: {
        float number = (float)value->f;
        return put(w, &number, sizeof number, err);
    }
    case METADATA_F64:
        return put(w, &value->f, sizeof value->f, err);
    default: /* integers: two's complement, so signed and unsigned have the same low bytes */
        return put_uint(w, value->u, metadata_type_bytes(value->type), err);
    }
}

/* Keys that describe the old file's bytes and not the model. */
static bool is_of_the_file(struct text key)
{
    return text_equals(key, "general.file_type") || text_equals(key, "general.alignment") ||
           text_equals(key, "split.no") || text_equals(key, "split.count") ||
           text_equals(key, "split.tensors.count");
}

static int put_metadata(struct gguf_write *w, const struct metadata *metadata, int file_type,
                        struct error *err)
{
    static const char key[] = "general.file_type";
    for (size_t i = 0; i < metadata->n_entries; i++) {
        const struct metadata_entry *entry = &metadata->entries[i];
        if (!is_of_the_file(entry->key) &&
            (put_text(w, entry->key, err) || put_value(w, &entry->value, err)))
            return -1;
    }
    struct metadata_value value = {.type = METADATA_U32, .u = (uint64_t)file_type};
    return put_text(w, (struct text){key, sizeof key - 1}, err) || put_value(w, &value, err) ? -1
                                                                                             : 0;
}

static size_t tensor_bytes(const struct gguf_tensor *tensor)
{
    size_t bytes = format_row_bytes(tensor->format, (size_t)tensor->source->shape[0]);
    for (int d = 1; d < TENSOR_DIMS; d++)
        bytes *= (size_t)tensor->source
                     ->shape[d]; /* no larger than the source, which is in memory as f32 at most */
    return bytes;
}

static int put_directory(struct gguf_write *w, const struct gguf_tensor *tensors, size_t n,
                         struct error *err)
{
    size_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        const struct tensor *source = tensors[i].source;
        if (put_text(w, source->name, err) || put_uint(w, (uint64_t)source->n_dims, 4, err))
            return -1;
        for (int d = 0; d < source->n_dims; d++)
            if (put_uint(w, (uint64_t)source->shape[d], 8, err))
                return -1;
        if (put_uint(w, format_info[tensors[i].format].ggml_type, 4, err) ||
            put_uint(w, offset, 8, err))
            return -1;
        offset += (tensor_bytes(&tensors[i]) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    return put_pad(w, err);
}

static char *join(const char *path, const char *suffix)
{
    size_t length = strlen(path);
    char *joined = malloc(length + strlen(suffix) + 1);
    if (joined) {
        memcpy(joined, path, length);
        memcpy(joined + length, suffix, strlen(suffix) + 1);
    }
    return joined;
}

int gguf_write_open(struct gguf_write *writer, const char *path, const struct metadata *metadata,
                    int file_type, const struct gguf_tensor *tensors, size_t n, struct error *err)
{
    size_t n_entries = 1;
    for (size_t i = 0; i < metadata->n_entries; i++)
        n_entries += !is_of_the_file(metadata->entries[i].key);
    *writer = (struct gguf_write){.path = join(path, ""), .temporary = join(path, ".part")};
    if (!writer->path || !writer->temporary)
        return error_memory(err, "a file name", strlen(path));
    writer->file = fopen(writer->temporary, "wbe");
    if (!writer->file)
        return error_set(err, "%s: cannot create: %s", writer->temporary, strerror(errno));
    if (put(writer, "GGUF", 4, err) || put_uint(writer, VERSION, 4, err) ||
        put_uint(writer, n, 8, err) || put_uint(writer, n_entries, 8, err))
        return -1;
    return put_metadata(writer, metadata, file_type, err) || put_directory(writer, tensors, n, err)
               ? -1
               : 0;
}

int gguf_write_data(struct gguf_write *writer, const void *data, size_t bytes, bool last,
                    struct error *err)
{
    return put(writer, data, bytes, err) || (last && put_pad(writer, err)) ? -1 : 0;
}

int gguf_write_finish(struct gguf_write *writer, struct error *err)
{
    bool ok = fflush(writer->file) == 0 && fsync(fileno(writer->file)) == 0;
    ok = fclose(writer->file) == 0 && ok;
    writer->file = NULL;
    if (!ok || rename(writer->temporary, writer->path) != 0) {
        error_set(err, "%s: cannot write: %s", writer->path, strerror(errno));
        unlink(writer->temporary);
        return -1;
    }
    return 0;
}

void gguf_write_close(struct gguf_write *writer)
{
    if (writer->file) {
        fclose(writer->file);
        unlink(writer->temporary);
    }
    free(writer->path);
    free(writer->temporary);
    *writer = (struct gguf_write){0};
}
