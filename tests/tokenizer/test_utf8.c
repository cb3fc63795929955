/* test_utf8: where a character ends. */
#include "tokenizer/utf8.h"

#include <check.h>
#include <string.h>

#include "tests/suites.h"

/* The border cases of Unicode's table 3-7. */
static const struct {
    const char *bytes;
    int length;
} cases[] = {
    {"a", 1},
    {"\x7F", 1},
    {"\x80", UTF8_INVALID},
    {"\xBF", UTF8_INVALID},
    {"\xC1\xBF", UTF8_INVALID},
    {"\xC2\x80", 2},
    {"\xC2\x7F", UTF8_INVALID},
    {"\xDF\xBF", 2},
    {"\xE0\x9F\xBF", UTF8_INVALID},
    {"\xE0\xA0\x80", 3},
    {"\xED\x9F\xBF", 3},
    {"\xED\xA0\x80", UTF8_INVALID},
    {"\xEF\xBF\xBF", 3},
    {"\xF0\x8F\xBF\xBF", UTF8_INVALID},
    {"\xF0\x90\x80\x80", 4},
    {"\xF4\x8F\xBF\xBF", 4},
    {"\xF4\x90\x80\x80", UTF8_INVALID},
    {"\xF5\x80\x80\x80", UTF8_INVALID},
    {"\xFF", UTF8_INVALID},
    {"\xC2", UTF8_UNFINISHED},
    {"\xE2\x82", UTF8_UNFINISHED},
    {"\xF0\x9F\x99", UTF8_UNFINISHED},
    {"\xE0\x80", UTF8_INVALID},
    {"\xE2\x82"
     "a",
     UTF8_INVALID},
};

START_TEST(lengths_follow_the_table)
{
    ck_assert_int_eq(utf8_length(cases[_i].bytes, strlen(cases[_i].bytes)), cases[_i].length);
}
END_TEST

START_TEST(prefixes_divide_a_text)
{
    const char text[] = "a\xC3\xA9\xFF\x80\xE2\x82\xAC\xE2\x82";
    size_t length = sizeof text - 1;
    ck_assert_uint_eq(utf8_valid_prefix(text, length), 3);
    ck_assert_uint_eq(utf8_invalid_prefix(text + 3, length - 3), 2);
    ck_assert_uint_eq(utf8_valid_prefix(text + 5, length - 5), 3);
    ck_assert_uint_eq(utf8_invalid_prefix(text + 8, length - 8), 2);
    ck_assert_uint_eq(utf8_valid_prefix(text, 0), 0);
    ck_assert_uint_eq(utf8_invalid_prefix(text, 0), 0);
}
END_TEST

Suite *utf8_suite(void)
{
    Suite *suite = suite_create("utf8");
    TCase *tcase = tcase_create("utf8");
    tcase_add_loop_test(tcase, lengths_follow_the_table, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(tcase, prefixes_divide_a_text);
    suite_add_tcase(suite, tcase);
    return suite;
}
