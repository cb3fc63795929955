/* none: nothing is read, nothing is added. */
#include <check.h>

#include "tests/model/position/scheme.h"
#include "tests/suites.h"

START_TEST(test_nothing)
{
    struct scheme scheme;
    scheme_init(&scheme, POSITION_NONE, 2);
    scheme_open(&scheme);
    const struct position_scheme *none = scheme.position.scheme;
    ck_assert(none->nature == POSITION_PLACELESS);
    ck_assert(!none->layered);
    ck_assert(!none->embed && !none->angles && !none->decay && !none->bias && !none->add_bias);
    ck_assert(!none->vectors && !none->add_content && !none->content_row);
    ck_assert(scheme.position.limit == INT64_MAX);
    ck_assert_float_eq(scheme.position.scale, 0.5F);
    scheme_expect_text(&scheme, "none");
    scheme_close(&scheme);
}
END_TEST

Suite *none_suite(void)
{
    Suite *suite = suite_create("none");
    TCase *tcase = tcase_create("none");
    tcase_add_test(tcase, test_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}
