/* quantize: floats to blocks. F16, BF16, Q8_0 and Q4_0 are bit for bit what the reference
 * quantisers write; Q4_K and Q6_K search for the blocks whose squared error is smallest. Infinities
 * and NaNs in x make blocks that decode to infinities or NaNs; they are never undefined. */
#ifndef LONGHAND_KERNELS_QUANTIZE_H
#define LONGHAND_KERNELS_QUANTIZE_H

#include "kernels/format.h"

format_quantize quantize_f16;
format_quantize quantize_bf16;
format_quantize quantize_q8_0;
format_quantize quantize_q4_0;
format_quantize quantize_q4_k;
format_quantize quantize_q6_k;

#endif
