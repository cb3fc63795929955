/* save: see save.h. */
#include "model/save.h"

#include <stdlib.h>

#include "base/replace.h"
#include "base/size.h"
#include "kernels/parallel.h"
#include "model/identity.h"
#include "model/save_format.h"

/* What is written: sections that lie in one piece, and the cache. */
struct parts {
    const struct cache *cache;
    struct text sections[SAVE_BLOCKS]; /* all but the blocks */
    char *identity;
    void *state;
    void *strips;
};

static void free_parts(struct parts *parts)
{
    free(parts->identity);
    free(parts->state);
    free(parts->strips);
}

/* --- sampler and session ------------------------------------------------------------------- */

static void describe_sampler(const struct sampler *sampler, struct save_state *state,
                             int32_t *recent)
{
    const struct sampler_options *o = &sampler->options;
    state->sampled = 1;
    memcpy(state->rng, sampler->rng, sizeof state->rng);
    state->seed = o->seed;
    state->temperature = (double)o->temperature;
    state->top_p = (double)o->top_p;
    state->min_p = (double)o->min_p;
    state->repeat_penalty = (double)o->repeat_penalty;
    state->top_k = o->top_k;
    state->repeat_last = o->repeat_last;
    for (int64_t i = 0; i < state->n_recent; i++)
        recent[i] =
            sampler
                ->recent[(sampler->n_recent - state->n_recent + i) % sampler->options.repeat_last];
}

static int make_state(const struct save *save, struct parts *parts, struct error *err)
{
    const struct session *session = save->session;
    const struct sampler *sampler = save->sampler;
    struct save_state state = {.position = session->position,
                               .length = session->length,
                               .expected = session->expected,
                               .cache_n = session->cache.n};
    if (sampler)
        state.n_recent = sampler->n_recent < sampler->options.repeat_last
                             ? sampler->n_recent
                             : sampler->options.repeat_last;
    size_t bytes = sizeof state + (size_t)state.n_recent * sizeof(int32_t);
    parts->state = size_alloc(1, bytes);
    if (!parts->state)
        return error_memory(err, "the state of the sampler", bytes);
    if (sampler)
        describe_sampler(sampler, &state, (void *)((char *)parts->state + sizeof state));
    memcpy(parts->state, &state, sizeof state);
    parts->sections[SAVE_STATE] = (struct text){parts->state, bytes};
    return 0;
}

/* --- the cache ----------------------------------------------------------------------------- */

struct summing {
    const struct cache *cache;
    uint64_t *sums; /* of all blocks */
};

/* The sums of strips [begin, end). */
static void sum_strips(void *context, int begin, int end, int thread)
{
    const struct summing *summing = context;
    const struct cache *cache = summing->cache;
    (void)thread;
    uint64_t *sum = summing->sums;
    for (int i = 0; i < end; i++) {
        const struct strip *strip = &cache->strips[i];
        for (int64_t b = 0; i >= begin && b < strip->n_blocks; b++)
            sum[b] = checksum(strip->blocks[b], cache_block_bytes(cache));
        sum += strip->n_blocks;
    }
}

static int make_strips(struct parts *parts, struct error *err)
{
    const struct cache *cache = parts->cache;
    int n = cache->n_layers * STRIPS_MAX;
    size_t n_strips = 0;
    for (int i = 0; i < n; i++)
        n_strips += (size_t)save_is_stored(cache, i);
    size_t bytes = n_strips * sizeof(struct save_strip) + cache->n_blocks * sizeof(uint64_t);
    struct save_strip *strips = parts->strips = size_alloc(1, bytes);
    if (!strips)
        return error_memory(err, "the checksums of the cache", bytes);
    for (int i = 0; i < n; i++) {
        const struct strip *strip = &cache->strips[i];
        if (save_is_stored(cache, i))
            *strips++ = (struct save_strip){strip->n_blocks, strip->n_sink_blocks,
                                            strip->first_block, strip->missing};
    }
    struct summing summing = {cache, (uint64_t *)strips};
    parallel_for(n, 1, sum_strips, &summing);
    parts->sections[SAVE_STRIPS] = (struct text){parts->strips, bytes};
    return 0;
}

/* --- the file ------------------------------------------------------------------------------ */

static int make_parts(const struct save *save, struct parts *parts, struct error *err)
{
    const struct session *session = save->session;
    size_t length;
    if (save->n_ids < session->position)
        return error_set(err, "cannot save: %lld tokens of the text given, the session has %lld",
                         (long long)save->n_ids, (long long)session->position);
    if (identity_make(save->checkpoint, session, &parts->identity, &length, err) ||
        make_state(save, parts, err) || make_strips(parts, err))
        return -1;
    parts->sections[SAVE_TRANSCRIPT] = save->transcript;
    parts->sections[SAVE_IDENTITY] = (struct text){parts->identity, length};
    parts->sections[SAVE_IDS] =
        (struct text){(const char *)save->ids, (size_t)save->n_ids * sizeof *save->ids};
    /* Nobody has set logits before a token has been fed. */
    if (session->position > 0)
        parts->sections[SAVE_LOGITS] =
            (struct text){(const char *)session->logits,
                          (size_t)session->model->config.vocab_size * sizeof *session->logits};
    return 0;
}

static struct save_header make_header(const struct parts *parts)
{
    struct save_header header = {.version = SAVE_VERSION, .n_sections = SAVE_SECTIONS};
    memcpy(header.magic, save_magic, SAVE_MAGIC);
    for (int i = 0; i < SAVE_BLOCKS; i++) {
        struct text section = parts->sections[i];
        header.sections[i].bytes = section.length;
        header.sections[i].sum = checksum(section.bytes, section.length);
    }
    header.sections[SAVE_BLOCKS].bytes = cache_bytes(parts->cache);
    header.sum = save_header_sum(&header);
    return header;
}

static int write_cache(struct replace *file, const struct cache *cache, struct error *err)
{
    for (int i = 0; i < cache->n_layers * STRIPS_MAX; i++)
        for (int64_t b = 0; b < cache->strips[i].n_blocks; b++)
            if (replace_write(file, cache->strips[i].blocks[b], cache_block_bytes(cache), err))
                return -1;
    return 0;
}

static int write_parts(struct replace *file, const struct parts *parts, struct error *err)
{
    static const char zeros[SAVE_ALIGN];
    struct save_header header = make_header(parts);
    if (replace_write(file, &header, sizeof header, err))
        return -1;
    for (int i = 0; i < SAVE_BLOCKS; i++) {
        struct text section = parts->sections[i];
        if (replace_write(file, section.bytes, section.length, err) ||
            replace_write(file, zeros, (size_t)(save_align(section.length) - section.length), err))
            return -1;
    }
    return write_cache(file, parts->cache, err);
}

int save_write(const struct save *save, const char *path, struct error *err)
{
    struct parts parts = {.cache = &save->session->cache};
    struct replace file = {0};
    int result = make_parts(save, &parts, err) || replace_open(&file, path, err) ||
                         write_parts(&file, &parts, err) || replace_finish(&file, err)
                     ? -1
                     : 0;
    replace_close(&file);
    free_parts(&parts);
    return result;
}
