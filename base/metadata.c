/* metadata: see metadata.h. */
#include "base/metadata.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/size.h"

static const struct {
    const char *name;
    size_t bytes;
} types[METADATA_TYPE_COUNT] = {
    [METADATA_U8] = {"u8", 1},         [METADATA_I8] = {"i8", 1},
    [METADATA_U16] = {"u16", 2},       [METADATA_I16] = {"i16", 2},
    [METADATA_U32] = {"u32", 4},       [METADATA_I32] = {"i32", 4},
    [METADATA_F32] = {"f32", 4},       [METADATA_BOOL] = {"bool", 1},
    [METADATA_STRING] = {"string", 0}, [METADATA_ARRAY] = {"array", 0},
    [METADATA_U64] = {"u64", 8},       [METADATA_I64] = {"i64", 8},
    [METADATA_F64] = {"f64", 8},
};

const char *metadata_type_name(enum metadata_type type)
{
    return (unsigned)type < METADATA_TYPE_COUNT ? types[type].name : "unknown";
}

size_t metadata_type_bytes(enum metadata_type type)
{
    return (unsigned)type < METADATA_TYPE_COUNT ? types[type].bytes : 0;
}

int metadata_add(struct metadata *metadata, struct text key, struct metadata_value value,
                 struct error *err)
{
    if (metadata->n_entries == metadata->capacity) {
        size_t capacity = metadata->capacity > 0 ? metadata->capacity : 16;
        size_t bytes;
        if (!size_mul(capacity, 2 * sizeof *metadata->entries, &bytes))
            return error_memory(err, "metadata", SIZE_MAX);
        struct metadata_entry *entries = realloc(metadata->entries, bytes);
        if (!entries)
            return error_memory(err, "metadata", bytes);
        metadata->entries = entries;
        metadata->capacity = 2 * capacity;
    }
    metadata->entries[metadata->n_entries++] = (struct metadata_entry){.key = key, .value = value};
    return 0;
}

void metadata_free(struct metadata *metadata)
{
    free(metadata->entries);
    *metadata = (struct metadata){0};
}

static int compare_entries(const void *a, const void *b)
{
    const struct metadata_entry *left = a, *right = b;
    return text_compare(left->key, right->key);
}

int metadata_sort(struct metadata *metadata, struct error *err)
{
    if (metadata->n_entries == 0)
        return 0;
    struct metadata_entry *entries = metadata->entries;
    qsort(entries, metadata->n_entries, sizeof *entries, compare_entries);
    for (size_t i = 1; i < metadata->n_entries; i++) {
        if (text_compare(entries[i - 1].key, entries[i].key) == 0)
            return error_set(err, "%s: metadata key \"%s\" occurs twice, expected once",
                             metadata->place, text_printable(entries[i].key).chars);
    }
    return 0;
}

const struct metadata_value *metadata_find(const struct metadata *metadata, const char *key)
{
    if (metadata->n_entries == 0)
        return NULL;
    struct metadata_entry wanted = {.key = {key, strlen(key)}};
    const struct metadata_entry *entry =
        bsearch(&wanted, metadata->entries, metadata->n_entries, sizeof wanted, compare_entries);
    return entry ? &entry->value : NULL;
}

/* *value = the entry, or NULL for an absent key that may be absent. */
static int find(const struct metadata *metadata, const char *key, enum presence presence,
                const char *expected, const struct metadata_value **value, struct error *err)
{
    *value = metadata_find(metadata, key);
    if (!*value && presence == REQUIRED)
        return error_set(err, "%s: metadata key \"%s\" is missing, expected %s", metadata->place,
                         key, expected);
    return 0;
}

static int refuse_type(const struct metadata *metadata, const char *key,
                       const struct metadata_value *value, const char *expected, struct error *err)
{
    char of[16] = "";
    if (value->type == METADATA_ARRAY)
        snprintf(of, sizeof of, " of %s", metadata_type_name(value->array.type));
    return error_set(err, "%s: metadata \"%s\" has type %s%s, expected %s", metadata->place, key,
                     metadata_type_name(value->type), of, expected);
}

static bool is_unsigned(enum metadata_type type)
{
    return type == METADATA_U8 || type == METADATA_U16 || type == METADATA_U32 ||
           type == METADATA_U64;
}

