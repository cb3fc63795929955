/* toy: see toy.h. */
#include "tests/tokenizer/toy.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

void toy_image(struct gguf_image *image, const char *model, const struct toy_token *tokens,
               size_t n)
{
    gguf_image_init(image);
    gguf_image_text(image, "general.architecture", "llama");
    gguf_image_text(image, "tokenizer.ggml.model", model);
    gguf_image_array(image, "tokenizer.ggml.tokens", GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        bytes_add_text(&image->entries, tokens[i].text);
    gguf_image_array(image, "tokenizer.ggml.token_type", GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        bytes_add_uint(&image->entries, (uint32_t)tokens[i].type, 4);
    gguf_image_array(image, "tokenizer.ggml.scores", GGUF_F32, n);
    for (size_t i = 0; i < n; i++)
        bytes_add_f32(&image->entries, tokens[i].score);
}

size_t toy_add_bytes(struct toy_token *tokens)
{
    static char texts[256][3];
    unsigned other = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool plain = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
        unsigned c = plain ? byte : other++;
        if (c < 0x80)
            snprintf(texts[byte], sizeof texts[byte], "%c", (char)c);
        else
            snprintf(texts[byte], sizeof texts[byte], "%c%c", (char)(0xC0 | c >> 6),
                     (char)(0x80 | (c & 0x3F)));
        tokens[byte] = (struct toy_token){texts[byte], NORMAL, 0};
    }
    return 256;
}

size_t toy_add_spm(struct toy_token *tokens)
{
    static char texts[256][7];
    tokens[0] = (struct toy_token){"<unk>", UNKNOWN, 0};
    tokens[1] = (struct toy_token){"<s>", CONTROL, 0};
    tokens[2] = (struct toy_token){"</s>", CONTROL, 0};
    for (unsigned byte = 0; byte < 256; byte++) {
        snprintf(texts[byte], sizeof texts[byte], "<0x%02X>", byte);
        tokens[3 + byte] = (struct toy_token){texts[byte], BYTE, 0};
    }
    return 259;
}

void toy_open_path(struct toy *toy, const char *path)
{
    struct error err;
    *toy = (struct toy){0};
    ck_assert_msg(checkpoint_open(&toy->checkpoint, path, &err) == 0, "%s", err.text);
    ck_assert_msg(tokenizer_open(&toy->tokenizer, &toy->checkpoint.metadata, &err) == 0, "%s",
                  err.text);
}

void toy_open(struct toy *toy, struct gguf_image *image)
{
    toy_open_path(toy, gguf_image_write(image, "toy.gguf"));
}

void toy_close(struct toy *toy)
{
    tokenizer_close(toy->tokenizer);
    checkpoint_close(&toy->checkpoint);
    *toy = (struct toy){0};
}

void toy_refuse(struct gguf_image *image, const char *part)
{
    struct error err;
    struct checkpoint checkpoint = {0};
    struct tokenizer *tokenizer;
    const char *path = gguf_image_write(image, "toy.gguf");
    ck_assert_msg(checkpoint_open(&checkpoint, path, &err) == 0, "%s", err.text);
    ck_assert_int_eq(tokenizer_open(&tokenizer, &checkpoint.metadata, &err), -1);
    ck_assert_ptr_null(tokenizer);
    ck_assert_msg(strstr(err.text, part) != NULL, "\"%s\" is not in \"%s\"", part, err.text);
    ck_assert_msg(strstr(err.text, "toy.gguf") != NULL, "no file name in \"%s\"", err.text);
    checkpoint_close(&checkpoint);
}

void toy_expect(const struct tokenizer *tokenizer, const char *text, size_t length,
                struct encode_options options, const char *expected)
{
    struct error err;
    struct token_list ids = {0};
    ck_assert_msg(tokenizer_encode(tokenizer, text, length, options, &ids, &err) == 0, "%s",
                  err.text);
    char *found = calloc(ids.n + 2, 12);
    size_t used = 0;
    for (size_t i = 0; i < ids.n; i++)
        used += (size_t)snprintf(found + used, 13, i > 0 ? " %d" : "%d", ids.ids[i]);
    ck_assert_msg(strcmp(found, expected) == 0, "\"%.200s\": expected %s, found %s", text, expected,
                  found);
    free(found);
    token_list_free(&ids);
}

void toy_round_trip(const struct tokenizer *tokenizer, const char *text, size_t length)
{
    struct error err;
    struct token_list ids = {0};
    ck_assert_msg(
        tokenizer_encode(tokenizer, text, length, (struct encode_options){0}, &ids, &err) == 0,
        "%s", err.text);
    bool spm = strncmp(tokenizer_description(tokenizer), "spm", 3) == 0;
    size_t at = 0;
    for (size_t i = 0; i < ids.n; i++) {
        struct text piece = tokenizer_piece(tokenizer, ids.ids[i], false);
        size_t skip = i == 0 && spm ? 1 : 0;
        if ((skip == 1 && piece.bytes[0] != ' ') || piece.length - skip > length - at ||
            memcmp(piece.bytes + skip, text + at, piece.length - skip) != 0)
            ck_abort_msg("token %zu of %zu differs at byte %zu", i, ids.n, at);
        at += piece.length - skip;
    }
    ck_assert_uint_eq(at, length);
    token_list_free(&ids);
}

uint64_t toy_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Du;
}

static size_t write_character(unsigned c, char *out)
{
    if (c < 0x80)
        out[0] = (char)c;
    else if (c < 0x800)
        out[0] = (char)(0xC0 | c >> 6);
    else if (c < 0x10000)
        out[0] = (char)(0xE0 | c >> 12);
    else
        out[0] = (char)(0xF0 | c >> 18);
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = 1; i < n; i++)
        out[i] = (char)(0x80 | (c >> 6 * (n - 1 - i) & 0x3F));
    return n;
}

struct bytes toy_random_text(const struct tokenizer *tokenizer, size_t size, uint64_t seed)
{
    static const unsigned limits[] = {0x80, 0x80, 0x800, 0x10000, 0x110000};
    bool spm = strncmp(tokenizer_description(tokenizer), "spm", 3) == 0;
    struct bytes text = {0};
    while (text.size < size) {
        unsigned limit = limits[toy_random(&seed) % 5];
        unsigned c = (unsigned)(toy_random(&seed) % limit);
        char character[4];
        size_t n = write_character(c, character);
        bool known = c < 0xD800 || c > 0xDFFF;
        for (size_t i = 0; i < n && !spm; i++)
            known = known && tokenizer_find(tokenizer, character + i, 1) >= 0;
        if (known)
            bytes_add(&text, character, n);
    }
    return text;
}

struct bytes toy_shared(const char *name)
{
    char path[512];
    struct error err;
    struct file file;
    struct bytes bytes = {0};
    if (!support_shared(name, path, sizeof path))
        return bytes;
    ck_assert_msg(file_open(&file, path, &err) == 0, "%s", err.text);
    bytes_add(&bytes, file.data, file.size);
    file_close(&file);
    return bytes;
}
