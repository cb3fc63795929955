/* disentangled: the printed buckets and scores of the guide, projections in double, every mix of
 * terms. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "tests/model/position/relative.h"
#include "tests/suites.h"

/* One head of one dimension, E[x] = x and Kr = E: the vector of a distance is its bucket. */
static void open_buckets(struct scheme *scheme, int buckets, int max_distance)
{
    static const float one = 1;
    static float e[256];
    for (int x = 0; x < 256; x++)
        e[x] = (float)x;
    relative_init(scheme, POSITION_DISENTANGLED, 1, 1, 1);
    scheme_tensor(scheme, "attn_rel.weight", buckets, 1, e);
    scheme_tensor(scheme, "attn_rel_k.weight", 1, 1, &one);
    gguf_image_u32(&scheme->image, "toy.position.buckets", (uint32_t)buckets);
    gguf_image_u32(&scheme->image, "toy.position.max_distance", (uint32_t)max_distance);
    scheme_open(scheme);
}

static int bucket_of(const struct position *position, int64_t distance)
{
    float r;
    position->scheme->vectors(position, VECTORS_QUERY, distance, &r);
    return (int)r;
}

START_TEST(test_printed_buckets)
{
    static const int large[][2] = {{127, 127}, {128, 128}, {129, 129}, {130, 130},
                                   {140, 137}, {160, 149}, {200, 169}, {256, 192},
                                   {300, 207}, {400, 233}, {500, 254}, {511, 255}};
    static const int small[32] = {0, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6,
                                  7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};
    struct scheme scheme;
    open_buckets(&scheme, 256, 512);
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
        ck_assert_int_eq(bucket_of(&scheme.position, large[i][0]), large[i][1]);
    ck_assert_int_eq(bucket_of(&scheme.position, INT64_MAX), 255);
    int64_t first = scheme.position.last_distance;
    ck_assert_int_eq(bucket_of(&scheme.position, first - 1), 254);
    for (int64_t distance = first; distance < 600; distance++)
        ck_assert_int_eq(bucket_of(&scheme.position, distance), 255);
    scheme_close(&scheme);

    open_buckets(&scheme, 8, 32);
    for (int distance = 0; distance < 32; distance++)
        ck_assert_int_eq(bucket_of(&scheme.position, distance), small[distance]);
    ck_assert_int_eq(scheme.position.last_distance, 16);
    relative_expect_text(&scheme.position,
                         "disentangled, 8 logarithmic buckets, distances up to 16, c2p");
    scheme_close(&scheme);
}
END_TEST

/* Buckets rise to the last one for the smallest and strangest numbers allowed. */
START_TEST(test_bucket_range)
{
    static const int pairs[][2] = {{2, 3}, {2, 100},   {4, 4},     {4, 5},
                                   {6, 6}, {256, 130}, {256, 131}, {32, INT32_MAX}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct scheme scheme;
        open_buckets(&scheme, pairs[i][0], pairs[i][1]);
        int before = 0;
        ck_assert_int_eq(bucket_of(&scheme.position, 0), 0);
        for (int64_t distance = 1; distance < 2000; distance++) {
            int bucket = bucket_of(&scheme.position, distance);
            ck_assert_int_ge(bucket, before);
            ck_assert_int_lt(bucket, pairs[i][0]);
            before = bucket;
        }
        int64_t last = scheme.position.last_distance;
        ck_assert_int_eq(bucket_of(&scheme.position, last), pairs[i][0] - 1);
        ck_assert_int_lt(bucket_of(&scheme.position, last - 1), pairs[i][0] - 1);
        ck_assert_int_eq(bucket_of(&scheme.position, pairs[i][1] - 1), pairs[i][0] - 1);
        scheme_close(&scheme);
    }
}
END_TEST

/* Kr[x] = [.1 x, 0] and Qr[x] = [0, .2 x], x = 2 at distance 0 and 3 from 1 on. */
START_TEST(test_printed_scores)
{
    static const float e[] = {2, 0, 3, 0}, wk[] = {0.1F, 0, 0, 0}, wq[] = {0, 0, 0.2F, 0};
    static const float q[] = {1, 2}, k[] = {3, -1};
    static const int distances[] = {0, 1, 2, 5};
    static const float scores[] = {0.3265986F, 0.2857738F, 0.2857738F, 0.2857738F};
    struct scheme scheme;
    relative_init(&scheme, POSITION_DISENTANGLED, 1, 1, 2);
    scheme_tensor(&scheme, "attn_rel.weight", 2, 2, e);
    scheme_tensor(&scheme, "attn_rel_k.weight", 2, 2, wk);
    scheme_tensor(&scheme, "attn_rel_q.weight", 2, 2, wq);
    scheme_open(&scheme);
    ck_assert_int_eq(scheme.position.last_distance, 1);
    relative_expect_text(&scheme.position,
                         "disentangled, 2 buckets, distances up to 1, c2p and p2c");
    for (int i = 0; i < 4; i++) {
        float kr[2], qr[2], score = 0;
        scheme.position.scheme->vectors(&scheme.position, VECTORS_QUERY, distances[i], kr);
        scheme.position.scheme->vectors(&scheme.position, VECTORS_KEY, distances[i], qr);
        for (int d = 0; d < 2; d++)
            score += scheme.position.scale * (q[d] * (k[d] + kr[d]) + k[d] * qr[d]);
        ck_assert_float_eq_tol(score, scores[i], 1e-7F);
    }
    scheme_close(&scheme);
}
END_TEST

