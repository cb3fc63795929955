/* test_text: comparison, and text from outside made fit for a terminal. */
#include "base/text.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"

#define TEXT(literal) ((struct text){literal, sizeof literal - 1})

START_TEST(texts_compare_as_bytes)
{
    ck_assert(text_equals(TEXT("abc"), "abc"));
    ck_assert(!text_equals(TEXT("abc"), "ab"));
    ck_assert(!text_equals(TEXT("ab"), "abc"));
    ck_assert(!text_equals(TEXT("ab\0c"), "ab"));
    ck_assert(text_equals((struct text){0}, ""));
    ck_assert_int_lt(text_compare(TEXT("ab"), TEXT("abc")), 0);
    ck_assert_int_gt(text_compare(TEXT("abc"), TEXT("ab")), 0);
    ck_assert_int_lt(text_compare(TEXT("abc"), TEXT("abd")), 0);
    ck_assert_int_gt(text_compare(TEXT("\xff"), TEXT("a")), 0);
    ck_assert_int_eq(text_compare(TEXT("a\0b"), TEXT("a\0b")), 0);
    ck_assert_int_eq(text_compare((struct text){0}, TEXT("")), 0);
}
END_TEST

static const struct {
    struct text text;
    const char *printable;
} printables[] = {
    {TEXT("blk.0.attn_q.weight"), "blk.0.attn_q.weight"},
    {TEXT(""), ""},
    {TEXT("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"),
     "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
    {TEXT("\x1b[2Jx"), "\\x1b[2Jx"},
    {TEXT("a\0b\nc\rd\x7f"), "a\\x00b\\x0ac\\x0dd\\x7f"},
    {TEXT("\xc2\x9b"
          "2J"),
     "\\xc2\\x9b2J"}, /* CSI in one character */
    {TEXT("a\xe2\x80\xae"
          "b"),
     "a\\xe2\\x80\\xaeb"}, /* right-to-left override */
    {TEXT("a\xff"
          "b\x80"),
     "a\\xffb\\x80"},                 /* not UTF-8 */
    {TEXT("\xc0\xaf"), "\\xc0\\xaf"}, /* overlong */
    {TEXT("\xe0\x80\xaf"), "\\xe0\\x80\\xaf"},
    {TEXT("\xed\xa0\x80"), "\\xed\\xa0\\x80"},          /* surrogate */
    {TEXT("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80"}, /* beyond Unicode */
    {TEXT("\xf8\x88\x80\x80\x80"), "\\xf8\\x88\\x80\\x80\\x80"},
    {TEXT("x\xe2\x82"), "x\\xe2\\x82"}, /* ends too early */
    {TEXT("\xe2"
          "A"),
     "\\xe2"
     "A"},
};

START_TEST(texts_are_made_printable)
{
    /* A copy that ends where the text ends, so that a sanitizer sees a step too far. */
    struct text text = printables[_i].text;
    char *copy = malloc(text.length + 1);
    memcpy(copy, text.bytes, text.length);
    copy = realloc(copy, text.length > 0 ? text.length : 1);
    ck_assert_str_eq(text_printable((struct text){copy, text.length}).chars,
                     printables[_i].printable);
    free(copy);
}
END_TEST

START_TEST(a_zeroed_text_prints_empty)
{
    ck_assert_str_eq(text_printable((struct text){0}).chars, "");
}
END_TEST

START_TEST(long_texts_are_cut)
{
    char text[PRINTABLE_BYTES + 1];
    memset(text, 'x', sizeof text);
    struct printable out = text_printable((struct text){text, PRINTABLE_BYTES});
    ck_assert_uint_eq(strlen(out.chars), PRINTABLE_BYTES);
    ck_assert_ptr_null(strchr(out.chars, '.'));
    out = text_printable((struct text){text, PRINTABLE_BYTES + 1});
    ck_assert_uint_eq(strlen(out.chars), PRINTABLE_BYTES + 3);
    ck_assert_str_eq(out.chars + PRINTABLE_BYTES - 1, "x...");
}
END_TEST

START_TEST(the_cut_splits_neither_character_nor_escape)
{
    char text[PRINTABLE_BYTES];
    memset(text, 'x', sizeof text);
    memcpy(text + PRINTABLE_BYTES - 2, "\xe2\x82", 2);
    struct printable out = text_printable((struct text){text, sizeof text});
    ck_assert_str_eq(out.chars + PRINTABLE_BYTES - 3, "x...");
    char euros[3 * PRINTABLE_BYTES];
    euros[0] = 'x';
    for (size_t i = 1; i + 3 <= sizeof euros; i += 3)
        memcpy(euros + i, "\xe2\x82\xac", 3);
    out = text_printable((struct text){euros, sizeof euros - 2});
    ck_assert_uint_eq(strlen(out.chars), 1 + (PRINTABLE_BYTES - 1) / 3 * 3 + 3);
    ck_assert_str_eq(out.chars + strlen(out.chars) - 6, "\xe2\x82\xac...");
}
END_TEST

Suite *text_suite(void)
{
    Suite *suite = suite_create("text");
    TCase *tcase = tcase_create("text");
    tcase_add_test(tcase, texts_compare_as_bytes);
    tcase_add_loop_test(tcase, texts_are_made_printable, 0,
                        (int)(sizeof printables / sizeof printables[0]));
    tcase_add_test(tcase, a_zeroed_text_prints_empty);
    tcase_add_test(tcase, long_texts_are_cut);
    tcase_add_test(tcase, the_cut_splits_neither_character_nor_escape);
    suite_add_tcase(suite, tcase);
    return suite;
}
