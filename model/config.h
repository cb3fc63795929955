/* config: the hyper-parameters of a model, read from metadata and validated, and the table of
 * architectures that says what the numbers mean. */
#ifndef LONGHAND_MODEL_CONFIG_H
#define LONGHAND_MODEL_CONFIG_H

#include <stdbool.h>

#include "base/error.h"
#include "base/metadata.h"

enum norm_kind { NORM_RMS, NORM_LAYER };
enum activation { ACTIVATION_SILU, ACTIVATION_GELU, ACTIVATION_GELU_TANH };
enum position_kind {
    POSITION_NONE,
    POSITION_LEARNED,
    POSITION_ROPE,
    POSITION_ALIBI,
    POSITION_COUNT
};
/* Which dimensions of a head RoPE turns together: (2t, 2t+1), or (t, t + r/2). */
enum rope_pairs { ROPE_INTERLEAVED, ROPE_HALVES };

/* One row per GGUF architecture: what its files do not say. Biases, per-head norms and a separate
 * output matrix are there when their tensors are. */
struct architecture {
    const char *name; /* general.architecture, and the prefix of its keys */
    enum norm_kind norm;
    enum activation activation;
    enum position_kind position;
    enum rope_pairs rope_pairs;
    float alibi_max_bias;   /* where no key gives it; 0: the key is required */
    bool gated;             /* ffn_gate: activation(gate) * up */
    bool fused_qkv;         /* attn_qkv: rows of q, then k, then v */
    bool embedding_norm;    /* token_embd_norm after the embedding */
    bool parallel_residual; /* attention and ffn read the same x; overridden by
                               use_parallel_residual */
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
    int train_length; /* context_length: tokens the model was trained on */
    float norm_epsilon;
    bool parallel_residual;
    float clip_qkv; /* clamp of q, k and v to +-clip_qkv; 0: none */

    int rope_dims;    /* dimensions of a head that RoPE turns: even, <= head_dim */
    double rope_base; /* theta */
    float alibi_max_bias;
};

/* vocab_size is the number of rows of the embedding, which the caller knows. */
int config_read(struct config *config, const struct metadata *metadata, int vocab_size,
                struct error *err);

/* "llama, qwen2, ...", for messages. */
const char *architecture_names(void);

#endif
