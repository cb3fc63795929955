/* test_select: which tiers are offered, and the choice between them. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cpu.h"
#include "kernels/kernels.h"
#include "tests/suites.h"

START_TEST(scalar_is_always_there)
{
    ck_assert_str_eq(kernels_available(0), "scalar");
    struct kernels kernels;
    struct error err;
    ck_assert_int_eq(kernels_select(&kernels, "scalar", &err), 0);
    ck_assert_str_eq(kernels.name, "scalar");
    ck_assert(!kernels.integer);
    ck_assert_int_eq(kernels.panel_rows, 0);
}
END_TEST

START_TEST(the_best_tier_is_the_default)
{
    int n = 0;
    while (kernels_available(n))
        n++;
    ck_assert_ptr_null(kernels_available(n + 1));
    struct kernels kernels;
    struct error err;
    ck_assert_int_eq(kernels_select(&kernels, NULL, &err), 0);
    ck_assert_str_eq(kernels.name, kernels_available(n - 1));
    for (int i = 0; i < n; i++) {
        ck_assert_int_eq(kernels_select(&kernels, kernels_available(i), &err), 0);
        ck_assert_str_eq(kernels.name, kernels_available(i));
    }
}
END_TEST

START_TEST(an_unknown_tier_is_named_with_what_there_is)
{
    static const char *const wrong[] = {"", "AVX2", "sse", "avx", "scalar "};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct kernels kernels;
        struct error err = {""};
        ck_assert_int_eq(kernels_select(&kernels, wrong[i], &err), -1);
        char quoted[32];
        snprintf(quoted, sizeof quoted, "\"%s\"", wrong[i]);
        ck_assert_ptr_nonnull(strstr(err.text, quoted));
        for (int t = 0; kernels_available(t); t++)
            ck_assert_ptr_nonnull(strstr(err.text, kernels_available(t)));
    }
}
END_TEST

/* The tiers follow from the bits: AVX2 and AVX-512 need everything that their files are compiled
 * for. */
START_TEST(tiers_need_all_their_features)
{
    unsigned avx2 = CPU_AVX2 | CPU_FMA | CPU_F16C;
    unsigned avx512 =
        avx2 | CPU_AVX512F | CPU_AVX512BW | CPU_AVX512VL | CPU_AVX512DQ | CPU_AVX512VNNI;
    unsigned amx = avx512 | CPU_AVX512BF16 | CPU_AMXTILE | CPU_AMXBF16;
    unsigned features = cpu_features();
    for (int i = 0; kernels_available(i); i++) {
        if (strcmp(kernels_available(i), "avx2") == 0)
            ck_assert_uint_eq(features & avx2, avx2);
        if (strcmp(kernels_available(i), "avx512") == 0)
            ck_assert_uint_eq(features & avx512, avx512);
        if (strcmp(kernels_available(i), "amx") == 0)
            ck_assert_uint_eq(features & amx, amx);
        if (strcmp(kernels_available(i), "dotprod") == 0)
            ck_assert_uint_ne(features & CPU_DOTPROD, 0);
    }
}
END_TEST

Suite *select_suite(void)
{
    Suite *suite = suite_create("select");
    TCase *tcase = tcase_create("tiers");
    tcase_add_test(tcase, scalar_is_always_there);
    tcase_add_test(tcase, the_best_tier_is_the_default);
    tcase_add_test(tcase, an_unknown_tier_is_named_with_what_there_is);
    tcase_add_test(tcase, tiers_need_all_their_features);
    suite_add_tcase(suite, tcase);
    return suite;
}