enum { ROWS = 12, HEADS = 4, KV_HEADS = 2, HEAD_DIM = 5, DIM = 22 };

static float embeddings[ROWS * DIM], norm[DIM], norm_bias[DIM], wk[KV_HEADS * HEAD_DIM * DIM],
    wq[HEADS * HEAD_DIM * DIM], bk[KV_HEADS * HEAD_DIM], bq[HEADS * HEAD_DIM];

static void init_projected(struct scheme *scheme)
{
    relative_fill(embeddings, ROWS * DIM, 11);
    relative_fill(norm, DIM, 12);
    relative_fill(norm_bias, DIM, 13);
    relative_fill(wk, KV_HEADS * HEAD_DIM * DIM, 14);
    relative_fill(wq, HEADS * HEAD_DIM * DIM, 15);
    relative_fill(bk, KV_HEADS * HEAD_DIM, 16);
    relative_fill(bq, HEADS * HEAD_DIM, 17);
    relative_init(scheme, POSITION_DISENTANGLED, HEADS, KV_HEADS, HEAD_DIM);
    scheme->config.dim = DIM;
    scheme_tensor(scheme, "attn_rel.weight", ROWS, DIM, embeddings);
}

/* W norm(E) + b of row x by the formula; no norm when epsilon < 0. */
static double project(const float *w, const float *b, int x, int i, double epsilon)
{
    const float *e = embeddings + x * DIM;
    double mean = 0, variance = 0, sum = b ? (double)b[i] : 0;
    for (int d = 0; d < DIM; d++)
        mean += (double)e[d] / DIM;
    for (int d = 0; d < DIM; d++)
        variance += pow((double)e[d] - mean, 2) / DIM;
    for (int d = 0; d < DIM; d++) {
        double value = (double)e[d];
        if (epsilon >= 0)
            value =
                (value - mean) / sqrt(variance + epsilon) * (double)norm[d] + (double)norm_bias[d];
        sum += (double)w[i * DIM + d] * value;
    }
    return sum;
}

static void check_vectors(const struct position *position, enum position_vectors which, int heads,
                          const float *w, const float *b, double epsilon)
{
    ck_assert_int_eq(position->vector_heads[which], w ? heads : 0);
    for (int distance = 0; w && distance < 2 * ROWS; distance++) {
        float r[HEADS * HEAD_DIM];
        position->scheme->vectors(position, which, distance, r);
        for (int i = 0; i < heads * HEAD_DIM; i++)
            ck_assert_double_eq_tol(
                (double)r[i], project(w, b, distance < ROWS ? distance : ROWS - 1, i, epsilon),
                1e-5);
    }
}

static void check_opened(struct scheme *scheme, bool c2p, bool p2c, bool bias, double epsilon)
{
    scheme_open(scheme);
    ck_assert_float_eq_tol(scheme->position.scale, 1 / sqrtf((float)(1 + c2p + p2c) * HEAD_DIM),
                           1e-7F);
    ck_assert_int_eq(scheme->position.last_distance, ROWS - 1);
    ck_assert_int_eq(scheme->position.vector_heads[VECTORS_VALUE], 0);
    check_vectors(&scheme->position, VECTORS_QUERY, KV_HEADS, c2p ? wk : NULL, bias ? bk : NULL,
                  epsilon);
    check_vectors(&scheme->position, VECTORS_KEY, HEADS, p2c ? wq : NULL, bias ? bq : NULL,
                  epsilon);
    scheme_close(scheme);
}

static void add_projections(struct scheme *scheme, const char *keys, const char *queries)
{
    scheme_tensor(scheme, keys, KV_HEADS * HEAD_DIM, DIM, wk);
    scheme_tensor(scheme, queries, HEADS * HEAD_DIM, DIM, wq);
}

