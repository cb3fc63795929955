/* test_output: what reaches a terminal, and what reaches a pipe. */
#include "commands/output.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/suites.h"

/* Cursor orders of one byte and of two, a bell, a line taken back; and what is to be left alone:
 * white space, other characters that begin with C2, and a C2 with nothing behind it. */
static const char text[] = "a\033[2J\tb\xC2\x9B"
                           "2J\n\x07\r\x7F \xC2\xA0\xC2\xB5\xC2";

/* What another process reads at the other end. */
static void expect(int writer, int reader, const char *expected)
{
    int before = dup(STDOUT_FILENO);
    ck_assert(before >= 0 && dup2(writer, STDOUT_FILENO) >= 0);
    struct error err;
    int result = output_text(text, sizeof text - 1, &err);
    ck_assert(dup2(before, STDOUT_FILENO) >= 0);
    ck_assert_msg(result == 0, "%s", err.text);
    char got[256] = "";
    size_t n = 0;
    while (n < strlen(expected)) {
        ssize_t more = read(reader, got + n, sizeof got - 1 - n);
        ck_assert_int_gt(more, 0);
        n += (size_t)more;
    }
    ck_assert_str_eq(got, expected);
    close(before);
    close(writer);
    close(reader);
}

START_TEST(a_terminal_is_given_no_orders)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    ck_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    ck_assert_int_ge(slave, 0);
    /* The terminal itself puts a return before the line feed. */
    expect(slave, master, "a^[[2J\tb<9B>2J\r\n^G^M^? \xC2\xA0\xC2\xB5\xC2");
}
END_TEST

START_TEST(a_pipe_gets_every_byte)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    expect(ends[1], ends[0], text);
}
END_TEST

Suite *output_suite(void)
{
    Suite *suite = suite_create("output");
    TCase *tcase = tcase_create("text");
    tcase_add_test(tcase, a_terminal_is_given_no_orders);
    tcase_add_test(tcase, a_pipe_gets_every_byte);
    suite_add_tcase(suite, tcase);
    return suite;
}
