/* detokenize: a stream of tokens to whole characters. A token may end in the middle of one; up to
 * three bytes wait for the rest. */
#include <string.h>

#include "tokenizer/internal.h"
#include "tokenizer/utf8.h"

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */
enum { REPLACEMENT_BYTES = sizeof replacement - 1 };

size_t detokenizer_bound(const struct tokenizer *tokenizer)
{
    return REPLACEMENT_BYTES * (tokenizer->vocabulary.longest + UTF8_LONGEST);
}

static size_t replace_held(struct detokenizer *stream, char *out)
{
    if (stream->n_held == 0)
        return 0;
    memcpy(out, replacement, REPLACEMENT_BYTES);
    stream->n_held = 0;
    return REPLACEMENT_BYTES;
}

static size_t feed_byte(struct detokenizer *stream, char byte, char *out)
{
    size_t n = 0;
    stream->held[stream->n_held++] = byte;
    int length = utf8_length(stream->held, stream->n_held);
    if (length == UTF8_INVALID && stream->n_held > 1) {
        n = replace_held(stream, out);
        stream->held[stream->n_held++] = byte;
        length = utf8_length(stream->held, 1);
    }
    if (length == UTF8_INVALID)
        return n + replace_held(stream, out + n);
    if (length == UTF8_UNFINISHED)
        return n;
    memcpy(out + n, stream->held, stream->n_held);
    n += stream->n_held;
    stream->n_held = 0;
    return n;
}

size_t detokenizer_feed(struct detokenizer *stream, int32_t id, char *out)
{
    struct text piece = tokenizer_piece(stream->tokenizer, id, stream->special);
    if (piece.length == 0)
        return 0;
    bool drops_space = !stream->started && stream->tokenizer->add_space_prefix &&
                       vocabulary_is_text(&stream->tokenizer->vocabulary, id) &&
                       piece.bytes[0] == ' ';
    stream->started = true;
    size_t n = 0;
    for (size_t i = drops_space; i < piece.length; i++)
        n += feed_byte(stream, piece.bytes[i], out + n);
    return n;
}

size_t detokenizer_end(struct detokenizer *stream, char *out)
{
    return replace_held(stream, out);
}
