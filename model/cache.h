/* cache: the keys and values of the tokens so far. Grows by blocks of CACHE_BLOCK positions as they
 * come.
 *
 * A block holds, for every layer and key-value head,
 *     keys    (head_dim, CACHE_BLOCK)   transposed: neighbouring positions are lanes of a score
 *     values  (CACHE_BLOCK, head_dim)
 * Position p lies in block p / CACHE_BLOCK. What is stored is never changed afterwards. */
#ifndef LONGHAND_MODEL_CACHE_H
#define LONGHAND_MODEL_CACHE_H

#include <stdint.h>

#include "base/error.h"
#include "kernels/kernels.h"
#include "model/config.h"

enum { CACHE_BLOCK = 128 };

struct cache {
    enum format format; /* of the elements: F32 or F16 */
    int n_layers;
    int n_kv_heads;
    int head_dim;
    void **blocks; /* (n_blocks) */
    int64_t n_blocks;
    int64_t capacity; /* entries of `blocks` */
};

/* Allocates nothing. A format that caches do not support is an error. */
int cache_open(struct cache *cache, const struct config *config, enum format format,
               struct error *err);
void cache_close(struct cache *cache);

/* Makes room for positions [0, n). On failure the cache is as it was. */
int cache_reserve(struct cache *cache, int64_t n, struct error *err);
/* Gives back the blocks that positions [0, n) do not need. */
void cache_truncate(struct cache *cache, int64_t n);

/* Bytes that one block takes, and that the cache takes now. */
size_t cache_block_bytes(const struct cache *cache);
size_t cache_bytes(const struct cache *cache);

/* The keys (values) of one head in one block: see the layout above. */
void *cache_keys(const struct cache *cache, int64_t block, int layer, int kv_head);
void *cache_values(const struct cache *cache, int64_t block, int layer, int kv_head);

/* Stores the keys and values (n_kv_heads, head_dim) of `position`, for which there is room. */
void cache_store(struct cache *cache, const struct kernels *kernels, int layer, int64_t position,
                 const float *keys, const float *values);

#endif
