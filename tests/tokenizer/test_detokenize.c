/* test_detokenize: tokens to whole characters. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"
#include "tests/tokenizer/toy.h"

/* A byte-level vocabulary, where token b is byte b, and 256 is a control token. */
static void open_bytes(struct toy *toy)
{
    struct toy_token tokens[258];
    struct gguf_image image;
    size_t n = toy_add_bytes(tokens);
    tokens[n++] = (struct toy_token){"<|endoftext|>", CONTROL, 0};
    tokens[n++] = (struct toy_token){"\xC3\xA2\xC4\xA4", NORMAL, 0}; /* bytes E2 82 */
    toy_image(&image, "gpt2", tokens, n);
    gguf_image_text(&image, "tokenizer.ggml.pre", "gpt-2");
    gguf_image_texts(&image, "tokenizer.ggml.merges", NULL, 0);
    toy_open(toy, &image);
}

static const struct {
    const char *bytes; /* fed one token a byte */
    const char *text;
} cases[] = {
    {"abc", "abc"},
    {"\xE2\x82\xAC", "\xE2\x82\xAC"},
    {"\xF0\x9F\x99\x82", "\xF0\x9F\x99\x82"},
    {"\xFF", "\xEF\xBF\xBD"},
    {"\xE2\x82", "\xEF\xBF\xBD"},
    {"\xE2\x82"
     "a",
     "\xEF\xBF\xBD"
     "a"},
    {"\xE2\xE2\x82\xAC", "\xEF\xBF\xBD\xE2\x82\xAC"},
    {"\xF0\x9F\x99\xFF", "\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD"},
    {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
};

START_TEST(characters_come_whole)
{
    struct toy toy;
    scratch_make();
    open_bytes(&toy);
    struct detokenizer stream = {.tokenizer = toy.tokenizer};
    char *out = malloc(detokenizer_bound(toy.tokenizer)), text[64];
    size_t used = 0, n;
    for (const char *at = cases[_i].bytes; *at; at++) {
        n = detokenizer_feed(&stream, (unsigned char)*at, out);
        ck_assert_uint_le(n, detokenizer_bound(toy.tokenizer));
        ck_assert(n == 0 || ((unsigned char)out[0] & 0xC0) != 0x80);
        memcpy(text + used, out, n);
        used += n;
    }
    n = detokenizer_end(&stream, out);
    memcpy(text + used, out, n);
    text[used + n] = '\0';
    ck_assert_str_eq(text, cases[_i].text);
    ck_assert_uint_eq(detokenizer_end(&stream, out), 0);
    free(out);
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(control_tokens_show_on_demand)
{
    struct toy toy;
    scratch_make();
    open_bytes(&toy);
    char *out = malloc(detokenizer_bound(toy.tokenizer));
    struct detokenizer stream = {.tokenizer = toy.tokenizer};
    ck_assert_uint_eq(detokenizer_feed(&stream, 256, out), 0);
    ck_assert_uint_eq(detokenizer_feed(&stream, -1, out), 0);
    ck_assert_uint_eq(detokenizer_feed(&stream, 9999, out), 0);
    stream.special = true;
    ck_assert_uint_eq(detokenizer_feed(&stream, 256, out), 13);
    ck_assert_int_eq(memcmp(out, "<|endoftext|>", 13), 0);
    ck_assert_uint_eq(detokenizer_feed(&stream, 257, out), 0);
    ck_assert_uint_eq(detokenizer_feed(&stream, 0xAC, out), 3);
    ck_assert_int_eq(memcmp(out, "\xE2\x82\xAC", 3), 0);
    free(out);
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(the_first_space_goes_once)
{
    struct toy_token tokens[300];
    struct toy toy;
    struct gguf_image image;
    scratch_make();
    size_t n = toy_add_spm(tokens);
    int32_t hi = (int32_t)n;
    tokens[n++] = (struct toy_token){"\xE2\x96\x81hi", NORMAL, -1};
    toy_image(&image, "llama", tokens, n);
    toy_open(&toy, &image);
    char out[64];
    struct detokenizer stream = {.tokenizer = toy.tokenizer};
    ck_assert_uint_eq(detokenizer_feed(&stream, 1, out), 0);
    ck_assert_uint_eq(detokenizer_feed(&stream, hi, out), 2);
    ck_assert_uint_eq(detokenizer_feed(&stream, hi, out), 3);
    stream = (struct detokenizer){.tokenizer = toy.tokenizer, .started = true};
    ck_assert_uint_eq(detokenizer_feed(&stream, hi, out), 3);
    toy_close(&toy);
    scratch_remove();
}
END_TEST

Suite *detokenize_suite(void)
{
    Suite *suite = suite_create("detokenize");
    TCase *tcase = tcase_create("detokenize");
    tcase_add_loop_test(tcase, characters_come_whole, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(tcase, control_tokens_show_on_demand);
    tcase_add_test(tcase, the_first_space_goes_once);
    suite_add_tcase(suite, tcase);
    return suite;
}
