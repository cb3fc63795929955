/* run_tests: runs every suite with libcheck, or those whose names are the arguments. */
#include <check.h>
#include <stdlib.h>

#include "tests/suites.h"

int main(int argc, char **argv)
{
    SRunner *runner = srunner_create(NULL);
#define SUITE(name) srunner_add_suite(runner, name##_suite());
#include "suites.list"
#undef SUITE
    if (argc < 2)
        srunner_run_all(runner, CK_NORMAL);
    for (int i = 1; i < argc; i++)
        srunner_run(runner, argv[i], NULL, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
