/* query: what a tokenizer says of its tokens. */
#include <string.h>

#include "tokenizer/internal.h"

static bool has(const struct tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->vocabulary.n_tokens;
}

struct text tokenizer_piece(const struct tokenizer *tokenizer, int32_t id, bool special)
{
    static const struct text empty = {"", 0};
    if (!has(tokenizer, id))
        return empty;
    uint8_t kind = tokenizer->vocabulary.kinds[id];
    bool shown = special || (kind != TOKEN_CONTROL && kind != TOKEN_UNKNOWN);
    return shown ? tokenizer->vocabulary.pieces[id] : empty;
}

int32_t tokenizer_size(const struct tokenizer *tokenizer)
{
    return tokenizer->vocabulary.n_tokens;
}

int32_t tokenizer_bos(const struct tokenizer *tokenizer)
{
    return tokenizer->bos;
}

int32_t tokenizer_eos(const struct tokenizer *tokenizer)
{
    return tokenizer->eos;
}

bool tokenizer_adds_bos(const struct tokenizer *tokenizer)
{
    return tokenizer->add_bos;
}

bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id)
{
    return has(tokenizer, id) && tokenizer->vocabulary.ends[id];
}

int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text, size_t length)
{
    return vocabulary_find(&tokenizer->vocabulary, text, length);
}

const char *tokenizer_description(const struct tokenizer *tokenizer)
{
    return tokenizer->description;
}
