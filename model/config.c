/* config: see config.h. */
#include "model/config.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* What llama.cpp's converters and model classes of transformers agree on for each name. */
static const struct architecture architectures[] = {
    {.name = "llama",
     .norm = NORM_RMS,
     .activation = ACTIVATION_SILU,
     .gated = true,
     .position = POSITION_ROPE,
     .rope_pairs = ROPE_INTERLEAVED},
    {.name = "qwen2",
     .norm = NORM_RMS,
     .activation = ACTIVATION_SILU,
     .gated = true,
     .position = POSITION_ROPE,
     .rope_pairs = ROPE_HALVES},
    {.name = "qwen3",
     .norm = NORM_RMS,
     .activation = ACTIVATION_SILU,
     .gated = true,
     .position = POSITION_ROPE,
     .rope_pairs = ROPE_HALVES},
    {.name = "gptneox",
     .norm = NORM_LAYER,
     .activation = ACTIVATION_GELU,
     .fused_qkv = true,
     .parallel_residual = true,
     .position = POSITION_ROPE,
     .rope_pairs = ROPE_HALVES},
    {.name = "gpt2",
     .norm = NORM_LAYER,
     .activation = ACTIVATION_GELU_TANH,
     .fused_qkv = true,
     .position = POSITION_LEARNED},
    {.name = "bloom",
     .norm = NORM_LAYER,
     .activation = ACTIVATION_GELU_TANH,
     .fused_qkv = true,
     .embedding_norm = true,
     .position = POSITION_ALIBI,
     .alibi_max_bias = 8},
    {.name = "mpt",
     .norm = NORM_LAYER,
     .activation = ACTIVATION_GELU,
     .fused_qkv = true,
     .position = POSITION_ALIBI},
};

enum { N_ARCHITECTURES = sizeof architectures / sizeof architectures[0] };

const char *architecture_names(void)
{
    static const char names[] = "llama, qwen2, qwen3, gptneox, gpt2, bloom, mpt";
    return names;
}

static const struct architecture *find_architecture(const struct metadata *metadata,
                                                    struct error *err)
{
    struct text name;
    if (metadata_text(metadata, "general.architecture", REQUIRED, &name, err))
        return NULL;
    for (int i = 0; i < N_ARCHITECTURES; i++)
        if (text_equals(name, architectures[i].name))
            return &architectures[i];
    error_set(err, "%s: architecture \"%s\" is not supported; supported: %s", metadata->place,
              text_printable(name).chars, architecture_names());
    return NULL;
}

/* Reads the keys "<architecture>.<name>" and remembers the first failure. */
struct reader {
    const struct metadata *metadata;
    const char *prefix;
    struct error *err;
    bool failed;
    char key[96];
};

static const char *key_of(struct reader *r, const char *name)
{
    snprintf(r->key, sizeof r->key, "%s.%s", r->prefix, name);
    return r->key;
}

static void read_int(struct reader *r, const char *name, enum presence presence, int min, int max,
                     int *out)
{
    if (!r->failed)
        r->failed =
            metadata_int(r->metadata, key_of(r, name), presence, min, max, out, r->err) != 0;
}

static void read_double(struct reader *r, const char *name, enum presence presence, double *out)
{
    if (!r->failed)
        r->failed = metadata_double(r->metadata, key_of(r, name), presence, out, r->err) != 0;
}

static void read_bool(struct reader *r, const char *name, bool *out)
{
    if (!r->failed)
        r->failed = metadata_bool(r->metadata, key_of(r, name), OPTIONAL, out, r->err) != 0;
}

static int refuse(struct reader *r, const char *name, double found, const char *allowed)
{
    r->failed = true;
    return error_set(r->err, "%s: %s is %g, allowed: %s", r->metadata->place, key_of(r, name),
                     found, allowed);
}

/* The sizes that shapes are checked against. The bounds keep every product of two of them in an
 * int. */
static int read_shape(struct reader *r, struct config *config)
{
    read_int(r, "block_count", REQUIRED, 1, 4096, &config->n_layers);
    read_int(r, "embedding_length", REQUIRED, 1, 1 << 17, &config->dim);
    read_int(r, "feed_forward_length", REQUIRED, 1, 1 << 20, &config->hidden_dim);
    read_int(r, "attention.head_count", REQUIRED, 1, 4096, &config->n_heads);
    config->n_kv_heads = config->n_heads;
    read_int(r, "attention.head_count_kv", OPTIONAL, 1, 4096, &config->n_kv_heads);
    config->train_length = 0;
    read_int(r, "context_length", OPTIONAL, 1, INT_MAX, &config->train_length);
    if (r->failed)
        return -1;
    if (config->n_heads % config->n_kv_heads != 0)
        return refuse(r, "attention.head_count_kv", config->n_kv_heads,
                      "a divisor of attention.head_count");
    config->head_dim = config->dim / config->n_heads;
    bool divides = config->dim % config->n_heads == 0;
    read_int(r, "attention.key_length", divides ? OPTIONAL : REQUIRED, 1, 4096, &config->head_dim);
    int value_dim = config->head_dim;
    read_int(r, "attention.value_length", OPTIONAL, 1, 4096, &value_dim);
    if (r->failed)
        return -1;
    if (config->head_dim < 1)
        return refuse(r, "attention.head_count", config->n_heads, "at most embedding_length");
    if (value_dim != config->head_dim)
        return refuse(r, "attention.value_length", value_dim, "the same as attention.key_length");
    int declared = config->vocab_size;
    read_int(r, "vocab_size", OPTIONAL, 1, INT_MAX, &declared);
    if (r->failed)
        return -1;
    if (declared != config->vocab_size)
        return error_set(r->err, "%s: %s is %d, but the embedding has %d rows", r->metadata->place,
                         key_of(r, "vocab_size"), declared, config->vocab_size);
    return 0;
}

