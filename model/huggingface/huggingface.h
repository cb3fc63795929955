/* huggingface: what the readers of a Hugging Face model's directory share; nobody else includes it.
 *
 *   config.json                     huggingface_config.c, _positions.c, _layers.c  -> keys
 *   model.safetensors, or
 *   model.safetensors.index.json    huggingface.c  -> tensors under GGUF's names
 *   tokenizer.json, and beside it
 *   tokenizer_config.json,
 *   chat_template.jinja             huggingface_tokenizer.c, _tokens.c, _merges.c  -> keys
 */
#ifndef LONGHAND_MODEL_HUGGINGFACE_H
#define LONGHAND_MODEL_HUGGINGFACE_H

#include "model/formats.h"
#include "model/huggingface/json.h"

/* Which layers have a window. */
enum huggingface_windows {
    WINDOWS_NONE,
    WINDOWS_ALL,
    WINDOWS_UPPER,    /* from max_window_layers on, if use_sliding_window */
    WINDOWS_NOPE,     /* those without positions, if use_sliding_window */
    WINDOWS_INTERVAL, /* all but every n-th */
};

/* Sets of families, for what only some have. */
enum {
    FAMILY_LLAMA = 1,
    FAMILY_QWEN3 = 2,
    FAMILY_PHI3 = 4,
    FAMILY_GEMMA3 = 8,
    FAMILY_COHERE2 = 16,
    FAMILY_ALL = 31
};

/* A row per model_type: what transformers' classes take to be so when config.json does not say, and
 * how their weights lie. */
struct huggingface_family {
    const char *model_type;
    const char *architecture; /* GGUF's */
    int set;                  /* one of the above */
    enum huggingface_windows windows;
    int window;          /* sliding_window; 0: none */
    int window_interval; /* of layers that see everything */
    int head_dim;        /* 0: hidden_size / num_attention_heads */
    double theta;
    bool tied;   /* tie_word_embeddings */
    bool halves; /* where GGUF's files turn pairs that lie side by side */
};

struct huggingface {
    struct checkpoint *checkpoint;
    const struct huggingface_family *family;
    cJSON *config;
    const char *config_path; /* the checkpoint's */
    int n_layers;
    bool tied;
    struct error *err;
};

/* Memory of the checkpoint that holds "<directory>/<name>"; NULL after filling err. */
char *huggingface_path(struct huggingface *hf, const char *name);

/* Finds the row of config.json's model_type; an unknown one is an error that lists the known. */
int huggingface_config_find_family(struct huggingface *hf);

/* config.json -> the keys of the model's shape. */
int huggingface_config_read(struct huggingface *hf);
/* The part of it that is about positions, and in there about single layers. */
int huggingface_positions_read(struct huggingface *hf);
int huggingface_layers_read(struct huggingface *hf);

/* tokenizer.json and what lies beside it -> keys; none where there is no such file. The tensors
 * stand. */
int huggingface_tokenizer_read(struct huggingface *hf);

/* Appends a tensor of n floats, which the checkpoint owns. */
int huggingface_add_floats(struct huggingface *hf, const char *name, const float *values, size_t n);

#endif
