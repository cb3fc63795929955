/* select: which tiers exist for this architecture, which of them this CPU can run, and the choice.
 *
 * The only place that lists tiers. The bits that a tier needs are the flags that its file is
 * compiled with (Makefile). */
#include <stdio.h>
#include <string.h>

#include "kernels/cpu.h"
#include "kernels/kernels.h"

struct tier {
    const char *name;
    unsigned needs; /* CPU_* */
    void (*fill)(struct kernels *kernels);
};

#if defined(__x86_64__)
enum {
    AVX2 = CPU_AVX2 | CPU_FMA | CPU_F16C,
    AVX512 = AVX2 | CPU_AVX512F | CPU_AVX512BW | CPU_AVX512VL | CPU_AVX512DQ | CPU_AVX512VNNI,
    AMX = AVX512 | CPU_AVX512BF16 | CPU_AMXTILE | CPU_AMXBF16
};
#endif

/* Ascending: each tier needs what the one before it needs, and starts from its table. */
static const struct tier tiers[] = {
    {"scalar", 0, kernels_scalar},
#if defined(__x86_64__)
    {"avx2", AVX2, kernels_avx2},
    {"avx512", AVX512, kernels_avx512},
    {"amx", AMX, kernels_amx},
#elif defined(__aarch64__)
    {"neon", 0, kernels_neon},
    {"dotprod", CPU_DOTPROD, kernels_neon_dot},
#endif
};

static int tier_count(void)
{
    unsigned features = cpu_features();
    int n = 0;
    while (n < (int)(sizeof tiers / sizeof tiers[0]) &&
           (features & tiers[n].needs) == tiers[n].needs)
        n++;
    return n;
}

const char *kernels_available(int i)
{
    return i < tier_count() ? tiers[i].name : NULL;
}

int kernels_select(struct kernels *kernels, const char *isa, struct error *err)
{
    int n = tier_count();
    int last = n - 1;
    if (isa) {
        for (last = 0; last < n && strcmp(isa, tiers[last].name) != 0;)
            last++;
    }
    if (last == n) {
        char names[128] = "";
        for (int i = 0; i < n; i++) {
            size_t length = strlen(names);
            snprintf(names + length, sizeof names - length, " %s", tiers[i].name);
        }
        return error_set(err, "instruction set \"%s\": this CPU and build offer%s", isa, names);
    }
    memset(kernels, 0, sizeof *kernels);
    for (int i = 0; i <= last; i++)
        tiers[i].fill(kernels);
    return 0;
}
