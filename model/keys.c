/* keys: see keys.h. */
#include "model/keys.h"

#include <stdio.h>

const char *keys_name(struct keys *keys, const char *name)
{
    snprintf(keys->key, sizeof keys->key, "%s.%s", keys->prefix, name);
    return keys->key;
}

void keys_int(struct keys *keys, const char *name, enum presence presence, int min, int max,
              int *out)
{
    if (!keys->failed)
        keys->failed = metadata_int(keys->metadata, keys_name(keys, name), presence, min, max, out,
                                    keys->err) != 0;
}

void keys_double(struct keys *keys, const char *name, enum presence presence, double *out)
{
    if (!keys->failed)
        keys->failed =
            metadata_double(keys->metadata, keys_name(keys, name), presence, out, keys->err) != 0;
}

void keys_bool(struct keys *keys, const char *name, bool *out)
{
    if (!keys->failed)
        keys->failed =
            metadata_bool(keys->metadata, keys_name(keys, name), OPTIONAL, out, keys->err) != 0;
}

void keys_text(struct keys *keys, const char *name, enum presence presence, struct text *out)
{
    if (!keys->failed)
        keys->failed =
            metadata_text(keys->metadata, keys_name(keys, name), presence, out, keys->err) != 0;
}

static void choose(struct keys *keys, struct text text, const char *const *names, int n, int *out)
{
    char allowed[256] = "";
    size_t length = 0;
    for (int i = 0; i < n; i++) {
        if (text_equals(text, names[i])) {
            *out = i;
            return;
        }
        if (length < sizeof allowed)
            length += (size_t)snprintf(allowed + length, sizeof allowed - length, "%s%s",
                                       i > 0 ? ", " : "", names[i]);
    }
    keys->failed = true;
    error_set(keys->err, "%s: %s is \"%s\", allowed: %s", keys->metadata->place, keys->key,
              text_printable(text).chars, allowed);
}

void keys_choice(struct keys *keys, const char *name, const char *const *names, int n, int *out)
{
    struct text text = {NULL, 0};
    keys_text(keys, name, OPTIONAL, &text);
    if (!keys->failed && text.bytes)
        choose(keys, text, names, n, out);
}

/* The array under keys->key, which must have an item for every layer. */
static bool layer_array(struct keys *keys, const struct metadata_value *value, int n_layers)
{
    if (value->array.count == (uint64_t)n_layers)
        return true;
    keys->failed = true;
    error_set(keys->err, "%s: %s has %llu items, expected %d, one a layer", keys->metadata->place,
              keys->key, (unsigned long long)value->array.count, n_layers);
    return false;
}

void keys_layer_choice(struct keys *keys, const char *name, const char *const *names, int n,
                       int layer, int n_layers, int *out)
{
    if (keys->failed)
        return;
    const struct metadata_value *value = metadata_find(keys->metadata, keys_name(keys, name));
    if (!value || value->type != METADATA_ARRAY) {
        keys_choice(keys, name, names, n, out);
        return;
    }
    struct cursor items;
    uint64_t count;
    keys->failed = metadata_array(keys->metadata, keys->key, REQUIRED, METADATA_STRING, &items,
                                  &count, keys->err) != 0;
    if (keys->failed || !layer_array(keys, value, n_layers))
        return;
    struct text text = {NULL, 0};
    for (int i = 0; i <= layer; i++)
        text = metadata_next_text(&items);
    choose(keys, text, names, n, out);
}

/* Item `i` of an array of numbers. */
static double number_at(enum metadata_type type, struct cursor items, int i)
{
    uint64_t bits = 0;
    size_t size = metadata_type_bytes(type);
    for (size_t b = 0; b < size; b++)
        bits |= (uint64_t)items.data[items.at + (size_t)i * size + b] << (8 * b);
    switch (type) {
    case METADATA_I8:
        return (int8_t)bits;
    case METADATA_I16:
        return (int16_t)bits;
    case METADATA_I32:
        return (int32_t)bits;
    case METADATA_I64:
        return (double)(int64_t)bits;
    case METADATA_F32: {
        union {
            uint32_t bits;
            float value;
        } f = {(uint32_t)bits};
        return (double)f.value;
    }
    case METADATA_F64: {
        union {
            uint64_t bits;
            double value;
        } f = {bits};
        return f.value;
    }
    default:
        return (double)bits;
    }
}

void keys_layer_double(struct keys *keys, const char *name, int layer, int n_layers, double *out)
{
    if (keys->failed)
        return;
    const struct metadata_value *value = metadata_find(keys->metadata, keys_name(keys, name));
    if (!value)
        return;
    switch (value->type) {
    case METADATA_STRING:
        keys->failed = true;
        error_set(keys->err, "%s: %s is a string, expected a number or one number a layer",
                  keys->metadata->place, keys->key);
        return;
    case METADATA_F32:
    case METADATA_F64:
        *out = value->f;
        return;
    case METADATA_I8:
    case METADATA_I16:
    case METADATA_I32:
    case METADATA_I64:
        *out = (double)value->i;
        return;
    case METADATA_ARRAY: {
        struct cursor items;
        uint64_t count;
        keys->failed = metadata_array(keys->metadata, keys->key, REQUIRED, value->array.type,
                                      &items, &count, keys->err) != 0;
        if (keys->failed || !layer_array(keys, value, n_layers))
            return;
        if (value->array.type == METADATA_STRING) {
            keys->failed = true;
            error_set(keys->err, "%s: %s has strings, expected numbers", keys->metadata->place,
                      keys->key);
            return;
        }
        *out = number_at(value->array.type, items, layer);
        return;
    }
    default:
        *out = (double)value->u;
    }
}

int keys_refuse(struct keys *keys, const char *name, double found, const char *allowed)
{
    keys->failed = true;
    return error_set(keys->err, "%s: %s is %g, allowed: %s", keys->metadata->place,
                     keys_name(keys, name), found, allowed);
}
