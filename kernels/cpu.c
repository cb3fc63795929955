/* cpu: feature bits from CPUID with XGETBV (x86-64) or the kernel's HWCAP (aarch64).
 *
 * A CPUID bit alone is not enough: the operating system must save the wider registers, which XCR0
 * tells (Intel SDM volume 1, sections 14.3 and 15.2 to 15.4), and Linux lets a process use the
 * tiles of AMX only once it has asked (Documentation/arch/x86/xstate.rst): the permission holds for
 * threads to come as well. */
#include "kernels/cpu.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdbool.h>
#include <stdint.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { XCR0_YMM = 0x6, XCR0_ZMM = 0xE6, XCR0_TILES = 0x60000 };

static unsigned bit(uint32_t word, int index, unsigned feature)
{
    return word >> index & 1 ? feature : 0;
}

static uint32_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool tiles_permitted(void)
{
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

unsigned cpu_features(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) /* OSXSAVE: xgetbv may be used */
        return 0;
    uint32_t xcr0 = read_xcr0();
    if ((xcr0 & XCR0_YMM) != XCR0_YMM)
        return 0;
    unsigned features = bit(c, 12, CPU_FMA) | bit(c, 29, CPU_F16C);
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return features;
    features |= bit(b, 5, CPU_AVX2);
    if ((xcr0 & XCR0_ZMM) == XCR0_ZMM)
        features |= bit(b, 16, CPU_AVX512F) | bit(b, 17, CPU_AVX512DQ) | bit(b, 30, CPU_AVX512BW) |
                    bit(b, 31, CPU_AVX512VL) | bit(c, 11, CPU_AVX512VNNI);
    unsigned tiles = bit(d, 22, CPU_AMXBF16) | bit(d, 24, CPU_AMXTILE);
    if (tiles && (xcr0 & XCR0_TILES) == XCR0_TILES && tiles_permitted())
        features |= tiles;
    if ((xcr0 & XCR0_ZMM) == XCR0_ZMM && __get_cpuid_count(7, 1, &a, &b, &c, &d))
        features |= bit(a, 5, CPU_AVX512BF16);
    return features;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

enum { HWCAP_ASIMDDP_BIT = 20 }; /* Linux, Documentation/arm64/elf_hwcaps.rst */

unsigned cpu_features(void)
{
    return getauxval(AT_HWCAP) >> HWCAP_ASIMDDP_BIT & 1 ? CPU_DOTPROD : 0;
}

#else

unsigned cpu_features(void)
{
    return 0;
}

#endif
