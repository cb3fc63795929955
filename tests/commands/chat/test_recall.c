/* test_recall: what is typed is there for the next chat, whatever it is and however much. */
#include "commands/chat/recall.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands/array.h"
#include "tests/suites.h"
#include "tests/support.h"

static char state[256];
static char *home; /* as it was */

static void begin_test(void)
{
    scratch_make();
    home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    snprintf(state, sizeof state, "%s", scratch_path("state"));
    setenv("XDG_STATE_HOME", state, 1);
}

static void end_test(void)
{
    unsetenv("XDG_STATE_HOME");
    if (home)
        setenv("HOME", home, 1);
    free(home);
    scratch_remove();
}

static void open_recall(struct recall *recall)
{
    struct error err = {""};
    ck_assert_msg(recall_open(recall, &err) == 0, "%s", err.text);
}

static void add(struct recall *recall, const char *turn)
{
    struct error err = {""};
    ck_assert_msg(recall_add(recall, turn, &err) == 0, "%s", err.text);
}

static const char *const turns[] = {"plain", "two\nlines", "back\\slash \\n",
                                    "\\",    "\n",         "你好 🎉\t"};
enum { N_TURNS = sizeof turns / sizeof turns[0] };

START_TEST(turns_are_there_for_the_next_chat)
{
    struct recall recall, other;
    open_recall(&recall);
    open_recall(&other);
    add(&other, "another chat's");
    for (int i = 0; i < N_TURNS; i++) {
        add(&recall, turns[i]);
        add(&recall, turns[i]); /* once is enough */
    }
    ck_assert_int_eq(arrlen(recall.turns), N_TURNS);
    recall_close(&recall);
    recall_close(&other);
    open_recall(&recall);
    ck_assert_int_eq(arrlen(recall.turns), N_TURNS + 1);
    for (int i = 0; i < N_TURNS; i++)
        ck_assert_str_eq(recall.turns[i + 1], turns[i]);
    struct stat status;
    ck_assert(stat(recall.path, &status) == 0 && (status.st_mode & 0777) == 0600);
    recall_close(&recall);
}
END_TEST

/* The file is the documented format, and stays of bounded size. */
START_TEST(old_turns_go)
{
    struct recall recall;
    char folder[300], path[400];
    snprintf(folder, sizeof folder, "%s/longhand", state);
    snprintf(path, sizeof path, "%s/history", folder);
    ck_assert(mkdir(state, 0700) == 0 && mkdir(folder, 0700) == 0);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    for (int i = 0; i <= 2 * RECALL_TURNS; i++)
        fprintf(file, "turn %d\\nof two lines\n", i);
    fclose(file);
    open_recall(&recall);
    ck_assert_int_eq(arrlen(recall.turns), RECALL_TURNS);
    ck_assert_str_eq(recall.turns[0], "turn 1001\nof two lines");
    recall_close(&recall);
    file = fopen(path, "r");
    char line[64];
    int lines = 0;
    while (fgets(line, sizeof line, file))
        lines++;
    fclose(file);
    ck_assert_int_eq(lines, RECALL_TURNS);
    ck_assert_str_eq(line, "turn 2000\\nof two lines\n");
}
END_TEST

START_TEST(without_a_file_this_chat_remembers)
{
    struct recall recall;
    struct error err = {""};
    FILE *file = fopen(state, "w"); /* in the place of the folder */
    ck_assert_ptr_nonnull(file);
    fclose(file);
    ck_assert_int_eq(recall_open(&recall, &err), -1);
    ck_assert_msg(strstr(err.text, "state/longhand/history: ") != NULL, "%s", err.text);
    add(&recall, "one");
    ck_assert_int_eq(arrlen(recall.turns), 1);
    recall_close(&recall);
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    ck_assert_int_eq(recall_open(&recall, &err), -1);
    ck_assert_msg(strstr(err.text, "HOME") != NULL, "%s", err.text);
    recall_close(&recall);
}
END_TEST

START_TEST(at_home_it_is_in_local_state)
{
    struct recall recall;
    unsetenv("XDG_STATE_HOME");
    setenv("HOME", state, 1);
    open_recall(&recall);
    add(&recall, "one");
    recall_close(&recall);
    char path[300];
    snprintf(path, sizeof path, "%s/.local/state/longhand/history", state);
    ck_assert_int_eq(access(path, R_OK), 0);
}
END_TEST

Suite *recall_suite(void)
{
    Suite *suite = suite_create("recall");
    TCase *tcase = tcase_create("recall");
    tcase_add_checked_fixture(tcase, begin_test, end_test);
    tcase_add_test(tcase, turns_are_there_for_the_next_chat);
    tcase_add_test(tcase, old_turns_go);
    tcase_add_test(tcase, without_a_file_this_chat_remembers);
    tcase_add_test(tcase, at_home_it_is_in_local_state);
    suite_add_tcase(suite, tcase);
    return suite;
}
