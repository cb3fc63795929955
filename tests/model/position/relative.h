/* relative: what the suites of the schemes with relative vectors share. */
#ifndef LONGHAND_TESTS_MODEL_POSITION_RELATIVE_H
#define LONGHAND_TESTS_MODEL_POSITION_RELATIVE_H

#include <check.h>

#include "tests/model/position/scheme.h"

static inline void relative_init(struct scheme *scheme, enum position_kind kind, int n_heads,
                                 int n_kv_heads, int head_dim)
{
    scheme_init(scheme, kind, n_heads);
    scheme->config.n_kv_heads = n_kv_heads;
    scheme->config.head_dim = head_dim;
    scheme->config.dim = n_heads * head_dim;
}

/* Expects this line of info. */
static inline void relative_expect_text(const struct position *position, const char *text)
{
    char line[128];
    position_describe(position, line, sizeof line);
    ck_assert_str_eq(line, text);
}

/* Numbers that look random: the same for the same seed, from -1 to 1, exact in few bits. */
static inline void relative_fill(float *x, size_t n, unsigned seed)
{
    uint32_t state = seed * 2654435761U + 12345;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525U + 1013904223U;
        x[i] = (float)((int)(state >> 20) - 2048) / 2048;
    }
}

#endif
