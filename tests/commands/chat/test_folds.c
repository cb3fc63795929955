/* test_folds: long texts come back from their labels as they were. */
#include "commands/chat/folds.h"

#include <check.h>
#include <string.h>

#include "commands/array.h"
#include "tests/suites.h"
#include "tests/support.h"

START_TEST(labels_stand_for_long_texts)
{
    struct folds folds = {0};
    char wide[FOLD_BYTES + 2] = "";
    memset(wide, 'x', FOLD_BYTES + 1);
    static const char ten[] = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n";
    static const char eleven[] = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n[text 2: 1001 bytes]";
    ck_assert_str_eq(folds_show(&folds, ten), ten);
    ck_assert_str_eq(folds_show(&folds, wide + 1), wide + 1);
    ck_assert_str_eq(folds_show(&folds, eleven), "[text 1: 11 lines]");
    ck_assert_str_eq(folds_show(&folds, wide), "[text 2: 1001 bytes]");
    ck_assert_str_eq(folds_show(&folds, eleven), "[text 1: 11 lines]");

    /* What is behind a label is not looked into. */
    char *text =
        folds_expand(&folds, "a [text 1: 11 lines][text 3: 11 lines][text 2: 1001 bytes]b");
    struct bytes expected = {0};
    bytes_add(&expected, "a ", 2);
    bytes_add(&expected, eleven, strlen(eleven));
    bytes_add(&expected, "[text 3: 11 lines]", 18);
    bytes_add(&expected, wide, strlen(wide));
    bytes_add(&expected, "b", 2);
    ck_assert_str_eq(text, (const char *)expected.data);
    arrfree(text);
    free(expected.data);

    static const char line[] = "so [text 1: 11 lines] it is";
    ck_assert_uint_eq(folds_label_before(&folds, line, 21), 18);
    ck_assert_uint_eq(folds_label_before(&folds, line, 20), 0);
    ck_assert_uint_eq(folds_label_before(&folds, line, 0), 0);
    folds_clear(&folds);
    ck_assert_uint_eq(folds_label_before(&folds, line, 21), 0);
}
END_TEST

Suite *folds_suite(void)
{
    Suite *suite = suite_create("folds");
    TCase *tcase = tcase_create("folds");
    tcase_add_test(tcase, labels_stand_for_long_texts);
    suite_add_tcase(suite, tcase);
    return suite;
}