static int read_norm(struct reader *r, struct config *config)
{
    const char *name = config->architecture->norm == NORM_RMS ? "attention.layer_norm_rms_epsilon"
                                                              : "attention.layer_norm_epsilon";
    double epsilon = 1e-5;
    read_double(r, name, REQUIRED, &epsilon);
    if (r->failed)
        return -1;
    if (!(epsilon >= 0 && epsilon < 1))
        return refuse(r, name, epsilon, "0 to 1");
    config->norm_epsilon = (float)epsilon;
    return 0;
}

/* Only Llama-3's scaling, which travels as a tensor, is supported. Others must be absent or scale
 * by 1. */
static int check_scaling(struct reader *r)
{
    struct text type = {"linear", 6}; /* what a factor without a type means */
    double factor = 1;
    double old_factor = 1;
    if (metadata_text(r->metadata, key_of(r, "rope.scaling.type"), OPTIONAL, &type, r->err))
        return -1;
    read_double(r, "rope.scaling.factor", OPTIONAL, &factor);
    read_double(r, "rope.scale_linear", OPTIONAL, &old_factor);
    if (r->failed)
        return -1;
    if (text_equals(type, "none"))
        return 0;
    if (!text_equals(type, "linear") && (!text_equals(type, "yarn") || factor != 1))
        return error_set(
            r->err, "%s: %s \"%s\" is not supported; supported: none, rope_freqs.weight",
            r->metadata->place, key_of(r, "rope.scaling.type"), text_printable(type).chars);
    const char *allowed = "1 (linear scaling is not supported; supported: none, rope_freqs.weight)";
    if (factor != 1)
        return refuse(r, "rope.scaling.factor", factor, allowed);
    return old_factor != 1 ? refuse(r, "rope.scale_linear", old_factor, allowed) : 0;
}

static int read_position(struct reader *r, struct config *config)
{
    if (config->architecture->position == POSITION_ROPE) {
        config->rope_dims = config->head_dim;
        read_int(r, "rope.dimension_count", OPTIONAL, 2, config->head_dim, &config->rope_dims);
        config->rope_base = 10000;
        read_double(r, "rope.freq_base", OPTIONAL, &config->rope_base);
        if (r->failed)
            return -1;
        if (config->rope_dims % 2 != 0)
            return refuse(r, "rope.dimension_count", config->rope_dims, "an even number");
        if (!(config->rope_base >= 1 && config->rope_base <= 1e15))
            return refuse(r, "rope.freq_base", config->rope_base, "1 to 1e15");
        if (check_scaling(r))
            return -1;
    }
    if (config->architecture->position == POSITION_ALIBI) {
        double max_bias = config->architecture->alibi_max_bias;
        read_double(r, "attention.max_alibi_bias", max_bias > 0 ? OPTIONAL : REQUIRED, &max_bias);
        if (r->failed)
            return -1;
        if (!(max_bias > 0 && max_bias <= 1024))
            return refuse(r, "attention.max_alibi_bias", max_bias, "more than 0, at most 1024");
        config->alibi_max_bias = (float)max_bias;
    }
    return 0;
}

int config_read(struct config *config, const struct metadata *metadata, int vocab_size,
                struct error *err)
{
    *config =
        (struct config){.architecture = find_architecture(metadata, err), .vocab_size = vocab_size};
    if (!config->architecture)
        return -1;
    struct reader r = {.metadata = metadata, .prefix = config->architecture->name, .err = err};
    if (read_shape(&r, config) || read_norm(&r, config) || read_position(&r, config))
        return -1;
    config->parallel_residual = config->architecture->parallel_residual;
    read_bool(&r, "use_parallel_residual", &config->parallel_residual);
    double clip = 0;
    read_double(&r, "attention.clamp_kqv", OPTIONAL, &clip);
    if (r.failed)
        return -1;
    if (!(clip >= 0 && clip < 1e30))
        return refuse(&r, "attention.clamp_kqv", clip, "0 (none) or more");
    config->clip_qkv = (float)clip;
    return 0;
}
