/* hub: see tests/model/hub.h. */
#include "tests/model/huggingface/hub.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint.h"
#include "tests/support.h"

const char *hub_path(void)
{
    return scratch_path("");
}

static struct bytes read_file(const char *name, const char *file)
{
    char path[256];
    struct bytes bytes = {0};
    snprintf(path, sizeof path, "tests/data/huggingface/%s/%s", name, file);
    FILE *stream = fopen(path, "rb");
    ck_assert_msg(stream != NULL, "%s is missing", path);
    for (int c; (c = fgetc(stream)) != EOF;)
        bytes_add_uint(&bytes, (uint64_t)c, 1);
    fclose(stream);
    return bytes;
}

void hub_copy(const char *name, const char *file)
{
    struct bytes bytes = read_file(name, file);
    scratch_write(file, bytes.data, bytes.size);
    free(bytes.data);
}

cJSON *hub_json(const char *name, const char *file)
{
    struct bytes bytes = read_file(name, file);
    cJSON *json = cJSON_ParseWithLength((const char *)bytes.data, bytes.size);
    ck_assert_ptr_nonnull(json);
    free(bytes.data);
    return json;
}

void hub_write(const char *file, cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    ck_assert_ptr_nonnull(text);
    scratch_write(file, text, strlen(text));
    free(text);
    cJSON_Delete(json);
}

static const struct {
    const char *gguf, *name;
} names[] = {
    {"token_embd.", "model.embed_tokens."},
    {"output_norm.", "model.norm."},
    {"output.", "lm_head."},
    {"attn_norm.", "input_layernorm."},
    {"attn_q.", "self_attn.q_proj."},
    {"attn_k.", "self_attn.k_proj."},
    {"attn_v.", "self_attn.v_proj."},
    {"attn_qkv.", "self_attn.qkv_proj."},
    {"attn_output.", "self_attn.o_proj."},
    {"attn_q_norm.", "self_attn.q_norm."},
    {"attn_k_norm.", "self_attn.k_norm."},
    {"post_attention_norm.", "post_attention_layernorm."},
    {"post_ffw_norm.", "post_feedforward_layernorm."},
    {"ffn_norm.", "post_attention_layernorm."},
    {"ffn_gate.", "mlp.gate_proj."},
    {"ffn_up.", "mlp.up_proj."},
    {"ffn_down.", "mlp.down_proj."},
};

static bool is_of(const char *model, const char *prefix)
{
    return strncmp(model, prefix, strlen(prefix)) == 0;
}

/* transformers' name; empty for what it keeps elsewhere. */
static void translate(const char *model, const char *gguf, char name[128])
{
    int layer = -1, at = 0;
    name[0] = '\0';
    if (sscanf(gguf, "blk.%d.%n", &layer, &at) == 1)
        gguf += at;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *to = names[i].name;
        size_t length = strlen(names[i].gguf);
        if (strncmp(gguf, names[i].gguf, length) != 0)
            continue;
        if (is_of(model, "phi") && is_of(gguf, "ffn_up."))
            to = "mlp.gate_up_proj.";
        if (is_of(model, "gemma3") && is_of(gguf, "ffn_norm."))
            to = "pre_feedforward_layernorm.";
        if (layer >= 0)
            snprintf(name, 128, "model.layers.%d.%s%s", layer, to, gguf + length);
        else
            snprintf(name, 128, "%s%s", to, gguf + length);
    }
}

/* Rows of a head from pairs side by side to (first half, second half). */
static void part_halves(const float *from, float *to, size_t rows, size_t columns, size_t head)
{
    for (size_t row = 0; row < rows; row++) {
        size_t in_head = row % head, half = head / 2;
        size_t source = row - in_head + (in_head % half) * 2 + in_head / half;
        memcpy(to + row * columns, from + source * columns, columns * sizeof *to);
    }
}

static void add_values(struct bytes *data, const float *values, size_t n, enum format format)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t raw[4];
        memcpy(raw, &values[i], sizeof raw);
        if (format != FORMAT_F32)
            format_info[format].quantize(&values[i], 1, raw);
        bytes_add(data, raw, (size_t)format_info[format].block_bytes);
    }
}

static void add_tensor(struct bytes *header, struct bytes *data, const struct tensor *tensor,
                       const char *model, const char *name, enum format format)
{
    char line[256];
    size_t columns = (size_t)tensor->shape[0], rows = (size_t)tensor->shape[1];
    size_t n = columns * rows, start = data->size;
    bool turned = strstr(name, "q_proj.weight") || strstr(name, "k_proj.weight");
    bool pairs = is_of(model, "llama") || is_of(model, "mistral") || is_of(model, "smollm3");
    float *values = malloc(n * sizeof *values);
    ck_assert_ptr_nonnull(values);
    memcpy(values, tensor->data, n * sizeof *values);
    if (turned && pairs)
        part_halves(tensor->data, values, rows, columns, is_of(model, "llama3") ? 16 : 8);
    if (is_of(model, "gemma3") && strstr(name, "norm.weight"))
        for (size_t i = 0; i < n; i++)
            values[i] -= 1;
    add_values(data, values, n, format);
    free(values);
    int length =
        tensor->n_dims == 1
            ? snprintf(line, sizeof line, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%zu],",
                       header->size > 1 ? "," : "", name, format_info[format].name, n)
            : snprintf(line, sizeof line, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%zu,%zu],",
                       header->size > 1 ? "," : "", name, format_info[format].name, rows, columns);
    bytes_add(header, line, (size_t)length);
    length = snprintf(line, sizeof line, "\"data_offsets\":[%zu,%zu]}", start, data->size);
    bytes_add(header, line, (size_t)length);
}

void hub_write_weights(const char *name, enum format matrices, enum format vectors)
{
    struct checkpoint checkpoint;
    struct error err;
    char path[128], its_name[128];
    struct bytes header = {0}, data = {0}, file = {0};
    snprintf(path, sizeof path, "tests/data/%s.gguf", name);
    ck_assert_msg(checkpoint_open(&checkpoint, path, &err) == 0, "%s", err.text);
    bytes_add(&header, "{", 1);
    for (size_t i = 0; i < checkpoint.n_tensors; i++) {
        const struct tensor *tensor = &checkpoint.tensors[i];
        char gguf[64];
        snprintf(gguf, sizeof gguf, "%.*s", (int)tensor->name.length, tensor->name.bytes);
        translate(name, gguf, its_name);
        if (its_name[0])
            add_tensor(&header, &data, tensor, name, its_name,
                       tensor->n_dims == 1 ? vectors : matrices);
    }
    bytes_add(&header, "}", 1);
    while (header.size % 8 != 0)
        bytes_add(&header, " ", 1);
    bytes_add_uint(&file, header.size, 8);
    bytes_add(&file, header.data, header.size);
    bytes_add(&file, data.data, data.size);
    scratch_write("model.safetensors", file.data, file.size);
    free(header.data);
    free(data.data);
    free(file.data);
    checkpoint_close(&checkpoint);
}
