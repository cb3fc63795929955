/* cache: grows, lets go and shrinks by blocks, knows its size, and finds every position again that
 * it still has. What is in a block is the matter of test_codec.c. */
#include "model/cache.h"

#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/half.h"
#include "tests/suites.h"
#include "tests/support.h"

static const struct config config = {.n_layers = 3, .n_kv_heads = 2, .head_dim = 6};
static const int n_forms[] = {1, 2, 1};
/* Strips that this makes, in every layer one of values; floats of a block. */
enum { N_STRIPS = 4 + 3, BLOCK_FLOATS = 2 * 6 * CACHE_BLOCK };

static const enum format formats[] = {FORMAT_F32, FORMAT_F16, FORMAT_BF16, FORMAT_Q8_0,
                                      FORMAT_Q4_0};
enum { N_FORMATS = 5 };

static void open_cache(struct cache *cache, enum format format, size_t max_bytes)
{
    struct error err;
    ck_assert_msg(cache_open(cache, &config, n_forms, format, max_bytes, &err) == 0, "%s",
                  err.text);
}

static void reserve(struct cache *cache, int64_t n)
{
    struct error err;
    ck_assert_msg(cache_reserve(cache, n, &err) == 0, "%s", err.text);
}

START_TEST(test_growth)
{
    struct cache cache;
    open_cache(&cache, FORMAT_F32, 0);
    ck_assert_uint_eq(cache_block_bytes(&cache), BLOCK_FLOATS * 4);
    ck_assert_double_eq(cache_token_bytes(&cache), N_STRIPS * 2 * 6 * 4);
    ck_assert_uint_eq(cache_bytes(&cache), 0);
    const struct {
        int64_t n;
        size_t blocks;
    } steps[] = {{1, 1}, {CACHE_BLOCK, 1}, {CACHE_BLOCK + 1, 2}, {5 * CACHE_BLOCK, 5}, {3, 5}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        reserve(&cache, steps[i].n);
        ck_assert_uint_eq(cache.n_blocks, steps[i].blocks * N_STRIPS);
    }
    ck_assert_int_eq(cache.n, 5 * CACHE_BLOCK);
    cache_truncate(&cache, 2 * CACHE_BLOCK + 1);
    ck_assert_uint_eq(cache.n_blocks, 3 * N_STRIPS);
    cache_truncate(&cache, 2 * CACHE_BLOCK);
    ck_assert_uint_eq(cache.n_blocks, 2 * N_STRIPS);
    cache_truncate(&cache, 4 * CACHE_BLOCK); /* never grows */
    ck_assert_uint_eq(cache.n_blocks, 2 * N_STRIPS);
    ck_assert_int_eq(cache.n, 2 * CACHE_BLOCK);
    cache_truncate(&cache, 0);
    ck_assert_uint_eq(cache.n_blocks, 0);
    cache_close(&cache);
    cache_close(&cache);
}
END_TEST

/* Lanes past the last position are read, so they must not be what memory happened to hold. */
START_TEST(test_zeroed)
{
    struct cache cache;
    open_cache(&cache, formats[_i], 0);
    mallopt(M_PERTURB, 0x55);
    reserve(&cache, 3 * CACHE_BLOCK);
    mallopt(M_PERTURB, 0);
    for (int i = 0; i < config.n_layers * STRIPS_MAX; i++)
        for (int64_t k = 0; k < cache.strips[i].n_blocks; k++)
            for (size_t byte = 0; byte < cache_block_bytes(&cache); byte++)
                if (((const uint8_t *)cache.strips[i].blocks[k])[byte] != 0)
                    ck_abort_msg("strip %d, block %d, byte %zu", i, (int)k, byte);
    cache_close(&cache);
}
END_TEST

/* Keys are unpacked in whole lanes, values to the position. */
START_TEST(test_read_lanes)
{
    struct cache cache;
    struct kernels kernels;
    struct error err;
    enum format format;
    float scratch[6 * CACHE_BLOCK];
    ck_assert_int_eq(kernels_select(&kernels, NULL, &err), 0);
    open_cache(&cache, formats[_i], 0);
    reserve(&cache, 17);
    memset(scratch, 0xFF, sizeof scratch);
    ck_assert_ptr_eq(cache_read(&cache, &kernels, 1, 1, 0, 1, 17, scratch, &format), scratch);
    for (int i = 0; i < 6 * CACHE_BLOCK; i++)
        ck_assert_int_eq(scratch[i] == 0, i % CACHE_BLOCK < 32);
    memset(scratch, 0xFF, sizeof scratch);
    cache_read(&cache, &kernels, 1, STRIP_VALUES, 0, 1, 17, scratch, &format);
    for (int i = 0; i < 6 * CACHE_BLOCK; i++)
        ck_assert_int_eq(scratch[i] == 0, i < 17 * 6);
    cache_close(&cache);
}
END_TEST

