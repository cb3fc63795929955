/* transformer_xl: the printed vectors and scores of the guide, W R in double, clamping. */
#include <check.h>
#include <math.h>

#include "tests/model/position/relative.h"
#include "tests/suites.h"

static const float zeros[64];

/* W the identity, so that the vectors are R itself. */
START_TEST(test_printed_sinusoids)
{
    static const float identity[] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    static const float one[] = {0.841471F, 0.00999983F, 0.540302F, 0.99995F};
    static const float three[] = {0.14112F, 0.0299955F, -0.989992F, 0.99955F};
    struct scheme scheme;
    float r[4];
    relative_init(&scheme, POSITION_TRANSFORMER_XL, 1, 1, 4);
    scheme_tensor(&scheme, "attn_rel.weight", 4, 4, identity);
    scheme_tensor(&scheme, "attn_rel_u.weight", 1, 4, zeros);
    scheme_tensor(&scheme, "attn_rel_v.weight", 1, 4, zeros);
    scheme_open(&scheme);
    scheme.position.scheme->vectors(&scheme.position, VECTORS_QUERY, 1, r);
    for (int d = 0; d < 4; d++)
        ck_assert_float_eq_tol(r[d], one[d], 6e-7F);
    scheme.position.scheme->vectors(&scheme.position, VECTORS_QUERY, 3, r);
    for (int d = 0; d < 4; d++)
        ck_assert_float_eq_tol(r[d], three[d], 6e-7F);
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_printed_scores)
{
    static const float identity[] = {1, 0, 0, 1}, u[] = {0.5F, 0}, v[] = {0, 0.25F};
    static const float q[] = {1, 2}, k[] = {3, -1};
    static const float scores[] = {3.3587572F, 3.2223925F, 1.7486518F, 0.2924855F};
    struct scheme scheme;
    relative_init(&scheme, POSITION_TRANSFORMER_XL, 1, 1, 2);
    scheme_tensor(&scheme, "blk.0.attn_rel.weight", 2, 2, identity);
    scheme_tensor(&scheme, "blk.0.attn_rel_u.weight", 1, 2, u);
    scheme_tensor(&scheme, "blk.0.attn_rel_v.weight", 1, 2, v);
    scheme_open(&scheme);
    for (int distance = 0; distance < 4; distance++) {
        float r[2], score = 0;
        scheme.position.scheme->vectors(&scheme.position, VECTORS_QUERY, distance, r);
        for (int d = 0; d < 2; d++)
            score += scheme.position.scale * ((q[d] + scheme.position.content_bias[d]) * k[d] +
                                              (q[d] + scheme.position.relative_bias[d]) * r[d]);
        ck_assert_float_eq_tol(score, scores[distance], 4e-7F);
    }
    scheme_close(&scheme);
}
END_TEST

/* More frequencies than one step takes, heads in groups, distances up to 10^7, against the formula
 * in double. */
START_TEST(test_projection)
{
    enum { DIM = 600, KV_HEADS = 2, HEAD_DIM = 3, ROWS = KV_HEADS * HEAD_DIM };
    static const int64_t distances[] = {0, 1, 2, 63, 1000, 65537, 10000000};
    static float w[ROWS * DIM];
    relative_fill(w, ROWS * DIM, 3);
    struct scheme scheme;
    relative_init(&scheme, POSITION_TRANSFORMER_XL, 4, KV_HEADS, HEAD_DIM);
    scheme.config.dim = DIM;
    scheme_tensor(&scheme, "attn_rel.weight", ROWS, DIM, w);
    scheme_tensor(&scheme, "attn_rel_u.weight", 4, HEAD_DIM, zeros);
    scheme_tensor(&scheme, "attn_rel_v.weight", 4, HEAD_DIM, zeros);
    scheme_open(&scheme);
    ck_assert_int_eq(scheme.position.scheme->nature, POSITION_WHOLE);
    ck_assert_int_eq(scheme.position.vector_heads[VECTORS_QUERY], KV_HEADS);
    ck_assert_int_eq(scheme.position.vector_heads[VECTORS_KEY], 0);
    ck_assert_int_eq(scheme.position.vector_heads[VECTORS_VALUE], 0);
    ck_assert(scheme.position.last_distance == INT64_MAX);
    relative_expect_text(&scheme.position, "transformer-xl, any distance");
    for (size_t i = 0; i < sizeof distances / sizeof distances[0]; i++) {
        float r[ROWS + 1];
        r[ROWS] = 5;
        scheme.position.scheme->vectors(&scheme.position, VECTORS_QUERY, distances[i], r);
        for (int row = 0; row < ROWS; row++) {
            double expected = 0;
            for (int t = 0; t < DIM / 2; t++) {
                double angle = (double)distances[i] / pow(10000, 2.0 * t / DIM);
                expected += (double)w[row * DIM + t] * sin(angle) +
                            (double)w[row * DIM + DIM / 2 + t] * cos(angle);
            }
            ck_assert_double_eq_tol((double)r[row], expected, 2e-5);
        }
        ck_assert_float_eq(r[ROWS], 5);
    }
    scheme_close(&scheme);
}
END_TEST

