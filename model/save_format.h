/* save_format: how a saved session lies in its file; used by save and restore only.
 *
 *        0  magic           "longhand session"
 *       16  u32 version, u32 number of sections
 *       24  u64 checksum of these SAVE_HEADER bytes, itself 0
 *       32  u64 bytes, u64 checksum of every section
 *      256  the sections in the order of enum save_section, each at a multiple of SAVE_ALIGN, the
 *           last one up to the end of the file
 *
 * Numbers are little-endian, checksums those of base/checksum.h. The transcript comes first, at a
 * place and with a size that all versions agree on, so that it can be read whatever becomes of the
 * rest. The section of blocks has no checksum of its own: that of strips has one for every block.
 */
#ifndef LONGHAND_MODEL_SAVE_FORMAT_H
#define LONGHAND_MODEL_SAVE_FORMAT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/checksum.h"
#include "model/cache.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are written as memory has them");

enum { SAVE_VERSION = 1, SAVE_HEADER = 256, SAVE_ALIGN = 64, SAVE_MAGIC = 16 };

enum save_section {
    SAVE_TRANSCRIPT, /* bytes of whoever saved it */
    SAVE_IDENTITY,   /* model/identity.h */
    SAVE_STATE,      /* struct save_state, then n_recent tokens */
    SAVE_IDS,        /* i32 each */
    SAVE_LOGITS,     /* f32 (vocab_size) of the last token fed */
    SAVE_STRIPS,     /* struct save_strip of every strip stored; then a u64 of every block */
    SAVE_BLOCKS,     /* the blocks of all strips, as they are */
    SAVE_SECTIONS
};

struct save_header {
    char magic[SAVE_MAGIC];
    uint32_t version;
    uint32_t n_sections;
    uint64_t sum;
    struct {
        uint64_t bytes;
        uint64_t sum; /* of blocks: 0 */
    } sections[SAVE_SECTIONS];
    uint8_t rest[SAVE_HEADER - 32 - 16 * SAVE_SECTIONS]; /* 0 */
};
_Static_assert(sizeof(struct save_header) == SAVE_HEADER, "no padding");

struct save_state {
    int64_t position;
    int64_t length;
    int64_t expected;
    int64_t cache_n;
    int64_t sampled; /* 1: what follows is a sampler's, 0: there was none */
    uint64_t rng[4];
    uint64_t seed;
    double temperature, top_p, min_p, repeat_penalty;
    int64_t top_k, repeat_last;
    int64_t n_recent; /* tokens that the penalty looks back on, oldest first */
};
_Static_assert(sizeof(struct save_state) == 17 * 8, "no padding");

struct save_strip {
    int64_t n_blocks, n_sink_blocks, first_block, missing;
};

static const char save_magic[SAVE_MAGIC + 1] = "longhand session";

/* Where what follows `bytes` bytes begins. */
static inline uint64_t save_align(uint64_t bytes)
{
    return (bytes + SAVE_ALIGN - 1) / SAVE_ALIGN * SAVE_ALIGN;
}

static inline uint64_t save_header_sum(const struct save_header *header)
{
    struct save_header copy = *header;
    copy.sum = 0;
    return checksum(&copy, sizeof copy);
}

/* Whether the file has strip i of a cache's (n_layers, STRIPS_MAX). */
static inline bool save_is_stored(const struct cache *cache, int i)
{
    int strip = i % STRIPS_MAX;
    return strip == STRIP_VALUES || strip < cache->n_forms[i / STRIPS_MAX];
}

#endif
