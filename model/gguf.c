/* gguf: reads GGUF v2 and v3 (ggml/docs/gguf.md), models split over several files included.
 *
 *   magic "GGUF" | version u32 | n_tensors u64 | n_entries u64
 *   n_entries x { key string | type u32 | value }
 *   n_tensors x { name string | n_dims u32 | shape u64[n_dims] | type u32 | offset u64 }
 *   padding to a multiple of general.alignment
 *   tensor data, from where the offsets count
 *
 * All little-endian. A string is a length u64 and its bytes, an array an item type u32, a count u64
 * and its items. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "model/formats.h"

/* The least that an entry (empty key, one byte) and a tensor (empty name, one dimension) take. */
enum { ENTRY_BYTES_MIN = 8 + 4 + 1, TENSOR_BYTES_MIN = 8 + 4 + 8 + 4 + 8 };

/* Weights are read as floats in place, so data must be aligned at least as they are. */
enum { ALIGNMENT_MIN = 8, ALIGNMENT_DEFAULT = 32, ALIGNMENT_MAX = 1 << 16 };

enum { SHARDS_MAX = 65535, SUFFIX_BYTES = sizeof "-00001-of-00003.gguf" - 1 };

struct header {
    uint32_t version;
    uint64_t n_tensors;
    uint64_t n_entries;
};

bool gguf_matches(const struct file *file)
{
    return file->size >= 4 && memcmp(file->data, "GGUF", 4) == 0;
}

static int refuse_end(const struct cursor *in, const char *place, const char *what,
                      unsigned long long number, unsigned long long count, struct error *err)
{
    return error_set(err,
                     "%s: %s %llu of %llu runs past the end of the file at byte %zu: truncated?",
                     place, what, number, count, in->size);
}

/* Whether `count` things of at least `least` bytes each can follow. */
static int check_count(const struct cursor *in, unsigned long long count, size_t least,
                       const char *what, struct error *err)
{
    size_t most = cursor_left(in) / least;
    if (count <= most)
        return 0;
    return error_set(err, "%llu %s before byte %zu, expected at most %zu in the %zu bytes left",
                     count, what, in->at, most, cursor_left(in));
}

static int read_header(struct cursor *in, struct header *header, struct error *err)
{
    cursor_bytes(in, 4);
    header->version = cursor_u32(in);
    header->n_tensors = cursor_u64(in);
    header->n_entries = cursor_u64(in);
    if (in->failed)
        return error_set(err, "ends at byte %zu, inside the GGUF header: truncated?", in->size);
    unsigned swapped = __builtin_bswap32(header->version);
    if (swapped == 2 || swapped == 3)
        return error_set(err, "big-endian GGUF version %u, expected a little-endian file", swapped);
    if (header->version != 2 && header->version != 3)
        return error_set(err, "GGUF version %u, expected 2 or 3", header->version);
    if (check_count(in, header->n_entries, ENTRY_BYTES_MIN, "metadata entries", err) != 0)
        return -1;
    return check_count(in, header->n_tensors, TENSOR_BYTES_MIN, "tensors", err);
}

static struct text read_text(struct cursor *in)
{
    uint64_t length = cursor_u64(in);
    const uint8_t *bytes = cursor_bytes(in, length);
    return bytes ? (struct text){(const char *)bytes, (size_t)length} : (struct text){"", 0};
}

