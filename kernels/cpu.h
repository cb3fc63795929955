/* cpu: what this processor, and the operating system on it, lets a program execute. */
#ifndef LONGHAND_KERNELS_CPU_H
#define LONGHAND_KERNELS_CPU_H

enum {
    CPU_AVX2 = 1 << 0,
    CPU_FMA = 1 << 1,
    CPU_F16C = 1 << 2,
    CPU_AVX512F = 1 << 3,
    CPU_AVX512BW = 1 << 4,
    CPU_AVX512VL = 1 << 5,
    CPU_AVX512DQ = 1 << 6,
    CPU_AVX512VNNI = 1 << 7,
    CPU_AVX512BF16 = 1 << 8,
    CPU_AMXTILE = 1 << 9,
    CPU_AMXBF16 = 1 << 10,
    CPU_DOTPROD = 1 << 11 /* aarch64: SDOT and UDOT; NEON itself is always there */
};

/* The CPU_* bits that may be used: the instructions exist and the system saves their registers.
 * Linux saves AMX's for processes that ask: this asks, where they exist. */
unsigned cpu_features(void);

#endif
