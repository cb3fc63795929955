/* tiers: see tiers.h. */
#include "tests/kernels/tiers.h"

#include <check.h>
#include <string.h>

#include "kernels/cpu.h"

#if defined(__x86_64__)

void kernels_amx_model(struct kernels *kernels);

/* The model's instructions besides the tiles: a tier below that goes as far as AVX-512. */
static bool model_runs(void)
{
    bool avx512 = false;
    for (int i = 0; kernels_available(i); i++)
        avx512 = avx512 || strcmp(kernels_available(i), "avx512") == 0;
    return avx512 && (cpu_features() & CPU_AVX512BF16);
}

static struct kernels model(void)
{
    struct kernels kernels;
    struct error err;
    ck_assert_int_eq(kernels_select(&kernels, "avx512", &err), 0);
    kernels_amx_model(&kernels);
    kernels.name = "amx model";
    return kernels;
}

#else

static bool model_runs(void)
{
    return false;
}

static struct kernels model(void)
{
    return (struct kernels){0};
}

#endif

static int available(void)
{
    int n = 0;
    while (kernels_available(n))
        n++;
    return n;
}

int tiers_count(void)
{
    return available() + model_runs();
}

struct kernels tiers_get(int i)
{
    struct kernels kernels;
    struct error err;
    if (i == available())
        return model();
    ck_assert_int_eq(kernels_select(&kernels, kernels_available(i), &err), 0);
    return kernels;
}
