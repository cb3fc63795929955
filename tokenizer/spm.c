/* spm: SentencePiece-style BPE. Any two neighbours whose bytes together are a token may join, the
 * token of the highest score first; a character that is no token becomes its bytes' tokens
 * (<0x41>).
 *
 * The vocabulary marks a space as U+2581; pieces here hold a real space instead. So text is encoded
 * as it is, and a U+2581 of the text itself goes through byte tokens and comes back as it went in
 * (llama.cpp makes a space of it). Nothing is normalised. Bytes that are not UTF-8 are byte tokens
 * too. */
#include <math.h>
#include <string.h>

#include "base/size.h"
#include "tokenizer/internal.h"
#include "tokenizer/utf8.h"

uint32_t spm_order(float score)
{
    float positive_zero = score + 0.0f;
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof bits);
    return bits & 0x80000000u ? bits : ~bits & 0x7FFFFFFFu;
}

int spm_open(struct tokenizer *tokenizer, const struct metadata *metadata, struct error *err)
{
    struct vocabulary *vocabulary = &tokenizer->vocabulary;
    static const char key[] = "tokenizer.ggml.scores";
    struct cursor scores;
    uint64_t count;
    if (metadata_array(metadata, key, REQUIRED, METADATA_F32, &scores, &count, err) != 0)
        return -1;
    if (count != (uint64_t)vocabulary->n_tokens)
        return error_set(err, "%s: \"%s\" has %llu items, expected one for each of %d tokens",
                         metadata->place, key, (unsigned long long)count, vocabulary->n_tokens);
    for (int32_t id = 0; id < vocabulary->n_tokens; id++) {
        float score = cursor_f32(&scores);
        if (isnan(score))
            return error_set(err, "%s: \"%s\": the score of token %d is not a number",
                             metadata->place, key, id);
        vocabulary->orders[id] = spm_order(score);
    }
    return 0;
}

bool spm_find_merge(const struct tokenizer *tokenizer, const char *piece, const struct span *spans,
                    uint32_t left, uint32_t right, struct merge_candidate *candidate)
{
    const struct vocabulary *vocabulary = &tokenizer->vocabulary;
    int32_t id =
        vocabulary_find_text(vocabulary, piece + left, spans[left].length + spans[right].length);
    if (id < 0)
        return false;
    candidate->id = id;
    candidate->order = vocabulary->orders[id];
    return true;
}

/* A character that no token holds. */
static int add_bytes(struct encoder *encoder, const char *text, size_t length)
{
    const int32_t *bytes = encoder->tokenizer->vocabulary.bytes;
    for (size_t i = 0; i < length; i++) {
        if (bytes[(unsigned char)text[i]] < 0)
            return tokenizer_encode_unknown(encoder, text, length);
    }
    for (size_t i = 0; i < length; i++) {
        if (token_list_add(encoder->ids, bytes[(unsigned char)text[i]], encoder->err) != 0)
            return -1;
    }
    return 0;
}

static size_t symbol_length(const char *text, size_t left)
{
    int length = utf8_length(text, left);
    return length > 0 ? (size_t)length : 1;
}

static int encode_piece(struct encoder *encoder, const char *piece, size_t n_bytes)
{
    if (merge_reserve(encoder, n_bytes) != 0)
        return -1;
    struct span *spans = encoder->spans;
    uint32_t before = 0;
    for (uint32_t at = 0; at < n_bytes; at += before) {
        uint32_t length = (uint32_t)symbol_length(piece + at, n_bytes - at);
        spans[at] = (struct span){.length = length, .before = before, .id = -1};
        for (uint32_t i = 1; i < length; i++)
            spans[at + i] = (struct span){0};
        before = length;
    }
    merge_run(encoder, piece, n_bytes);
    for (uint32_t at = 0; at < n_bytes; at += spans[at].length) {
        int32_t id = spans[at].id;
        if (id < 0)
            id =
                vocabulary_find_text(&encoder->tokenizer->vocabulary, piece + at, spans[at].length);
        int result = id < 0 ? add_bytes(encoder, piece + at, spans[at].length)
                            : token_list_add(encoder->ids, id, encoder->err);
        if (result != 0)
            return -1;
    }
    return 0;
}

/* In most vocabularies nothing joins a word to the space behind it, so that pieces are words. */
static int encode_pieces(struct encoder *encoder, const char *text, size_t length)
{
    size_t start = 0;
    for (size_t at = 0; at < length;) {
        at += symbol_length(text + at, length - at);
        if (at < length && merge_may_join(encoder->tokenizer, text[at - 1], text[at]))
            continue;
        if (encode_piece(encoder, text + start, at - start) != 0)
            return -1;
        start = at;
    }
    return 0;
}

int spm_encode(struct encoder *encoder, const char *text, size_t length)
{
    if (!encoder->tokenizer->add_space_prefix)
        return encode_pieces(encoder, text, length);
    if (length >= encoder->prefixed_room) {
        free(encoder->prefixed);
        encoder->prefixed_room = 0;
        encoder->prefixed = size_alloc(length + 1, 1);
        if (!encoder->prefixed)
            return error_memory(encoder->err, "the text", length + 1);
        encoder->prefixed_room = length + 1;
    }
    encoder->origin = encoder->prefixed + 1;
    encoder->prefixed[0] = ' ';
    memcpy(encoder->prefixed + 1, text, length);
    return encode_pieces(encoder, encoder->prefixed, length + 1);
}
