/* tokenizer: text <-> token ids.
 *
 * No text is normalised: what is encoded comes back byte for byte. Knows nothing of models: it is
 * made from a checkpoint's metadata (GGUF keys tokenizer.ggml.*) or from a llama2.c tokenizer file.
 * Const after opening; any number of threads may encode. The metadata (and so its file) must
 * outlive the tokenizer. */
#ifndef LONGHAND_TOKENIZER_TOKENIZER_H
#define LONGHAND_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/metadata.h"

struct tokenizer; /* opaque */

/* From metadata. An unknown tokenizer.ggml.model or .pre is an error that names it and what is
 * supported. */
int tokenizer_open(struct tokenizer **tokenizer, const struct metadata *metadata,
                   struct error *err);

/* From a tokenizer file of llama2.c. It does not hold its size: n_tokens comes from the model. */
int tokenizer_open_llama2c(struct tokenizer **tokenizer, const char *path, int n_tokens,
                           struct error *err);

void tokenizer_close(struct tokenizer *tokenizer); /* NULL is fine */

/* A list of token ids that grows; free with token_list_free. Valid when zeroed. */
struct token_list {
    int32_t *ids;
    size_t n;
    size_t capacity;
};
int token_list_add(struct token_list *list, int32_t id, struct error *err);
void token_list_free(struct token_list *list);

struct encode_options {
    bool add_special;   /* BOS / EOS as the file's metadata rules say */
    bool parse_special; /* "<|im_end|>" in the text is the control token; false for users' text */
};

/* Appends the tokens of text[length] to `ids`. Any bytes are a text, UTF-8 or not. A character that
 * the vocabulary cannot spell becomes the unknown token where there is one, and is an error that
 * says where (byte offset) where there is none. User-defined tokens are always found whole. Time
 * grows about linearly with length. On failure ids is as it was. */
int tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t length,
                     struct encode_options options, struct token_list *ids, struct error *err);

/* The bytes that token `id` stands for inside a text: valid as long as the tokenizer. Control
 * tokens (BOS, ...) and the unknown token are empty unless `special`, when they are their name
 * ("</s>"). An id outside the vocabulary is empty. A SentencePiece space marker is already a space
 * here. */
struct text tokenizer_piece(const struct tokenizer *tokenizer, int32_t id, bool special);

/* Decoding a stream of tokens to whole UTF-8 characters. Zero it, set `tokenizer`, feed. */
struct detokenizer {
    const struct tokenizer *tokenizer;
    bool special; /* print control tokens by name */
    bool started; /* the first piece of a text loses the space that encoding put in front */
    char held[4]; /* an unfinished character */
    unsigned char n_held;
};

/* Appends to out (capacity at least detokenizer_bound(tokenizer)) the bytes that are ready once
 * `id` has come, and returns their number. Never ends inside a UTF-8 character; bytes that cannot
 * become one are passed through as U+FFFD. */
size_t detokenizer_feed(struct detokenizer *stream, int32_t id, char *out);
/* What is still held at the end of the text (as U+FFFD). */
size_t detokenizer_end(struct detokenizer *stream, char *out);
size_t detokenizer_bound(const struct tokenizer *tokenizer);

int32_t tokenizer_size(const struct tokenizer *tokenizer);
int32_t tokenizer_bos(const struct tokenizer *tokenizer); /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *tokenizer); /* -1: none */
bool tokenizer_adds_bos(const struct tokenizer *tokenizer);
/* Whether generation ends at this token (EOS, EOT, and end-of-turn tokens the metadata or their
 * names give). */
bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id);
/* The id whose text is exactly `text` (control tokens by name), or -1. */
int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text, size_t length);
/* "spm", "bpe (gpt-2)": for info. */
const char *tokenizer_description(const struct tokenizer *tokenizer);

#endif
