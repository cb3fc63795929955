/* restore_session: from the sections of a saved session, which restore.c has found, to a session
 * that goes on. See restore.h. */
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "kernels/parallel.h"
#include "model/identity.h"
#include "model/restore.h"
#include "model/retention.h"
#include "model/save_format.h"

static int compare_identity(const struct restore *restore, const struct checkpoint *checkpoint,
                            const struct session *session, struct error *err)
{
    char *expected;
    size_t length;
    if (identity_make(checkpoint, session, &expected, &length, err))
        return -1;
    int result = identity_compare(restore->identity, (struct text){expected, length}, err);
    free(expected);
    return result ? error_prefix(err, "%s", restore->place) : 0;
}

static int check_tokens(const struct restore *restore, const struct save_state *state,
                        int vocab_size, struct error *err)
{
    size_t logits = state->position > 0 ? (size_t)vocab_size * sizeof(float) : 0;
    if (restore->logits.length != logits)
        return error_set(err, "%s: logits: %zu bytes, expected %zu", restore->place,
                         restore->logits.length, logits);
    for (int64_t i = 0; i < restore->n_ids; i++)
        if (restore->ids[i] < 0 || restore->ids[i] >= vocab_size)
            return error_set(err, "%s: token %lld: id %d, allowed: 0 to %d", restore->place,
                             (long long)i, (int)restore->ids[i], vocab_size - 1);
    return 0;
}

/* --- the cache ----------------------------------------------------------------------------- */

/* What one thread after the other takes: a strip. */
struct copying {
    const struct restore *restore;
    struct cache *cache;
    const uint8_t *sums;      /* of all blocks, u64 each */
    struct strip *strips;     /* (n_layers, STRIPS_MAX) shapes, as the file has them ... */
    struct strip_place *from; /* ... and where they lie; the same number */
};

struct strip_place {
    size_t first;    /* block of all */
    int64_t damaged; /* block of the strip, or -1 */
};

/* The shapes of all strips; they say as much as the sections are long, and no more. */
static int read_strips(struct copying *copying, struct error *err)
{
    const struct restore *restore = copying->restore;
    const struct cache *cache = copying->cache;
    const char *at = restore->strips.bytes;
    size_t left = restore->strips.length;
    size_t n_blocks = 0;
    for (int i = 0; i < cache->n_layers * STRIPS_MAX; i++) {
        struct save_strip strip;
        copying->from[i] = (struct strip_place){n_blocks, -1};
        if (!save_is_stored(cache, i))
            continue;
        if (left < sizeof strip)
            return error_set(err, "%s: strips: %zu bytes are too few", restore->place,
                             restore->strips.length);
        memcpy(&strip, at, sizeof strip);
        at += sizeof strip;
        left -= sizeof strip;
        if (strip.n_blocks < 0 ||
            (uint64_t)strip.n_blocks > restore->strips.length / sizeof(uint64_t))
            return error_set(err, "%s: strips: %lld blocks, there are checksums of %zu at most",
                             restore->place, (long long)strip.n_blocks,
                             restore->strips.length / sizeof(uint64_t));
        copying->strips[i] = (struct strip){.n_blocks = strip.n_blocks,
                                            .n_sink_blocks = strip.n_sink_blocks,
                                            .first_block = strip.first_block,
                                            .missing = strip.missing};
        if (!size_add(n_blocks, (size_t)strip.n_blocks, &n_blocks))
            n_blocks = SIZE_MAX;
    }
    size_t bytes;
    copying->sums = (const uint8_t *)at;
    if (left / sizeof(uint64_t) != n_blocks || left % sizeof(uint64_t) != 0 ||
        !size_mul(n_blocks, cache_block_bytes(cache), &bytes) || bytes != restore->blocks.length)
        return error_set(err,
                         "%s: strips: %zu blocks of %zu bytes, found %zu bytes of checksums and "
                         "%zu of blocks",
                         restore->place, n_blocks, cache_block_bytes(cache), left,
                         restore->blocks.length);
    if (cache->max_bytes > 0 && bytes > cache->max_bytes)
        return error_set(err, "%s: the cache needs %.1f MB, allowed: %.1f MB", restore->place,
                         (double)bytes / 1e6, (double)cache->max_bytes / 1e6);
    return 0;
}

