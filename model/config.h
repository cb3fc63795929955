/* config: the hyper-parameters of a model, read from metadata and validated. */
#ifndef LONGHAND_MODEL_CONFIG_H
#define LONGHAND_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/metadata.h"
#include "model/architectures.h"

/* What a layer does about positions: its scheme and which keys a query sees. A query at i sees the
 * keys j <= i with j > i - window, where there is a window, and
 * j >= floor(i / chunk) * chunk - memory, where there are chunks. */
struct layer_config {
    enum position_kind position;
    double rope_base;  /* theta of RoPE and xPos */
    bool rope_scaling; /* whether the model's scaling of RoPE holds here */
    int64_t window;    /* keys, the query's own included; 0: all */
    int64_t chunk;     /* keys; 0: none */
    int64_t memory;    /* keys before the chunk */
    /* Llama-4: queries grow by 1 + scale * ln(floor((i + 1) / floor) + 1); 0: not. */
    double temperature_scale;
    double temperature_floor;
};

struct config {
    const struct architecture *architecture;
    int vocab_size;
    int dim;
    int hidden_dim; /* of the feed-forward layer */
    int n_layers;
    int n_heads;
    int n_kv_heads; /* divides n_heads */
    int head_dim;
    int train_length; /* context_length: tokens the model was trained on; 0: not said */
    float norm_epsilon;
    bool parallel_residual;
    float clip_qkv;              /* clamp of q, k and v to +-clip_qkv; 0: none */
    float attention_scale;       /* of products of q and k; 0: 1 / sqrt(head_dim) */
    float embedding_scale;       /* 1: none */
    float logit_scale;           /* 1: none */
    struct layer_config *layers; /* (n_layers) */
};

/* vocab_size is the number of rows of the embedding, which the caller knows. On failure the struct
 * is zeroed. */
int config_read(struct config *config, const struct metadata *metadata, int vocab_size,
                struct error *err);
void config_close(struct config *config); /* accepts a zeroed struct */

#endif