/* Leaves in->failed set when the items do not fit; returns -1 only for what is wrong otherwise. */
static int read_array(struct cursor *in, struct metadata_value *value, struct error *err)
{
    uint32_t type = cursor_u32(in);
    uint64_t count = cursor_u64(in);
    if (in->failed)
        return 0;
    if (type >= METADATA_TYPE_COUNT)
        return error_set(err, "array of unknown type %u, expected 0 to %d", (unsigned)type,
                         METADATA_TYPE_COUNT - 1);
    if (type == METADATA_ARRAY)
        return error_set(err, "array of arrays, expected an array of scalars or strings");
    size_t start = in->at, item_bytes = type == METADATA_STRING ? 8 : metadata_type_bytes(type);
    if (check_count(in, count, item_bytes, "array items", err) != 0)
        return -1;
    if (type == METADATA_STRING) {
        for (uint64_t i = 0; i < count && !in->failed; i++)
            cursor_bytes(in, cursor_u64(in));
    } else {
        cursor_bytes(in, count * item_bytes);
    }
    value->array.type = (enum metadata_type)type;
    value->array.count = count;
    value->array.bytes = in->data + start;
    value->array.size = in->at - start;
    return 0;
}

/* As read_array. */
static int read_value(struct cursor *in, struct metadata_value *value, struct error *err)
{
    uint32_t type = cursor_u32(in);
    if (in->failed)
        return 0;
    if (type >= METADATA_TYPE_COUNT)
        return error_set(err, "unknown type %u, expected 0 to %d", (unsigned)type,
                         METADATA_TYPE_COUNT - 1);
    *value = (struct metadata_value){.type = (enum metadata_type)type};
    switch (value->type) {
    case METADATA_ARRAY:
        return read_array(in, value, err);
    case METADATA_STRING:
        value->text = read_text(in);
        return 0;
    case METADATA_F32:
        value->f = (double)cursor_f32(in);
        return 0;
    case METADATA_F64:
        value->f = cursor_f64(in);
        return 0;
    case METADATA_I8:
        value->i = (int8_t)cursor_uint(in, 1);
        return 0;
    case METADATA_I16:
        value->i = (int16_t)cursor_uint(in, 2);
        return 0;
    case METADATA_I32:
        value->i = (int32_t)cursor_uint(in, 4);
        return 0;
    case METADATA_I64:
        value->i = (int64_t)cursor_uint(in, 8);
        return 0;
    default:
        value->u = cursor_uint(in, metadata_type_bytes(value->type));
        if (value->type == METADATA_BOOL && value->u > 1)
            return error_set(err, "bool is %d, expected 0 or 1", (int)value->u);
        return 0;
    }
}

static int read_metadata(struct cursor *in, const struct header *header, struct metadata *metadata,
                         struct error *err)
{
    for (uint64_t i = 0; i < header->n_entries; i++) {
        size_t at = in->at;
        struct metadata_value value = {0};
        struct text key = read_text(in);
        if (read_value(in, &value, err) != 0)
            return error_prefix(err, "%s: metadata \"%s\" at byte %zu", metadata->place,
                                text_printable(key).chars, at);
        if (in->failed)
            return refuse_end(in, metadata->place, "metadata entry", i + 1, header->n_entries, err);
        if (metadata_add(metadata, key, value, err) != 0)
            return -1;
    }
    return metadata_sort(metadata, err);
}

static int read_alignment(const struct metadata *metadata, size_t *alignment, struct error *err)
{
    uint64_t found = ALIGNMENT_DEFAULT;
    if (metadata_u64(metadata, "general.alignment", OPTIONAL, &found, err) != 0)
        return -1;
    if (found < ALIGNMENT_MIN || found > ALIGNMENT_MAX || (found & (found - 1)) != 0)
        return error_set(err,
                         "%s: metadata \"general.alignment\" is %llu, "
                         "expected a power of two from %d to %d",
                         metadata->place, (unsigned long long)found, ALIGNMENT_MIN, ALIGNMENT_MAX);
    *alignment = (size_t)found;
    return 0;
}

static int refuse_type(uint32_t type, struct error *err)
{
    char supported[256] = "";
    size_t used = 0;
    for (int i = 0; i < FORMAT_COUNT && used < sizeof supported; i++)
        used +=
            (size_t)snprintf(supported + used, sizeof supported - used, " %s", format_info[i].name);
    return error_set(err, "type %u is unknown, supported:%s", (unsigned)type, supported);
}

