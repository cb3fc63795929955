/* test_encode: special tokens in a text, BOS and EOS around it, segments, and lists. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"
#include "tests/tokenizer/toy.h"
#include "tokenizer/internal.h"

static const struct encode_options plain = {0}, parse = {.parse_special = true},
                                   framed = {.add_special = true};

/* Bytes, then 256 <|a|>, 257 <|a|b> and 258 <|a control, 259 and 260 two and four spaces, 261 "$$".
 */
static void open_bpe(struct toy *toy, bool add_bos, bool add_eos)
{
    struct toy_token tokens[270];
    struct gguf_image image;
    size_t n = toy_add_bytes(tokens);
    tokens[n++] = (struct toy_token){"<|a|>", CONTROL, 0};
    tokens[n++] = (struct toy_token){"<|a|b>", CONTROL, 0};
    tokens[n++] = (struct toy_token){"<|a", CONTROL, 0};
    tokens[n++] = (struct toy_token){"  ", USER_DEFINED, 0};
    tokens[n++] = (struct toy_token){"    ", USER_DEFINED, 0};
    tokens[n++] = (struct toy_token){"$$", USER_DEFINED, 0};
    toy_image(&image, "gpt2", tokens, n);
    gguf_image_text(&image, "tokenizer.ggml.pre", "gpt-2");
    gguf_image_texts(&image, "tokenizer.ggml.merges", NULL, 0);
    gguf_image_u32(&image, "tokenizer.ggml.bos_token_id", 256);
    gguf_image_u32(&image, "tokenizer.ggml.eos_token_id", 257);
    gguf_image_bool(&image, "tokenizer.ggml.add_bos_token", add_bos);
    gguf_image_bool(&image, "tokenizer.ggml.add_eos_token", add_eos);
    toy_open(toy, &image);
}

START_TEST(special_tokens_are_found_longest_first)
{
    struct toy toy;
    scratch_make();
    open_bpe(&toy, false, false);
    static const struct {
        const char *text, *plain, *parsed;
    } cases[] = {
        {"<|a|>", "60 124 97 124 62", "256"},
        {"<|a|b>", "60 124 97 124 98 62", "257"},
        {"<|a|c", "60 124 97 124 99", "258 124 99"},
        {"x<|a|><|a|>y", "120 60 124 97 124 62 60 124 97 124 62 121", "120 256 256 121"},
        {"<<|a", "60 60 124 97", "60 258"},
        {"<|", "60 124", "60 124"},
        {"  ", "259", "259"},
        {"   ", "259 32", "259 32"},
        {"       ", "260 259 32", "260 259 32"},
        {"a$$$", "97 261 36", "97 261 36"},
        {"", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *text = cases[i].text;
        toy_expect(toy.tokenizer, text, strlen(text), plain, cases[i].plain);
        toy_expect(toy.tokenizer, text, strlen(text), parse, cases[i].parsed);
    }
    toy_expect(toy.tokenizer, "<|a|>\0<|a|>", 11, parse, "256 0 256");
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(frames_follow_the_file)
{
    static const char *const expected[] = {"120", "256 120", "120 257", "256 120 257"};
    static const char *const expected_empty[] = {"", "256", "257", "256 257"};
    struct toy toy;
    scratch_make();
    open_bpe(&toy, _i & 1, _i & 2);
    ck_assert_int_eq(tokenizer_adds_bos(toy.tokenizer), _i & 1);
    toy_expect(toy.tokenizer, "x", 1, framed, expected[_i]);
    toy_expect(toy.tokenizer, "x", 1, plain, "120");
    toy_expect(toy.tokenizer, NULL, 0, framed, expected_empty[_i]);
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(markup_cannot_be_spelled_by_other_text)
{
    struct toy toy;
    struct error err;
    struct token_list ids = {0};
    scratch_make();
    open_bpe(&toy, false, false);
    const struct segment segments[] = {
        {{"<|a|>", 5}, true}, {{"<|a|> ", 6}, false}, {{" <|", 3}, true}, {{"a|>", 3}, false},
        {{"<|a", 3}, false},  {{"|>", 2}, true},      {{"<|a", 3}, true}, {{"|>", 2}, false},
    };
    static const int32_t expected[] = {256, 60, 124, 97,  124, 62,  259, 60,  124, 97,
                                       124, 62, 60,  124, 97,  124, 62,  258, 124, 62};
    size_t n = sizeof expected / sizeof expected[0];
    ck_assert_int_eq(tokenizer_encode_segments(toy.tokenizer, segments, 8, false, &ids, &err), 0);
    ck_assert_uint_eq(ids.n, n);
    ck_assert_mem_eq(ids.ids, expected, sizeof expected);
    token_list_free(&ids);
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(a_failure_leaves_the_list)
{
    static struct toy_token tokens[256];
    struct toy toy;
    struct error err;
    struct gguf_image image;
    struct token_list ids = {0};
    scratch_make();
    toy_add_bytes(tokens);
    tokens[0x83].text = "the byte 83 has no token";
    toy_image(&image, "gpt2", tokens, 256);
    gguf_image_text(&image, "tokenizer.ggml.pre", "gpt-2");
    gguf_image_texts(&image, "tokenizer.ggml.merges", NULL, 0);
    toy_open(&toy, &image);
    ck_assert_int_eq(token_list_add(&ids, 7, &err), 0);
    ck_assert_int_eq(tokenizer_encode(toy.tokenizer, "abc \xC3\x83", 6, plain, &ids, &err), -1);
    ck_assert_str_eq(err.text, "text: byte 5: \"\\x83\" has no token in this model's vocabulary");
    ck_assert_uint_eq(ids.n, 1);
    ck_assert_int_eq(ids.ids[0], 7);
    token_list_free(&ids);
    token_list_free(&ids);
    toy_close(&toy);
    scratch_remove();
}
END_TEST

Suite *encode_suite(void)
{
    Suite *suite = suite_create("encode");
    TCase *tcase = tcase_create("encode");
    tcase_add_test(tcase, special_tokens_are_found_longest_first);
    tcase_add_loop_test(tcase, frames_follow_the_file, 0, 4);
    tcase_add_test(tcase, markup_cannot_be_spelled_by_other_text);
    tcase_add_test(tcase, a_failure_leaves_the_list);
    suite_add_tcase(suite, tcase);
    return suite;
}
