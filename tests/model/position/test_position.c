/* position: the table of schemes and their hooks; none.c, too. */
#include "model/position/position.h"

#include <check.h>
#include <math.h>
#include <string.h>

#include "tests/suites.h"
#include "tests/support.h"

static const struct checkpoint nothing;

START_TEST(test_hooks)
{
    static const struct {
        const char *name;
        enum position_kind kind;
        bool embed, angles, bias;
    } rows[] = {
        {"none", POSITION_NONE, false, false, false},
        {"rope", POSITION_ROPE, false, true, false},
        {"alibi", POSITION_ALIBI, false, false, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct architecture architecture = {.position = rows[i].kind};
        const struct config config = {.architecture = &architecture,
                                      .n_heads = 4,
                                      .head_dim = 8,
                                      .rope_dims = 8,
                                      .rope_base = 1e4,
                                      .alibi_max_bias = 8};
        struct position position;
        struct error err;
        ck_assert_int_eq(position_open(&position, &config, &nothing, &err), 0);
        ck_assert_str_eq(position.scheme->name, rows[i].name);
        ck_assert_int_eq(position.scheme->embed != NULL, rows[i].embed);
        ck_assert_int_eq(position.scheme->angles != NULL, rows[i].angles);
        ck_assert_int_eq(position.scheme->add_bias != NULL, rows[i].bias);
        ck_assert_int_eq(position.rotated, rows[i].angles ? 8 : 0);
        ck_assert(position.limit == INT64_MAX);
        position_close(&position);
        position_close(&position);
    }
}
END_TEST

START_TEST(test_no_memory)
{
    static const enum position_kind kinds[] = {POSITION_ROPE, POSITION_ALIBI};
    for (size_t i = 0; i < 2; i++) {
        const struct architecture architecture = {.position = kinds[i]};
        const struct config config = {.architecture = &architecture,
                                      .n_heads = 4,
                                      .head_dim = 8,
                                      .rope_dims = 8,
                                      .rope_base = 1e4,
                                      .alibi_max_bias = 8};
        struct position position;
        struct error err;
        support_fail_memory(1, true);
        int result = position_open(&position, &config, &nothing, &err);
        support_fail_memory(0, false);
        ck_assert_int_eq(result, -1);
        ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
        ck_assert_ptr_null(position.scheme);
    }
}
END_TEST

/* Every head of a token is turned, and only the dimensions that are rotated. */
START_TEST(test_rotate)
{
    const struct architecture architecture = {.position = POSITION_ROPE, .rope_pairs = ROPE_HALVES};
    const struct config config = {.architecture = &architecture,
                                  .n_heads = 3,
                                  .head_dim = 6,
                                  .rope_dims = 4,
                                  .rope_base = 1e4};
    for (int tier = 0; kernels_available(tier); tier++) {
        struct kernels kernels;
        struct position position;
        struct error err;
        float cosines[2], sines[2], x[3 * 6 + 1];
        ck_assert_int_eq(kernels_select(&kernels, kernels_available(tier), &err), 0);
        ck_assert_int_eq(position_open(&position, &config, &nothing, &err), 0);
        position.scheme->angles(&position, 1, cosines, sines);
        for (int i = 0; i < 3 * 6 + 1; i++)
            x[i] = (float)(i % 6 + 1);
        position_rotate(&position, &kernels, x, 3, cosines, sines);
        /* [1 2 3 4] at place 1, halves, base 10000 */
        static const float expected[] = {-1.9841106F, 1.9599007F, 2.4623779F, 4.0197997F, 5, 6};
        for (int i = 0; i < 3 * 6; i++)
            ck_assert_float_eq_tol(x[i], expected[i % 6], 1e-6F);
        ck_assert_float_eq(x[18], 1);
        position_close(&position);
    }
}
END_TEST

Suite *position_suite(void)
{
    Suite *suite = suite_create("position");
    TCase *tcase = tcase_create("position");
    tcase_add_test(tcase, test_hooks);
    tcase_add_test(tcase, test_no_memory);
    tcase_add_test(tcase, test_rotate);
    suite_add_tcase(suite, tcase);
    return suite;
}