static bool is_signed(enum metadata_type type)
{
    return type == METADATA_I8 || type == METADATA_I16 || type == METADATA_I32 ||
           type == METADATA_I64;
}

static int find_integer(const struct metadata *metadata, const char *key, enum presence presence,
                        const struct metadata_value **value, struct error *err)
{
    if (find(metadata, key, presence, "an integer", value, err) != 0)
        return -1;
    if (*value && !is_unsigned((*value)->type) && !is_signed((*value)->type))
        return refuse_type(metadata, key, *value, "an integer", err);
    return 0;
}

int metadata_u64(const struct metadata *metadata, const char *key, enum presence presence,
                 uint64_t *out, struct error *err)
{
    const struct metadata_value *value;
    if (find_integer(metadata, key, presence, &value, err) != 0)
        return -1;
    if (!value)
        return 0;
    if (is_signed(value->type) && value->i < 0)
        return error_set(err, "%s: metadata \"%s\" is %lld, expected 0 or more", metadata->place,
                         key, (long long)value->i);
    *out = is_signed(value->type) ? (uint64_t)value->i : value->u;
    return 0;
}

int metadata_int(const struct metadata *metadata, const char *key, enum presence presence, int min,
                 int max, int *out, struct error *err)
{
    const struct metadata_value *value;
    if (find_integer(metadata, key, presence, &value, err) != 0)
        return -1;
    if (!value)
        return 0;
    if (is_unsigned(value->type) && value->u > INT64_MAX)
        return error_set(err, "%s: metadata \"%s\" is %llu, expected %d to %d", metadata->place,
                         key, (unsigned long long)value->u, min, max);
    int64_t i = is_unsigned(value->type) ? (int64_t)value->u : value->i;
    if (i < min || i > max)
        return error_set(err, "%s: metadata \"%s\" is %lld, expected %d to %d", metadata->place,
                         key, (long long)i, min, max);
    *out = (int)i;
    return 0;
}

int metadata_double(const struct metadata *metadata, const char *key, enum presence presence,
                    double *out, struct error *err)
{
    const struct metadata_value *value;
    if (find(metadata, key, presence, "f32 or f64", &value, err) != 0)
        return -1;
    if (value && value->type != METADATA_F32 && value->type != METADATA_F64)
        return refuse_type(metadata, key, value, "f32 or f64", err);
    if (value)
        *out = value->f;
    return 0;
}

int metadata_bool(const struct metadata *metadata, const char *key, enum presence presence,
                  bool *out, struct error *err)
{
    const struct metadata_value *value;
    if (find(metadata, key, presence, "bool", &value, err) != 0)
        return -1;
    if (value && value->type != METADATA_BOOL)
        return refuse_type(metadata, key, value, "bool", err);
    if (value)
        *out = value->u != 0;
    return 0;
}

int metadata_text(const struct metadata *metadata, const char *key, enum presence presence,
                  struct text *out, struct error *err)
{
    const struct metadata_value *value;
    if (find(metadata, key, presence, "string", &value, err) != 0)
        return -1;
    if (value && value->type != METADATA_STRING)
        return refuse_type(metadata, key, value, "string", err);
    if (value)
        *out = value->text;
    return 0;
}

int metadata_array(const struct metadata *metadata, const char *key, enum presence presence,
                   enum metadata_type item, struct cursor *items, uint64_t *count,
                   struct error *err)
{
    char expected[32];
    snprintf(expected, sizeof expected, "array of %s", metadata_type_name(item));
    const struct metadata_value *value;
    if (find(metadata, key, presence, expected, &value, err) != 0)
        return -1;
    if (value && (value->type != METADATA_ARRAY || value->array.type != item))
        return refuse_type(metadata, key, value, expected, err);
    *items = value ? cursor_over(value->array.bytes, value->array.size) : (struct cursor){0};
    *count = value ? value->array.count : 0;
    return 0;
}

struct text metadata_next_text(struct cursor *items)
{
    uint64_t length = cursor_u64(items);
    const uint8_t *bytes = cursor_bytes(items, length);
    return bytes ? (struct text){(const char *)bytes, (size_t)length} : (struct text){"", 0};
}
