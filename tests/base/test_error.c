/* test_error: messages are formatted, prefixed and cut. */
#include "base/error.h"

#include <check.h>
#include <string.h>

#include "tests/suites.h"

START_TEST(a_message_is_formatted_and_minus_one_returned)
{
    struct error err;
    ck_assert_int_eq(error_set(&err, "%s: found %d, expected %d", "m.gguf", 3, 4), -1);
    ck_assert_str_eq(err.text, "m.gguf: found 3, expected 4");
}
END_TEST

START_TEST(a_prefix_goes_in_front)
{
    struct error err;
    error_set(&err, "found 3");
    ck_assert_int_eq(error_prefix(&err, "%s at byte %d", "m.gguf", 8), -1);
    ck_assert_str_eq(err.text, "m.gguf at byte 8: found 3");
}
END_TEST

START_TEST(what_fits_exactly_is_not_marked)
{
    struct error err;
    char text[sizeof err.text];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    error_set(&err, "%s", text);
    ck_assert_str_eq(err.text, text);
}
END_TEST

START_TEST(what_does_not_fit_is_cut_and_marked)
{
    struct error err;
    char text[sizeof err.text + 1];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    error_set(&err, "%s", text);
    ck_assert_uint_eq(strlen(err.text), sizeof err.text - 1);
    ck_assert_str_eq(err.text + sizeof err.text - 5, "x...");
    error_set(&err, "short");
    error_prefix(&err, "%s", text);
    ck_assert_str_eq(err.text + sizeof err.text - 5, "x...");
}
END_TEST

/* The cut falls at every place of a three-byte character in turn. */
START_TEST(the_cut_never_splits_a_character)
{
    struct error err;
    char text[2 * sizeof err.text];
    size_t at = (size_t)_i;
    memset(text, 'x', at);
    for (; at + 3 < sizeof text; at += 3)
        memcpy(text + at, "\xe2\x82\xac", 3);
    text[at] = 0;
    error_set(&err, "%s", text);
    size_t length = strlen(err.text);
    ck_assert_str_eq(err.text + length - 3, "...");
    ck_assert_uint_ge(length, sizeof err.text - 3);
    ck_assert_uint_eq((length - 3 - (size_t)_i) % 3, 0);
}
END_TEST

START_TEST(want_of_memory_names_what_and_how_much)
{
    struct error err;
    ck_assert_int_eq(error_memory(&err, "the cache", 4096), -1);
    ck_assert_str_eq(err.text, "out of memory: 4096 bytes for the cache");
}
END_TEST

Suite *error_suite(void)
{
    Suite *suite = suite_create("error");
    TCase *tcase = tcase_create("error");
    tcase_add_test(tcase, a_message_is_formatted_and_minus_one_returned);
    tcase_add_test(tcase, a_prefix_goes_in_front);
    tcase_add_test(tcase, what_fits_exactly_is_not_marked);
    tcase_add_test(tcase, what_does_not_fit_is_cut_and_marked);
    tcase_add_loop_test(tcase, the_cut_never_splits_a_character, 0, 3);
    tcase_add_test(tcase, want_of_memory_names_what_and_how_much);
    suite_add_tcase(suite, tcase);
    return suite;
}
