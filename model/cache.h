/* cache: the keys and values of the tokens so far. Grows by blocks of CACHE_BLOCK positions as they
 * come, and gives back the blocks that nobody will read again.
 *
 * Every layer has one *strip* of values and one of keys for each form in which its keys are stored
 * (model/context.h). A strip is a row of blocks along the text, perhaps with a gap,
 *     [0, sinks)  gone  [first, n)
 * and a block of it holds the keys, respectively values, of every key-value head one behind the
 * other, as kernels/cache_block.h draws them. What is stored is never changed afterwards. */
#ifndef LONGHAND_MODEL_CACHE_H
#define LONGHAND_MODEL_CACHE_H

#include <stdint.h>

#include "base/error.h"
#include "kernels/kernels.h"
#include "model/config.h"
#include "model/context.h"

struct strip {
    void **blocks; /* those of the sinks, then the others, in order */
    int64_t n_blocks;
    int64_t capacity;      /* entries of `blocks` */
    int64_t n_sink_blocks; /* blocks [0, n_sink_blocks) of the text ... */
    int64_t first_block;   /* ... and those from this one on are here ... */
    int64_t missing;       /* ... but not the first positions of that block: room only */
};

enum { STRIP_VALUES = KEY_FORMS_MAX, STRIPS_MAX = KEY_FORMS_MAX + 1 };

struct cache {
    enum format format; /* of the elements */
    int n_layers;
    int n_kv_heads;
    int head_dim;
    size_t max_bytes;     /* refuses to grow beyond; 0: no bound */
    struct strip *strips; /* (n_layers, STRIPS_MAX): keys by form, then values */
    int *n_forms;         /* (n_layers) forms of keys stored */
    int64_t n;            /* positions there is room for */
    size_t n_blocks;      /* in all strips */
};

/* Takes no block yet. n_forms[layer] is 1 .. KEY_FORMS_MAX. A format that caches do not support is
 * an error. */
int cache_open(struct cache *cache, const struct config *config, const int *n_forms,
               enum format format, size_t max_bytes, struct error *err);
void cache_close(struct cache *cache); /* accepts a zeroed struct */

/* Whether caches come in this format, and the formats for messages: "f32, f16, ...". */
bool cache_supports(enum format format);
const char *cache_formats(void);

/* Makes room for positions up to n. On failure (memory, max_bytes) the cache is as it was. */
int cache_reserve(struct cache *cache, int64_t n, struct error *err);
/* Frees the whole blocks of a strip between positions `sinks` and `first`; first <= cache->n. */
void cache_evict(struct cache *cache, int layer, int strip, int64_t sinks, int64_t first);
/* Gives back the blocks that positions [0, n) do not need. */
void cache_truncate(struct cache *cache, int64_t n);
/* Whether positions [begin, end) of a strip are all here. */
bool cache_holds(const struct cache *cache, int layer, int strip, int64_t begin, int64_t end);

/* Gives a cache that has no blocks those of `strips` (n_layers, STRIPS_MAX), whose shapes count and
 * not their blocks, with room for n positions: uninitialised, for the caller to fill. A shape that
 * no strip can have is an error, and so is want of memory; there are no blocks then. max_bytes is
 * for the caller to heed. */
int cache_restore(struct cache *cache, int64_t n, const struct strip *strips, struct error *err);

/* Bytes of one block, of all that one token takes before anything is evicted, and of the cache now.
 */
size_t cache_block_bytes(const struct cache *cache);
double cache_token_bytes(const struct cache *cache);
size_t cache_bytes(const struct cache *cache);

/* Stores one token's keys in one form, or values (strip STRIP_VALUES), (n_kv_heads, head_dim), at a
 * position for which there is room. */
void cache_store(struct cache *cache, const struct kernels *kernels, int layer, int strip,
                 int64_t position, const float *x);

/* The keys (values) of one head, as they are stored, from position `first` of a block on. The block
 * is the one that begins at position block * CACHE_BLOCK; it must be here. */
struct stored cache_find(const struct cache *cache, int layer, int strip, int64_t block,
                         int kv_head, size_t first);
/* The keys (values) of positions [0, n) of one head in the block that begins at position
 * block * CACHE_BLOCK, laid out as above, as F32 or F16: *format says which. Where the cache has
 * another format they are unpacked to scratch (head_dim * CACHE_BLOCK floats), keys up to the next
 * multiple of 16. */
const void *cache_read(const struct cache *cache, const struct kernels *kernels, int layer,
                       int strip, int64_t block, int kv_head, size_t n, float *scratch,
                       enum format *format);

#endif
