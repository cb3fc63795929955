/* test_bpe: byte-level text, merges of every sort, bytes that are not UTF-8. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"
#include "tests/tokenizer/toy.h"
#include "tokenizer/internal.h"

static const struct encode_options plain = {0};

START_TEST(byte_texts_are_decoded)
{
    struct toy_token tokens[256];
    char out[8];
    toy_add_bytes(tokens);
    for (int byte = 0; byte < 256; byte++) {
        struct text raw = {tokens[byte].text, strlen(tokens[byte].text)};
        ck_assert_uint_eq(bpe_decode(raw, out), 1);
        ck_assert_int_eq((unsigned char)out[0], byte);
    }
    static const char *const bad[] = {" ",        "\t",           "\x7F", "\xC2\xAD", "\xC2\xA0",
                                      "\xC5\x84", "\xE2\x96\x81", "\xC4", "a\xC3",    "\xFF\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_uint_eq(bpe_decode((struct text){bad[i], strlen(bad[i])}, out), SIZE_MAX);
}
END_TEST

static void open_merges(struct toy *toy, const char *pre, const struct toy_token *more,
                        size_t n_more, const char *const *merges, size_t n_merges)
{
    struct toy_token tokens[300];
    struct gguf_image image;
    size_t n = toy_add_bytes(tokens);
    for (size_t i = 0; i < n_more; i++)
        tokens[n++] = more[i];
    toy_image(&image, "gpt2", tokens, n);
    gguf_image_text(&image, "tokenizer.ggml.pre", pre);
    gguf_image_texts(&image, "tokenizer.ggml.merges", merges, n_merges);
    toy_open(toy, &image);
}

/* Of equal merges the first counts; those whose parts or whole are no tokens are left out, and so
 * are those that would make a control token. */
START_TEST(merges_that_make_nothing_are_left_out)
{
    static const struct toy_token more[] = {{"ab", NORMAL, 0},
                                            {"bc", NORMAL, 0},
                                            {"<s>", CONTROL, 0},
                                            {"<s", NORMAL, 0},
                                            {"\xC4\xA0"
                                             "a",
                                             NORMAL, 0},
                                            {"cd", NORMAL, 0},
                                            {"ab", NORMAL, 0}};
    static const char *const merges[] = {
        "b c",        "c d",  "a b",
        "b c",        "x y",  "ab c",
        "< s",        "<s >", "\xE2\x96\x81 a",
        "\xC4\xA0 a", "   a", "zz zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"};
    struct toy toy;
    scratch_make();
    open_merges(&toy, "gpt-2", more, 7, merges, 12);
    toy_expect(toy.tokenizer, "abcd", 4, plain, "97 257 100");
    toy_expect(toy.tokenizer, "ab", 2, plain, "256");
    toy_expect(toy.tokenizer, "xy", 2, plain, "120 121");
    toy_expect(toy.tokenizer, " a", 2, plain, "260");
    toy_expect(toy.tokenizer, "<s>", 3, plain, "60 115 62");
    toy_expect(toy.tokenizer, "s>", 2, plain, "115 62");
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(some_rules_take_whole_pieces)
{
    static const struct toy_token more[] = {
        {"abc", NORMAL, 0}, {"ab", NORMAL, 0}, {"abd", CONTROL, 0}};
    static const char *const merges[] = {"a b"};
    struct toy toy;
    scratch_make();
    open_merges(&toy, "llama-bpe", more, 3, merges, 1);
    toy_expect(toy.tokenizer, "abc", 3, plain, "256");
    toy_expect(toy.tokenizer, "abcc", 4, plain, "257 99 99");
    toy_expect(toy.tokenizer, "abd", 3, plain, "257 100");
    toy_close(&toy);
    open_merges(&toy, "qwen2", more, 3, merges, 1);
    toy_expect(toy.tokenizer, "abc", 3, plain, "257 99");
    toy_close(&toy);
    scratch_remove();
}
END_TEST

/* Tokens are matched whole or taken as they stand where their text spells no bytes. */
START_TEST(texts_that_spell_no_bytes_stand_for_themselves)
{
    static const struct toy_token more[] = {{"a b", USER_DEFINED, 0},
                                            {"\xE4\xB8\xAD", NORMAL, 0},
                                            {"\xC4\xA0", USER_DEFINED, 0},
                                            {"<0x41>", BYTE, 0}};
    struct toy toy;
    scratch_make();
    open_merges(&toy, "gpt-2", more, 4, NULL, 0);
    toy_expect(toy.tokenizer, "a b", 3, plain, "256");
    ck_assert(text_equals(tokenizer_piece(toy.tokenizer, 256, false), "a b"));
    ck_assert(text_equals(tokenizer_piece(toy.tokenizer, 257, false), "\xE4\xB8\xAD"));
    ck_assert(text_equals(tokenizer_piece(toy.tokenizer, 258, false), "\xC4\xA0"));
    ck_assert(text_equals(tokenizer_piece(toy.tokenizer, 259, false), "A"));
    toy_expect(toy.tokenizer, "A\xC4\xA0", 3, plain, "65 258");
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(any_bytes_are_a_text)
{
    struct toy toy;
    scratch_make();
    open_merges(&toy, "gpt-2", NULL, 0, NULL, 0);
    toy_expect(toy.tokenizer, "a\xFF\xC3", 3, plain, "97 255 195");
    toy_expect(toy.tokenizer, "\xE2\x82 a", 4, plain, "226 130 32 97");
    uint64_t seed = 3;
    char text[5000];
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)(toy_random(&seed) >> 20);
        toy_round_trip(toy.tokenizer, text, sizeof text);
    }
    toy_close(&toy);
    scratch_remove();
}
END_TEST

/* A file with no rule's name is split by llama.cpp's default rule, where punctuation stands alone.
 */
START_TEST(no_name_is_the_default_rule)
{
    struct toy_token tokens[300];
    struct gguf_image image;
    struct toy toy;
    scratch_make();
    size_t n = toy_add_bytes(tokens);
    tokens[n++] = (struct toy_token){"\xC4\xA0"
                                     "-",
                                     NORMAL, 0};
    toy_image(&image, "gpt2", tokens, n);
    gguf_image_texts(&image, "tokenizer.ggml.merges", (const char *const[]){"\xC4\xA0 -"}, 1);
    toy_open(&toy, &image);
    ck_assert_str_eq(tokenizer_description(toy.tokenizer), "bpe (default)");
    toy_expect(toy.tokenizer, "a -b", 4, plain, "97 32 45 98");
    toy_close(&toy);
    scratch_remove();
}
END_TEST

Suite *bpe_suite(void)
{
    Suite *suite = suite_create("bpe");
    TCase *tcase = tcase_create("bpe");
    tcase_add_test(tcase, byte_texts_are_decoded);
    tcase_add_test(tcase, merges_that_make_nothing_are_left_out);
    tcase_add_test(tcase, some_rules_take_whole_pieces);
    tcase_add_test(tcase, texts_that_spell_no_bytes_stand_for_themselves);
    tcase_add_test(tcase, any_bytes_are_a_text);
    tcase_add_test(tcase, no_name_is_the_default_rule);
    suite_add_tcase(suite, tcase);
    return suite;
}