START_TEST(test_bytes)
{
    struct cache cache;
    open_cache(&cache, formats[_i], 0);
    for (int64_t n = 1; n < 20 * CACHE_BLOCK; n = 2 * n + 1) {
        reserve(&cache, n);
        cache_evict(&cache, 0, 0, 4, n / 2);
        size_t allocated = 0, blocks = 0;
        for (int i = 0; i < config.n_layers * STRIPS_MAX; i++) {
            blocks += (size_t)cache.strips[i].n_blocks;
            for (int64_t k = 0; k < cache.strips[i].n_blocks; k++)
                allocated += malloc_usable_size(cache.strips[i].blocks[k]);
        }
        ck_assert_uint_eq(cache.n_blocks, blocks);
        /* The allocator rounds up, by a cache line and some at most. */
        ck_assert_uint_ge(allocated, cache_bytes(&cache));
        ck_assert_uint_le(allocated, cache_bytes(&cache) + 128 * blocks);
    }
    cache_close(&cache);
}
END_TEST

/* --- against a plain model ----------------------------------------------------------------- */

enum { N_MAX = 1600, LAYERS_MAX = 2, HEADS_MAX = 2, DIM_MAX = 40 };

/* What a cache ought to be: of every position, whether it is there and what it was given. */
struct model {
    struct cache cache;
    struct kernels kernels;
    struct config config;
    int n_forms[LAYERS_MAX];
    int64_t sinks[LAYERS_MAX][STRIPS_MAX];
    int64_t n;
    int version[LAYERS_MAX][STRIPS_MAX][N_MAX]; /* 0: not there */
    int stores;
};

static uint32_t random_state;

static int random_below(int64_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (int)((uint64_t)random_state * (uint64_t)n >> 32);
}

/* Element d of what is stored as `version`: a number that every format has exactly, because the
 * first one of each group makes the scale 1. */
static float number(enum format format, int version, int head, int d)
{
    if (d % CACHE_GROUP == 0)
        return format == FORMAT_Q8_0 ? 127 : -8;
    uint32_t hash = (uint32_t)version * 2654435761U + (uint32_t)(head * 40503 + d * 977);
    return (float)((hash ^ hash >> 15) % 15) - 7;
}

static bool stored(const struct model *m, int layer, int strip)
{
    return strip == STRIP_VALUES || strip < m->n_forms[layer];
}

static void model_store(struct model *m, int64_t position)
{
    float x[HEADS_MAX * DIM_MAX];
    for (int layer = 0; layer < m->config.n_layers; layer++) {
        for (int strip = 0; strip < STRIPS_MAX; strip++) {
            if (!stored(m, layer, strip))
                continue;
            int version = ++m->stores;
            for (int i = 0; i < m->config.n_kv_heads * m->config.head_dim; i++)
                x[i] = number(m->cache.format, version, i / m->config.head_dim,
                              i % m->config.head_dim);
            cache_store(&m->cache, &m->kernels, layer, strip, position, x);
            m->version[layer][strip][position] = version;
        }
    }
}

static void model_grow(struct model *m)
{
    int64_t n = m->n + 1 + random_below(random_below(3) == 0 ? 500 : 60);
    n = n < N_MAX ? n : N_MAX;
    reserve(&m->cache, n);
    for (; m->n < n; m->n++)
        model_store(m, m->n);
}

static void model_evict(struct model *m)
{
    int64_t first = random_below(m->n + 1);
    for (int layer = 0; layer < m->config.n_layers; layer++) {
        for (int strip = 0; strip < STRIPS_MAX; strip++) {
            int64_t sinks = m->sinks[layer][strip];
            cache_evict(&m->cache, layer, strip, sinks, first);
            for (int64_t begin = 0; begin + CACHE_BLOCK <= first; begin += CACHE_BLOCK)
                if (begin >= sinks)
                    memset(m->version[layer][strip] + begin, 0,
                           CACHE_BLOCK * sizeof m->version[0][0][0]);
        }
    }
}

