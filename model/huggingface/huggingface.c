/* huggingface: a directory as transformers saves it (config.json, safetensors, tokenizer.json) with
 * GGUF's names and keys. Matrices stay in the files' mappings; vectors, which the model wants as
 * floats, are converted where they are anything else. This file finds the files and names the
 * tensors. */
#include "model/huggingface/huggingface.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"

enum { NAME_BYTES = 64, SHARDS_MAX = 4096 };

/* "model.layers.N.<from>.weight" (or .bias) is "blk.N.<to>.weight"; no layer: as it stands. */
static const struct {
    const char *from, *to;
    int families;
    bool layered;
} names[] = {
    {"model.embed_tokens", "token_embd", FAMILY_ALL, false},
    {"model.norm", "output_norm", FAMILY_ALL, false},
    {"lm_head", "output", FAMILY_ALL, false},
    {"input_layernorm", "attn_norm", FAMILY_ALL, true},
    {"self_attn.q_proj", "attn_q", FAMILY_ALL & ~FAMILY_PHI3, true},
    {"self_attn.k_proj", "attn_k", FAMILY_ALL & ~FAMILY_PHI3, true},
    {"self_attn.v_proj", "attn_v", FAMILY_ALL & ~FAMILY_PHI3, true},
    {"self_attn.qkv_proj", "attn_qkv", FAMILY_PHI3, true},
    {"self_attn.o_proj", "attn_output", FAMILY_ALL, true},
    {"self_attn.q_norm", "attn_q_norm", FAMILY_QWEN3 | FAMILY_GEMMA3, true},
    {"self_attn.k_norm", "attn_k_norm", FAMILY_QWEN3 | FAMILY_GEMMA3, true},
    {"post_attention_layernorm", "ffn_norm", FAMILY_LLAMA | FAMILY_QWEN3 | FAMILY_PHI3, true},
    {"post_attention_layernorm", "post_attention_norm", FAMILY_GEMMA3, true},
    {"pre_feedforward_layernorm", "ffn_norm", FAMILY_GEMMA3, true},
    {"post_feedforward_layernorm", "post_ffw_norm", FAMILY_GEMMA3, true},
    {"mlp.gate_proj", "ffn_gate", FAMILY_ALL & ~FAMILY_PHI3, true},
    {"mlp.up_proj", "ffn_up", FAMILY_ALL & ~FAMILY_PHI3, true},
    {"mlp.gate_up_proj", "ffn_up", FAMILY_PHI3, true},
    {"mlp.down_proj", "ffn_down", FAMILY_ALL, true},
};
enum { N_NAMES = sizeof names / sizeof names[0] };

char *huggingface_path(struct huggingface *hf, const char *name)
{
    const char *directory = hf->checkpoint->path;
    size_t length = strlen(directory) + 1 + strlen(name) + 1;
    char *path = checkpoint_own(hf->checkpoint, length, 1, "file name", hf->err);
    if (path)
        snprintf(path, length, "%s/%s", directory, name);
    return path;
}

/* --- tensors ---------------------------------------------------------------------------------- */

static bool starts_with(const char **text, const char *prefix)
{
    size_t length = strlen(prefix);
    if (strncmp(*text, prefix, length) != 0)
        return false;
    *text += length;
    return true;
}

static bool ends_with(struct text text, const char *suffix)
{
    size_t length = strlen(suffix);
    return text.length >= length && memcmp(text.bytes + text.length - length, suffix, length) == 0;
}

/* The number of the layer in "model.layers.N.", past which *text then is; -1: of none. */
static int parse_layer(const struct huggingface *hf, const char **text)
{
    const char *at = *text;
    if (!starts_with(&at, "model.layers.") || *at < '0' || *at > '9')
        return -1;
    char *end;
    long layer = strtol(at, &end, 10);
    if (*end != '.' || layer >= hf->n_layers || (*at == '0' && end > at + 1))
        return -1;
    *text = end + 1;
    return (int)layer;
}

/* GGUF's name of a tensor; false: it has none. */
static bool translate_name(const struct huggingface *hf, const char *name, char out[NAME_BYTES])
{
    const char *part = name;
    int layer = parse_layer(hf, &part);
    for (size_t i = 0; i < N_NAMES; i++) {
        const char *rest = part;
        if (names[i].layered != (layer >= 0) || !(names[i].families & hf->family->set) ||
            !starts_with(&rest, names[i].from) ||
            (strcmp(rest, ".weight") != 0 && strcmp(rest, ".bias") != 0))
            continue;
        if (layer >= 0)
            snprintf(out, NAME_BYTES, "blk.%d.%s%s", layer, names[i].to, rest);
        else
            snprintf(out, NAME_BYTES, "%s%s", names[i].to, rest);
        return true;
    }
    return false;
}

