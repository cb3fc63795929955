/* suites: declares every suite. The Makefile writes suites.list: one SUITE(name) for every
 * tests/.../test_<name>.c, which defines `Suite *<name>_suite(void)`. */
#ifndef LONGHAND_TESTS_SUITES_H
#define LONGHAND_TESTS_SUITES_H

#include <check.h>

#define SUITE(name) Suite *name##_suite(void);
#include "suites.list"
#undef SUITE

#endif
