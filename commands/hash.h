/* hash: a fingerprint of bytes, to tell whether two things are the same. Not against deceit. */
#ifndef LONGHAND_COMMANDS_HASH_H
#define LONGHAND_COMMANDS_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH_START UINT64_C(0x9e3779b97f4a7c15)

/* Mixes n bytes into a hash, eight at a time (the multiply and shift of Steele, Lea and Flood's
 * splitmix64). */
static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    hash ^= n;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = 0;
        memcpy(&word, at + i, n - i < 8 ? n - i : 8);
        hash = (hash ^ word) * UINT64_C(0xbf58476d1ce4e5b9);
        hash ^= hash >> 29;
    }
    return hash;
}

#endif
