/* cache: grows and shrinks by blocks, knows its size, puts every number where the picture in
 * cache.h says. */
#include "model/cache.h"

#include <check.h>
#include <malloc.h>
#include <string.h>

#include "kernels/half.h"
#include "tests/suites.h"
#include "tests/support.h"

static const struct config config = {.n_layers = 3, .n_kv_heads = 2, .head_dim = 6};
enum { BLOCK_NUMBERS = 2 * 3 * 2 * 6 * CACHE_BLOCK };

static void open_cache(struct cache *cache, enum format format)
{
    struct error err;
    ck_assert_msg(cache_open(cache, &config, format, &err) == 0, "%s", err.text);
}

static void reserve(struct cache *cache, int64_t n)
{
    struct error err;
    ck_assert_msg(cache_reserve(cache, n, &err) == 0, "%s", err.text);
}

START_TEST(test_growth)
{
    struct cache cache;
    open_cache(&cache, FORMAT_F32);
    ck_assert_uint_eq(cache_block_bytes(&cache), BLOCK_NUMBERS * 4);
    ck_assert_uint_eq(cache_bytes(&cache), 0);
    const struct {
        int64_t n, blocks;
    } steps[] = {{1, 1}, {CACHE_BLOCK, 1}, {CACHE_BLOCK + 1, 2}, {5 * CACHE_BLOCK, 5}, {3, 5}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        reserve(&cache, steps[i].n);
        ck_assert_int_eq(cache.n_blocks, steps[i].blocks);
    }
    cache_truncate(&cache, 2 * CACHE_BLOCK + 1);
    ck_assert_int_eq(cache.n_blocks, 3);
    cache_truncate(&cache, 2 * CACHE_BLOCK);
    ck_assert_int_eq(cache.n_blocks, 2);
    cache_truncate(&cache, 4 * CACHE_BLOCK); /* never grows */
    ck_assert_int_eq(cache.n_blocks, 2);
    cache_truncate(&cache, 0);
    ck_assert_int_eq(cache.n_blocks, 0);
    cache_close(&cache);
    cache_close(&cache);
}
END_TEST

START_TEST(test_bytes)
{
    struct cache cache;
    open_cache(&cache, _i == 0 ? FORMAT_F32 : FORMAT_F16);
    ck_assert_uint_eq(cache_block_bytes(&cache), BLOCK_NUMBERS * (_i == 0 ? 4 : 2));
    for (int64_t n = 1; n < 20 * CACHE_BLOCK; n = 2 * n + 1) {
        reserve(&cache, n);
        size_t allocated = malloc_usable_size(cache.blocks);
        for (int64_t i = 0; i < cache.n_blocks; i++)
            allocated += malloc_usable_size(cache.blocks[i]);
        /* The allocator rounds up, by a cache line and some at most. */
        ck_assert_uint_ge(allocated, cache_bytes(&cache));
        ck_assert_uint_le(allocated, cache_bytes(&cache) + 128 * (size_t)(cache.n_blocks + 1));
    }
    cache_close(&cache);
}
END_TEST

/* A number for every place, exact in f16: at most 11 bits. */
static float number(int64_t position, int layer, int head, int d, int which)
{
    return (float)((position * 17 + layer * 131 + head * 37 + d * 5 + which * 3) % 2048 - 1024) /
           64;
}

static float element(const struct cache *cache, const void *x, size_t i)
{
    return cache->format == FORMAT_F32 ? ((const float *)x)[i]
                                       : f16_to_f32(((const uint16_t *)x)[i]);
}

static void check_position(const struct cache *cache, int64_t p)
{
    size_t place = (size_t)(p % CACHE_BLOCK);
    for (int layer = 0; layer < config.n_layers; layer++) {
        for (int head = 0; head < config.n_kv_heads; head++) {
            const void *keys = cache_keys(cache, p / CACHE_BLOCK, layer, head);
            const void *values = cache_values(cache, p / CACHE_BLOCK, layer, head);
            for (int d = 0; d < config.head_dim; d++) {
                ck_assert_float_eq(element(cache, keys, (size_t)d * CACHE_BLOCK + place),
                                   number(p, layer, head, d, 0));
                ck_assert_float_eq(
                    element(cache, values, place * (size_t)config.head_dim + (size_t)d),
                    number(p, layer, head, d, 1));
            }
        }
    }
}

START_TEST(test_layout)
{
    static const int64_t positions[] = {0, 1, 63, 126, 127, 128, 255, 256, 300};
    enum { N = sizeof positions / sizeof positions[0] };
    for (int tier = 0; kernels_available(tier); tier++) {
        struct kernels kernels;
        struct error err;
        struct cache cache;
        ck_assert_int_eq(kernels_select(&kernels, kernels_available(tier), &err), 0);
        open_cache(&cache, _i == 0 ? FORMAT_F32 : FORMAT_F16);
        for (size_t i = 0; i < N; i++) {
            reserve(&cache, positions[i] + 1);
            for (int layer = 0; layer < config.n_layers; layer++) {
                float keys[12], values[12];
                for (int k = 0; k < 12; k++) {
                    keys[k] = number(positions[i], layer, k / 6, k % 6, 0);
                    values[k] = number(positions[i], layer, k / 6, k % 6, 1);
                }
                cache_store(&cache, &kernels, layer, positions[i], keys, values);
            }
        }
        for (size_t i = 0; i < N; i++)
            check_position(&cache, positions[i]);
        cache_truncate(&cache, 129); /* what stays has not moved */
        reserve(&cache, 1000);
        for (size_t i = 0; i < 6; i++)
            check_position(&cache, positions[i]);
        cache_close(&cache);
    }
}
END_TEST

START_TEST(test_unsupported_format)
{
    struct cache cache;
    struct error err;
    ck_assert_int_eq(cache_open(&cache, &config, FORMAT_Q4_K, &err), -1);
    ck_assert_msg(strstr(err.text, "cache type Q4_K is not supported; supported: f32, f16") != NULL,
                  "%s", err.text);
    cache_close(&cache);
}
END_TEST

START_TEST(test_no_memory)
{
    struct cache cache;
    struct error err;
    int failed = 0;
    open_cache(&cache, FORMAT_F32);
    reserve(&cache, 10);
    void *first = cache.blocks[0];
    for (int n = 1;; n++) {
        support_fail_memory(n, false);
        int result = cache_reserve(&cache, 8 * CACHE_BLOCK, &err);
        support_fail_memory(0, false);
        if (support_memory_failures() == 0)
            break;
        ck_assert_int_eq(result, -1);
        ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
        ck_assert_int_eq(cache.n_blocks, 1);
        ck_assert_ptr_eq(cache.blocks[0], first);
        failed++;
    }
    ck_assert_int_eq(
        failed,
        7); /* the directory, and each block but the last of seven: the directory stays grown */
    ck_assert_int_eq(cache.n_blocks, 8);
    cache_close(&cache);
}
END_TEST

Suite *cache_suite(void)
{
    Suite *suite = suite_create("cache");
    TCase *tcase = tcase_create("cache");
    tcase_add_test(tcase, test_growth);
    tcase_add_loop_test(tcase, test_bytes, 0, 2);
    tcase_add_loop_test(tcase, test_layout, 0, 2);
    tcase_add_test(tcase, test_unsupported_format);
    tcase_add_test(tcase, test_no_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
