/* config: see config.h. */
#include "model/config.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "model/keys.h"
#include "model/position/position.h"

static const struct architecture *find_architecture(const struct metadata *metadata,
                                                    struct error *err)
{
    struct text name;
    if (metadata_text(metadata, "general.architecture", REQUIRED, &name, err))
        return NULL;
    const struct architecture *architecture = architectures_find(name);
    if (!architecture)
        error_set(err, "%s: architecture \"%s\" is not supported; supported: %s", metadata->place,
                  text_printable(name).chars, architectures_names());
    return architecture;
}

/* The sizes that shapes are checked against. The bounds keep every product of two of them in an
 * int. */
static int read_shape(struct keys *r, struct config *config)
{
    keys_int(r, "block_count", REQUIRED, 1, 4096, &config->n_layers);
    keys_int(r, "embedding_length", REQUIRED, 1, 1 << 17, &config->dim);
    keys_int(r, "feed_forward_length", REQUIRED, 1, 1 << 20, &config->hidden_dim);
    keys_int(r, "attention.head_count", REQUIRED, 1, 4096, &config->n_heads);
    config->n_kv_heads = config->n_heads;
    keys_int(r, "attention.head_count_kv", OPTIONAL, 1, 4096, &config->n_kv_heads);
    config->train_length = 0;
    keys_int(r, "context_length", OPTIONAL, 1, INT_MAX, &config->train_length);
    if (r->failed)
        return -1;
    if (config->n_heads % config->n_kv_heads != 0)
        return keys_refuse(r, "attention.head_count_kv", config->n_kv_heads,
                           "a divisor of attention.head_count");
    config->head_dim = config->dim / config->n_heads;
    bool divides = config->dim % config->n_heads == 0;
    keys_int(r, "attention.key_length", divides ? OPTIONAL : REQUIRED, 1, 4096, &config->head_dim);
    int value_dim = config->head_dim;
    keys_int(r, "attention.value_length", OPTIONAL, 1, 4096, &value_dim);
    if (r->failed)
        return -1;
    if (config->head_dim < 1)
        return keys_refuse(r, "attention.head_count", config->n_heads, "at most embedding_length");
    if (value_dim != config->head_dim)
        return keys_refuse(r, "attention.value_length", value_dim,
                           "the same as attention.key_length");
    int declared = config->vocab_size;
    keys_int(r, "vocab_size", OPTIONAL, 1, INT_MAX, &declared);
    if (r->failed)
        return -1;
    if (declared != config->vocab_size)
        return error_set(r->err, "%s: %s is %d, but the embedding has %d rows", r->metadata->place,
                         keys_name(r, "vocab_size"), declared, config->vocab_size);
    return 0;
}

static int read_norm(struct keys *r, struct config *config)
{
    const char *name = config->architecture->norm == NORM_RMS ? "attention.layer_norm_rms_epsilon"
                                                              : "attention.layer_norm_epsilon";
    double epsilon = 1e-5;
    keys_double(r, name, REQUIRED, &epsilon);
    if (r->failed)
        return -1;
    if (!(epsilon >= 0 && epsilon < 1))
        return keys_refuse(r, name, epsilon, "0 to 1");
    config->norm_epsilon = (float)epsilon;
    return 0;
}

/* A number of keys, for all layers or one a layer. */
static void read_length(struct keys *r, const char *name, const struct config *config, int l,
                        int64_t *out)
{
    double value = (double)*out;
    keys_layer_double(r, name, l, config->n_layers, &value);
    if (!r->failed && !(value >= 0 && value <= 0x1p40 && value == floor(value)))
        keys_refuse(r, name, value, "0 or a whole number of tokens");
    if (!r->failed)
        *out = (int64_t)value;
}

/* Where layers are of two kinds: whether this one is of the rarer kind, which sees everything. */
static bool is_global(struct keys *r, const struct config *config, int l)
{
    double interval = config->architecture->global_interval;
    const char *name = "attention.sliding_window_pattern";
    const struct metadata_value *pattern = metadata_find(r->metadata, keys_name(r, name));
    double local = 0;
    if (pattern && pattern->type == METADATA_ARRAY) {
        keys_layer_double(r, name, l, config->n_layers, &local);
        return local == 0;
    }
    keys_layer_double(r, name, l, config->n_layers, &interval);
    if (!r->failed && !(interval >= 0 && interval <= 4096 && interval == floor(interval)))
        keys_refuse(r, name, interval, "0 to 4096");
    return !r->failed && interval > 0 && l % (int)interval == (int)interval - 1;
}

