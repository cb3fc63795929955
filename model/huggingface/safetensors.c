/* safetensors: reads the tensors of one safetensors file (github.com/huggingface/safetensors).
 *
 *   header length u64 | header: JSON of that length | tensor data, from where offsets count
 *
 *   { "__metadata__": { ... }, "NAME": { "dtype": "BF16", "shape": [rows, columns],
 *                                        "data_offsets": [begin, end] }, ... }
 *
 * Everything is little-endian. Shapes name the slowest dimension first, a checkpoint's the fastest.
 */
#include <stdio.h>
#include <string.h>

#include "base/cursor.h"
#include "model/formats.h"
#include "model/huggingface/json.h"

/* Numbers that a double, which is all that JSON has, tells apart. */
static const double COUNT_MAX = 0x1p53;

struct reader {
    struct checkpoint *checkpoint;
    const char *place;
    int file;
    uint64_t start; /* of the data */
    struct error *err;
};

static int refuse(const struct reader *r, const cJSON *tensor, const char *what)
{
    return error_set(r->err, "%s: tensor \"%s\": %s", r->place,
                     text_printable((struct text){tensor->string, strlen(tensor->string)}).chars,
                     what);
}

static int read_format(const struct reader *r, const cJSON *tensor, enum format *format)
{
    static const enum format formats[] = {FORMAT_F32, FORMAT_F16, FORMAT_BF16};
    const cJSON *dtype = json_find(tensor, "dtype");
    if (!cJSON_IsString(dtype))
        return refuse(r, tensor, "has no \"dtype\", expected a text");
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(dtype->valuestring, format_info[formats[i]].name) == 0) {
            *format = formats[i];
            return 0;
        }
    }
    char what[64 + PRINTABLE_BYTES];
    struct text name = {dtype->valuestring, strlen(dtype->valuestring)};
    snprintf(what, sizeof what, "type %s is not supported, expected F32, F16 or BF16",
             text_printable(name).chars);
    return refuse(r, tensor, what);
}

static int read_shape(const struct reader *r, const cJSON *tensor, struct tensor_claim *claim)
{
    const cJSON *shape = json_find(tensor, "shape");
    if (!cJSON_IsArray(shape))
        return refuse(r, tensor, "has no \"shape\", expected a list of numbers");
    int n = cJSON_GetArraySize(shape);
    if (n < 1 || n > TENSOR_DIMS) {
        char what[64];
        snprintf(what, sizeof what, "%d dimensions, expected 1 to %d", n, TENSOR_DIMS);
        return refuse(r, tensor, what);
    }
    claim->n_dims = n;
    const cJSON *extent = shape->child;
    for (int i = n - 1; i >= 0; i--, extent = extent->next)
        if (!json_is_count(extent, COUNT_MAX, &claim->shape[i]))
            return refuse(r, tensor, "a dimension of \"shape\" is no whole number");
    return 0;
}

/* The range that the header gives; its length must be what type and shape make. */
static int read_range(const struct reader *r, const cJSON *tensor, uint64_t range[2])
{
    const cJSON *offsets = json_find(tensor, "data_offsets");
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !json_is_count(offsets->child, COUNT_MAX, &range[0]) ||
        !json_is_count(offsets->child->next, COUNT_MAX, &range[1]) || range[1] < range[0])
        return refuse(r, tensor, "has no \"data_offsets\", expected [begin, end]");
    return 0;
}

static int read_tensor(const struct reader *r, const cJSON *tensor)
{
    struct checkpoint *checkpoint = r->checkpoint;
    struct tensor_claim claim = {.file = r->file};
    uint64_t range[2];
    if (read_format(r, tensor, &claim.format) || read_shape(r, tensor, &claim) ||
        read_range(r, tensor, range))
        return -1;
    claim.offset = r->start + range[0];
    size_t length = strlen(tensor->string);
    char *name = checkpoint_own(checkpoint, length + 1, 1, "tensor names", r->err);
    if (!name)
        return -1;
    memcpy(name, tensor->string, length + 1);
    claim.name = (struct text){name, length};
    if (checkpoint_add_tensor(checkpoint, &claim, r->err) != 0)
        return -1;
    const struct tensor *added = &checkpoint->tensors[checkpoint->n_tensors - 1];
    if (added->bytes == range[1] - range[0])
        return 0;
    char what[128];
    snprintf(what, sizeof what, "\"data_offsets\" hold %llu bytes, but type and shape make %zu",
             (unsigned long long)(range[1] - range[0]), added->bytes);
    return refuse(r, tensor, what);
}

static int read_header(const struct reader *r, const cJSON *header)
{
    size_t n = 0;
    for (const cJSON *tensor = header->child; tensor; tensor = tensor->next)
        n++;
    if (checkpoint_reserve_tensors(r->checkpoint, n, r->err) != 0)
        return -1;
    for (const cJSON *tensor = header->child; tensor; tensor = tensor->next)
        if (strcmp(tensor->string, "__metadata__") != 0 && read_tensor(r, tensor) != 0)
            return -1;
    return 0;
}

int safetensors_read(struct checkpoint *checkpoint, int file, struct error *err)
{
    const struct file *bytes = &checkpoint->files[file];
    const char *place = checkpoint->paths[file];
    struct cursor in = cursor_over(bytes->data, bytes->size);
    uint64_t length = cursor_u64(&in);
    const uint8_t *text = cursor_bytes(&in, length);
    if (!text)
        return error_set(err,
                         "%s: is no safetensors file: a header of %llu bytes in a file of %zu: "
                         "truncated?",
                         place, (unsigned long long)length, bytes->size);
    cJSON *header;
    char label[sizeof err->text];
    snprintf(label, sizeof label, "%s: header at byte 8", place);
    if (json_parse(&header, label, text, (size_t)length, err) != 0)
        return -1;
    struct reader reader = {checkpoint, place, file, in.at, err};
    int result = read_header(&reader, header);
    cJSON_Delete(header);
    return result;
}
