/* test_llama2c_file: the tokenizer file of llama2.c, real, made and broken. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"
#include "tests/tokenizer/toy.h"

static const struct encode_options framed = {.add_special = true};

static struct tokenizer *open_tok512(void)
{
    char path[512];
    struct error err;
    struct tokenizer *tokenizer;
    if (!support_shared("data/stories260K/tok512.bin", path, sizeof path))
        return NULL;
    ck_assert_msg(tokenizer_open_llama2c(&tokenizer, path, 512, &err) == 0, "%s", err.text);
    return tokenizer;
}

/* Ids by hand, from llama2.c's rules and the file: BOS is 1, byte b is token 3 + b. */
START_TEST(tok512_follows_llama2c)
{
    struct tokenizer *tokenizer = open_tok512();
    if (!tokenizer)
        return;
    ck_assert_int_eq(tokenizer_size(tokenizer), 512);
    ck_assert_int_eq(tokenizer_bos(tokenizer), 1);
    ck_assert(tokenizer_adds_bos(tokenizer));
    ck_assert(tokenizer_is_end(tokenizer, 1)); /* run.c stops at a BOS */
    ck_assert(tokenizer_is_end(tokenizer, 2));
    toy_expect(tokenizer, "", 0, framed, "1");
    for (int byte = 0; byte < 256; byte++) {
        struct text piece = tokenizer_piece(tokenizer, 3 + byte, false);
        ck_assert_uint_eq(piece.length, 1);
        ck_assert_int_eq((unsigned char)piece.bytes[0], byte);
    }
    ck_assert_uint_eq(tokenizer_piece(tokenizer, 1, false).length, 0);
    toy_expect(tokenizer, "\xFF", 1, framed, "1 410 258");
    ck_assert(text_equals(tokenizer_piece(tokenizer, 410, false), " "));
    tokenizer_close(tokenizer);
}
END_TEST

START_TEST(texts_come_back)
{
    struct tokenizer *tokenizer = open_tok512();
    if (!tokenizer)
        return;
    struct bytes story = toy_shared("data/stories260K/greedy-256.txt");
    toy_round_trip(tokenizer, (char *)story.data, story.size);
    struct bytes noise = toy_random_text(tokenizer, 1 << 20, 11);
    toy_round_trip(tokenizer, (char *)noise.data, noise.size);
    free(story.data);
    free(noise.data);
    tokenizer_close(tokenizer);
}
END_TEST

static void add_token(struct bytes *file, float score, const char *text)
{
    bytes_add_f32(file, score);
    bytes_add_uint(file, strlen(text), 4);
    bytes_add(file, text, strlen(text));
}

static struct bytes make_file(void)
{
    struct bytes file = {0};
    bytes_add_uint(&file, 5, 4);
    add_token(&file, 0, "<unk>");
    add_token(&file, 0, "\n<s>\n");
    add_token(&file, 0, "\n</s>\n");
    add_token(&file, 0, "<0x41>");
    add_token(&file, -1, " ");
    add_token(&file, -2, "b");
    add_token(&file, -3, " b");
    return file;
}

START_TEST(a_made_file_is_read)
{
    struct error err;
    struct tokenizer *tokenizer;
    scratch_make();
    struct bytes file = make_file();
    const char *path = scratch_write("tok.bin", file.data, file.size);
    ck_assert_msg(tokenizer_open_llama2c(&tokenizer, path, 7, &err) == 0, "%s", err.text);
    toy_expect(tokenizer, "bA c", 4, framed, "1 6 3 4 0");
    free(file.data);
    tokenizer_close(tokenizer);
    scratch_remove();
}
END_TEST

static void refuse(const struct bytes *file, size_t size, int n_tokens, const char *part)
{
    struct error err;
    struct tokenizer *tokenizer;
    const char *path = scratch_write("tok.bin", file->data, size);
    ck_assert_int_eq(tokenizer_open_llama2c(&tokenizer, path, n_tokens, &err), -1);
    ck_assert_ptr_null(tokenizer);
    ck_assert_msg(strstr(err.text, part) != NULL, "\"%s\" is not in \"%s\"", part, err.text);
    ck_assert_ptr_nonnull(strstr(err.text, "tok.bin"));
}

START_TEST(broken_files_are_refused)
{
    scratch_make();
    struct bytes file = make_file();
    refuse(&file, file.size, 6, "10 bytes follow token 5; the model has 6 tokens");
    refuse(&file, file.size, 8, "ends inside token 7 at byte");
    refuse(&file, file.size, 1000000, "expected at least 8000004 for the model's 1000000 tokens");
    refuse(&file, file.size, 2, "the model has 2 tokens, expected 3 or more");
    refuse(&file, file.size, -1, "expected 3 or more");
    refuse(&file, 3, 7, "has 3 bytes");
    refuse(&file, 0, 7, "is empty");
    for (size_t size = 60; size < file.size; size++)
        refuse(&file, size, 7, "ends inside token");
    memset(file.data + 8, 0xFF, 4); /* the length of token 0 */
    refuse(&file, file.size, 7, "ends inside token 0 at byte 4");
    free(file.data);
    file = make_file();
    memset(file.data + 4, 0xFF, 4); /* its score */
    refuse(&file, file.size, 7, "token 0 at byte 4: its score is not a number");
    free(file.data);
    scratch_remove();
}
END_TEST

Suite *llama2c_file_suite(void)
{
    Suite *suite = suite_create("llama2c_file");
    TCase *tcase = tcase_create("llama2c_file");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, tok512_follows_llama2c);
    tcase_add_test(tcase, texts_come_back);
    tcase_add_test(tcase, a_made_file_is_read);
    tcase_add_test(tcase, broken_files_are_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