static void model_truncate(struct model *m)
{
    int64_t n = random_below(4) == 0 ? random_below(m->n + 1) : m->n - random_below(m->n / 4 + 1);
    cache_truncate(&m->cache, n);
    for (int layer = 0; layer < m->config.n_layers; layer++)
        for (int strip = 0; strip < STRIPS_MAX; strip++)
            for (int64_t p = n; p < m->n; p++)
                m->version[layer][strip][p] = 0;
    m->n = n;
}

static void check_position(const struct model *m, int layer, int strip, int64_t p)
{
    float scratch[DIM_MAX * CACHE_BLOCK];
    int dim = m->config.head_dim;
    size_t place = (size_t)(p % CACHE_BLOCK);
    for (int head = 0; head < m->config.n_kv_heads; head++) {
        enum format format;
        const void *read = cache_read(&m->cache, &m->kernels, layer, strip, p / CACHE_BLOCK, head,
                                      place + 1, scratch, &format);
        ck_assert(format == (m->cache.format == FORMAT_F16 ? FORMAT_F16 : FORMAT_F32));
        for (int d = 0; d < dim; d++) {
            size_t i = strip == STRIP_VALUES ? place * (size_t)dim + (size_t)d
                                             : (size_t)d * CACHE_BLOCK + place;
            float x = format == FORMAT_F32 ? ((const float *)read)[i]
                                           : f16_to_f32(((const uint16_t *)read)[i]);
            if (x != number(m->cache.format, m->version[layer][strip][p], head, d))
                ck_abort_msg("layer %d, strip %d, position %d, head %d, dimension %d", layer, strip,
                             (int)p, head, d);
        }
    }
}

/* A strip holds the ranges that have no hole, and no block more than it needs. */
static size_t check_strip(const struct model *m, int layer, int strip)
{
    const int *version = m->version[layer][strip];
    size_t blocks = 0;
    for (int64_t begin = 0; begin < m->n; begin += CACHE_BLOCK) {
        bool any = false;
        for (int64_t p = begin; p < begin + CACHE_BLOCK && p < m->n; p++)
            any = any || version[p] > 0;
        blocks += any;
    }
    ck_assert_int_eq(m->cache.strips[layer * STRIPS_MAX + strip].n_blocks, (int64_t)blocks);
    for (int i = 0; i < 30; i++) {
        int64_t begin = random_below(m->n + 2), end = begin + random_below(m->n + 2 - begin);
        if (i % 2 == 0)
            end = begin + random_below(3);
        bool all = true;
        for (int64_t p = begin; p < end; p++)
            all = all && p < m->n && version[p] > 0;
        ck_assert_int_eq(cache_holds(&m->cache, layer, strip, begin, end), all);
        if (begin < m->n && version[begin] > 0)
            check_position(m, layer, strip, begin);
    }
    return blocks;
}

static void check_model(const struct model *m)
{
    size_t blocks = 0;
    for (int layer = 0; layer < m->config.n_layers; layer++)
        for (int strip = 0; strip < STRIPS_MAX; strip++)
            blocks += check_strip(m, layer, strip);
    ck_assert_int_eq(m->cache.n, m->n);
    ck_assert_uint_eq(m->cache.n_blocks, blocks);
    ck_assert_uint_eq(cache_bytes(&m->cache), blocks * cache_block_bytes(&m->cache));
}

START_TEST(test_against_model)
{
    static struct model m;
    struct error err;
    m = (struct model){0};
    random_state = (uint32_t)_i;
    m.config = (struct config){.n_layers = 1 + random_below(LAYERS_MAX),
                               .n_kv_heads = 1 + random_below(HEADS_MAX),
                               .head_dim = 1 + random_below(DIM_MAX)};
    static const int64_t sinks[] = {0, 0, 1, 4, 127, 128, 129, 300};
    for (int layer = 0; layer < LAYERS_MAX; layer++) {
        m.n_forms[layer] = 1 + random_below(KEY_FORMS_MAX);
        for (int strip = 0; strip < STRIPS_MAX; strip++)
            m.sinks[layer][strip] = sinks[random_below(8)];
    }
    ck_assert_int_eq(kernels_select(&m.kernels, NULL, &err), 0);
    ck_assert_int_eq(cache_open(&m.cache, &m.config, m.n_forms, formats[_i % N_FORMATS], 0, &err),
                     0);
    for (int step = 0; step < 60; step++) {
        int choice = random_below(6);
        if (choice < 3)
            model_grow(&m);
        else if (choice < 5)
            model_evict(&m);
        else
            model_truncate(&m);
        check_model(&m);
    }
    cache_close(&m.cache);
}
END_TEST

