/* identity: see identity.h. */
#include "model/identity.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"

enum { LINE_BYTES = 512, SAMPLE_BYTES = 64 };

static const char context_line[] = "\ncontext: "; /* it is not the first line */

struct lines {
    char *text;
    size_t length;
    size_t capacity;
    bool failed;
};

__attribute__((format(printf, 2, 3))) static void add(struct lines *lines, const char *format, ...)
{
    if (lines->failed)
        return;
    if (lines->capacity - lines->length < LINE_BYTES) {
        size_t capacity = 2 * lines->capacity + LINE_BYTES;
        char *grown = realloc(lines->text, capacity);
        lines->failed = !grown;
        if (!grown)
            return;
        lines->text = grown;
        lines->capacity = capacity;
    }
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(lines->text + lines->length, LINE_BYTES, format, arguments);
    va_end(arguments);
    lines->length += n < LINE_BYTES ? (size_t)n : LINE_BYTES - 1;
}

/* Checksums of parts, one behind the other. */
struct sum {
    uint64_t state[2];
};

static void sum_add(struct sum *sum, const void *bytes, size_t n)
{
    sum->state[1] = checksum(bytes, n) + n;
    sum->state[0] = checksum(sum->state, sizeof sum->state);
}

static uint64_t metadata_sum(const struct metadata *metadata)
{
    struct sum sum = {{0}};
    for (size_t i = 0; i < metadata->n_entries; i++) {
        const struct metadata_entry *entry = &metadata->entries[i];
        const struct metadata_value *value = &entry->value;
        sum_add(&sum, entry->key.bytes, entry->key.length);
        if (value->type == METADATA_STRING)
            sum_add(&sum, value->text.bytes, value->text.length);
        else if (value->type == METADATA_ARRAY)
            sum_add(&sum, value->array.bytes, value->array.size);
        else
            sum_add(&sum, &value->u, sizeof value->u);
    }
    return sum.state[0];
}

/* A few bytes from the middle: enough to tell trainings and quantizations apart, and no model is
 * read for it. */
static uint64_t tensors_sum(const struct checkpoint *checkpoint)
{
    struct sum sum = {{0}};
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const struct tensor *tensor = &checkpoint->tensors[i];
        size_t n = tensor->bytes < SAMPLE_BYTES ? tensor->bytes : SAMPLE_BYTES;
        sum_add(&sum, tensor->name.bytes, tensor->name.length);
        sum_add(&sum, tensor->shape, sizeof tensor->shape);
        sum_add(&sum, format_info[tensor->format].name, strlen(format_info[tensor->format].name));
        sum_add(&sum, (const char *)tensor->data + (tensor->bytes - n) / 2, n);
    }
    return sum.state[0];
}

int identity_make(const struct checkpoint *checkpoint, const struct session *session, char **text,
                  size_t *length, struct error *err)
{
    const struct model *model = session->model;
    const struct config *c = &model->config;
    char part[256];
    struct lines lines = {0};
    add(&lines, "architecture: %s\n", c->architecture->name);
    add(&lines, "shape: %d layers, %d wide, %d heads, %d key-value heads of %d, %d tokens\n",
        c->n_layers, c->dim, c->n_heads, c->n_kv_heads, c->head_dim, c->vocab_size);
    add(&lines, "weights: %zu tensors, %016" PRIx64 "\n", checkpoint->n_tensors,
        tensors_sum(checkpoint));
    add(&lines, "metadata: %zu keys, %016" PRIx64 "\n", checkpoint->metadata.n_entries,
        metadata_sum(&checkpoint->metadata));
    for (int i = 0; i < model->n_positions; i++) {
        position_describe(&model->positions[i], part, sizeof part);
        add(&lines, "positions: %s\n", part);
    }
    context_text(&session->context, part, sizeof part);
    add(&lines, "%s%s\n", context_line + 1, part);
    add(&lines, "cache type: %s\n", format_info[session->cache.format].name);
    add(&lines, "begins at: %lld\n", (long long)session->origin);
    if (lines.failed) {
        free(lines.text);
        return error_memory(err, "the identity of the model", lines.capacity);
    }
    *text = lines.text;
    *length = lines.length;
    return 0;
}

/* The line at the front of `text`, which is taken off. */
static struct text next_line(struct text *text)
{
    const char *end = text->length > 0 ? memchr(text->bytes, '\n', text->length) : NULL;
    size_t length = end ? (size_t)(end - text->bytes) : text->length;
    struct text line = {text->bytes, length};
    text->bytes += length + (end != NULL);
    text->length -= length + (end != NULL);
    return line;
}

int identity_compare(struct text found, struct text expected, struct error *err)
{
    while (found.length > 0 || expected.length > 0) {
        struct text a = next_line(&found);
        struct text b = next_line(&expected);
        if (text_compare(a, b) != 0)
            return error_set(err, "saved with \"%s\", this session has \"%s\"",
                             text_printable(a).chars, text_printable(b).chars);
    }
    return 0;
}

int identity_context(struct text identity, struct context *context, struct error *err)
{
    char policy[CONTEXT_TEXT_BYTES];
    const char *line = memmem(identity.bytes, identity.length, context_line, strlen(context_line));
    if (!line)
        return error_set(err, "the identity of the session names no context policy");
    const char *begin = line + strlen(context_line);
    size_t left = (size_t)(identity.bytes + identity.length - begin);
    const char *end = memchr(begin, '\n', left);
    size_t length = end ? (size_t)(end - begin) : left;
    snprintf(policy, sizeof policy, "%.*s", (int)(length < sizeof policy ? length : 0), begin);
    return context_parse(context, policy, 0, err);
}
