/* cache: see cache.h. */
#include "model/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"

int cache_open(struct cache *cache, const struct config *config, enum format format,
               struct error *err)
{
    *cache = (struct cache){0};
    if (format != FORMAT_F32 && format != FORMAT_F16)
        return error_set(err, "cache type %s is not supported; supported: f32, f16",
                         format_info[format].name);
    *cache = (struct cache){
        .format = format,
        .n_layers = config->n_layers,
        .n_kv_heads = config->n_kv_heads,
        .head_dim = config->head_dim,
    };
    return 0;
}

void cache_close(struct cache *cache)
{
    cache_truncate(cache, 0);
    free(cache->blocks);
    *cache = (struct cache){0};
}

/* Bytes of the keys, or of the values, of one head in one block. */
static size_t head_bytes(const struct cache *cache)
{
    return (size_t)cache->head_dim * CACHE_BLOCK * (size_t)format_info[cache->format].block_bytes;
}

size_t cache_block_bytes(const struct cache *cache)
{
    return 2 * head_bytes(cache) * (size_t)cache->n_kv_heads * (size_t)cache->n_layers;
}

size_t cache_bytes(const struct cache *cache)
{
    return (size_t)cache->n_blocks * cache_block_bytes(cache) +
           (size_t)cache->capacity * sizeof(void *);
}

static int grow_directory(struct cache *cache, int64_t blocks, struct error *err)
{
    if (blocks <= cache->capacity)
        return 0;
    int64_t capacity = cache->capacity * 2 > blocks ? cache->capacity * 2 : blocks;
    size_t bytes;
    void **grown =
        size_mul((size_t)capacity, sizeof *grown, &bytes) ? realloc(cache->blocks, bytes) : NULL;
    if (!grown)
        return error_set(err, "out of memory: a cache of %lld blocks", (long long)blocks);
    cache->blocks = grown;
    cache->capacity = capacity;
    return 0;
}

int cache_reserve(struct cache *cache, int64_t n, struct error *err)
{
    int64_t blocks = n / CACHE_BLOCK + (n % CACHE_BLOCK != 0);
    if (grow_directory(cache, blocks, err))
        return -1;
    int64_t before = cache->n_blocks;
    size_t bytes = cache_block_bytes(cache);
    while (cache->n_blocks < blocks) {
        /* Zeroed, because scores are computed in whole lanes, past the last position too. */
        void *block = size_alloc(1, bytes);
        if (!block) {
            cache_truncate(cache, before * CACHE_BLOCK);
            return error_set(
                err,
                "out of memory: the cache of %lld tokens needs %lld blocks of %zu bytes, has %lld",
                (long long)n, (long long)blocks, bytes, (long long)before);
        }
        memset(block, 0, bytes);
        cache->blocks[cache->n_blocks++] = block;
    }
    return 0;
}

void cache_truncate(struct cache *cache, int64_t n)
{
    int64_t blocks = n / CACHE_BLOCK + (n % CACHE_BLOCK != 0);
    while (cache->n_blocks > blocks)
        free(cache->blocks[--cache->n_blocks]);
}

static void *slice(const struct cache *cache, int64_t block, int layer, int kv_head, size_t which)
{
    size_t index = ((size_t)layer * (size_t)cache->n_kv_heads + (size_t)kv_head) * 2 + which;
    return (uint8_t *)cache->blocks[block] + index * head_bytes(cache);
}

void *cache_keys(const struct cache *cache, int64_t block, int layer, int kv_head)
{
    return slice(cache, block, layer, kv_head, 0);
}

void *cache_values(const struct cache *cache, int64_t block, int layer, int kv_head)
{
    return slice(cache, block, layer, kv_head, 1);
}

/* One head's key down a column and its value along a row. */
static void store_f32(float *column, float *row, const float *key, const float *value, size_t n)
{
    for (size_t d = 0; d < n; d++)
        column[d * CACHE_BLOCK] = key[d];
    memcpy(row, value, n * sizeof *row);
}

static void store_f16(const struct kernels *kernels, uint16_t *column, uint16_t *row,
                      const float *key, const float *value, size_t n)
{
    kernels->f16_from_f32(key, n, row); /* the row serves as scratch until the value comes */
    for (size_t d = 0; d < n; d++)
        column[d * CACHE_BLOCK] = row[d];
    kernels->f16_from_f32(value, n, row);
}

void cache_store(struct cache *cache, const struct kernels *kernels, int layer, int64_t position,
                 const float *keys, const float *values)
{
    size_t n = (size_t)cache->head_dim;
    size_t place = (size_t)(position % CACHE_BLOCK);
    for (int head = 0; head < cache->n_kv_heads; head++, keys += n, values += n) {
        void *k = cache_keys(cache, position / CACHE_BLOCK, layer, head);
        void *v = cache_values(cache, position / CACHE_BLOCK, layer, head);
        if (cache->format == FORMAT_F32)
            store_f32((float *)k + place, (float *)v + place * n, keys, values, n);
        else
            store_f16(kernels, (uint16_t *)k + place, (uint16_t *)v + place * n, keys, values, n);
    }
}
