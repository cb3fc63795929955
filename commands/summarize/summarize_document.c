/* summarize_document: a text, its tokens, and where in the text they end. See summarize.h. */
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "commands/summarize/summarize.h"
#include "tokenizer/utf8.h"

/* Bytes of what is left of the text that a token spells. The first token may begin with what stood
 * before the text, or a space that encoding put there, the last one end with what follows. */
static size_t spelled(struct text piece, struct text left, bool first)
{
    if (left.length == 0)
        return 0;
    if (piece.length == 0) { /* the unknown token: a character that the vocabulary cannot spell */
        int length = utf8_length(left.bytes, left.length);
        return length > 0 ? (size_t)length : 1;
    }
    for (size_t skipped = 0; skipped < piece.length; skipped++) {
        size_t n = piece.length - skipped < left.length ? piece.length - skipped : left.length;
        if (memcmp(piece.bytes + skipped, left.bytes, n) == 0)
            return n;
        if (!first)
            break;
    }
    return 0;
}

void document_spell(const struct tokenizer *tokenizer, const int32_t *ids, size_t n,
                    struct text text, size_t *ends)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        struct text left = {text.bytes + at, text.length - at};
        at += spelled(tokenizer_piece(tokenizer, ids[i], false), left, at == 0);
        ends[i] = at;
    }
    if (n > 0)
        ends[n - 1] = text.length;
}

int document_open(struct document *document, const struct tokenizer *tokenizer, struct text text,
                  struct error *err)
{
    *document = (struct document){.text = text};
    struct encode_options plain = {.add_special = false};
    if (tokenizer_encode(tokenizer, text.bytes, text.length, plain, &document->ids, err))
        return -1;
    size_t n = document->ids.n;
    document->ends = size_alloc(n, sizeof *document->ends);
    if (!document->ends) {
        document_close(document);
        return error_memory(err, "the ends of tokens", n * sizeof *document->ends);
    }
    document_spell(tokenizer, document->ids.ids, n, text, document->ends);
    return 0;
}

void document_close(struct document *document)
{
    token_list_free(&document->ids);
    free(document->ends);
    *document = (struct document){0};
}

/* Tokens that end at or before a byte. */
static size_t tokens_until(const struct document *document, size_t byte)
{
    size_t low = 0;
    size_t high = byte > 0 ? document->ids.n : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (document->ends[middle] <= byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t document_tokens(const struct document *document, struct passage passage)
{
    return tokens_until(document, passage.end) - tokens_until(document, passage.begin);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct text passage_text(const struct document *document, struct passage passage)
{
    const char *bytes = document->text.bytes;
    while (passage.begin < passage.end && is_space(bytes[passage.begin]))
        passage.begin++;
    while (passage.end > passage.begin && is_space(bytes[passage.end - 1]))
        passage.end--;
    return (struct text){bytes + passage.begin, passage.end - passage.begin};
}
