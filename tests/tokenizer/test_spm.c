/* test_spm: scores, spaces, byte fallback. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"
#include "tests/tokenizer/toy.h"
#include "tokenizer/internal.h"

static const struct encode_options plain = {0};
#define MARK "\xE2\x96\x81"

START_TEST(orders_run_against_scores)
{
    static const float rising[] = {-INFINITY, -1e30f, -2, -1, -1e-30f, 0, 1e-30f, 1, 2, INFINITY};
    for (size_t i = 1; i < sizeof rising / sizeof rising[0]; i++)
        ck_assert_uint_lt(spm_order(rising[i]), spm_order(rising[i - 1]));
    ck_assert_uint_eq(spm_order(0.0f), spm_order(-0.0f));
}
END_TEST

/* From 259: the mark, a, the mark and a, b, ab, two marks; then what `more` holds. */
static void open_spm(struct toy *toy, bool space_prefix, const struct toy_token *more,
                     size_t n_more)
{
    static const struct toy_token tail[] = {{MARK, NORMAL, -9},    {"a", NORMAL, -9},
                                            {MARK "a", NORMAL, 0}, {"b", NORMAL, -9},
                                            {"ab", NORMAL, 1},     {MARK MARK, NORMAL, -5}};
    struct toy_token tokens[300];
    struct gguf_image image;
    size_t n = toy_add_spm(tokens);
    for (size_t i = 0; i < 6; i++)
        tokens[n++] = tail[i];
    for (size_t i = 0; i < n_more; i++)
        tokens[n++] = more[i];
    toy_image(&image, "llama", tokens, n);
    if (!space_prefix)
        gguf_image_bool(&image, "tokenizer.ggml.add_space_prefix", false);
    toy_open(toy, &image);
}

START_TEST(a_space_is_put_in_front_where_the_file_wants_it)
{
    struct toy toy;
    scratch_make();
    open_spm(&toy, true, NULL, 0);
    toy_expect(toy.tokenizer, "a", 1, plain, "261");
    toy_expect(toy.tokenizer, "ab", 2, plain, "259 263");
    toy_expect(toy.tokenizer, " a", 2, plain, "259 261");
    toy_expect(toy.tokenizer, "", 0, plain, "");
    toy_expect(toy.tokenizer, "a</s>a", 6, (struct encode_options){true, true}, "1 261 2 261");
    toy_close(&toy);
    open_spm(&toy, false, NULL, 0);
    toy_expect(toy.tokenizer, "a", 1, plain, "260");
    toy_expect(toy.tokenizer, " a", 2, plain, "261");
    toy_expect(toy.tokenizer, "   a", 4, plain, "264 261");
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(what_has_no_token_becomes_bytes)
{
    struct toy toy;
    scratch_make();
    open_spm(&toy, false, NULL, 0);
    toy_expect(toy.tokenizer, "c", 1, plain, "102");
    toy_expect(toy.tokenizer, "a\n", 2, plain, "260 13");
    toy_expect(toy.tokenizer, "\xE4\xB8\xAD", 3, plain, "231 187 176");
    toy_expect(toy.tokenizer, "\xFF\xE4\xB8", 3, plain, "258 231 187");
    toy_expect(toy.tokenizer, MARK "a", 4, plain, "229 153 132 260");
    toy_expect(toy.tokenizer, "\0", 1, plain, "3");
    ck_assert(text_equals(tokenizer_piece(toy.tokenizer, 3 + 'c', false), "c"));
    toy_close(&toy);
    scratch_remove();
}
END_TEST

/* Joins must not make what only markup may be, nor a byte token out of its name. */
START_TEST(text_makes_no_control_tokens)
{
    static const struct toy_token more[] = {
        {"<", NORMAL, -9}, {"/", NORMAL, -9}, {"s", NORMAL, -9},    {">", NORMAL, -9},
        {"</", NORMAL, 3}, {"s>", NORMAL, 2}, {"0x41>", NORMAL, 1}, {"unk", NORMAL, 1},
    };
    struct toy toy;
    scratch_make();
    open_spm(&toy, false, more, 8);
    toy_expect(toy.tokenizer, "</s>", 4, plain, "269 270");
    toy_expect(toy.tokenizer, "</s>", 4, (struct encode_options){.parse_special = true}, "2");
    toy_expect(toy.tokenizer, "<0x41>", 6, plain, "265 51 123 55 52 268");
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(no_bytes_and_no_unknown_is_an_error)
{
    static const struct toy_token tokens[] = {{MARK, NORMAL, 0}, {"a", NORMAL, 0}};
    struct gguf_image image;
    struct toy toy;
    struct error err;
    struct token_list ids = {0};
    scratch_make();
    toy_image(&image, "llama", tokens, 2);
    toy_open(&toy, &image);
    ck_assert_int_eq(tokenizer_bos(toy.tokenizer), -1);
    ck_assert(!tokenizer_adds_bos(toy.tokenizer));
    toy_expect(toy.tokenizer, "a a", 3, plain, "0 1 0 1");
    ck_assert_int_eq(tokenizer_encode(toy.tokenizer, "aa\xC3\xA9", 4, plain, &ids, &err), -1);
    ck_assert_str_eq(err.text,
                     "text: byte 2: \"\xC3\xA9\" has no token in this model's vocabulary");
    ck_assert_uint_eq(ids.n, 0);
    token_list_free(&ids);
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(any_bytes_are_a_text)
{
    struct toy toy;
    scratch_make();
    open_spm(&toy, true, NULL, 0);
    uint64_t seed = 9;
    char text[5000];
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof text; i++)
            text[i] =
                round % 2 == 0 ? (char)(toy_random(&seed) >> 20) : "ab \xE2"[toy_random(&seed) % 4];
        toy_round_trip(toy.tokenizer, text, sizeof text);
    }
    toy_close(&toy);
    scratch_remove();
}
END_TEST

Suite *spm_suite(void)
{
    Suite *suite = suite_create("spm");
    TCase *tcase = tcase_create("spm");
    tcase_add_test(tcase, orders_run_against_scores);
    tcase_add_test(tcase, a_space_is_put_in_front_where_the_file_wants_it);
    tcase_add_test(tcase, what_has_no_token_becomes_bytes);
    tcase_add_test(tcase, text_makes_no_control_tokens);
    tcase_add_test(tcase, no_bytes_and_no_unknown_is_an_error);
    tcase_add_test(tcase, any_bytes_are_a_text);
    suite_add_tcase(suite, tcase);
    return suite;
}
