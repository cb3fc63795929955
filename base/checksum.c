/* checksum: see checksum.h. */
#include "base/checksum.h"

#include <endian.h>
#include <string.h>

static const uint64_t prime1 = 0x9E3779B185EBCA87, prime2 = 0xC2B2AE3D27D4EB4F,
                      prime3 = 0x165667B19E3779F9, prime4 = 0x85EBCA77C2B2AE63,
                      prime5 = 0x27D4EB2F165667C5;

static inline uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline uint64_t word(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

static inline uint64_t mix(uint64_t lane, uint64_t input)
{
    return rotate(lane + input * prime2, 31) * prime1;
}

/* Four lanes of eight bytes each. */
static uint64_t stripes(const uint8_t **at, const uint8_t *end)
{
    uint64_t lanes[4] = {prime1 + prime2, prime2, 0, -prime1};
    for (; end - *at >= 32; *at += 32)
        for (int i = 0; i < 4; i++)
            lanes[i] = mix(lanes[i], word(*at + (ptrdiff_t)8 * i));
    uint64_t sum =
        rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18);
    for (int i = 0; i < 4; i++)
        sum = (sum ^ mix(0, lanes[i])) * prime1 + prime4;
    return sum;
}

uint64_t checksum(const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    const uint8_t *end = n > 0 ? at + n : at; /* nothing may be NULL */
    uint64_t sum = n >= 32 ? stripes(&at, end) : prime5;
    sum += n;
    for (; end - at >= 8; at += 8)
        sum = rotate(sum ^ mix(0, word(at)), 27) * prime1 + prime4;
    if (end - at >= 4) {
        uint32_t half;
        memcpy(&half, at, sizeof half);
        sum = rotate(sum ^ le32toh(half) * prime1, 23) * prime2 + prime3;
        at += 4;
    }
    for (; at < end; at++)
        sum = rotate(sum ^ *at * prime5, 11) * prime1;
    sum = (sum ^ sum >> 33) * prime2;
    sum = (sum ^ sum >> 29) * prime3;
    return sum ^ sum >> 32;
}
