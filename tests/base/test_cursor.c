/* test_cursor: bounded little-endian reads whose first failure sticks. */
#include "base/cursor.h"

#include <check.h>
#include <stdlib.h>

#include "tests/suites.h"

static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 0x88, 0, 0, 0xC0, 0x3F};

START_TEST(integers_are_little_endian)
{
    struct cursor in = cursor_over(bytes, sizeof bytes);
    ck_assert_uint_eq(cursor_uint(&in, 1), 1);
    ck_assert_uint_eq(cursor_uint(&in, 2), 0x0302);
    in.at = 0;
    ck_assert_uint_eq(cursor_u32(&in), 0x04030201);
    ck_assert_uint_eq(in.at, 4);
    in.at = 0;
    ck_assert_uint_eq(cursor_u64(&in), 0x8807060504030201);
    ck_assert_uint_eq(cursor_left(&in), 4);
}
END_TEST

START_TEST(floats_are_ieee)
{
    struct cursor in = cursor_over(bytes, sizeof bytes);
    in.at = 8;
    ck_assert(cursor_f32(&in) == 1.5f);
    static const uint8_t minus_two[] = {0, 0, 0, 0, 0, 0, 0, 0xC0};
    in = cursor_over(minus_two, sizeof minus_two);
    ck_assert(cursor_f64(&in) == -2.0);
    ck_assert(!in.failed);
}
END_TEST

START_TEST(bytes_are_handed_out_in_place)
{
    struct cursor in = cursor_over(bytes, sizeof bytes);
    cursor_u32(&in);
    ck_assert_ptr_eq(cursor_bytes(&in, 8), bytes + 4);
    ck_assert_ptr_nonnull(cursor_bytes(&in, 0));
    ck_assert(!in.failed);
    ck_assert_uint_eq(cursor_left(&in), 0);
}
END_TEST

/* From every distance to the end; the bytes are on the heap so that a sanitizer sees a step too
 * far. */
START_TEST(the_end_stops_every_read)
{
    size_t left = (size_t)_i;
    uint8_t *copy = malloc(left + 1);
    memset(copy, 0xFF, left + 1);
    struct cursor in = cursor_over(copy, left);
    ck_assert_uint_eq(cursor_u64(&in), left >= 8 ? UINT64_MAX : 0);
    ck_assert_int_eq(in.failed, left < 8);
    ck_assert_uint_eq(in.at, left < 8 ? 0 : 8);
    free(copy);
}
END_TEST

START_TEST(the_first_failure_sticks)
{
    struct cursor in = cursor_over(bytes, sizeof bytes);
    cursor_u64(&in);
    ck_assert_ptr_null(cursor_bytes(&in, 5));
    ck_assert(in.failed);
    ck_assert_uint_eq(in.at, 8);
    ck_assert_uint_eq(cursor_uint(&in, 1), 0);
    ck_assert_ptr_null(cursor_bytes(&in, 0));
    ck_assert_uint_eq(cursor_left(&in), 0);
    ck_assert_uint_eq(in.at, 8);
}
END_TEST

START_TEST(lengths_that_wrap_around_are_refused)
{
    struct cursor in = cursor_over(bytes, sizeof bytes);
    cursor_u32(&in);
    ck_assert_ptr_null(cursor_bytes(&in, UINT64_MAX));
    in = cursor_over(bytes, sizeof bytes);
    cursor_u32(&in);
    ck_assert_ptr_null(cursor_bytes(&in, UINT64_MAX - 3));
    ck_assert(in.failed);
}
END_TEST

START_TEST(a_zeroed_cursor_is_empty)
{
    struct cursor in = {0};
    ck_assert_uint_eq(cursor_left(&in), 0);
    ck_assert_uint_eq(cursor_uint(&in, 1), 0);
    ck_assert(in.failed);
}
END_TEST

Suite *cursor_suite(void)
{
    Suite *suite = suite_create("cursor");
    TCase *tcase = tcase_create("cursor");
    tcase_add_test(tcase, integers_are_little_endian);
    tcase_add_test(tcase, floats_are_ieee);
    tcase_add_test(tcase, bytes_are_handed_out_in_place);
    tcase_add_loop_test(tcase, the_end_stops_every_read, 0, 10);
    tcase_add_test(tcase, the_first_failure_sticks);
    tcase_add_test(tcase, lengths_that_wrap_around_are_refused);
    tcase_add_test(tcase, a_zeroed_cursor_is_empty);
    suite_add_tcase(suite, tcase);
    return suite;
}