/* As read_array. */
static int read_claim(struct cursor *in, size_t alignment, struct tensor_claim *claim,
                      struct error *err)
{
    uint32_t n_dims = cursor_u32(in);
    if (!in->failed && (n_dims < 1 || n_dims > TENSOR_DIMS))
        return error_set(err, "%u dimensions, expected 1 to %d", (unsigned)n_dims, TENSOR_DIMS);
    claim->n_dims = (int)n_dims;
    for (uint32_t i = 0; i < n_dims; i++)
        claim->shape[i] = cursor_u64(in);
    uint32_t type = cursor_u32(in);
    claim->offset = cursor_u64(in);
    if (in->failed)
        return 0;
    int format = format_from_ggml(type);
    if (format < 0)
        return refuse_type(type, err);
    claim->format = (enum format)format;
    unsigned long long offset = claim->offset;
    if (offset % alignment != 0)
        return error_set(err, "offset %llu in the tensor data, expected a multiple of %zu", offset,
                         alignment);
    if (offset > in->size)
        return error_set(err,
                         "offset %llu in the tensor data, but the file ends at %zu: truncated?",
                         offset, in->size);
    return 0;
}

/* The record of tensor `index` of n; its offset counts from the start of the data. */
static int read_record(struct cursor *in, const char *place, uint64_t index, uint64_t n,
                       size_t alignment, struct tensor_claim *claim, struct error *err)
{
    size_t at = in->at;
    claim->name = read_text(in);
    if (read_claim(in, alignment, claim, err) != 0)
        return error_prefix(err, "%s: tensor \"%s\", described at byte %zu", place,
                            text_printable(claim->name).chars, at);
    return in->failed ? refuse_end(in, place, "tensor", index + 1, n, err) : 0;
}

/* Where the data start is known only once all records have been read, so they are read twice: to
 * check them, and to add the tensors. */
static int read_tensors(struct checkpoint *checkpoint, int file, struct cursor *in, uint64_t n,
                        size_t alignment, struct error *err)
{
    const char *place = checkpoint->paths[file];
    struct cursor again = *in;
    struct tensor_claim claim = {.file = file};
    for (uint64_t i = 0; i < n; i++) {
        if (read_record(in, place, i, n, alignment, &claim, err) != 0)
            return -1;
    }
    size_t start = (in->at + alignment - 1) & ~(alignment - 1);
    if (checkpoint_reserve_tensors(checkpoint, (size_t)n, err) != 0)
        return -1;
    for (uint64_t i = 0; i < n; i++) {
        if (read_record(&again, place, i, n, alignment, &claim, err) != 0)
            return -1;
        claim.offset += start; /* both are about a file's size at most: no overflow */
        if (checkpoint_add_tensor(checkpoint, &claim, err) != 0)
            return -1;
    }
    return 0;
}

/* Reads files[file]: its metadata into `metadata`, its tensors to the end of the list. */
static int read_file(struct checkpoint *checkpoint, int file, struct metadata *metadata,
                     struct header *header, struct error *err)
{
    const struct file *bytes = &checkpoint->files[file];
    metadata->place = checkpoint->paths[file];
    if (!gguf_matches(bytes))
        return error_set(err, "%s: expected a GGUF file like the first of the split model",
                         metadata->place);
    struct cursor in = cursor_over(bytes->data, bytes->size);
    size_t alignment = ALIGNMENT_DEFAULT;
    if (read_header(&in, header, err) != 0)
        return error_prefix(err, "%s", metadata->place);
    if (read_metadata(&in, header, metadata, err) != 0 ||
        read_alignment(metadata, &alignment, err) != 0)
        return -1;
    return read_tensors(checkpoint, file, &in, header->n_tensors, alignment, err);
}

/* What a file says of the split model that it belongs to. */
struct split {
    int index; /* from 0 */
    int count; /* 0 or 1: not split */
    uint64_t n_tensors;
};