/* --- letting go ---------------------------------------------------------------------------- */

START_TEST(test_evict)
{
    struct cache cache;
    open_cache(&cache, FORMAT_F16, 0);
    reserve(&cache, 10 * CACHE_BLOCK);
    size_t bytes = cache_bytes(&cache), block = cache_block_bytes(&cache);
    /* Nothing that is whole lies between. */
    cache_evict(&cache, 1, 1, 4, 2 * CACHE_BLOCK - 1);
    cache_evict(&cache, 1, 1, CACHE_BLOCK + 1, 3 * CACHE_BLOCK - 1);
    cache_evict(&cache, 1, 1, 5 * CACHE_BLOCK, 5 * CACHE_BLOCK);
    cache_evict(&cache, 1, 1, 5 * CACHE_BLOCK, CACHE_BLOCK);
    cache_evict(&cache, 1, 1, 0, 0);
    cache_evict(&cache, 0, 1, 0, CACHE_BLOCK); /* a form that the layer does not have */
    ck_assert_uint_eq(cache_bytes(&cache), bytes);
    ck_assert(!cache_holds(&cache, 0, 1, 0, 1));

    cache_evict(&cache, 1, 1, 4, 3 * CACHE_BLOCK + 1);
    ck_assert_uint_eq(cache_bytes(&cache), bytes - 2 * block);
    ck_assert(cache_holds(&cache, 1, 1, 0, CACHE_BLOCK));
    ck_assert(!cache_holds(&cache, 1, 1, 0, CACHE_BLOCK + 1));
    ck_assert(!cache_holds(&cache, 1, 1, 3 * CACHE_BLOCK - 1, 3 * CACHE_BLOCK));
    ck_assert(cache_holds(&cache, 1, 1, 3 * CACHE_BLOCK, 10 * CACHE_BLOCK));
    ck_assert(!cache_holds(&cache, 1, 1, 3 * CACHE_BLOCK, 10 * CACHE_BLOCK + 1));
    ck_assert(cache_holds(&cache, 1, 1, CACHE_BLOCK + 1, CACHE_BLOCK + 1));
    ck_assert(cache_holds(&cache, 1, 0, 0, 10 * CACHE_BLOCK)); /* its neighbours have all */
    ck_assert(cache_holds(&cache, 1, STRIP_VALUES, 0, 10 * CACHE_BLOCK));

    cache_evict(&cache, 1, 1, 4 * CACHE_BLOCK, 5 * CACHE_BLOCK); /* a gap has begun for good */
    ck_assert_uint_eq(cache_bytes(&cache), bytes - 4 * block);
    cache_evict(&cache, 1, 1, 4, 10 * CACHE_BLOCK); /* all but the sinks */
    ck_assert_uint_eq(cache_bytes(&cache), bytes - 9 * block);
    cache_truncate(&cache, 10); /* nothing is missing before that */
    ck_assert(cache_holds(&cache, 1, 1, 0, 10));
    ck_assert_uint_eq(cache_bytes(&cache), N_STRIPS * block);
    cache_close(&cache);
}
END_TEST

/* The text goes back to a place inside the gap: what is in front of it does not come back with the
 * block in which the text goes on. */
START_TEST(test_truncate_in_gap)
{
    struct cache cache;
    open_cache(&cache, FORMAT_F32, 0);
    reserve(&cache, 800);
    cache_evict(&cache, 0, 0, 0, 700);
    cache_truncate(&cache, 200);
    ck_assert_int_eq(cache.strips[0].n_blocks, 0);
    reserve(&cache, 201);
    ck_assert_int_eq(cache.strips[0].n_blocks, 1);
    ck_assert(!cache_holds(&cache, 0, 0, 199, 201));
    ck_assert(cache_holds(&cache, 0, 0, 200, 201));
    cache_truncate(&cache, 150);
    ck_assert(!cache_holds(&cache, 0, 0, 140, 150));
    reserve(&cache, 300);
    ck_assert(!cache_holds(&cache, 0, 0, 149, 200));
    ck_assert(cache_holds(&cache, 0, 0, 150, 300));
    cache_close(&cache);
}
END_TEST

