/* key_writer: see key_writer.h. */
#include "model/huggingface/key_writer.h"

#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "model/formats.h"

static void *own(struct key_writer *writer, size_t n, size_t item)
{
    void *bytes = checkpoint_own(writer->checkpoint, n, item, "metadata", writer->err);
    writer->failed = !bytes;
    return bytes;
}

static void add(struct key_writer *writer, const char *name, struct metadata_value value)
{
    if (writer->failed)
        return;
    size_t length = strlen(writer->prefix) + 1 + strlen(name);
    char *key = own(writer, length + 1, 1);
    if (!key)
        return;
    snprintf(key, length + 1, "%s.%s", writer->prefix, name);
    writer->failed = metadata_add(&writer->checkpoint->metadata, (struct text){key, length}, value,
                                  writer->err) != 0;
}

void key_writer_uint(struct key_writer *writer, const char *name, uint64_t value)
{
    add(writer, name, (struct metadata_value){.type = METADATA_U64, .u = value});
}

void key_writer_double(struct key_writer *writer, const char *name, double value)
{
    add(writer, name, (struct metadata_value){.type = METADATA_F64, .f = value});
}

void key_writer_bool(struct key_writer *writer, const char *name, bool value)
{
    add(writer, name, (struct metadata_value){.type = METADATA_BOOL, .u = value});
}

void key_writer_text(struct key_writer *writer, const char *name, struct text value)
{
    char *bytes = writer->failed ? NULL : own(writer, value.length + 1, 1);
    if (!bytes)
        return;
    memcpy(bytes, value.bytes, value.length);
    add(writer, name,
        (struct metadata_value){.type = METADATA_STRING, .text = {bytes, value.length}});
}

static uint8_t *put(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *out++ = (uint8_t)(value >> (8 * i));
    return out;
}

static void add_array(struct key_writer *writer, const char *name, enum metadata_type type,
                      size_t n, const uint8_t *bytes, size_t size)
{
    add(writer, name,
        (struct metadata_value){
            .type = METADATA_ARRAY,
            .array = {.type = type, .count = n, .bytes = bytes, .size = size},
        });
}

/* Items of four bytes. */
static void add_words(struct key_writer *writer, const char *name, enum metadata_type type,
                      const void *values, size_t n)
{
    uint8_t *bytes = writer->failed ? NULL : own(writer, n, sizeof(uint32_t)), *out = bytes;
    if (!bytes)
        return;
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, (const uint8_t *)values + i * sizeof word, sizeof word);
        out = put(out, word, sizeof word);
    }
    add_array(writer, name, type, n, bytes, n * sizeof(uint32_t));
}

void key_writer_uints(struct key_writer *writer, const char *name, const uint32_t *values, size_t n)
{
    add_words(writer, name, METADATA_U32, values, n);
}

void key_writer_ints(struct key_writer *writer, const char *name, const int32_t *values, size_t n)
{
    add_words(writer, name, METADATA_I32, values, n);
}

void key_writer_floats(struct key_writer *writer, const char *name, const float *values, size_t n)
{
    add_words(writer, name, METADATA_F32, values, n);
}

void key_writer_texts(struct key_writer *writer, const char *name, const struct text *values,
                      size_t n)
{
    size_t size = 0;
    bool fits = true;
    for (size_t i = 0; i < n; i++)
        fits = fits && size_add(size, sizeof(uint64_t), &size) &&
               size_add(size, values[i].length, &size);
    uint8_t *bytes = writer->failed ? NULL : own(writer, fits ? size : SIZE_MAX, 1), *out = bytes;
    if (!bytes)
        return;
    for (size_t i = 0; i < n; i++) {
        out = put(out, values[i].length, sizeof(uint64_t));
        if (values[i].length > 0)
            memcpy(out, values[i].bytes, values[i].length);
        out += values[i].length;
    }
    add_array(writer, name, METADATA_STRING, n, bytes, size);
}
