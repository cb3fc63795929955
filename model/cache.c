/* cache: see cache.h. It owns the blocks and their directories; codec.h knows what is in a block.
 */
#include "model/cache.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "model/codec.h"

bool cache_supports(enum format format)
{
    return codec_find(format) != NULL;
}

const char *cache_formats(void)
{
    return codec_names();
}

static int64_t blocks_of(int64_t n)
{
    return n / CACHE_BLOCK + (n % CACHE_BLOCK != 0);
}

static struct strip *strip_of(const struct cache *cache, int layer, int strip)
{
    return &cache->strips[(size_t)layer * STRIPS_MAX + (size_t)strip];
}

static bool is_stored(const struct cache *cache, int layer, int strip)
{
    return strip == STRIP_VALUES || strip < cache->n_forms[layer];
}

/* The first position behind the gap; 0: there is no gap. */
static int64_t behind_gap(const struct strip *strip)
{
    return strip->first_block * CACHE_BLOCK + strip->missing;
}

/* The first block of the text that has not come yet. */
static int64_t end_block(const struct strip *strip)
{
    return strip->first_block + strip->n_blocks - strip->n_sink_blocks;
}

static size_t head_bytes(const struct cache *cache)
{
    return codec_bytes(codec_find(cache->format), (size_t)cache->head_dim);
}

size_t cache_block_bytes(const struct cache *cache)
{
    return (size_t)cache->n_kv_heads * head_bytes(cache);
}

double cache_token_bytes(const struct cache *cache)
{
    double strips = cache->n_layers; /* of values */
    for (int layer = 0; layer < cache->n_layers; layer++)
        strips += cache->n_forms[layer];
    return strips * (double)cache_block_bytes(cache) / CACHE_BLOCK;
}

size_t cache_bytes(const struct cache *cache)
{
    return cache->n_blocks * cache_block_bytes(cache);
}

int cache_open(struct cache *cache, const struct config *config, const int *n_forms,
               enum format format, size_t max_bytes, struct error *err)
{
    *cache = (struct cache){0};
    if (!cache_supports(format))
        return error_set(err, "cache type %s is not supported; supported: %s",
                         format_info[format].name, cache_formats());
    struct cache new = {
        .format = format,
        .n_layers = config->n_layers,
        .n_kv_heads = config->n_kv_heads,
        .head_dim = config->head_dim,
        .max_bytes = max_bytes,
    };
    size_t block_bytes;
    if (!size_mul((size_t) new.n_kv_heads, head_bytes(&new), &block_bytes))
        return error_set(err, "out of memory: a cache of %d heads of %d dimensions", new.n_kv_heads,
                         new.head_dim);
    size_t layers = (size_t) new.n_layers;
    new.strips = size_alloc(layers, STRIPS_MAX * sizeof *new.strips);
    new.n_forms = size_alloc(layers, sizeof *new.n_forms);
    if (!new.strips || !new.n_forms) {
        free(new.strips);
        free(new.n_forms);
        return error_memory(err, "the strips of the cache",
                            layers * STRIPS_MAX * sizeof *new.strips);
    }
    memset(new.strips, 0, layers * STRIPS_MAX * sizeof *new.strips);
    memcpy(new.n_forms, n_forms, layers * sizeof *n_forms);
    *cache = new;
    return 0;
}

void cache_close(struct cache *cache)
{
    cache_truncate(cache, 0);
    for (int layer = 0; layer < cache->n_layers; layer++)
        for (int strip = 0; strip < STRIPS_MAX; strip++)
            free(strip_of(cache, layer, strip)->blocks);
    free(cache->strips);
    free(cache->n_forms);
    *cache = (struct cache){0};
}

/* --- growing ------------------------------------------------------------------------------- */

/* Blocks that the strips lack so that the text has `blocks`; SIZE_MAX when there is no such number.
 */
static size_t lacking(const struct cache *cache, int64_t blocks)
{
    size_t sum = 0;
    for (int layer = 0; layer < cache->n_layers; layer++)
        for (int i = 0; i < STRIPS_MAX; i++) {
            int64_t end = end_block(strip_of(cache, layer, i));
            if (is_stored(cache, layer, i) && end < blocks &&
                !size_add(sum, (size_t)(blocks - end), &sum))
                return SIZE_MAX;
        }
    return sum;
}

static void release(void **blocks, size_t n)
{
    while (n > 0)
        free(blocks[--n]);
    free(blocks);
}

/* An array of n new blocks; NULL when memory is short. */
static void **take_blocks(size_t n, size_t bytes)
{
    void **blocks = size_alloc(n, sizeof *blocks);
    for (size_t i = 0; blocks && i < n; i++) {
        blocks[i] = size_alloc(1, bytes);
        if (!blocks[i]) {
            release(blocks, i);
            return NULL;
        }
    }
    return blocks;
}