/* Angles that old files have stored, and an output matrix that the embedding takes the place of. */
static bool is_left_out(const struct huggingface *hf, struct text name)
{
    return ends_with(name, "rotary_emb.inv_freq") ||
           (hf->tied && text_equals(name, "lm_head.weight"));
}

/* Vectors as floats; those of norms with the 1 that Gemma adds to them. */
static int convert_vector(struct huggingface *hf, struct tensor *tensor)
{
    bool add_one = hf->family->set == FAMILY_GEMMA3 && ends_with(tensor->name, "norm.weight");
    bool aligned = tensor->offset % sizeof(float) == 0;
    if (tensor->n_dims != 1 || (tensor->format == FORMAT_F32 && aligned && !add_one))
        return 0;
    size_t n = (size_t)tensor->shape[0];
    float *values = checkpoint_own(hf->checkpoint, n, sizeof *values, "weights of norms", hf->err);
    if (!values)
        return -1;
    format_dequantize(tensor->format, tensor->data, n, values);
    for (size_t i = 0; i < n && add_one; i++)
        values[i] += 1;
    tensor->format = FORMAT_F32;
    tensor->data = values;
    tensor->bytes = n * sizeof *values;
    return 0;
}

static int translate_tensor(struct huggingface *hf, struct tensor *tensor)
{
    char *name = checkpoint_own(hf->checkpoint, NAME_BYTES, 1, "tensor names", hf->err);
    if (!name)
        return -1;
    if (!translate_name(hf, tensor->name.bytes, name))
        return error_set(hf->err,
                         "%s: tensor \"%s\" at byte %zu: no tensor of a %s with %d layers has this "
                         "name",
                         tensor->place, text_printable(tensor->name).chars, tensor->offset,
                         hf->family->model_type, hf->n_layers);
    tensor->name = (struct text){name, strlen(name)};
    return convert_vector(hf, tensor);
}

static int translate_tensors(struct huggingface *hf)
{
    struct checkpoint *checkpoint = hf->checkpoint;
    size_t kept = 0;
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        struct tensor *tensor = &checkpoint->tensors[i];
        if (is_left_out(hf, tensor->name))
            continue;
        if (translate_tensor(hf, tensor) != 0)
            return -1;
        checkpoint->tensors[kept++] = *tensor;
    }
    checkpoint->n_tensors = kept;
    return 0;
}

int huggingface_add_floats(struct huggingface *hf, const char *name, const float *values, size_t n)
{
    struct checkpoint *checkpoint = hf->checkpoint;
    float *copy = checkpoint_own(checkpoint, n, sizeof *copy, name, hf->err);
    if (!copy || checkpoint_reserve_tensors(checkpoint, 1, hf->err) != 0)
        return -1;
    memcpy(copy, values, n * sizeof *copy);
    checkpoint->tensors[checkpoint->n_tensors++] = (struct tensor){
        .name = {name, strlen(name)},
        .format = FORMAT_F32,
        .n_dims = 1,
        .shape = {(int64_t)n, 1, 1, 1},
        .data = copy,
        .bytes = n * sizeof *copy,
        .place = hf->config_path,
    };
    return 0;
}

/* A model without this matrix would be taken for one that has none of its own. */
static int check_output(const struct huggingface *hf)
{
    const struct checkpoint *checkpoint = hf->checkpoint;
    for (size_t i = 0; i < checkpoint->n_tensors && !hf->tied; i++)
        if (text_equals(checkpoint->tensors[i].name, "output.weight"))
            return 0;
    return hf->tied ? 0
                    : error_set(hf->err,
                                "%s: tensor \"lm_head.weight\" is missing, and "
                                "\"tie_word_embeddings\" is false",
                                checkpoint->path);
}

/* --- files ------------------------------------------------------------------------------------ */

static int read_weights(struct huggingface *hf, const char *path)
{
    if (checkpoint_add_file(hf->checkpoint, path, hf->err) != 0)
        return -1;
    return safetensors_read(hf->checkpoint, hf->checkpoint->n_files - 1, hf->err);
}

/* A line of the index's weight_map. */
struct placement {
    const char *tensor, *file;
};

static int compare_files(const void *a, const void *b)
{
    const struct placement *left = a, *right = b;
    return strcmp(left->file, right->file);
}

static int compare_tensors(const void *a, const void *b)
{
    const struct placement *left = a, *right = b;
    return strcmp(left->tensor, right->tensor);
}

/* The file must lie in the directory itself. */
static int check_placement(struct json_object *index, const cJSON *item)
{
    if (!cJSON_IsString(item))
        return json_refuse(index, item->string, item, "the name of a file");
    const char *file = item->valuestring;
    struct text name = {file, strlen(file)};
    if (strchr(file, '/') || file[0] == '.' || !ends_with(name, ".safetensors"))
        return json_refuse(index, item->string, item,
                           "the name of a .safetensors file in the same directory");
    return 0;
}

/* The tensors that file `path` brought, from number `first` on, must be those that the index
 * (sorted by tensor) has in `file`, which are n. */