static int read_split(const struct metadata *metadata, struct split *split, struct error *err)
{
    *split = (struct split){0};
    if (metadata_int(metadata, "split.count", OPTIONAL, 0, SHARDS_MAX, &split->count, err) != 0)
        return -1;
    if (split->count <= 1)
        return 0;
    if (metadata_int(metadata, "split.no", REQUIRED, 0, split->count - 1, &split->index, err) != 0)
        return -1;
    return metadata_u64(metadata, "split.tensors.count", REQUIRED, &split->n_tensors, err);
}

static void name_suffix(char suffix[40], int index, int count)
{
    snprintf(suffix, 40, "-%05d-of-%05d.gguf", index + 1, count);
}

/* The path of shard `index`, made from that of the shard that `split` describes; the caller frees
 * it. */
static char *name_shard(const char *path, const struct split *split, int index, struct error *err)
{
    char suffix[40];
    name_suffix(suffix, split->index, split->count);
    size_t length = strlen(path);
    if (length < SUFFIX_BYTES || strcmp(path + length - SUFFIX_BYTES, suffix) != 0) {
        error_set(err, "%s: is file %d of %d of a split model, expected a name that ends in %s",
                  path, split->index + 1, split->count, suffix);
        return NULL;
    }
    char *name = malloc(length + 1);
    if (!name) {
        error_memory(err, "file name", length + 1);
        return NULL;
    }
    name_suffix(suffix, index, split->count);
    memcpy(name, path, length - SUFFIX_BYTES);
    memcpy(name + length - SUFFIX_BYTES, suffix, SUFFIX_BYTES + 1);
    return name;
}

static int read_shard(struct checkpoint *checkpoint, const struct split *first, int index,
                      struct error *err)
{
    char *path = name_shard(checkpoint->paths[0], first, index, err);
    if (!path)
        return -1;
    int opened = checkpoint_add_file(checkpoint, path, err);
    free(path);
    if (opened != 0)
        return error_prefix(err, "%s: split model of %d files", checkpoint->paths[0], first->count);
    struct metadata metadata = {0};
    struct header header;
    struct split split;
    int result = read_file(checkpoint, index, &metadata, &header, err);
    if (result == 0)
        result = read_split(&metadata, &split, err);
    if (result == 0 && (split.count != first->count || split.index != index ||
                        split.n_tensors != first->n_tensors))
        result = error_set(err,
                           "%s: is file %d of %d with %llu tensors in all, "
                           "expected file %d of %d with %llu: mixed-up split models?",
                           checkpoint->paths[index], split.index + 1, split.count,
                           (unsigned long long)split.n_tensors, index + 1, first->count,
                           (unsigned long long)first->n_tensors);
    metadata_free(&metadata);
    return result;
}

int gguf_read(struct checkpoint *checkpoint, struct error *err)
{
    struct header header;
    struct split split;
    if (read_file(checkpoint, 0, &checkpoint->metadata, &header, err) != 0 ||
        read_split(&checkpoint->metadata, &split, err) != 0)
        return -1;
    checkpoint->container = header.version == 2 ? "GGUF v2" : "GGUF v3";
    if (split.count <= 1)
        return 0;
    if (split.index != 0) {
        char *first = name_shard(checkpoint->paths[0], &split, 0, err);
        if (first)
            error_set(err, "%s: is file %d of %d of a split model, expected the first: %s",
                      checkpoint->paths[0], split.index + 1, split.count, first);
        free(first);
        return -1;
    }
    for (int i = 1; i < split.count; i++) {
        if (read_shard(checkpoint, &split, i, err) != 0)
            return -1;
    }
    if (checkpoint->n_tensors != split.n_tensors)
        return error_set(err, "%s: the %d files of the split model hold %zu tensors, expected %llu",
                         checkpoint->paths[0], split.count, checkpoint->n_tensors,
                         (unsigned long long)split.n_tensors);
    return 0;
}
