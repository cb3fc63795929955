/* encode: the walk over a text that picks special tokens out and hands the stretches between them
 * on; and the list that tokens go into. */
#include <string.h>

#include "base/size.h"
#include "tokenizer/internal.h"

int token_list_add(struct token_list *list, int32_t id, struct error *err)
{
    if (list->n == list->capacity) {
        size_t capacity, bytes;
        if (!size_add(list->capacity, list->capacity / 2 + 64, &capacity) ||
            !size_mul(capacity, sizeof *list->ids, &bytes))
            return error_memory(err, "tokens", SIZE_MAX);
        int32_t *ids = realloc(list->ids, bytes);
        if (!ids)
            return error_memory(err, "tokens", bytes);
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->n++] = id;
    return 0;
}

void token_list_free(struct token_list *list)
{
    free(list->ids);
    *list = (struct token_list){0};
}

int tokenizer_encode_unknown(struct encoder *encoder, const char *text, size_t length)
{
    int32_t unknown = encoder->tokenizer->unknown;
    if (unknown >= 0)
        return token_list_add(encoder->ids, unknown, encoder->err);
    size_t offset =
        encoder->offset + (text > encoder->origin ? (size_t)(text - encoder->origin) : 0);
    return error_set(encoder->err, "text: byte %zu: \"%s\" has no token in this model's vocabulary",
                     offset, text_printable((struct text){text, length}).chars);
}

/* Bytes [from, to) of the whole text. */
static int encode_stretch(struct encoder *encoder, const char *text, size_t from, size_t to)
{
    if (from == to)
        return 0;
    encoder->origin = text + from;
    encoder->offset = from;
    return encoder->tokenizer->model == TOKENIZER_SPM ? spm_encode(encoder, text + from, to - from)
                                                      : bpe_encode(encoder, text + from, to - from);
}

/* The segments' texts lie behind each other in text[length]. */
static int encode_text(struct encoder *encoder, const char *text, size_t length,
                       const struct segment *segments, size_t n)
{
    const struct vocabulary *vocabulary = &encoder->tokenizer->vocabulary;
    const struct special *special = &encoder->tokenizer->special;
    size_t start = 0, at = 0, end = 0;
    for (size_t i = 0; i < n; i++) {
        end += segments[i].text.length;
        bool may_match = segments[i].markup || special->n_user_defined > 0;
        while (at < end && may_match) {
            size_t markup = segments[i].markup ? end - at : 0;
            int32_t id = special_match(special, vocabulary, text + at, length - at, markup);
            if (id < 0) {
                at++;
                continue;
            }
            if (encode_stretch(encoder, text, start, at) != 0 ||
                token_list_add(encoder->ids, id, encoder->err) != 0)
                return -1;
            at += vocabulary->pieces[id].length;
            start = at;
        }
        at = at < end ? end : at;
    }
    return encode_stretch(encoder, text, start, length);
}

static int encode_framed(struct encoder *encoder, const char *text, size_t length,
                         const struct segment *segments, size_t n, bool add_special)
{
    const struct tokenizer *tokenizer = encoder->tokenizer;
    if (add_special && tokenizer->add_bos &&
        token_list_add(encoder->ids, tokenizer->bos, encoder->err) != 0)
        return -1;
    if (encode_text(encoder, text, length, segments, n) != 0)
        return -1;
    if (add_special && tokenizer->add_eos)
        return token_list_add(encoder->ids, tokenizer->eos, encoder->err);
    return 0;
}

static int join_segments(const struct segment *segments, size_t n, char **text, size_t *length,
                         struct error *err)
{
    *length = 0;
    for (size_t i = 0; i < n; i++) {
        if (!size_add(*length, segments[i].text.length, length))
            return error_memory(err, "the text", SIZE_MAX);
    }
    char *joined = size_alloc(*length, 1);
    if (!joined)
        return error_memory(err, "the text", *length);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (segments[i].text.length > 0)
            memcpy(joined + at, segments[i].text.bytes, segments[i].text.length);
        at += segments[i].text.length;
    }
    *text = joined;
    return 0;
}

int tokenizer_encode_segments(const struct tokenizer *tokenizer, const struct segment *segments,
                              size_t n, bool add_special, struct token_list *ids, struct error *err)
{
    char *joined = NULL;
    const char *text = n == 1 ? segments[0].text.bytes : NULL;
    size_t length = n == 1 ? segments[0].text.length : 0;
    if (n > 1) {
        if (join_segments(segments, n, &joined, &length, err) != 0)
            return -1;
        text = joined;
    }
    size_t n_before = ids->n;
    struct encoder encoder = {.tokenizer = tokenizer, .ids = ids, .err = err};
    int result = encode_framed(&encoder, text, length, segments, n, add_special);
    if (result != 0)
        ids->n = n_before;
    encoder_free(&encoder);
    free(joined);
    return result;
}

int tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t length,
                     struct encode_options options, struct token_list *ids, struct error *err)
{
    struct segment segment = {.text = {text, length}, .markup = options.parse_special};
    return tokenizer_encode_segments(tokenizer, &segment, 1, options.add_special, ids, err);
}