/* A long text in a window takes no more than a short one, the directories included. */
START_TEST(test_million)
{
    struct cache cache;
    struct kernels kernels;
    struct error err;
    enum { WINDOW = 512, SINKS = 4, BLOCKS = 1 + WINDOW / CACHE_BLOCK + 1, N = 1000064 };
    float x[2 * 6], y[2 * 6];
    open_cache(&cache, FORMAT_F32, N_STRIPS * BLOCKS * BLOCK_FLOATS * 4);
    ck_assert_int_eq(kernels_select(&kernels, NULL, &err), 0);
    for (int d = 0; d < 12; d++)
        y[d] = -(x[d] = (float)(d + 1));
    for (int64_t p = 0; p < N; p += CACHE_BLOCK / 2) {
        for (int i = 0; i < config.n_layers * STRIPS_MAX; i++)
            cache_evict(&cache, i / STRIPS_MAX, i % STRIPS_MAX, SINKS, p - WINDOW + 1);
        reserve(&cache, p + CACHE_BLOCK / 2);
        if (p == 0)
            cache_store(&cache, &kernels, 2, STRIP_VALUES, 3, x);
        cache_store(&cache, &kernels, 2, STRIP_VALUES, p, y);
    }
    ck_assert_int_eq(cache.n, N);
    for (int i = 0; i < config.n_layers * STRIPS_MAX; i++) {
        ck_assert_int_le(cache.strips[i].n_blocks, BLOCKS);
        ck_assert_int_le(cache.strips[i].capacity, 2 * BLOCKS);
    }
    enum format format;
    float scratch[6 * CACHE_BLOCK];
    const float *first =
        cache_read(&cache, &kernels, 2, STRIP_VALUES, 0, 1, CACHE_BLOCK, scratch, &format);
    ck_assert_mem_eq(first + 3 * 6, x + 6, 6 * sizeof(float));
    for (int64_t p = N - CACHE_BLOCK / 2; p > N - WINDOW; p -= CACHE_BLOCK / 2) {
        const float *block = cache_read(&cache, &kernels, 2, STRIP_VALUES, p / CACHE_BLOCK, 1,
                                        CACHE_BLOCK, scratch, &format);
        ck_assert_mem_eq(block + p % CACHE_BLOCK * 6, y + 6, 6 * sizeof(float));
    }
    cache_close(&cache);
}
END_TEST

/* --- refusals ------------------------------------------------------------------------------ */

START_TEST(test_unsupported_format)
{
    struct cache cache;
    struct error err;
    ck_assert_int_eq(cache_open(&cache, &config, n_forms, FORMAT_Q4_K, 0, &err), -1);
    ck_assert_str_eq(err.text,
                     "cache type Q4_K is not supported; supported: f32, f16, bf16, q8_0, q4_0");
    ck_assert(!cache_supports(FORMAT_Q4_K));
    for (int i = 0; i < N_FORMATS; i++)
        ck_assert(cache_supports(formats[i]));
    cache_close(&cache);
}
END_TEST

START_TEST(test_max_bytes)
{
    struct config c = {.n_layers = 2, .n_kv_heads = 4, .head_dim = 64};
    int forms[] = {1, 2};
    struct cache cache;
    struct error err;
    /* Blocks of 131072 bytes in 5 strips: 655360 bytes for 128 tokens, 6 times 3932160. */
    size_t max_bytes = _i == 0 ? 3932160 : 3932159;
    ck_assert_int_eq(cache_open(&cache, &c, forms, FORMAT_F32, max_bytes, &err), 0);
    reserve(&cache, 5 * CACHE_BLOCK);
    if (_i == 0)
        reserve(&cache, 6 * CACHE_BLOCK);
    size_t blocks = cache.n_blocks;
    int64_t n = cache.n;
    ck_assert_int_eq(cache_reserve(&cache, n + 1, &err), -1);
    ck_assert_str_eq(err.text, _i == 0 ? "the cache of 769 tokens needs 4.6 MB, allowed: 3.9 MB"
                                       : "the cache of 641 tokens needs 4.0 MB, allowed: 3.9 MB");
    ck_assert_int_eq(cache_reserve(&cache, INT64_MAX, &err), -1);
    ck_assert_msg(strstr(err.text, "allowed: 3.9 MB") != NULL, "%s", err.text);
    ck_assert_uint_eq(cache.n_blocks, blocks);
    ck_assert_int_eq(cache.n, n);
    ck_assert(cache_holds(&cache, 1, 1, 0, n));
    /* What is given back may be taken again. */
    for (int strip = 0; strip < STRIPS_MAX; strip++)
        for (int layer = 0; layer < 2; layer++)
            cache_evict(&cache, layer, strip, 0, CACHE_BLOCK);
    reserve(&cache, n + 1);
    ck_assert_uint_eq(cache.n_blocks, blocks);
    cache_close(&cache);
}
END_TEST

