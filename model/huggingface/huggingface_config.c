/* huggingface_config: config.json -> the keys of the model's shape. What it says of positions is in
 * huggingface_positions.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/huggingface/huggingface.h"
#include "model/huggingface/key_writer.h"

static const struct huggingface_family families[] = {
    {.model_type = "llama",
     .architecture = "llama",
     .set = FAMILY_LLAMA,
     .theta = 1e4,
     .halves = true},
    {.model_type = "mistral",
     .architecture = "llama",
     .set = FAMILY_LLAMA,
     .windows = WINDOWS_ALL,
     .window = 4096,
     .theta = 1e4,
     .halves = true},
    {.model_type = "qwen2",
     .architecture = "qwen2",
     .set = FAMILY_LLAMA,
     .windows = WINDOWS_UPPER,
     .window = 4096,
     .theta = 1e4},
    {.model_type = "qwen3",
     .architecture = "qwen3",
     .set = FAMILY_QWEN3,
     .windows = WINDOWS_UPPER,
     .window = 4096,
     .head_dim = 128,
     .theta = 1e4},
    {.model_type = "smollm3",
     .architecture = "smollm3",
     .set = FAMILY_LLAMA,
     .windows = WINDOWS_NOPE,
     .theta = 2e6,
     .tied = true,
     .halves = true},
    {.model_type = "phi3",
     .architecture = "phi3",
     .set = FAMILY_PHI3,
     .windows = WINDOWS_ALL,
     .theta = 1e4},
    {.model_type = "gemma3_text",
     .architecture = "gemma3",
     .set = FAMILY_GEMMA3,
     .windows = WINDOWS_INTERVAL,
     .window = 4096,
     .window_interval = 6,
     .head_dim = 256,
     .theta = 1e6,
     .tied = true},
    {.model_type = "cohere2",
     .architecture = "cohere2",
     .set = FAMILY_COHERE2,
     .windows = WINDOWS_INTERVAL,
     .window = 4096,
     .window_interval = 4,
     .theta = 1e4,
     .tied = true},
};
enum { N_FAMILIES = sizeof families / sizeof families[0] };

int huggingface_config_find_family(struct huggingface *hf)
{
    struct json_object config = {.json = hf->config, .place = hf->config_path, .err = hf->err};
    const char *model_type = NULL;
    json_text(&config, "model_type", REQUIRED, &model_type);
    if (config.failed)
        return -1;
    char known[256];
    size_t used = (size_t)snprintf(known, sizeof known, "one of: ");
    for (size_t i = 0; i < N_FAMILIES; i++) {
        if (strcmp(families[i].model_type, model_type) == 0) {
            hf->family = &families[i];
            return 0;
        }
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 families[i].model_type);
    }
    return json_refuse(&config, "model_type", json_find(hf->config, "model_type"), known);
}

/* What would change what a model computes, in ways that are not there. */
static void refuse_others(struct huggingface *hf, struct json_object *config)
{
    bool gemma = hf->family->set == FAMILY_GEMMA3, bidirectional = false;
    const char *key = gemma ? "hidden_activation" : "hidden_act";
    const char *usual = gemma ? "gelu_pytorch_tanh" : "silu", *found = usual;
    json_text(config, key, OPTIONAL, &found);
    if (!config->failed && strcmp(found, usual) != 0)
        json_refuse(config, key, json_find(hf->config, key), usual);
    const cJSON *quantized = json_find(hf->config, "quantization_config");
    if (!config->failed && quantized)
        json_refuse(config, "quantization_config", quantized, "weights that are not quantized");
    json_bool(config, "use_bidirectional_attention", &bidirectional);
    if (!config->failed && bidirectional)
        json_refuse(config, "use_bidirectional_attention",
                    json_find(hf->config, "use_bidirectional_attention"), "false");
}

static void read_sizes(struct huggingface *hf, struct json_object *config,
                       struct key_writer *writer)
{
    static const struct {
        const char *from, *to;
        enum presence presence;
    } sizes[] = {
        {"hidden_size", "embedding_length", REQUIRED},
        {"intermediate_size", "feed_forward_length", REQUIRED},
        {"num_hidden_layers", "block_count", REQUIRED},
        {"num_attention_heads", "attention.head_count", REQUIRED},
        {"num_key_value_heads", "attention.head_count_kv", OPTIONAL},
        {"max_position_embeddings", "context_length", REQUIRED},
        {"vocab_size", "vocab_size", OPTIONAL},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int value = 0;
        json_int(config, sizes[i].from, sizes[i].presence, 1, INT32_MAX, &value);
        if (value > 0)
            key_writer_uint(writer, sizes[i].to, (uint64_t)value);
    }
    int head_dim = hf->family->head_dim;
    json_int(config, "head_dim", OPTIONAL, 1, INT32_MAX, &head_dim);
    if (head_dim > 0) {
        key_writer_uint(writer, "attention.key_length", (uint64_t)head_dim);
        key_writer_uint(writer, "attention.value_length", (uint64_t)head_dim);
    }
    hf->n_layers = 1;
    json_int(config, "num_hidden_layers", REQUIRED, 1, 4096, &hf->n_layers);
}

static void read_factors(struct huggingface *hf, struct json_object *config,
                         struct key_writer *writer)
{
    static const char *const caps[] = {"attn_logit_softcapping", "final_logit_softcapping"};
    bool rms = hf->family->set != FAMILY_COHERE2;
    double epsilon = 0, logit_scale = 0.0625, divisor = 256;
    json_double(config, rms ? "rms_norm_eps" : "layer_norm_eps", REQUIRED, &epsilon);
    key_writer_double(
        writer, rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", epsilon);
    if (hf->family->set == FAMILY_COHERE2) {
        json_double(config, "logit_scale", OPTIONAL, &logit_scale);
        key_writer_double(writer, "logit_scale", logit_scale);
    }
    if (hf->family->set == FAMILY_GEMMA3) {
        json_double(config, "query_pre_attn_scalar", OPTIONAL, &divisor);
        if (!config->failed && !(divisor > 0 && divisor < 1e9))
            json_refuse(config, "query_pre_attn_scalar",
                        json_find(hf->config, "query_pre_attn_scalar"),
                        "more than 0, less than 1e9");
        key_writer_double(writer, "attention.scale", 1 / sqrt(divisor));
    }
    for (int i = 0; i < 2; i++) {
        double cap = 0;
        json_double(config, caps[i], OPTIONAL, &cap);
        if (cap != 0)
            key_writer_double(writer, caps[i], cap);
    }
}

int huggingface_config_read(struct huggingface *hf)
{
    struct json_object config = {.json = hf->config, .place = hf->config_path, .err = hf->err};
    struct key_writer general = {.checkpoint = hf->checkpoint, .prefix = "general", .err = hf->err};
    struct key_writer writer = general;
    writer.prefix = hf->family->architecture;
    hf->tied = hf->family->tied;
    json_bool(&config, "tie_word_embeddings", &hf->tied);
    refuse_others(hf, &config);
    key_writer_text(&general, "architecture",
                    (struct text){hf->family->architecture, strlen(hf->family->architecture)});
    read_sizes(hf, &config, &writer);
    read_factors(hf, &config, &writer);
    return config.failed || general.failed || writer.failed ? -1 : 0;
}