static void add_biases(struct scheme *scheme, const char *keys, const char *queries)
{
    scheme_tensor(scheme, keys, 0, KV_HEADS * HEAD_DIM, bk);
    scheme_tensor(scheme, queries, 0, HEADS * HEAD_DIM, bq);
}

START_TEST(test_terms)
{
    struct scheme scheme;
    init_projected(&scheme);
    scheme_tensor(&scheme, "blk.0.attn_rel_k.weight", KV_HEADS * HEAD_DIM, DIM, wk);
    check_opened(&scheme, true, false, false, -1);
    init_projected(&scheme);
    scheme_tensor(&scheme, "blk.0.attn_rel_q.weight", HEADS * HEAD_DIM, DIM, wq);
    check_opened(&scheme, false, true, false, -1);
    init_projected(&scheme);
    add_projections(&scheme, "blk.0.attn_rel_k.weight", "blk.0.attn_rel_q.weight");
    check_opened(&scheme, true, true, false, -1);
    init_projected(&scheme);
    add_projections(&scheme, "blk.0.attn_rel_k.weight", "blk.0.attn_rel_q.weight");
    add_biases(&scheme, "blk.0.attn_rel_k.bias", "blk.0.attn_rel_q.bias");
    gguf_image_bool(&scheme.image, "toy.position.share_att_key", false);
    check_opened(&scheme, true, true, true, -1);
}
END_TEST

/* Every part that a file may have; `epsilon` < 0 leaves the default. */
static void init_shared(struct scheme *scheme, float epsilon)
{
    init_projected(scheme);
    scheme_tensor(scheme, "attn_rel_norm.weight", 0, DIM, norm);
    scheme_tensor(scheme, "attn_rel_norm.bias", 0, DIM, norm_bias);
    add_projections(scheme, "blk.0.attn_k.weight", "blk.0.attn_q.weight");
    add_biases(scheme, "blk.0.attn_k.bias", "blk.0.attn_q.bias");
    gguf_image_bool(&scheme->image, "toy.position.share_att_key", true);
    if (epsilon >= 0)
        gguf_image_f32(&scheme->image, "toy.position.norm_epsilon", epsilon);
}

START_TEST(test_norm_and_shared)
{
    struct scheme scheme;
    init_shared(&scheme, -1);
    check_opened(&scheme, true, true, true, 1e-7);
    init_shared(&scheme, 0.5F);
    check_opened(&scheme, true, true, true, 0.5);
    init_shared(&scheme, -1);
    scheme_open_starved(&scheme);
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_errors)
{
    static const struct {
        int buckets, max_distance; /* -1: no key */
        const char *message;
    } rows[] = {
        {ROWS, 7, "toy.position.max_distance is 7, allowed: position.buckets / 2 + 2 and more"},
        {ROWS, -1, "toy.position.max_distance"},
        {ROWS + 1, 40, "toy.position.buckets is 13, allowed: even"},
        {ROWS + 2, 40, "shape (22,12,1), expected (22,14)"},
        {0, 40, "toy.position.max_distance is 40, allowed: 0 without position.buckets"},
        {0, 0,
         "layer 0 has neither tensor \"attn_rel_k.weight\" nor \"attn_rel_q.weight\", "
         "expected at least one"},
    };
    struct scheme scheme;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        init_projected(&scheme);
        gguf_image_u32(&scheme.image, "toy.position.buckets", (uint32_t)rows[i].buckets);
        if (rows[i].max_distance >= 0)
            gguf_image_u32(&scheme.image, "toy.position.max_distance",
                           (uint32_t)rows[i].max_distance);
        scheme_refuse(&scheme, rows[i].message);
    }
    init_projected(&scheme);
    gguf_image_bool(&scheme.image, "toy.position.share_att_key", true);
    scheme_refuse(&scheme, "\"blk.0.attn_k.weight\" is missing, and so is \"attn_k.weight\"");
    init_projected(&scheme);
    gguf_image_f32(&scheme.image, "toy.position.norm_epsilon", NAN);
    scheme_refuse(&scheme, "toy.position.norm_epsilon is nan, allowed: 0 to 1");
}
END_TEST

Suite *disentangled_suite(void)
{
    Suite *suite = suite_create("disentangled");
    TCase *tcase = tcase_create("disentangled");
    tcase_add_test(tcase, test_printed_buckets);
    tcase_add_test(tcase, test_bucket_range);
    tcase_add_test(tcase, test_printed_scores);
    tcase_add_test(tcase, test_terms);
    tcase_add_test(tcase, test_norm_and_shared);
    tcase_add_test(tcase, test_errors);
    suite_add_tcase(suite, tcase);
    return suite;
}
