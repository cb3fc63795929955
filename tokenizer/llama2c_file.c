/* llama2c_file: the tokenizer file of llama2.c: a 32-bit length of the longest token, then per
 * token a float score, a 32-bit length and its bytes. Spaces are spaces, <0x41> are bytes, and ids
 * 0, 1 and 2 are the unknown token, BOS and EOS by custom. */
#include <math.h>
#include <stdio.h>

#include "tokenizer/internal.h"

enum { LLAMA2C_UNKNOWN, LLAMA2C_BOS, LLAMA2C_EOS, LLAMA2C_TOKENS };

static int read_token(struct vocabulary *vocabulary, int32_t id, struct cursor *cursor,
                      const char *path, struct error *err)
{
    size_t at = cursor->at;
    float score = cursor_f32(cursor);
    uint32_t length = cursor_u32(cursor);
    const uint8_t *bytes = cursor_bytes(cursor, length);
    if (!bytes)
        return error_set(err, "%s: ends inside token %d at byte %zu; the model has %d tokens", path,
                         id, at, vocabulary->n_tokens);
    if (isnan(score))
        return error_set(err, "%s: token %d at byte %zu: its score is not a number", path, id, at);
    vocabulary->orders[id] = spm_order(score);
    vocabulary->pieces[id] = (struct text){(const char *)bytes, length};
    int byte = id < LLAMA2C_TOKENS ? -1 : vocabulary_parse_byte(vocabulary->pieces[id]);
    if (byte >= 0) {
        vocabulary->kinds[id] = TOKEN_BYTE;
        vocabulary->arena[byte] = (char)byte;
        vocabulary->pieces[id] = (struct text){vocabulary->arena + byte, 1};
    }
    return 0;
}

static int read_tokens(struct tokenizer *tokenizer, const char *path, struct error *err)
{
    struct vocabulary *vocabulary = &tokenizer->vocabulary;
    struct cursor cursor = cursor_over(tokenizer->file.data, tokenizer->file.size);
    (void)cursor_u32(&cursor); /* the longest token's length is measured, not believed */
    for (int32_t id = 0; id < vocabulary->n_tokens; id++) {
        if (read_token(vocabulary, id, &cursor, path, err) != 0)
            return -1;
    }
    if (cursor_left(&cursor) > 0)
        return error_set(err, "%s: %zu bytes follow token %d; the model has %d tokens", path,
                         cursor_left(&cursor), vocabulary->n_tokens - 1, vocabulary->n_tokens);
    vocabulary->kinds[LLAMA2C_UNKNOWN] = TOKEN_UNKNOWN;
    vocabulary->kinds[LLAMA2C_BOS] = TOKEN_CONTROL;
    vocabulary->kinds[LLAMA2C_EOS] = TOKEN_CONTROL;
    /* Training data is texts with a BOS in front of each, so a BOS ends the text before it. */
    vocabulary->ends[LLAMA2C_BOS] = true;
    return 0;
}

static int open_file(struct tokenizer *tokenizer, const char *path, int n_tokens, struct error *err)
{
    if (file_open(&tokenizer->file, path, err) != 0)
        return -1;
    enum { HEADER_BYTES = 4, TOKEN_BYTES = 8 };
    size_t size = tokenizer->file.size;
    if (n_tokens < LLAMA2C_TOKENS)
        return error_set(err, "%s: the model has %d tokens, expected %d or more", path, n_tokens,
                         (int)LLAMA2C_TOKENS);
    if (size < HEADER_BYTES || (size - HEADER_BYTES) / TOKEN_BYTES < (size_t)n_tokens)
        return error_set(err, "%s: has %zu bytes, expected at least %zu for the model's %d tokens",
                         path, size, HEADER_BYTES + TOKEN_BYTES * (size_t)n_tokens, n_tokens);
    snprintf(tokenizer->description, sizeof tokenizer->description, "spm (llama2.c)");
    tokenizer->bos = LLAMA2C_BOS;
    tokenizer->eos = LLAMA2C_EOS;
    tokenizer->unknown = LLAMA2C_UNKNOWN;
    tokenizer->add_bos = true;
    tokenizer->add_space_prefix = true;
    if (vocabulary_init(&tokenizer->vocabulary, n_tokens, 256, err) != 0 ||
        read_tokens(tokenizer, path, err) != 0 ||
        vocabulary_index(&tokenizer->vocabulary, err) != 0)
        return -1;
    return tokenizer_finish(tokenizer, err);
}

int tokenizer_open_llama2c(struct tokenizer **tokenizer, const char *path, int n_tokens,
                           struct error *err)
{
    *tokenizer = tokenizer_alloc(TOKENIZER_SPM, err);
    if (!*tokenizer)
        return -1;
    if (open_file(*tokenizer, path, n_tokens, err) != 0) {
        tokenizer_close(*tokenizer);
        *tokenizer = NULL;
        return -1;
    }
    return 0;
}
