/* test_file: regular files are mapped; everything else is refused with its reason. */
#include "base/file.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/suites.h"
#include "tests/support.h"

static void expect_refusal(const char *path, const char *message)
{
    struct file file = {.size = 1};
    struct error err = {""};
    ck_assert_int_eq(file_open(&file, path, &err), -1);
    ck_assert_msg(strstr(err.text, message), "\"%s\" lacks \"%s\"", err.text, message);
    ck_assert_msg(strncmp(err.text, path, strlen(path)) == 0, "\"%s\" lacks the path", err.text);
    ck_assert_ptr_null(file.data);
    ck_assert_uint_eq(file.size, 0);
}

START_TEST(a_file_is_mapped_whole)
{
    char content[10000];
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (char)(i * 31);
    struct file file;
    struct error err;
    ck_assert_int_eq(file_open(&file, scratch_write("a", content, sizeof content), &err), 0);
    ck_assert_uint_eq(file.size, sizeof content);
    ck_assert_mem_eq(file.data, content, sizeof content);
    file_close(&file);
    ck_assert_ptr_null(file.data);
    file_close(&file);
}
END_TEST

START_TEST(a_missing_file_is_refused)
{
    expect_refusal(scratch_path("absent"), "cannot open: No such file");
}
END_TEST

START_TEST(an_empty_file_is_refused)
{
    expect_refusal(scratch_write("empty", "", 0), "is empty");
}
END_TEST

START_TEST(a_directory_is_refused)
{
    expect_refusal("/", "is a directory, expected a regular file");
}
END_TEST

START_TEST(a_device_is_refused)
{
    expect_refusal("/dev/null", "is a special file, expected a regular file");
}
END_TEST

/* Opening a pipe that nobody writes to must not wait for a writer. */
START_TEST(a_pipe_is_refused_at_once)
{
    const char *path = scratch_path("pipe");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    expect_refusal(path, "is a special file, expected a regular file");
}
END_TEST

START_TEST(an_unreadable_file_is_refused)
{
    const char *path = scratch_write("secret", "x", 1);
    ck_assert_int_eq(chmod(path, 0), 0);
    if (access(path, R_OK) == 0) /* root reads everything */
        return;
    expect_refusal(path, "cannot open: Permission denied");
}
END_TEST

START_TEST(a_zeroed_file_closes)
{
    struct file file = {0};
    file_close(&file);
}
END_TEST

Suite *file_suite(void)
{
    Suite *suite = suite_create("file");
    TCase *tcase = tcase_create("file");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_add_test(tcase, a_file_is_mapped_whole);
    tcase_add_test(tcase, a_missing_file_is_refused);
    tcase_add_test(tcase, an_empty_file_is_refused);
    tcase_add_test(tcase, a_directory_is_refused);
    tcase_add_test(tcase, a_device_is_refused);
    tcase_add_test(tcase, a_pipe_is_refused_at_once);
    tcase_add_test(tcase, an_unreadable_file_is_refused);
    tcase_add_test(tcase, a_zeroed_file_closes);
    suite_add_tcase(suite, tcase);
    return suite;
}
