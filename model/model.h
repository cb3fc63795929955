/* model: a checkpoint with meaning: configuration, position scheme and typed weights, const from
 * here on.
 *
 * Weights point into the checkpoint's mapping, which must outlive the model. Any number of sessions
 * may share one model. */
#ifndef LONGHAND_MODEL_MODEL_H
#define LONGHAND_MODEL_MODEL_H

#include "base/error.h"
#include "kernels/kernels.h"
#include "kernels/matmul.h"
#include "model/checkpoint.h"
#include "model/config.h"
#include "model/position/position.h"

struct norm {
    const float *weight; /* (n) */
    const float *bias;   /* (n), or NULL */
};

struct linear {
    struct matrix w;   /* (rows, cols): y = w x + bias */
    const float *bias; /* (rows), or NULL */
};

struct layer {
    const struct position *position;
    struct norm attention_norm; /* (dim) */
    struct linear qkv[3]; /* q (n_heads * head_dim, dim), k and v (n_kv_heads * head_dim, dim); or
                             one matrix with these rows in this order */
    int n_qkv;            /* 3 or 1 */
    struct norm q_norm;   /* (head_dim) RMS norm of every head before rotation; weight NULL: none */
    struct norm k_norm;
    struct linear output;            /* (dim, n_heads * head_dim) */
    struct norm attention_post_norm; /* (dim) of the output; weight NULL: none */
    struct norm ffn_norm;            /* (dim); weight NULL where architecture->shared_norm */
    struct linear gate;              /* (hidden_dim, dim); data NULL unless architecture->gated */
    struct linear up;                /* (hidden_dim, dim) */
    struct linear down;              /* (dim, hidden_dim) */
    struct norm ffn_post_norm;       /* (dim) of down; weight NULL: none */
};

struct model {
    struct kernels kernels;
    struct config config;
    struct position *positions; /* (n_positions) the distinct schemes of the layers; layers with
                                   the same scheme and parameters share one */
    int n_positions;
    struct matrix embedding;    /* (vocab_size, dim) */
    struct norm embedding_norm; /* (dim); weight NULL: none */
    struct layer *layers;       /* (n_layers) */
    struct norm output_norm;    /* (dim) */
    struct linear output;       /* (vocab_size, dim): the embedding itself when tied */
    size_t n_weights;           /* how many numbers all tensors hold */
    size_t weight_bytes;        /* how many bytes of the file they take */
    size_t token_bytes;         /* how many of these are read to generate one token */
};

struct model_options {
    const char *isa;                  /* the kernels' tier; NULL: the best this CPU has */
    const struct rope_override *rope; /* in place of the file's scaling; NULL: as the file says */
};

/* `options` may be NULL. On failure the struct is zeroed. */
int model_open(struct model *model, const struct checkpoint *checkpoint,
               const struct model_options *options, struct error *err);
void model_close(struct model *model); /* accepts a zeroed struct */

#endif
