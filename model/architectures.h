/* architectures: the table of what the files of an architecture do not say. */
#ifndef LONGHAND_MODEL_ARCHITECTURES_H
#define LONGHAND_MODEL_ARCHITECTURES_H

#include <stdbool.h>

#include "base/text.h"

enum norm_kind { NORM_RMS, NORM_LAYER };
enum activation { ACTIVATION_SILU, ACTIVATION_GELU, ACTIVATION_GELU_TANH };
/* The rows of the table in position/position.c. */
enum position_kind {
    POSITION_NONE,
    POSITION_SINUSOIDAL,
    POSITION_LEARNED,
    POSITION_ROPE,
    POSITION_XPOS,
    POSITION_ALIBI,
    POSITION_T5,
    POSITION_SHAW,
    POSITION_TRANSFORMER_XL,
    POSITION_DISENTANGLED,
    POSITION_KERPLE,
    POSITION_SANDWICH,
    POSITION_FIRE,
    POSITION_COPE,
    POSITION_COUNT
};
/* Which dimensions of a head RoPE turns together: (2t, 2t+1), or (t, t + r/2). */
enum rope_pairs { ROPE_INTERLEAVED, ROPE_HALVES };

/* One row per GGUF architecture. Biases, per-head norms and a separate output matrix are there when
 * their tensors are. */
struct architecture {
    const char *name; /* general.architecture, and the prefix of its keys */
    enum norm_kind norm;
    enum activation activation;
    enum position_kind position; /* of layers that position.type does not name another for */
    enum rope_pairs rope_pairs;
    float alibi_max_bias;   /* where no key gives it; 0: the key is required */
    int global_interval;    /* every such layer sees all keys, whatever the window; 0: none do */
    bool global_nope;       /* ... and has no positions */
    double local_rope_base; /* of layers with a window, whose angles are not scaled, where no key
                               gives it; 0: as the others */
    int unsaid_window;      /* where no key gives it, and only if the model was trained on texts */
    int unsaid_window_length; /* of this length */
    bool gated;               /* ffn_gate: activation(gate) * up */
    bool fused_gate;          /* ffn_up: rows of gate, then up */
    bool fused_qkv;           /* attn_qkv: rows of q, then k, then v */
    bool embedding_norm;      /* token_embd_norm after the embedding */
    bool embedding_scaled;    /* the embedding times sqrt(dim) */
    bool post_norms;          /* post_attention_norm, post_ffw_norm before what is added to x */
    bool parallel_residual;   /* attention and ffn read the same x; overridden by
                                 use_parallel_residual */
    bool shared_norm;         /* ... and the same norm of it */
    bool logit_scale;         /* the key is required */
    int wide_layers; /* a model of so many layers divides scores by sqrt(dim / n_heads), not by
                        sqrt(head_dim); 0: none does */
};

/* NULL when there is no such architecture. */
const struct architecture *architectures_find(struct text name);

/* "llama, qwen2, ...", for messages. */
const char *architectures_names(void);

#endif
