/* huggingface_tokens: the tokens and merges of a tokenizer.json. */
#ifndef LONGHAND_MODEL_HUGGINGFACE_TOKENS_H
#define LONGHAND_MODEL_HUGGINGFACE_TOKENS_H

#include "model/huggingface/huggingface.h"
#include "model/huggingface/key_writer.h"

/* The numbering is GGUF's tokenizer.ggml.token_type. */
enum {
    HUGGINGFACE_NORMAL = 1,
    HUGGINGFACE_UNKNOWN = 2,
    HUGGINGFACE_CONTROL = 3,
    HUGGINGFACE_USER_DEFINED = 4,
    HUGGINGFACE_UNUSED = 5,
    HUGGINGFACE_BYTE = 6
};

struct huggingface_tokens {
    size_t n;
    struct text *texts; /* (n) views into the JSON; empty where no token has the id */
    int32_t *types;     /* (n) */
};

/* Of the object `file` and its member `model`. Ids past the rows of the embedding are an error, or
 * left out if they are control tokens. *strips: whether a control token takes white space with it.
 */
int huggingface_tokens_read(struct huggingface_tokens *tokens, struct huggingface *hf,
                            struct json_object *file, const cJSON *model, bool spm, bool *strips);
void huggingface_tokens_free(struct huggingface_tokens *tokens);

/* The key "merges" of a byte-level tokenizer. */
int huggingface_merges_write(struct json_object *model, const cJSON *merges,
                             struct key_writer *writer);

/* The key "scores" of a SentencePiece-like one, whose rule is another: any two neighbours that make
 * a token may join, the token of the highest score first. The merges must be exactly that. */
int huggingface_merges_score(const struct huggingface_tokens *tokens, struct json_object *model,
                             const cJSON *merges, struct key_writer *writer);

#endif