/* Sizes that no arithmetic holds; none of them gets as far as the allocator. */
START_TEST(test_hostile_sizes)
{
    struct cache cache;
    struct error err;
    int forms[128];
    for (int i = 0; i < 128; i++)
        forms[i] = 1;
    struct config c = {.n_layers = 1, .n_kv_heads = INT32_MAX, .head_dim = INT32_MAX};
    ck_assert_int_eq(cache_open(&cache, &c, forms, FORMAT_F32, 0, &err), -1);
    ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
    ck_assert_ptr_null(cache.strips);
    cache_close(&cache);

    c.n_kv_heads = 1 << 20; /* a block of 2^60 bytes */
    ck_assert_int_eq(cache_open(&cache, &c, forms, FORMAT_F32, 1000000000, &err), 0);
    ck_assert_int_eq(cache_reserve(&cache, INT64_MAX, &err), -1);
    ck_assert_msg(strstr(err.text, "allowed: 1000.0 MB") != NULL, "%s", err.text);
    cache_close(&cache);

    /* 2^56 blocks in each of 32 strips: 2^64 bytes of pointers; of 256: 2^64 blocks. */
    for (c.n_layers = 16; c.n_layers <= 128; c.n_layers += 112) {
        c.n_kv_heads = c.head_dim = 1;
        ck_assert_int_eq(cache_open(&cache, &c, forms, FORMAT_F32, 0, &err), 0);
        ck_assert_int_eq(cache_reserve(&cache, INT64_MAX, &err), -1);
        ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
        ck_assert_uint_eq(cache.n_blocks, 0);
        ck_assert_int_eq(cache.n, 0);
        cache_close(&cache);
    }
}
END_TEST

START_TEST(test_no_memory)
{
    struct cache cache;
    struct error err;
    int failed = 0;
    for (int n = 1; n <= 2; n++) {
        support_fail_memory(n, false);
        int result = cache_open(&cache, &config, n_forms, FORMAT_F32, 0, &err);
        support_fail_memory(0, false);
        ck_assert_int_eq(result, -1);
        ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
        cache_close(&cache);
    }
    open_cache(&cache, FORMAT_F32, 0);
    reserve(&cache, 10);
    void *first = cache.strips[0].blocks[0];
    for (int n = 1;; n++) {
        support_fail_memory(n, false);
        int result = cache_reserve(&cache, 8 * CACHE_BLOCK, &err);
        support_fail_memory(0, false);
        if (support_memory_failures() == 0)
            break;
        ck_assert_int_eq(result, -1);
        ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
        ck_assert_int_eq(cache.n, 10);
        ck_assert_uint_eq(cache.n_blocks, N_STRIPS);
        for (int layer = 0; layer < config.n_layers; layer++)
            ck_assert_int_eq(cache.strips[layer * STRIPS_MAX].n_blocks, 1);
        ck_assert_ptr_eq(cache.strips[0].blocks[0], first);
        failed++;
    }
    /* The list, each block, and directories, of which some stay grown. */
    ck_assert_int_gt(failed, 1 + 7 * N_STRIPS);
    ck_assert_uint_eq(cache.n_blocks, 8 * N_STRIPS);
    cache_close(&cache);
}
END_TEST

Suite *cache_suite(void)
{
    Suite *suite = suite_create("cache");
    TCase *tcase = tcase_create("cache");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_growth);
    tcase_add_loop_test(tcase, test_bytes, 0, N_FORMATS);
    tcase_add_loop_test(tcase, test_zeroed, 0, N_FORMATS);
    tcase_add_loop_test(tcase, test_read_lanes, 2, N_FORMATS);
    tcase_add_loop_test(tcase, test_against_model, 0, 60);
    tcase_add_test(tcase, test_evict);
    tcase_add_test(tcase, test_truncate_in_gap);
    tcase_add_test(tcase, test_million);
    tcase_add_test(tcase, test_unsupported_format);
    tcase_add_loop_test(tcase, test_max_bytes, 0, 2);
    tcase_add_test(tcase, test_hostile_sizes);
    tcase_add_test(tcase, test_no_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
