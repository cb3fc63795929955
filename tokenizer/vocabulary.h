/* vocabulary: the tokens of a tokenizer, by id and by the bytes they stand for. Const once indexed.
 */
#ifndef LONGHAND_TOKENIZER_VOCABULARY_H
#define LONGHAND_TOKENIZER_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

/* The numbering is GGUF's tokenizer.ggml.token_type. */
enum token_kind {
    TOKEN_UNDEFINED,
    TOKEN_NORMAL,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,
    TOKEN_USER_DEFINED,
    TOKEN_UNUSED,
    TOKEN_BYTE,
    TOKEN_KINDS
};

struct vocabulary {
    int32_t n_tokens;
    struct text *pieces; /* [n_tokens] the bytes a token stands for (a control token's: its name) */
    uint8_t *kinds;      /* [n_tokens] enum token_kind */
    bool *ends;          /* [n_tokens] generation stops here */
    uint32_t *orders; /* [n_tokens] spm: tokens of a higher score have a lower order; bpe: NULL */
    char *arena;      /* the pieces that differ from the file's bytes */
    size_t arena_used;
    size_t longest; /* bytes of the longest piece */
    bool has_duplicates;
    int32_t bytes[256];       /* the token of a lone byte, or -1 */
    struct index_slot *slots; /* piece -> id: open addressing, 2^n slots */
    size_t slot_mask;
};

/* Room for n tokens whose changed pieces need at most arena_bytes. */
int vocabulary_init(struct vocabulary *vocabulary, int32_t n_tokens, size_t arena_bytes,
                    struct error *err);
void vocabulary_free(struct vocabulary *vocabulary);

/* Builds the index over all pieces but empty ones and those of byte tokens. Of tokens with the same
 * piece the first is found. */
int vocabulary_index(struct vocabulary *vocabulary, struct error *err);

/* The token whose piece is `bytes`, or -1. */
int32_t vocabulary_find(const struct vocabulary *vocabulary, const char *bytes, size_t length);

/* Has the line that vocabulary_find will look at fetched. */
void vocabulary_prefetch(const struct vocabulary *vocabulary, const char *bytes, size_t length);

/* As vocabulary_find, but only a token that plain text may become: never a control, unknown or byte
 * one. */
int32_t vocabulary_find_text(const struct vocabulary *vocabulary, const char *bytes, size_t length);
bool vocabulary_is_text(const struct vocabulary *vocabulary, int32_t id);

/* The value of "<0x41>", or -1 for any other text. */
int vocabulary_parse_byte(struct text name);

#endif
