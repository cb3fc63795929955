/* test_replace: a new file appears whole, or the old one stays and nothing else is left. */
#include "base/replace.h"

#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/suites.h"
#include "tests/support.h"

static void expect_content(const char *path, const char *content)
{
    char found[64] = "";
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    found[fread(found, 1, sizeof found - 1, file)] = '\0';
    fclose(file);
    ck_assert_str_eq(found, content);
}

/* Files in the folder of `path`. */
static int count_files(const char *path)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    DIR *directory = opendir(folder);
    ck_assert_ptr_nonnull(directory);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(directory));)
        n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

static void write_all(const char *path, const char *content)
{
    struct replace replace;
    struct error err;
    ck_assert_msg(replace_open(&replace, path, &err) == 0, "%s", err.text);
    ck_assert_int_eq(replace_write(&replace, content, 2, &err), 0);
    ck_assert_int_eq(replace_write(&replace, content + 2, strlen(content) - 2, &err), 0);
    ck_assert_int_eq(replace_finish(&replace, &err), 0);
    replace_close(&replace);
    replace_close(&replace);
}

START_TEST(a_file_appears_whole)
{
    char path[512];
    struct stat status;
    snprintf(path, sizeof path, "%s", scratch_path("a"));
    write_all(path, "first");
    expect_content(path, "first");
    write_all(path, "the second");
    expect_content(path, "the second");
    ck_assert_int_eq(count_files(path), 1);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0600);
}
END_TEST

START_TEST(what_is_given_up_leaves_nothing)
{
    struct replace replace;
    struct error err;
    const char *path = scratch_write("a", "old", 3);
    ck_assert_int_eq(replace_open(&replace, path, &err), 0);
    ck_assert_int_eq(replace_write(&replace, "new", 3, &err), 0);
    expect_content(path, "old");
    replace_close(&replace);
    expect_content(path, "old");
    ck_assert_int_eq(count_files(path), 1);
}
END_TEST

START_TEST(a_link_is_followed)
{
    char link[512];
    snprintf(link, sizeof link, "%s", scratch_path("link"));
    const char *path = scratch_write("a", "old", 3);
    ck_assert_int_eq(symlink(path, link), 0);
    write_all(link, "new");
    struct stat status;
    ck_assert_int_eq(lstat(link, &status), 0);
    ck_assert(S_ISLNK(status.st_mode));
    expect_content(path, "new");
    ck_assert_int_eq(unlink(link), 0);
}
END_TEST

static void refuse(const char *path, const char *message)
{
    struct replace replace;
    struct error err = {""};
    ck_assert_int_eq(replace_open(&replace, path, &err), -1);
    ck_assert_msg(strstr(err.text, message) != NULL, "no \"%s\" in \"%s\"", message, err.text);
    replace_close(&replace);
}

START_TEST(only_files_are_replaced)
{
    refuse("/dev/full", "/dev/full: is a special file, expected a regular file");
    refuse("/tmp", "/tmp: is a directory");
    refuse("/nonexistent/folder/a", "/nonexistent/folder/a: cannot create a file beside it: No");
    refuse("", "cannot write a file without a name");
}
END_TEST

START_TEST(a_full_disk_leaves_the_old_file)
{
    static char much[1 << 16];
    const char *path = scratch_write("a", "old", 3);
    struct rlimit limit;
    struct replace replace;
    struct error err = {""};
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit small = {1 << 15, limit.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(replace_open(&replace, path, &err), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    int result = replace_write(&replace, much, sizeof much, &err);
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_DFL);
    ck_assert_int_eq(result, -1);
    ck_assert_msg(strstr(err.text, "cannot write: File too large; what was there before is"), "%s",
                  err.text);
    replace_close(&replace);
    expect_content(path, "old");
    ck_assert_int_eq(count_files(path), 1);
}
END_TEST

START_TEST(want_of_memory_is_an_error)
{
    struct replace replace;
    struct error err = {""};
    const char *path = scratch_write("a", "old", 3);
    support_fail_memory(1, true);
    int result = replace_open(&replace, path, &err);
    support_fail_memory(0, false);
    ck_assert_int_eq(result, -1);
    ck_assert_str_ne(err.text, "");
    replace_close(&replace);
    ck_assert_int_eq(count_files(path), 1);
}
END_TEST

Suite *replace_suite(void)
{
    Suite *suite = suite_create("replace");
    TCase *tcase = tcase_create("replace");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_add_test(tcase, a_file_appears_whole);
    tcase_add_test(tcase, what_is_given_up_leaves_nothing);
    tcase_add_test(tcase, a_link_is_followed);
    tcase_add_test(tcase, only_files_are_replaced);
    tcase_add_test(tcase, a_full_disk_leaves_the_old_file);
    tcase_add_test(tcase, want_of_memory_is_an_error);
    suite_add_tcase(suite, tcase);
    return suite;
}