/* n blocks are there already, so their pointers fit. */
static bool grow_directory(struct strip *strip, int64_t n)
{
    if (n <= strip->capacity)
        return true;
    int64_t capacity = strip->capacity * 2 > n ? strip->capacity * 2 : n;
    void **grown = realloc(strip->blocks, (size_t)capacity * sizeof *grown);
    if (!grown)
        return false;
    strip->blocks = grown;
    strip->capacity = capacity;
    return true;
}

/* Gives the strips what they lack, from blocks[n]; false (memory) before anything has changed but
 * capacities. */
static bool append(struct cache *cache, int64_t end, void *const *blocks, size_t n)
{
    for (int layer = 0; layer < cache->n_layers; layer++)
        for (int i = 0; i < STRIPS_MAX; i++) {
            struct strip *strip = strip_of(cache, layer, i);
            if (is_stored(cache, layer, i) &&
                !grow_directory(strip, strip->n_blocks + end - end_block(strip)))
                return false;
        }
    cache->n_blocks += n;
    for (int layer = 0; layer < cache->n_layers; layer++)
        for (int i = 0; i < STRIPS_MAX; i++) {
            struct strip *strip = strip_of(cache, layer, i);
            while (is_stored(cache, layer, i) && end_block(strip) < end)
                strip->blocks[strip->n_blocks++] = *blocks++;
        }
    return true;
}

int cache_reserve(struct cache *cache, int64_t n, struct error *err)
{
    if (n <= cache->n)
        return 0;
    int64_t end = blocks_of(n);
    size_t more = lacking(cache, end);
    if (more == 0) {
        cache->n = n;
        return 0;
    }
    size_t block_bytes = cache_block_bytes(cache);
    double bytes = ((double)cache->n_blocks + (double)more) * (double)block_bytes;
    if (cache->max_bytes > 0 && bytes > (double)cache->max_bytes)
        /* Rounded apart, so that what is too much never looks as if it were not. */
        return error_set(err, "the cache of %lld tokens needs %.1f MB, allowed: %.1f MB",
                         (long long)n, ceil(bytes / 1e5) / 10,
                         floor((double)cache->max_bytes / 1e5) / 10);
    void **blocks = take_blocks(more, block_bytes);
    if (!blocks || !append(cache, end, blocks, more)) {
        if (blocks)
            release(blocks, more);
        return error_set(err,
                         "out of memory: the cache of %lld tokens needs %zu more blocks of %zu "
                         "bytes, has %zu",
                         (long long)n, more, block_bytes, cache->n_blocks);
    }
    /* Scores are computed in whole lanes, past the last position too. */
    for (size_t i = 0; i < more; i++)
        memset(blocks[i], 0, block_bytes);
    free(blocks);
    cache->n = n;
    return 0;
}

/* --- restoring ----------------------------------------------------------------------------- */

/* Whether a strip can look like this in a cache with room for n positions: it reaches the last of
 * their blocks, or ends, and with it the gap, where the text was cut off within it. */
static bool is_possible(const struct strip *strip, int64_t n)
{
    if (strip->n_blocks < strip->n_sink_blocks || strip->n_sink_blocks < 0 ||
        strip->first_block < strip->n_sink_blocks || strip->missing < 0 ||
        strip->missing >= CACHE_BLOCK || strip->n_blocks > blocks_of(n) ||
        strip->first_block > n / CACHE_BLOCK || behind_gap(strip) > n)
        return false;
    bool gap_ends_it = strip->n_blocks == strip->n_sink_blocks && behind_gap(strip) == n;
    return end_block(strip) == (gap_ends_it ? n / CACHE_BLOCK : blocks_of(n));
}

int cache_restore(struct cache *cache, int64_t n, const struct strip *strips, struct error *err)
{
    size_t block_bytes = cache_block_bytes(cache);
    cache->n = n;
    for (int layer = 0; layer < cache->n_layers; layer++)
        for (int i = 0; i < STRIPS_MAX; i++) {
            const struct strip *from = &strips[(size_t)layer * STRIPS_MAX + (size_t)i];
            struct strip *strip = strip_of(cache, layer, i);
            if (!is_stored(cache, layer, i))
                continue;
            if (!is_possible(from, n)) {
                cache_truncate(cache, 0);
                return error_set(err,
                                 "strip %d of layer %d has %lld blocks, %lld of them before a gap "
                                 "that ends in block %lld: not a cache of %lld tokens",
                                 i, layer, (long long)from->n_blocks,
                                 (long long)from->n_sink_blocks, (long long)from->first_block,
                                 (long long)n);
            }
            size_t more = (size_t)from->n_blocks;
            free(strip->blocks);
            *strip = (struct strip){.blocks = take_blocks(more, block_bytes)};
            if (!strip->blocks) {
                cache_truncate(cache, 0);
                return error_memory(err, "blocks of the cache", more * block_bytes);
            }
            strip->capacity = strip->n_blocks = from->n_blocks;
            strip->n_sink_blocks = from->n_sink_blocks;
            strip->first_block = from->first_block;
            strip->missing = from->missing;
            cache->n_blocks += more;
        }
    return 0;
}

