/* cope: the printed distances of the guide, the formula in double, any cut into runs. */
#include <check.h>
#include <math.h>

#include "tests/model/position/relative.h"
#include "tests/suites.h"

/* Scores 0 2 -1 1, oldest first, have distances 2.3808 1.8808 1 0.731059; row[t] = 100 t, so that
 * what is added is a hundred times the distance. */
START_TEST(test_printed)
{
    static const float distances[] = {2.3808F, 1.8808F, 1.0F, 0.731059F}, before[] = {0, 2, -1, 1};
    float table[4] = {0, 100, 200, 300}, row[4], scores[] = {0, 2, -1, 1};
    const float q = 1;
    struct scheme scheme;
    relative_init(&scheme, POSITION_COPE, 1, 1, 1);
    scheme_tensor(&scheme, "attn_rel.weight", 4, 1, table);
    scheme_open(&scheme);
    ck_assert_int_eq(scheme.position.row_length, 4);
    double state = 0;
    scheme.position.scheme->content_row(&scheme.position, &q, row);
    scheme.position.scheme->add_content(&scheme.position, row, &state, 4, scores);
    for (int j = 0; j < 4; j++)
        ck_assert_float_eq_tol((scores[j] - before[j]) / 100, distances[j], 3e-5F);
    scheme_close(&scheme);
}
END_TEST

enum { N = 300, HEAD_DIM = 5, ROWS = 40 };

/* The formula, key by key from scratch. */
static double expected_score(const float *e, int rows, const float *q, const float *scores, int j)
{
    double p = 0;
    for (int t = j; t < N; t++)
        p += 1 / (1 + exp(-(double)scores[t]));
    p = fmin(p, rows - 1);
    double at[2] = {floor(p), ceil(p)}, product[2] = {0, 0};
    for (int side = 0; side < 2; side++)
        for (int d = 0; d < HEAD_DIM; d++)
            product[side] += (double)q[d] * (double)e[(int)at[side] * HEAD_DIM + d];
    return (double)scores[j] + product[0] + (p - at[0]) * (product[1] - product[0]);
}

START_TEST(test_formula)
{
    static const int row_counts[] = {1, 2, ROWS, 2 * N};
    static float e[2 * N * HEAD_DIM];
    float q[HEAD_DIM], before[N];
    relative_fill(e, 2 * N * HEAD_DIM, 5);
    relative_fill(q, HEAD_DIM, 6);
    relative_fill(before, N, 7);
    for (int j = 0; j < N; j++)
        before[j] *= 6;
    for (size_t i = 0; i < sizeof row_counts / sizeof row_counts[0]; i++) {
        struct scheme scheme;
        relative_init(&scheme, POSITION_COPE, 2, 1, HEAD_DIM);
        scheme_tensor(&scheme, "blk.0.attn_rel.weight", row_counts[i], HEAD_DIM, e);
        scheme_open(&scheme);
        float row[2 * N];
        scheme.position.scheme->content_row(&scheme.position, q, row);
        for (int cut = 1; cut <= N; cut = cut * 5 / 2 + 1) {
            float scores[N];
            double state = 0;
            for (int j = 0; j < N; j++)
                scores[j] = before[j];
            for (int end = N; end > 0; end -= cut) {
                int n = end < cut ? end : cut;
                scheme.position.scheme->add_content(&scheme.position, row, &state, n,
                                                    scores + end - n);
            }
            for (int j = 0; j < N; j++)
                ck_assert_double_eq_tol((double)scores[j],
                                        expected_score(e, row_counts[i], q, before, j), 2e-6);
        }
        scheme_close(&scheme);
    }
}
END_TEST

/* Masked keys count nothing; what is not a number breaks nothing but its scores. */
START_TEST(test_extremes)
{
    float table[] = {1, 2, 4}, scores[] = {-INFINITY, 500, NAN, -INFINITY, 500};
    struct scheme scheme;
    relative_init(&scheme, POSITION_COPE, 1, 1, 1);
    scheme_tensor(&scheme, "attn_rel.weight", 3, 1, table);
    scheme_open(&scheme);
    ck_assert_int_eq(scheme.position.scheme->nature, POSITION_PLACELESS);
    ck_assert_ptr_null(scheme.position.scheme->vectors);
    relative_expect_text(&scheme.position, "cope, counts up to 2 by content");
    double state = 0;
    scheme.position.scheme->add_content(&scheme.position, table, &state, 2, scores + 3);
    ck_assert_float_eq(scores[4], 502);
    ck_assert_float_infinite(scores[3]);
    ck_assert_double_eq(state, 1);
    scheme.position.scheme->add_content(&scheme.position, table, &state, 3, scores);
    ck_assert_float_nan(scores[2]);
    ck_assert_float_eq(scores[1], 504);
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_errors)
{
    static const float zeros[16];
    struct scheme scheme;
    relative_init(&scheme, POSITION_COPE, 1, 1, 4);
    scheme_refuse(&scheme, "tensor \"blk.0.attn_rel.weight\" is missing, and so is "
                           "\"attn_rel.weight\"");
    relative_init(&scheme, POSITION_COPE, 1, 1, 4);
    scheme_tensor(&scheme, "attn_rel.weight", 2, 8, zeros);
    scheme_refuse(&scheme, "shape (8,2), expected (4,rows)");
    relative_init(&scheme, POSITION_COPE, 1, 1, 4);
    scheme_tensor(&scheme, "attn_rel.weight", 2, 4, zeros);
    scheme_open_starved(&scheme);
    scheme_close(&scheme);
}
END_TEST

Suite *cope_suite(void)
{
    Suite *suite = suite_create("cope");
    TCase *tcase = tcase_create("cope");
    tcase_add_test(tcase, test_printed);
    tcase_add_test(tcase, test_formula);
    tcase_add_test(tcase, test_extremes);
    tcase_add_test(tcase, test_errors);
    suite_add_tcase(suite, tcase);
    return suite;
}
