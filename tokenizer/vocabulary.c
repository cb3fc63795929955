/* vocabulary: the tokens of a tokenizer and the index from a piece's bytes to its id. Pieces lie in
 * the file's mapping wherever they can; the index holds ids only, so opening allocates a fixed
 * number of arrays whatever the number of tokens. */
#include "tokenizer/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"

/* A piece of up to HEAD_BYTES is its own head, so that most look-ups touch one slot and nothing
 * else; of a longer one the head is a hash, and the bytes decide. */
enum { HEAD_BYTES = 8 };
struct index_slot {
    uint64_t head;
    uint32_t length;
    int32_t id; /* -1: empty */
};

int vocabulary_init(struct vocabulary *vocabulary, int32_t n_tokens, size_t arena_bytes,
                    struct error *err)
{
    size_t n = (size_t)n_tokens;
    *vocabulary = (struct vocabulary){.n_tokens = n_tokens};
    vocabulary->pieces = size_alloc(n, sizeof *vocabulary->pieces);
    vocabulary->kinds = size_alloc(n, sizeof *vocabulary->kinds);
    vocabulary->ends = calloc(n, sizeof *vocabulary->ends);
    vocabulary->orders = size_alloc(n, sizeof *vocabulary->orders);
    vocabulary->arena = size_alloc(arena_bytes, 1);
    if (!vocabulary->pieces || !vocabulary->kinds || !vocabulary->ends || !vocabulary->orders ||
        !vocabulary->arena) {
        vocabulary_free(vocabulary);
        return error_memory(err, "the vocabulary", n * sizeof *vocabulary->pieces + arena_bytes);
    }
    memset(vocabulary->kinds, TOKEN_NORMAL, n);
    memset(vocabulary->bytes, 0xFF, sizeof vocabulary->bytes);
    return 0;
}

void vocabulary_free(struct vocabulary *vocabulary)
{
    free(vocabulary->pieces);
    free(vocabulary->kinds);
    free(vocabulary->ends);
    free(vocabulary->orders);
    free(vocabulary->arena);
    free(vocabulary->slots);
    *vocabulary = (struct vocabulary){0};
}

static uint64_t read_word(const char *bytes, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, bytes, n);
    return word;
}

/* Two overlapping reads instead of a loop; different for different bytes of one length. */
static uint64_t read_head(const char *bytes, size_t length)
{
    if (length >= 4)
        return read_word(bytes, 4) | read_word(bytes + length - 4, 4) << 32;
    if (length == 0)
        return 0;
    return read_word(bytes, 1) | read_word(bytes + length / 2, 1) << 8 |
           read_word(bytes + length - 1, 1) << 16;
}

static uint64_t mix(uint64_t hash)
{
    hash *= 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 32;
}

static struct index_slot make_key(const char *bytes, size_t length)
{
    uint64_t hash = 0;
    size_t left = length;
    for (; left > HEAD_BYTES; bytes += HEAD_BYTES, left -= HEAD_BYTES)
        hash = mix(hash ^ read_word(bytes, HEAD_BYTES));
    return (struct index_slot){.head = hash ^ read_head(bytes, left), .length = (uint32_t)length};
}

/* The slot that holds the piece, or the empty one where it belongs. */
static struct index_slot *find_slot(const struct vocabulary *vocabulary, struct index_slot key,
                                    const char *bytes)
{
    size_t at = (size_t)mix(key.head + key.length) & vocabulary->slot_mask;
    for (;; at = (at + 1) & vocabulary->slot_mask) {
        struct index_slot *slot = &vocabulary->slots[at];
        if (slot->id < 0)
            return slot;
        if (slot->head == key.head && slot->length == key.length &&
            (key.length <= HEAD_BYTES ||
             memcmp(vocabulary->pieces[slot->id].bytes, bytes, key.length) == 0))
            return slot;
    }
}

static bool is_indexed(const struct vocabulary *vocabulary, int32_t id)
{
    return vocabulary->pieces[id].length > 0 && vocabulary->kinds[id] != TOKEN_BYTE;
}

void vocabulary_prefetch(const struct vocabulary *vocabulary, const char *bytes, size_t length)
{
    struct index_slot key = make_key(bytes, length);
    __builtin_prefetch(
        &vocabulary->slots[(size_t)mix(key.head + key.length) & vocabulary->slot_mask]);
}

static int alloc_index(struct vocabulary *vocabulary, struct error *err)
{
    size_t n_slots = 16;
    while (n_slots < (size_t)vocabulary->n_tokens * 3 / 2)
        n_slots *= 2;
    vocabulary->slots = size_alloc(n_slots, sizeof *vocabulary->slots);
    if (!vocabulary->slots)
        return error_memory(err, "the vocabulary's index", n_slots * sizeof *vocabulary->slots);
    memset(vocabulary->slots, 0xFF, n_slots * sizeof *vocabulary->slots);
    vocabulary->slot_mask = n_slots - 1;
    return 0;
}

int vocabulary_index(struct vocabulary *vocabulary, struct error *err)
{
    if (alloc_index(vocabulary, err) != 0)
        return -1;
    enum { AHEAD = 16 };
    for (int32_t id = 0; id < vocabulary->n_tokens; id++) {
        struct text piece = vocabulary->pieces[id];
        if (piece.length > UINT32_MAX)
            return error_set(err, "token %d has %zu bytes, expected less than 4 GiB", id,
                             piece.length);
        if (id < vocabulary->n_tokens - AHEAD)
            vocabulary_prefetch(vocabulary, vocabulary->pieces[id + AHEAD].bytes,
                                vocabulary->pieces[id + AHEAD].length);
        if (piece.length > vocabulary->longest)
            vocabulary->longest = piece.length;
        if (!is_indexed(vocabulary, id))
            continue;
        struct index_slot key = make_key(piece.bytes, piece.length);
        struct index_slot *slot = find_slot(vocabulary, key, piece.bytes);
        if (slot->id >= 0) {
            vocabulary->has_duplicates = true;
            continue;
        }
        *slot = key;
        slot->id = id;
    }
    return 0;
}

int32_t vocabulary_find(const struct vocabulary *vocabulary, const char *bytes, size_t length)
{
    if (length == 0 || length > vocabulary->longest)
        return -1;
    return find_slot(vocabulary, make_key(bytes, length), bytes)->id;
}

bool vocabulary_is_text(const struct vocabulary *vocabulary, int32_t id)
{
    uint8_t kind = vocabulary->kinds[id];
    return kind != TOKEN_CONTROL && kind != TOKEN_UNKNOWN && kind != TOKEN_BYTE;
}

int32_t vocabulary_find_text(const struct vocabulary *vocabulary, const char *bytes, size_t length)
{
    int32_t id = vocabulary_find(vocabulary, bytes, length);
    return id >= 0 && vocabulary_is_text(vocabulary, id) ? id : -1;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int vocabulary_parse_byte(struct text name)
{
    if (name.length != 6 || memcmp(name.bytes, "<0x", 3) != 0 || name.bytes[5] != '>')
        return -1;
    int high = hex_digit(name.bytes[3]), low = hex_digit(name.bytes[4]);
    return high >= 0 && low >= 0 ? high * 16 + low : -1;
}
