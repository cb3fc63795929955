/* test_size: size arithmetic notices what does not fit, and so does allocation. */
#include "base/size.h"

#include <check.h>
#include <stdint.h>
#include <string.h>

#include "tests/suites.h"
#include "tests/support.h"

START_TEST(products_and_sums_are_checked)
{
    size_t out;
    ck_assert(size_mul(1u << 20, 1u << 20, &out));
    ck_assert_uint_eq(out, (size_t)1 << 40);
    ck_assert(size_mul(0, SIZE_MAX, &out));
    ck_assert_uint_eq(out, 0);
    ck_assert(size_mul(1, SIZE_MAX, &out));
    ck_assert_uint_eq(out, SIZE_MAX);
    ck_assert(!size_mul(2, SIZE_MAX / 2 + 1, &out));
    ck_assert(size_add(SIZE_MAX - 1, 1, &out));
    ck_assert_uint_eq(out, SIZE_MAX);
    ck_assert(!size_add(SIZE_MAX, 1, &out));
}
END_TEST

START_TEST(arrays_are_aligned_and_writable)
{
    static const size_t counts[] = {0, 1, 7, 64, 65, 1000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        char *array = size_alloc(counts[i], 3);
        ck_assert_ptr_nonnull(array);
        ck_assert_uint_eq((uintptr_t)array % CACHE_LINE, 0);
        memset(array, 1, 3 * counts[i]);
        free(array);
    }
}
END_TEST

START_TEST(impossible_arrays_are_refused)
{
    ck_assert_ptr_null(size_alloc(SIZE_MAX, 2));
    ck_assert_ptr_null(size_alloc(SIZE_MAX, 1));
    ck_assert_ptr_null(size_alloc(SIZE_MAX - CACHE_LINE + 1, 1));
}
END_TEST

START_TEST(want_of_memory_is_null)
{
    support_fail_memory(1, false);
    void *array = size_alloc(10, 10);
    support_fail_memory(0, false);
    ck_assert_ptr_null(array);
    ck_assert_int_eq(support_memory_failures(), 1);
}
END_TEST

Suite *size_suite(void)
{
    Suite *suite = suite_create("size");
    TCase *tcase = tcase_create("size");
    tcase_add_test(tcase, products_and_sums_are_checked);
    tcase_add_test(tcase, arrays_are_aligned_and_writable);
    tcase_add_test(tcase, impossible_arrays_are_refused);
    tcase_add_test(tcase, want_of_memory_is_null);
    suite_add_tcase(suite, tcase);
    return suite;
}
