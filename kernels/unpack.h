/* unpack: the tiers' decoding of weight formats. Each fills kernels->unpack for every block format;
 * integers and floats equal format_info.unpack bit for bit (of a NaN, only that it is one). */
#ifndef LONGHAND_KERNELS_UNPACK_H
#define LONGHAND_KERNELS_UNPACK_H

#include "kernels/kernels.h"

void unpack_avx2(struct kernels *kernels);
void unpack_avx512(struct kernels *kernels);
void unpack_neon(struct kernels *kernels);

#endif