/* --- shrinking ----------------------------------------------------------------------------- */

/* Frees entries [begin, end) of the directory. */
static void drop(struct cache *cache, struct strip *strip, int64_t begin, int64_t end)
{
    if (begin >= end)
        return;
    for (int64_t i = begin; i < end; i++)
        free(strip->blocks[i]);
    memmove(strip->blocks + begin, strip->blocks + end,
            (size_t)(strip->n_blocks - end) * sizeof *strip->blocks);
    strip->n_blocks -= end - begin;
    cache->n_blocks -= (size_t)(end - begin);
}

void cache_evict(struct cache *cache, int layer, int strip, int64_t sinks, int64_t first)
{
    struct strip *s = strip_of(cache, layer, strip);
    bool whole = behind_gap(s) == 0;
    int64_t begin = whole ? blocks_of(sinks) : s->first_block;
    int64_t end = first / CACHE_BLOCK < end_block(s) ? first / CACHE_BLOCK : end_block(s);
    if (begin >= end)
        return;
    if (whole)
        s->n_sink_blocks = begin;
    drop(cache, s, s->n_sink_blocks, s->n_sink_blocks + end - begin);
    s->first_block = end;
    s->missing = 0;
}

/* Three places where the text may end: in the sinks, which then are all there is; in the gap, which
 * then ends there, if need be within a block that is yet to come; behind it. */
static void truncate_strip(struct cache *cache, struct strip *strip, int64_t n)
{
    int64_t keep;
    if (n <= strip->n_sink_blocks * CACHE_BLOCK) {
        keep = blocks_of(n);
        strip->n_sink_blocks = strip->first_block = strip->missing = 0;
    } else if (n <= behind_gap(strip)) {
        keep = strip->n_sink_blocks;
        strip->first_block = n / CACHE_BLOCK;
        strip->missing = n % CACHE_BLOCK;
    } else {
        keep = strip->n_sink_blocks + blocks_of(n) - strip->first_block;
    }
    drop(cache, strip, keep, strip->n_blocks);
}

void cache_truncate(struct cache *cache, int64_t n)
{
    if (n >= cache->n)
        return;
    for (int layer = 0; layer < cache->n_layers; layer++)
        for (int i = 0; i < STRIPS_MAX; i++)
            truncate_strip(cache, strip_of(cache, layer, i), n);
    cache->n = n;
}

bool cache_holds(const struct cache *cache, int layer, int strip, int64_t begin, int64_t end)
{
    const struct strip *s = strip_of(cache, layer, strip);
    if (begin >= end)
        return true;
    return end <= cache->n && end <= end_block(s) * CACHE_BLOCK &&
           (end <= s->n_sink_blocks * CACHE_BLOCK || begin >= behind_gap(s));
}

/* --- storing and reading ------------------------------------------------------------------- */

static uint8_t *head_of(const struct cache *cache, int layer, int strip, int64_t block, int kv_head)
{
    const struct strip *s = strip_of(cache, layer, strip);
    int64_t i = block < s->n_sink_blocks ? block : s->n_sink_blocks + block - s->first_block;
    return (uint8_t *)s->blocks[i] + (size_t)kv_head * head_bytes(cache);
}

void cache_store(struct cache *cache, const struct kernels *kernels, int layer, int strip,
                 int64_t position, const float *x)
{
    const struct codec *codec = codec_find(cache->format);
    codec_put *put = strip == STRIP_VALUES ? codec->put_value : codec->put_key;
    size_t dim = (size_t)cache->head_dim;
    for (int head = 0; head < cache->n_kv_heads; head++)
        put(kernels, head_of(cache, layer, strip, position / CACHE_BLOCK, head), dim,
            (size_t)(position % CACHE_BLOCK), x + (size_t)head * dim);
}

struct stored cache_find(const struct cache *cache, int layer, int strip, int64_t block,
                         int kv_head, size_t first)
{
    const void *head = head_of(cache, layer, strip, block, kv_head);
    size_t dim = (size_t)cache->head_dim;
    return strip == STRIP_VALUES ? stored_values(cache->format, head, dim, first)
                                 : stored_keys(cache->format, head, dim, first);
}

const void *cache_read(const struct cache *cache, const struct kernels *kernels, int layer,
                       int strip, int64_t block, int kv_head, size_t n, float *scratch,
                       enum format *format)
{
    const struct codec *codec = codec_find(cache->format);
    const void *head = head_of(cache, layer, strip, block, kv_head);
    size_t dim = (size_t)cache->head_dim;
    *format = codec->get_keys ? FORMAT_F32 : cache->format;
    if (!codec->get_keys)
        return head;
    if (strip == STRIP_VALUES)
        codec->get_values(kernels, head, dim, n, scratch);
    else
        codec->get_keys(kernels, head, dim, (n + 15) / 16 * 16, scratch);
    return scratch;
}