static void read_scheme(struct keys *r, const struct config *config, int l,
                        struct layer_config *layer)
{
    const char *names[POSITION_COUNT];
    for (int i = 0; i < POSITION_COUNT; i++)
        names[i] = position_name((enum position_kind)i);
    int kind = (int)layer->position;
    keys_layer_choice(r, "position.type", names, POSITION_COUNT, l, config->n_layers, &kind);
    layer->position = (enum position_kind)kind;
    read_length(r, "attention.chunk_size", config, l, &layer->chunk);
    read_length(r, "attention.memory_length", config, l, &layer->memory);
    keys_layer_double(r, "attention.temperature_scale", l, config->n_layers,
                      &layer->temperature_scale);
    keys_layer_double(r, "attention.temperature_floor", l, config->n_layers,
                      &layer->temperature_floor);
    if (!r->failed && !(layer->temperature_scale >= 0 && layer->temperature_scale <= 1e6))
        keys_refuse(r, "attention.temperature_scale", layer->temperature_scale, "0 to 1e6");
    if (!r->failed && !(layer->temperature_floor >= 1 && layer->temperature_floor <= 0x1p40))
        keys_refuse(r, "attention.temperature_floor", layer->temperature_floor, "1 or more");
}

static void read_layer(struct keys *r, const struct config *config, int l,
                       struct layer_config *layer)
{
    const struct architecture *architecture = config->architecture;
    *layer = (struct layer_config){
        .position = architecture->position,
        .rope_base = 10000,
        .rope_scaling = true,
        .temperature_floor = 8192,
    };
    read_scheme(r, config, l, layer);
    if (config->train_length == architecture->unsaid_window_length)
        layer->window = architecture->unsaid_window;
    read_length(r, "attention.sliding_window", config, l, &layer->window);
    const char *base = "rope.freq_base";
    if (is_global(r, config, l)) {
        layer->window = 0;
        if (architecture->global_nope)
            layer->position = POSITION_NONE;
    } else if (architecture->local_rope_base > 0 && layer->window > 0) {
        base = "rope.freq_base_swa";
        layer->rope_base = architecture->local_rope_base;
        layer->rope_scaling = false;
    }
    keys_layer_double(r, base, l, config->n_layers, &layer->rope_base);
    if (!r->failed && !(layer->rope_base >= 1 && layer->rope_base <= 1e15))
        keys_refuse(r, base, layer->rope_base, "1 to 1e15");
}

static int read_layers(struct keys *r, struct config *config)
{
    size_t bytes = (size_t)config->n_layers * sizeof *config->layers;
    config->layers = malloc(bytes);
    if (!config->layers)
        return error_memory(r->err, "the configuration of layers", bytes);
    for (int l = 0; l < config->n_layers && !r->failed; l++)
        read_layer(r, config, l, &config->layers[l]);
    return r->failed ? -1 : 0;
}

/* Factors and bounds on the way from the embedding to the logits. */
static int read_scales(struct keys *r, struct config *config)
{
    const struct architecture *architecture = config->architecture;
    double clip = 0, logit_scale = 1, cap = 0, attention_scale = 0;
    keys_double(r, "attention.clamp_kqv", OPTIONAL, &clip);
    if (!r->failed && !(clip >= 0 && clip < 1e30))
        keys_refuse(r, "attention.clamp_kqv", clip, "0 (none) or more");
    if (architecture->logit_scale)
        keys_double(r, "logit_scale", REQUIRED, &logit_scale);
    if (!r->failed && !(logit_scale > 0 && logit_scale < 1e6))
        keys_refuse(r, "logit_scale", logit_scale, "more than 0, less than 1e6");
    static const char *const caps[] = {"attn_logit_softcapping", "final_logit_softcapping"};
    for (int i = 0; i < 2; i++) {
        keys_double(r, caps[i], OPTIONAL, &cap);
        if (!r->failed && cap != 0)
            keys_refuse(r, caps[i], cap, "0 (none)");
    }
    if (config->n_layers == architecture->wide_layers)
        attention_scale = sqrt((double)config->n_heads / config->dim);
    keys_double(r, "attention.scale", OPTIONAL, &attention_scale);
    if (!r->failed && !(attention_scale >= 0 && attention_scale < 1e6))
        keys_refuse(r, "attention.scale", attention_scale, "0 (by the size of a head) to 1e6");
    config->attention_scale = (float)attention_scale;
    config->embedding_scale = architecture->embedding_scaled ? sqrtf((float)config->dim) : 1;
    config->logit_scale = (float)logit_scale;
    config->clip_qkv = (float)clip;
    return r->failed ? -1 : 0;
}

static int read_residual(struct keys *r, struct config *config)
{
    config->parallel_residual = config->architecture->parallel_residual;
    keys_bool(r, "use_parallel_residual", &config->parallel_residual);
    if (!r->failed && config->architecture->shared_norm && !config->parallel_residual)
        keys_refuse(r, "use_parallel_residual", 0, "1 (true)");
    return r->failed ? -1 : 0;
}

int config_read(struct config *config, const struct metadata *metadata, int vocab_size,
                struct error *err)
{
    *config = (struct config){0};
    const struct architecture *architecture = find_architecture(metadata, err);
    if (!architecture)
        return -1;
    config->architecture = architecture;
    config->vocab_size = vocab_size;
    struct keys keys = {.metadata = metadata, .prefix = architecture->name, .err = err};
    if (read_shape(&keys, config) || read_norm(&keys, config) || read_layers(&keys, config) ||
        read_scales(&keys, config) || read_residual(&keys, config)) {
        config_close(config);
        return -1;
    }
    return 0;
}

void config_close(struct config *config)
{
    free(config->layers);
    *config = (struct config){0};
}
