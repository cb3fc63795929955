/* checksum: 64 bits that tell whether bytes are still what they were. Against accidents, not
 * against deceit.
 *
 * XXH64 (Collet, xxHash specification 0.1.1), seed 0. */
#ifndef LONGHAND_BASE_CHECKSUM_H
#define LONGHAND_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t checksum(const void *bytes, size_t n);

#endif