static int check_shard(struct huggingface *hf, const struct placement *placements, size_t n_all,
                       const char *file, size_t n, size_t first)
{
    const struct checkpoint *checkpoint = hf->checkpoint;
    const char *place = checkpoint->paths[checkpoint->n_files - 1];
    for (size_t i = first; i < checkpoint->n_tensors; i++) {
        struct text name = checkpoint->tensors[i].name;
        struct placement wanted = {.tensor = name.bytes};
        const struct placement *found =
            bsearch(&wanted, placements, n_all, sizeof wanted, compare_tensors);
        if (!found || strcmp(found->file, file) != 0)
            return error_set(hf->err,
                             "%s: tensor \"%s\" is not in this file by the index: mixed-up "
                             "models?",
                             place, text_printable(name).chars);
    }
    if (checkpoint->n_tensors - first == n)
        return 0;
    return error_set(hf->err, "%s: has %zu tensors, expected the index's %zu: mixed-up models?",
                     place, checkpoint->n_tensors - first, n);
}

/* `by_file` and `by_tensor` are the index in two orders. */
static int read_shards(struct huggingface *hf, const struct placement *by_file,
                       const struct placement *by_tensor, size_t n)
{
    int shards = 0;
    for (size_t i = 0, end; i < n; i = end) {
        const char *file = by_file[i].file;
        size_t first = hf->checkpoint->n_tensors;
        for (end = i + 1; end < n && strcmp(by_file[end].file, file) == 0;)
            end++;
        if (++shards > SHARDS_MAX)
            return error_set(hf->err, "%s: the index has more than %d files", hf->checkpoint->path,
                             SHARDS_MAX);
        char *path = huggingface_path(hf, file);
        if (!path || read_weights(hf, path) != 0 ||
            check_shard(hf, by_tensor, n, file, end - i, first) != 0)
            return -1;
    }
    return 0;
}

static int read_index(struct huggingface *hf, const cJSON *root, const char *path)
{
    struct json_object index = {.json = root, .place = path, .err = hf->err};
    const cJSON *map = json_child(&index, "weight_map", REQUIRED);
    size_t n = 0;
    for (const cJSON *item = map ? map->child : NULL; item && !index.failed; item = item->next, n++)
        check_placement(&index, item);
    if (index.failed)
        return -1;
    struct placement *placements = size_alloc(2 * n, sizeof *placements);
    if (!placements)
        return error_memory(hf->err, "the index of weights", 2 * n * sizeof *placements);
    size_t i = 0;
    for (const cJSON *item = map->child; item; item = item->next, i++)
        placements[i] = placements[n + i] = (struct placement){item->string, item->valuestring};
    int result = 0;
    qsort(placements, n, sizeof *placements, compare_files);
    qsort(placements + n, n, sizeof *placements, compare_tensors);
    for (i = n + 1; i < 2 * n && result == 0; i++)
        if (compare_tensors(&placements[i - 1], &placements[i]) == 0)
            result = error_set(hf->err, "%s: has a tensor twice", path);
    if (result == 0)
        result = read_shards(hf, placements, placements + n, n);
    free(placements);
    return result;
}

/* One file, or several that an index names. */
static int read_all_weights(struct huggingface *hf)
{
    char *path = huggingface_path(hf, "model.safetensors");
    if (!path)
        return -1;
    if (access(path, F_OK) == 0)
        return read_weights(hf, path);
    path = huggingface_path(hf, "model.safetensors.index.json");
    if (!path)
        return -1;
    if (access(path, F_OK) != 0)
        return error_set(
            hf->err,
            "%s: has neither model.safetensors nor model.safetensors.index.json; other "
            "files of weights are not supported",
            hf->checkpoint->path);
    cJSON *root;
    if (json_open(&root, path, hf->err) != 0)
        return -1;
    int result = read_index(hf, root, path);
    cJSON_Delete(root);
    return result;
}

int huggingface_read(struct checkpoint *checkpoint, struct error *err)
{
    struct huggingface hf = {.checkpoint = checkpoint, .err = err};
    char *path = huggingface_path(&hf, "config.json");
    if (!path)
        return -1;
    if (access(path, F_OK) != 0)
        return error_set(err,
                         "%s: is a directory without config.json, expected a model file or the "
                         "directory of a Hugging Face model",
                         checkpoint->path);
    hf.config_path = path;
    checkpoint->container = "safetensors";
    checkpoint->metadata.place = path;
    int result = json_open(&hf.config, path, err);
    if (result == 0 && (huggingface_config_find_family(&hf) || huggingface_config_read(&hf) ||
                        read_all_weights(&hf) || translate_tensors(&hf) || check_output(&hf) ||
                        huggingface_positions_read(&hf) || huggingface_tokenizer_read(&hf) ||
                        metadata_sort(&checkpoint->metadata, err)))
        result = -1;
    cJSON_Delete(hf.config);
    return result;
}
