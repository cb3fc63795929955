/* shaw: the row of a distance, the printed scores of the guide, clipping, values. */
#include <check.h>
#include <math.h>

#include "tests/model/position/relative.h"
#include "tests/suites.h"

/* K = 2, the vector of relative place r = -distance being [0.1 r, 1]. */
static const float toy[] = {0, 1, -0.1F, 1, -0.2F, 1};

START_TEST(test_printed)
{
    static const struct {
        int distance, row;
        float score;
    } rows[] = {{0, 2, 2.1213203F}, {1, 1, 2.0506097F}, {2, 0, 1.979899F}, {5, 0, 1.979899F}};
    static const float q[] = {1, 2}, k[] = {3, -1};
    struct scheme scheme;
    relative_init(&scheme, POSITION_SHAW, 1, 1, 2);
    scheme_tensor(&scheme, "attn_rel_k.weight", 3, 2, toy);
    scheme_open(&scheme);
    ck_assert_int_eq(scheme.position.last_distance, 2);
    ck_assert_float_eq(scheme.position.scale, 1 / sqrtf(2));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        float r[3] = {0, 0, 7};
        scheme.position.scheme->vectors(&scheme.position, VECTORS_QUERY, rows[i].distance, r);
        /* row `row` of the 2K + 1 that training has is our row K - row */
        for (int d = 0; d < 2; d++)
            ck_assert_float_eq(r[d], toy[(2 - rows[i].row) * 2 + d]);
        ck_assert_float_eq(r[2], 7);
        float score = 0;
        for (int d = 0; d < 2; d++)
            score += scheme.position.scale * q[d] * (k[d] + r[d]);
        ck_assert_float_eq_tol(score, rows[i].score, 3e-7F);
    }
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_open)
{
    enum { ROWS = 17, HEAD_DIM = 8 };
    float k[ROWS * HEAD_DIM], v[ROWS * HEAD_DIM], r[HEAD_DIM];
    relative_fill(k, ROWS * HEAD_DIM, 1);
    relative_fill(v, ROWS * HEAD_DIM, 2);
    struct scheme scheme;
    relative_init(&scheme, POSITION_SHAW, 4, 2, HEAD_DIM);
    scheme_tensor(&scheme, "blk.0.attn_rel_k.weight", ROWS, HEAD_DIM, k);
    scheme_open(&scheme);
    ck_assert_int_eq(scheme.position.scheme->nature, POSITION_WHOLE);
    ck_assert(scheme.position.scheme->layered);
    ck_assert_int_eq(scheme.position.vector_heads[VECTORS_QUERY], 1);
    ck_assert_int_eq(scheme.position.vector_heads[VECTORS_KEY], 0);
    ck_assert_int_eq(scheme.position.vector_heads[VECTORS_VALUE], 0);
    relative_expect_text(&scheme.position, "shaw, distances up to 16, keys");
    scheme_close(&scheme);

    relative_init(&scheme, POSITION_SHAW, 4, 2, HEAD_DIM);
    scheme_tensor(&scheme, "blk.0.attn_rel_k.weight", ROWS, HEAD_DIM, k);
    scheme_tensor(&scheme, "attn_rel_v.weight", ROWS, HEAD_DIM, v);
    scheme_open(&scheme);
    ck_assert_int_eq(scheme.position.vector_heads[VECTORS_VALUE], 1);
    relative_expect_text(&scheme.position, "shaw, distances up to 16, keys and values");
    for (int64_t distance = 0; distance < 40; distance++) {
        int64_t row = distance < ROWS ? distance : ROWS - 1;
        scheme.position.scheme->vectors(&scheme.position, VECTORS_VALUE, distance, r);
        for (int d = 0; d < HEAD_DIM; d++)
            ck_assert_float_eq(r[d], v[row * HEAD_DIM + d]);
        scheme.position.scheme->vectors(&scheme.position, VECTORS_QUERY, distance, r);
        for (int d = 0; d < HEAD_DIM; d++)
            ck_assert_float_eq(r[d], k[row * HEAD_DIM + d]);
    }
    scheme.position.scheme->vectors(&scheme.position, VECTORS_QUERY, INT64_MAX, r);
    ck_assert_float_eq(r[0], k[(ROWS - 1) * HEAD_DIM]);
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_errors)
{
    static const float zeros[64];
    struct scheme scheme;
    relative_init(&scheme, POSITION_SHAW, 1, 1, 4);
    scheme_refuse(&scheme, "tensor \"blk.0.attn_rel_k.weight\" is missing, and so is "
                           "\"attn_rel_k.weight\"");
    relative_init(&scheme, POSITION_SHAW, 1, 1, 4);
    scheme_tensor(&scheme, "attn_rel_k.weight", 4, 3, zeros);
    scheme_refuse(&scheme, "shape (3,4), expected (4,rows)");
    relative_init(&scheme, POSITION_SHAW, 1, 1, 4);
    scheme_tensor(&scheme, "attn_rel_k.weight", 4, 4, zeros);
    scheme_tensor(&scheme, "attn_rel_v.weight", 3, 4, zeros);
    scheme_refuse(&scheme, "expected (4,4)");
    relative_init(&scheme, POSITION_SHAW, 1, 1, 4);
    scheme_tensor(&scheme, "attn_rel_k.weight", 4, 4, zeros);
    scheme_tensor(&scheme, "attn_rel_v.weight", 4, 4, zeros);
    scheme_open_starved(&scheme);
    scheme_close(&scheme);
}
END_TEST

Suite *shaw_suite(void)
{
    Suite *suite = suite_create("shaw");
    TCase *tcase = tcase_create("shaw");
    tcase_add_test(tcase, test_printed);
    tcase_add_test(tcase, test_open);
    tcase_add_test(tcase, test_errors);
    suite_add_tcase(suite, tcase);
    return suite;
}
