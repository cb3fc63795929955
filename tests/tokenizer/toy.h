/* toy: small vocabularies for the suites, made as GGUF images and opened as any file is. */
#ifndef LONGHAND_TESTS_TOKENIZER_TOY_H
#define LONGHAND_TESTS_TOKENIZER_TOY_H

#include "model/checkpoint.h"
#include "tests/support.h"
#include "tokenizer/tokenizer.h"

struct toy_token {
    const char *text;
    int32_t type; /* tokenizer.ggml.token_type */
    float score;
};
enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

/* A tokenizer and the checkpoint it lives in. */
struct toy {
    struct checkpoint checkpoint;
    struct tokenizer *tokenizer;
};

/* An image with tokenizer.ggml.model, .tokens, .token_type and .scores. */
void toy_image(struct gguf_image *image, const char *model, const struct toy_token *tokens,
               size_t n);

/* Tokens 0 to 255 are the bytes as byte-level vocabularies write them; returns how many. */
size_t toy_add_bytes(struct toy_token *tokens);
/* Tokens 0 to 258 are <unk>, <s>, </s> and <0x00> to <0xFF>; returns how many. */
size_t toy_add_spm(struct toy_token *tokens);

/* Writes the image to the scratch folder, which must be there, and opens it. */
void toy_open(struct toy *toy, struct gguf_image *image);
void toy_open_path(struct toy *toy, const char *path);
void toy_close(struct toy *toy);

/* Opening the image must fail with a message that contains `part`. */
void toy_refuse(struct gguf_image *image, const char *part);

/* Encodes text[length] and requires the ids in `expected` ("1 22 3"). */
void toy_expect(const struct tokenizer *tokenizer, const char *text, size_t length,
                struct encode_options options, const char *expected);

/* Encodes and decodes text[length] and requires it back, but for a first space that encoding put
 * there. */
void toy_round_trip(const struct tokenizer *tokenizer, const char *text, size_t length);

/* Well-formed UTF-8 of about `size` bytes, of all planes, made of bytes that the tokenizer has a
 * token for. */
struct bytes toy_random_text(const struct tokenizer *tokenizer, size_t size, uint64_t seed);
/* xorshift64*. */
uint64_t toy_random(uint64_t *state);

/* The whole of a file of ../shared, NULL data (and a word on stderr) when it is absent. */
struct bytes toy_shared(const char *name);

#endif
