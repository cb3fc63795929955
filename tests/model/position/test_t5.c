/* t5: buckets as published, the table's orientation, and where the distances end. */
#include <check.h>
#include <math.h>

#include "tests/model/position/scheme.h"
#include "tests/suites.h"

enum { HEADS = 3, BUCKETS_MAX = 64 };

/* The bias of a bucket and head, exact in a float. */
static float value(int bucket, int head)
{
    return (float)bucket + (float)head / 16;
}

static void with(struct scheme *scheme, int n_buckets, int max_distance)
{
    float table[BUCKETS_MAX * HEADS];
    for (int bucket = 0; bucket < n_buckets; bucket++)
        for (int head = 0; head < HEADS; head++)
            table[bucket * HEADS + head] = value(bucket, head);
    scheme_init(scheme, POSITION_T5, HEADS);
    gguf_image_u32(&scheme->image, "toy.attention.relative_buckets_count", (uint32_t)n_buckets);
    if (max_distance > 0)
        gguf_image_u32(&scheme->image, "toy.position.max_distance", (uint32_t)max_distance);
    scheme_tensor(scheme, "blk.0.attn_rel_b.weight", n_buckets, HEADS, table);
}

START_TEST(test_vectors)
{
    static const struct {
        int max_distance;
        int first[16]; /* distances of buckets 16 .. 31 */
    } rows[] = {
        {0, {16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113}},
        {128, {16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113}},
        {256, {16, 20, 23, 27, 32, 39, 46, 54, 64, 77, 91, 108, 128, 153, 182, 216}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scheme scheme;
        with(&scheme, 32, rows[i].max_distance);
        scheme_open(&scheme);
        ck_assert_int_eq(scheme.position.last_distance, rows[i].first[15]);
        for (int distance = 0; distance < 1000; distance++) {
            int bucket = distance;
            for (int b = 16; b < 32 && distance >= rows[i].first[b - 16]; b++)
                bucket = b;
            for (int head = 0; head < HEADS; head++)
                ck_assert_double_eq(scheme_bias(&scheme, head, 0, distance),
                                    (double)value(bucket, head));
        }
        ck_assert_double_eq(scheme_bias(&scheme, 1, 0, 1e12), (double)value(31, 1));
        scheme_close(&scheme);
    }
}
END_TEST

static int bucket_of(int n, int max_distance, int distance)
{
    int half = n / 2;
    if (distance < half)
        return distance;
    double far = log((double)distance / half) / log((double)max_distance / half) * (n - half);
    return half + (int)far < n - 1 ? half + (int)far : n - 1;
}

/* Buckets of any number, odd ones too; the last distance is the first of its bucket. */
START_TEST(test_shapes)
{
    static const int shapes[][2] = {{2, 2},  {2, 128}, {3, 2},    {3, 50},  {5, 3},
                                    {8, 20}, {9, 100}, {17, 333}, {64, 33}, {64, 2000}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        int n = shapes[i][0], max_distance = shapes[i][1];
        struct scheme scheme;
        with(&scheme, n, max_distance);
        scheme_open(&scheme);
        int last = 0;
        while (bucket_of(n, max_distance, last) < n - 1)
            last++;
        ck_assert_int_eq(scheme.position.last_distance, last);
        for (int distance = 0; distance < 3000; distance++)
            ck_assert_double_eq(scheme_bias(&scheme, 2, 0, distance),
                                (double)value(bucket_of(n, max_distance, distance), 2));
        scheme_close(&scheme);
    }
}
END_TEST

START_TEST(test_opened)
{
    struct scheme scheme;
    with(&scheme, 32, 0);
    scheme_open_starved(&scheme);
    ck_assert(scheme.position.scheme->nature == POSITION_WHOLE);
    ck_assert(scheme.position.scheme->layered);
    ck_assert_float_eq(scheme.position.scale, 1);
    scheme_expect_text(&scheme,
                       "t5, 32 buckets, the last from distance 113, dot products not scaled");
    scheme_close(&scheme);
    with(&scheme, 32, 0);
    gguf_image_bool(&scheme.image, "toy.position.unscaled", false);
    scheme_open(&scheme);
    ck_assert_float_eq(scheme.position.scale, 0.5F);
    scheme_expect_text(&scheme, "t5, 32 buckets, the last from distance 113");
    scheme_close(&scheme);
}
END_TEST

/* A layer's own table wins; the others share one, and no key need count its rows. */
START_TEST(test_layers)
{
    static const float shared[2 * HEADS] = {1, 2, 3, 4, 5, 6},
                                  own[2 * HEADS] = {7, 8, 9, 10, 11, 12};
    for (int layer = 0; layer < 2; layer++) {
        struct scheme scheme;
        scheme_init(&scheme, POSITION_T5, HEADS);
        scheme_tensor(&scheme, "attn_rel_b.weight", 2, HEADS, shared);
        scheme_tensor(&scheme, "blk.1.attn_rel_b.weight", 2, HEADS, own);
        scheme.layer = layer;
        scheme_open(&scheme);
        ck_assert_int_eq(scheme.position.last_distance, 1);
        for (int i = 0; i < 2 * HEADS; i++)
            ck_assert_double_eq(scheme_bias(&scheme, i % HEADS, 0, i / HEADS),
                                (double)(layer ? own : shared)[i]);
        scheme_close(&scheme);
    }
}
END_TEST

START_TEST(test_refused)
{
    float table[4 * HEADS] = {0};
    struct scheme scheme;
    scheme_init(&scheme, POSITION_T5, HEADS);
    scheme_refuse(&scheme, "attn_rel_b.weight\" is missing");
    scheme_init(&scheme, POSITION_T5, HEADS);
    scheme_tensor(&scheme, "attn_rel_b.weight", HEADS, 4, table); /* the other way round */
    scheme_refuse(&scheme, "shape (4,3), expected (3,");
    scheme_init(&scheme, POSITION_T5, HEADS);
    scheme_tensor(&scheme, "attn_rel_b.weight", 0, HEADS, table);
    scheme_refuse(&scheme, "has 1 buckets, allowed: 2 to ");
    scheme_init(&scheme, POSITION_T5, HEADS);
    gguf_image_u32(&scheme.image, "toy.attention.relative_buckets_count", 5);
    scheme_tensor(&scheme, "attn_rel_b.weight", 4, HEADS, table);
    scheme_refuse(&scheme, "toy.attention.relative_buckets_count is 5, but "
                           "\"attn_rel_b.weight\" has 4 rows");
    with(&scheme, 32, 16);
    scheme_refuse(&scheme, "toy.position.max_distance is 16, allowed: more than half the buckets");
    scheme_init(&scheme, POSITION_T5, HEADS);
    table[7] = NAN;
    scheme_tensor(&scheme, "attn_rel_b.weight", 4, HEADS, table);
    scheme_refuse(&scheme, "number 7 is nan");
    scheme_init(&scheme, POSITION_T5, HEADS);
    table[7] = 0;
    scheme_tensor(&scheme, "attn_rel_b.weight", 4, HEADS, table);
    gguf_image_u32(&scheme.image, "toy.position.max_distance", 1U << 31);
    scheme_refuse(&scheme, "\"toy.position.max_distance\" is 2147483648");
}
END_TEST

Suite *t5_suite(void)
{
    Suite *suite = suite_create("t5");
    TCase *tcase = tcase_create("t5");
    tcase_add_test(tcase, test_vectors);
    tcase_add_test(tcase, test_shapes);
    tcase_add_test(tcase, test_opened);
    tcase_add_test(tcase, test_layers);
    tcase_add_test(tcase, test_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