static void init_clamped(struct scheme *scheme, int dim, uint32_t clamp)
{
    static float w[4 * 8];
    relative_fill(w, 32, 4);
    relative_init(scheme, POSITION_TRANSFORMER_XL, 2, 2, 2);
    scheme->config.dim = dim;
    scheme_tensor(scheme, "attn_rel.weight", 4, dim, w);
    scheme_tensor(scheme, "attn_rel_u.weight", 2, 2, zeros);
    scheme_tensor(scheme, "attn_rel_v.weight", 2, 2, zeros);
    gguf_image_u32(&scheme->image, "toy.position.clamp_length", clamp);
}

START_TEST(test_clamp)
{
    float at[4], beyond[4];
    struct scheme scheme;
    init_clamped(&scheme, 4, 400);
    scheme_open(&scheme);
    const struct position *position = &scheme.position;
    ck_assert_int_eq(position->last_distance, 400);
    relative_expect_text(position, "transformer-xl, distances up to 400");
    position->scheme->vectors(position, VECTORS_QUERY, 400, at);
    position->scheme->vectors(position, VECTORS_QUERY, 401, beyond);
    ck_assert_mem_eq(at, beyond, sizeof at);
    position->scheme->vectors(position, VECTORS_QUERY, 399, beyond);
    ck_assert_mem_ne(at, beyond, sizeof at);
    scheme_close(&scheme);
    init_clamped(&scheme, 4, 0);
    scheme_open_starved(&scheme);
    ck_assert(scheme.position.last_distance == INT64_MAX);
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_errors)
{
    struct scheme scheme;
    init_clamped(&scheme, 7, 0);
    scheme_refuse(&scheme, "toy.embedding_length is 7, allowed: even");
    init_clamped(&scheme, 4, 1U << 31);
    scheme_refuse(&scheme, "toy.position.clamp_length");
    static const int rows[][3] = {{3, 2, 2}, {4, 1, 2}, {4, 2, 3}, {0, 2, 2}, {4, 0, 2}, {4, 2, 0}};
    static const char *const messages[] = {
        "shape (4,3,1), expected (4,4)",
        "shape (2,1,1), expected (2,2)",
        "shape (2,3,1), expected (2,2)",
        "\"blk.0.attn_rel.weight\" is missing, and so is \"attn_rel.weight\"",
        "\"blk.0.attn_rel_u.weight\" is missing",
        "\"blk.0.attn_rel_v.weight\" is missing"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        relative_init(&scheme, POSITION_TRANSFORMER_XL, 2, 2, 2);
        if (rows[i][0] > 0)
            scheme_tensor(&scheme, "attn_rel.weight", rows[i][0], 4, zeros);
        if (rows[i][1] > 0)
            scheme_tensor(&scheme, "attn_rel_u.weight", rows[i][1], 2, zeros);
        if (rows[i][2] > 0)
            scheme_tensor(&scheme, "attn_rel_v.weight", rows[i][2], 2, zeros);
        scheme_refuse(&scheme, messages[i]);
    }
}
END_TEST

Suite *transformer_xl_suite(void)
{
    Suite *suite = suite_create("transformer_xl");
    TCase *tcase = tcase_create("transformer_xl");
    tcase_add_test(tcase, test_printed_sinusoids);
    tcase_add_test(tcase, test_printed_scores);
    tcase_add_test(tcase, test_projection);
    tcase_add_test(tcase, test_clamp);
    tcase_add_test(tcase, test_errors);
    suite_add_tcase(suite, tcase);
    return suite;
}