static void copy_strips(void *context, int begin, int end, int thread)
{
    const struct copying *copying = context;
    const struct restore *restore = copying->restore;
    size_t bytes = cache_block_bytes(copying->cache);
    (void)thread;
    for (int i = begin; i < end; i++) {
        const struct strip *strip = &copying->cache->strips[i];
        struct strip_place *place = &copying->from[i];
        const char *from = restore->blocks.bytes + place->first * bytes;
        file_prefault(&restore->file, (size_t)((const uint8_t *)from - restore->file.data),
                      (size_t)strip->n_blocks * bytes);
        for (int64_t b = 0; b < strip->n_blocks && place->damaged < 0; b++, from += bytes) {
            uint64_t sum;
            memcpy(&sum, copying->sums + (place->first + (size_t)b) * sizeof sum, sizeof sum);
            memcpy(strip->blocks[b], from, bytes);
            if (checksum(strip->blocks[b], bytes) != sum)
                place->damaged = b;
        }
    }
}

static int copy_blocks(struct copying *copying, struct error *err)
{
    int n = copying->cache->n_layers * STRIPS_MAX;
    parallel_for(n, 1, copy_strips, copying);
    for (int i = 0; i < n; i++)
        if (copying->from[i].damaged >= 0)
            return error_set(err,
                             "%s: block %lld of strip %d of layer %d is damaged: its checksum does "
                             "not fit",
                             copying->restore->place, (long long)copying->from[i].damaged,
                             i % STRIPS_MAX, i / STRIPS_MAX);
    return 0;
}

static int fill_cache(const struct restore *restore, struct cache *cache, int64_t n,
                      struct error *err)
{
    size_t n_strips = (size_t)cache->n_layers * STRIPS_MAX;
    struct copying copying = {.restore = restore, .cache = cache};
    copying.strips = calloc(n_strips, sizeof *copying.strips);
    copying.from = calloc(n_strips, sizeof *copying.from);
    int result = copying.strips && copying.from ? read_strips(&copying, err)
                                                : error_memory(err, "the strips of the cache",
                                                               n_strips * sizeof *copying.strips);
    if (result == 0 && (result = cache_restore(cache, n, copying.strips, err)) != 0)
        error_prefix(err, "%s", restore->place);
    if (result == 0)
        result = copy_blocks(&copying, err);
    free(copying.strips);
    free(copying.from);
    return result;
}

/* --- the session --------------------------------------------------------------------------- */

static int fill_session(const struct restore *restore, const struct save_state *state,
                        struct session *session, struct error *err)
{
    int layer;
    if (fill_cache(restore, &session->cache, state->cache_n, err) ||
        session_remember(session, restore->ids, state->position, err))
        return -1;
    session->position = state->position;
    session->length = state->length;
    session->expected = state->expected;
    if (!retention_suffices(session, &layer))
        return error_set(err, "%s: layer %d lacks keys or values that the next token sees",
                         restore->place, layer);
    memcpy(session->logits, restore->logits.bytes, restore->logits.length);
    return 0;
}

/* The penalty asks which tokens are recent, not in what order, so they may come anew. */
static void fill_sampler(const struct restore *restore, const struct save_state *state,
                         struct sampler *sampler)
{
    memcpy(sampler->rng, state->rng, sizeof sampler->rng);
    sampler->n_recent = 0;
    for (int64_t i = 0; i < state->n_recent; i++) {
        int32_t id;
        memcpy(&id, restore->state.bytes + sizeof *state + (size_t)i * sizeof id, sizeof id);
        sampler_accept(sampler, id);
    }
}

int restore_session(const struct restore *restore, const struct checkpoint *checkpoint,
                    struct session *session, struct sampler *sampler, struct error *err)
{
    struct save_state state;
    memcpy(&state, restore->state.bytes, sizeof state);
    if (session->position > 0 || session->cache.n_blocks > 0)
        return error_set(err, "%s: the session to restore into has %lld tokens, expected none",
                         restore->place, (long long)session->position);
    if (compare_identity(restore, checkpoint, session, err) ||
        check_tokens(restore, &state, session->model->config.vocab_size, err))
        return -1;
    if (fill_session(restore, &state, session, err)) {
        cache_truncate(&session->cache, 0);
        session->position = session->length = session->expected = 0;
        return -1;
    }
    if (sampler && restore->sampled)
        fill_sampler(restore, &state, sampler);
    return 0;
}
