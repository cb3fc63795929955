/* internal: what the files of tokenizer/ share.
 *
 *   text -> special.c (tokens that are found whole) -> stretches of plain text
 *        -> spm.c | bpe.c (the latter through pretokenize.c) -> pieces that no token crosses
 *        -> merge.c (pairs joined best first) -> ids
 *
 * Everything in struct tokenizer is const once opened; what encoding changes is in struct encoder.
 */
#ifndef LONGHAND_TOKENIZER_INTERNAL_H
#define LONGHAND_TOKENIZER_INTERNAL_H

#include "base/file.h"
#include "base/metadata.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/special.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocabulary.h"

/* ---- merge.c ---- */

/* A piece of n bytes is n spans, of which those with a length > 0 are its symbols:
 *
 *    bytes   T h e Ġ c a t
 *    length  3 0 0 2 0 1 1      next symbol = start + length
 *    before  - . . 3 . 2 1      previous symbol = start - before
 *
 * so joining two symbols touches three spans and nothing moves. */
struct span {
    uint32_t length;
    uint32_t before;
    int32_t id; /* -1: not a token (yet) */
};

struct merge_candidate {
    uint32_t order; /* lower joins first; of equal ones the leftmost */
    uint32_t left;  /* span */
    uint32_t length;
    int32_t id;
};

struct encoder {
    const struct tokenizer *tokenizer;
    struct token_list *ids;
    const char *origin; /* the stretch at hand lies here, */
    size_t offset;      /* and this far into the whole text: for messages */
    struct error *err;
    struct span *spans;           /* [room] of the piece at hand */
    struct merge_candidate *heap; /* [2 * room] and a few */
    size_t room;
    size_t n_heap;
    char *prefixed; /* spm: a stretch with the space in front of it */
    size_t prefixed_room;
    struct pretokenizer_scratch scratch;
};

void encoder_free(struct encoder *encoder);

/* Room for the spans of a piece. */
int merge_reserve(struct encoder *encoder, size_t n_bytes);

/* Notes which bytes stand next to each other inside a token. Where two bytes of a text do so in
 * none, no join crosses the place between them, and what lies on either side can be encoded apart.
 */
int merge_find_joins(struct tokenizer *tokenizer, struct error *err);
bool merge_may_join(const struct tokenizer *tokenizer, char left, char right);

/* Joins the symbols in encoder->spans[n_bytes] until no pair makes a token. */
void merge_run(struct encoder *encoder, const char *piece, size_t n_bytes);

/* ---- spm.c, bpe.c ---- */

struct bpe_merge {
    int32_t left, right; /* token ids; left = -1: an empty slot */
    int32_t id;
    uint32_t order;
};

/* Appends the tokens of a stretch of plain text, which stands at the start or after a special
 * token. */
int spm_encode(struct encoder *encoder, const char *text, size_t length);
int bpe_encode(struct encoder *encoder, const char *text, size_t length);

/* The token that the symbols at `left` and `right` make: its id and order, or false. */
bool spm_find_merge(const struct tokenizer *tokenizer, const char *piece, const struct span *spans,
                    uint32_t left, uint32_t right, struct merge_candidate *candidate);
bool bpe_find_merge(const struct tokenizer *tokenizer, const struct span *spans, uint32_t left,
                    uint32_t right, struct merge_candidate *candidate);

/* Scores; merges and pre-tokenizer. The vocabulary and its index stand. */
int spm_open(struct tokenizer *tokenizer, const struct metadata *metadata, struct error *err);
int bpe_open(struct tokenizer *tokenizer, const struct metadata *metadata, struct error *err);

/* Lower for a higher score. */
uint32_t spm_order(float score);

/* Writes the bytes that a byte-level token's text stands for (no more than raw.length) and returns
 * their number, or SIZE_MAX when a character of it stands for no byte. */
size_t bpe_decode(struct text raw, char *out);

/* ---- tokenizer.c, encode.c, query.c ---- */

enum tokenizer_model { TOKENIZER_SPM, TOKENIZER_BPE };

struct tokenizer {
    enum tokenizer_model model;
    char description[48];
    struct vocabulary vocabulary;
    struct special special;
    int32_t bos, eos, unknown; /* -1: none */
    bool add_bos, add_eos;
    bool add_space_prefix;            /* spm */
    uint8_t *joins;                   /* [256][256 / 8] bits: merge_may_join */
    struct pretokenizer pretokenizer; /* bpe */
    struct bpe_merge *merges;         /* bpe: open addressing, 2^n slots */
    size_t merge_mask;
    bool ignore_merges; /* bpe: a piece that is a token is that token */
    struct file file;   /* llama2.c */
};

/* Zeroed but for ids, which are -1; tokenizer_close frees it. NULL: no memory. */
struct tokenizer *tokenizer_alloc(enum tokenizer_model model, struct error *err);

/* What every way of opening does once tokens, kinds and bos/eos/unknown are known: tokens that end
 * a text, special tokens, lone bytes. */
int tokenizer_finish(struct tokenizer *tokenizer, struct error *err);

/* One run of a text made of several: markup may become control tokens, other text never. */
struct segment {
    struct text text;
    bool markup;
};

/* As tokenizer_encode for the segments' texts joined. */
int tokenizer_encode_segments(const struct tokenizer *tokenizer, const struct segment *segments,
                              size_t n, bool add_special, struct token_list *ids,
                              struct error *err);

/* No token for text[length]: the unknown token, or an error that says where. */
int tokenizer_encode_unknown(struct encoder *encoder, const char *text, size_t length);

#endif
