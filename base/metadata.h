/* metadata: the key-value directory of a checkpoint, as views into the bytes of its file.
 *
 * A checkpoint parser fills it; configuration and tokenizer read it. Strings are not NUL-terminated
 * and belong to the file (or to whoever made the directory), which must outlive it. */
#ifndef LONGHAND_BASE_METADATA_H
#define LONGHAND_BASE_METADATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/error.h"
#include "base/text.h"

/* The numbering is GGUF's (ggml/docs/gguf.md). */
enum metadata_type {
    METADATA_U8,
    METADATA_I8,
    METADATA_U16,
    METADATA_I16,
    METADATA_U32,
    METADATA_I32,
    METADATA_F32,
    METADATA_BOOL,
    METADATA_STRING,
    METADATA_ARRAY,
    METADATA_U64,
    METADATA_I64,
    METADATA_F64,
    METADATA_TYPE_COUNT
};

struct metadata_value {
    enum metadata_type type;
    union {
        uint64_t u; /* unsigned integers and bool */
        int64_t i;  /* signed integers */
        double f;
        struct text text;
        struct {
            enum metadata_type type; /* of the items: never METADATA_ARRAY */
            uint64_t count;
            const uint8_t *bytes; /* little-endian items one after the other; a string is a 64-bit
                                     length and its bytes. Checked to lie inside the file. */
            size_t size;
        } array;
    };
};

struct metadata_entry {
    struct text key;
    struct metadata_value value;
};

struct metadata {
    const char *place; /* file name for messages */
    struct metadata_entry *entries;
    size_t n_entries; /* sorted by key once metadata_sort has run */
    size_t capacity;
};

/* Appends an entry. Fails only for want of memory. */
int metadata_add(struct metadata *metadata, struct text key, struct metadata_value value,
                 struct error *err);

/* Sorts by key, so that look-ups work; fails on a key that occurs twice. */
int metadata_sort(struct metadata *metadata, struct error *err);

void metadata_free(struct metadata *metadata);

/* NULL when the key is absent. */
const struct metadata_value *metadata_find(const struct metadata *metadata, const char *key);

enum presence { REQUIRED, OPTIONAL };

/* Typed look-ups: an absent OPTIONAL key leaves *out as it was; an absent REQUIRED key, a value of
 * another type or out of the C type's range is an error that names key, found and expected. Any
 * integer type of the file will do for the integer forms, f32 and f64 for metadata_double. */
int metadata_u64(const struct metadata *metadata, const char *key, enum presence presence,
                 uint64_t *out, struct error *err);
/* As metadata_u64, and the value must lie in [min, max]. */
int metadata_int(const struct metadata *metadata, const char *key, enum presence presence, int min,
                 int max, int *out, struct error *err);
int metadata_double(const struct metadata *metadata, const char *key, enum presence presence,
                    double *out, struct error *err);
int metadata_bool(const struct metadata *metadata, const char *key, enum presence presence,
                  bool *out, struct error *err);
int metadata_text(const struct metadata *metadata, const char *key, enum presence presence,
                  struct text *out, struct error *err);
/* An array whose items have type `item`: a cursor over its bytes and the number of items (0 when
 * absent). */
int metadata_array(const struct metadata *metadata, const char *key, enum presence presence,
                   enum metadata_type item, struct cursor *items, uint64_t *count,
                   struct error *err);

/* The next string of a string array. */
struct text metadata_next_text(struct cursor *items);

/* "u32", "string", ... */
const char *metadata_type_name(enum metadata_type type);

/* Bytes of one value of a scalar type; 0 for string and array. */
size_t metadata_type_bytes(enum metadata_type type);

#endif
