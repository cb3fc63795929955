/* test_isa: every operation of every tier that this CPU has, against formulas in double precision
 * (or, where a contract fixes the bits, in f32). Every array ends at a page that may not be
 * touched, and the bytes before it are watched. What the expected values are made from is in this
 * file alone. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/half.h"
#include "kernels/kernels.h"
#include "tests/suites.h"

#define EPSILON 0x1p-24 /* relative error of one rounding to f32 */
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const size_t lengths[] = {1,  2,  3,  7,  8,  9,  15,  16,  17,  31,  32,  33,
                                 48, 63, 64, 65, 80, 96, 100, 127, 128, 129, 255, 1000};

/* --- arrays between guards ----------------------------------------------------------------- */

enum { FRONT = 64, WATCH = 0xA5, MAX_AREAS = 96, AREA_BYTES = 1 << 19 };

/* MAX_AREAS areas, each followed by a page without access; mapped once and used again and again. */
static uint8_t *arena;
static size_t page;
static uint8_t *areas[MAX_AREAS]; /* where the arrays in use begin */
static int n_areas;

static void map_arena(void)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    size_t step = AREA_BYTES + page;
    arena = mmap(NULL, MAX_AREAS * step, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(arena, MAP_FAILED);
    for (size_t i = 0; i < MAX_AREAS; i++)
        ck_assert_int_eq(mprotect(arena + i * step + AREA_BYTES, page, PROT_NONE), 0);
}

/* A check in a loop: ck_assert itself writes to a pipe every time. */
static void expect(bool good, const char *what, size_t n)
{
    if (!good)
        ck_abort_msg("%s, n %zu", what, n);
}

/* `bytes` bytes that end at a page without access; FRONT watched bytes lie before them. */
static void *fresh(size_t bytes)
{
    if (!arena)
        map_arena();
    expect(n_areas < MAX_AREAS && bytes + FRONT <= AREA_BYTES, "room for the arrays", bytes);
    uint8_t *end = arena + (size_t)n_areas * (AREA_BYTES + page) + AREA_BYTES;
    areas[n_areas++] = end - bytes;
    memset(end - bytes - FRONT, WATCH, bytes + FRONT);
    return end - bytes;
}

static void release(void)
{
    for (; n_areas > 0; n_areas--)
        for (int i = 1; i <= FRONT; i++)
            expect(areas[n_areas - 1][-i] == WATCH, "bytes before an array", (size_t)i);
}

/* --- numbers ------------------------------------------------------------------------------- */

static uint64_t random_state = 1;

static uint32_t random_bits(void)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(random_state >> 32);
}

static float random_float(float low, float high)
{
    return low + (high - low) * (float)(random_bits() >> 8) * 0x1p-24F;
}

static int random_int(int low, int high)
{
    return low + (int)(random_bits() % (uint32_t)(high - low + 1));
}

static float *floats(size_t n, float low, float high)
{
    float *x = fresh(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = random_float(low, high);
    return x;
}

/* A copy between guards of its own. */
static float *copy_of(const float *x, size_t n)
{
    float *copy = fresh(n * sizeof *copy);
    memcpy(copy, x, n * sizeof *copy);
    return copy;
}

static uint16_t *halves(size_t n)
{
    uint16_t *h = fresh(n * sizeof *h);
    for (size_t i = 0; i < n; i++)
        h[i] = f16_from_f32(random_float(-2, 2));
    return h;
}

static int8_t *bytes(size_t n, int low, int high)
{
    int8_t *q = fresh(n);
    for (size_t i = 0; i < n; i++)
        q[i] = (int8_t)random_int(low, high);
    return q;
}

static bool same_bits(float a, float b)
{
    return float_bits(a) == float_bits(b) || (isnan(a) && isnan(b));
}

static void expect_near(float found, double expected, double tolerance, const char *what, size_t n)
{
    if (!(fabs(found - expected) <= tolerance))
        ck_abort_msg("%s, n %zu: %.9g, expected %.9g within %.3g", what, n, found, expected,
                     tolerance);
}

static struct kernels tier(int i)
{
    struct kernels kernels;
    struct error err;
    ck_assert_int_eq(kernels_select(&kernels, kernels_available(i), &err), 0);
    random_state = 1;
    return kernels;
}

/* --- 16-bit floats ------------------------------------------------------------------------- */

START_TEST(every_half_becomes_its_float)
{
    struct kernels k = tier(_i);
    enum { ALL = 1 << 16 };
    uint16_t *h = fresh(ALL * sizeof *h);
    float *x = fresh(ALL * sizeof *x);
    for (int i = 0; i < ALL; i++)
        h[i] = (uint16_t)(i ^ 0x3FFF); /* a number comes last */
    k.f32_from_f16(h, ALL, x);
    for (int i = 0; i < ALL; i++)
        expect(same_bits(x[i], f16_to_f32(h[i])), "f16", (size_t)i);
    k.f32_from_bf16(h, ALL, x);
    for (int i = 0; i < ALL; i++)
        expect(same_bits(x[i], bf16_to_f32(h[i])), "bf16", (size_t)i);
    for (size_t s = 0; s < COUNT(lengths); s++) { /* short rows: the end of the same arrays */
        size_t n = lengths[s];
        x[ALL - 1] = 0;
        k.f32_from_f16(h + ALL - n, n, x + ALL - n);
        expect(same_bits(x[ALL - 1], f16_to_f32(h[ALL - 1])), "f16", n);
        x[ALL - 1] = 0;
        k.f32_from_bf16(h + ALL - n, n, x + ALL - n);
        expect(same_bits(x[ALL - 1], bf16_to_f32(h[ALL - 1])), "bf16", n);
    }
    release();
}
END_TEST

START_TEST(floats_round_to_halves)
{
    struct kernels k = tier(_i);
    for (int round = 0; round < 100; round++) {
        size_t n = lengths[(size_t)round % COUNT(lengths)];
        float *x = fresh(n * sizeof *x);
        uint16_t *h = fresh(n * sizeof *h);
        for (size_t i = 0; i < n; i++) /* any bits; every other one in the range of a half */
            x[i] = i % 2 ? float_from_bits(random_bits())
                         : float_from_bits((random_bits() & 0x8FFFFFFF) | 0x30000000);
        k.f16_from_f32(x, n, h);
        for (size_t i = 0; i < n; i++)
            expect(isnan(x[i]) ? isnan(f16_to_f32(h[i])) : h[i] == f16_from_f32(x[i]), "to f16", n);
        release();
    }
}
END_TEST

/* --- one row times one vector -------------------------------------------------------------- */

START_TEST(dot_products)
{
    struct kernels k = tier(_i);
    static const float sizes[] = {1, 1e-18F, 1e18F};
    for (size_t s = 0; s < COUNT(lengths) * COUNT(sizes); s++) {
        size_t n = lengths[s / COUNT(sizes)];
        float size = sizes[s % COUNT(sizes)];
        float *w = floats(n, -size, size), *x = floats(n, -size, size);
        double sum = 0, magnitude = 0;
        for (size_t i = 0; i < n; i++) {
            sum += (double)w[i] * x[i];
            magnitude += fabs((double)w[i] * x[i]);
        }
        double c = ((double)n / 8 + 10) * EPSILON; /* at least 8 lanes */
        expect_near(k.dot_f32(w, x, n), sum, c * magnitude + FLT_MIN, "f32", n);
        release();
    }
}
END_TEST

/* --- activations in 8 bits ----------------------------------------------------------------- */

/* One group by the rule of kernels.h; the default rounding mode is to nearest even. */
static void expect_group(const float *x, int group, const int8_t *q, float scale, int32_t sum)
{
    float max = 0;
    bool finite = true;
    for (int i = 0; i < group; i++) {
        finite = finite && isfinite(x[i]);
        max = fmaxf(max, fabsf(x[i]));
    }
    int32_t expected_sum = 0;
    for (int i = 0; i < group; i++) {
        volatile float inverse = 127.0F / max;
        volatile float scaled = x[i] * inverse;
        int expected = finite && max >= Q8_TINY ? (int)nearbyintf(scaled) : 0;
        if (q[i] != expected)
            ck_abort_msg("%a of max %a: %d, not %d", x[i], max, q[i], expected);
        expected_sum += expected;
    }
    expect(sum == expected_sum, "sum of a group", (size_t)group);
    expect(finite ? same_bits(scale, max < Q8_TINY ? 0 : max / 127.0F) : !isfinite(scale),
           "scale of a group", (size_t)group);
}

/* Group g of a row: a different kind of numbers in each. */
static void fill_group(float *x, int group, size_t g)
{
    static const float tops[] = {1, 1e-10F, FLT_MAX, Q8_TINY, 0x1.fffffep-101F, 1e-40F, 3, 1e30F};
    for (int i = 0; i < group; i++)
        x[i] = random_float(-1, 1) * tops[g % COUNT(tops)];
    if (g % 8 == 6) /* ties: with a largest of 127 the factor is 1 */
        for (int i = 0; i < group; i++)
            x[i] = i ? (float)random_int(-126, 126) + 0.5F : -127;
    x[random_int(0, group - 1)] = g % 8 == 6 ? 127 : tops[g % COUNT(tops)];
    if (g % 16 == 9)
        memset(x, 0, (size_t)group * sizeof *x);
    if (g % 16 == 11)
        x[random_int(0, group - 1)] = g % 32 == 11 ? INFINITY : -INFINITY;
    if (g % 16 == 12)
        x[random_int(0, group - 1)] = NAN;
}

START_TEST(quantized_activations)
{
    struct kernels k = tier(_i);
    for (int group = 16; group <= 32; group += 16)
        for (size_t groups = 1; groups < 36; groups++) {
            size_t n = groups * (size_t)group;
            float *x = fresh(n * sizeof *x);
            for (size_t g = 0; g < groups; g++)
                fill_group(x + g * (size_t)group, group, groups + g);
            int8_t *q = fresh(n);
            float *scale = fresh(groups * sizeof *scale);
            int32_t *sum = fresh(groups * sizeof *sum);
            k.quantize_q8(x, n, group, q, scale, sum);
            for (size_t g = 0; g < groups; g++)
                expect_group(x + g * (size_t)group, group, q + g * (size_t)group, scale[g], sum[g]);
            release();
        }
}
END_TEST

/* Quantised activations with sums that are right. */
static struct q8_row random_q8(size_t n, size_t group, int low, int high)
{
    int8_t *q = bytes(n, low, high);
    int32_t *sum = fresh(n / group * sizeof *sum);
    for (size_t g = 0; g < n / group; g++) {
        sum[g] = 0;
        for (size_t i = 0; i < group; i++)
            sum[g] += q[g * group + i];
    }
    return (struct q8_row){q, floats(n / group, 0.01F, 1), sum};
}

/* The exact sum of a row whose scales have stride `ld`, and the sum of its terms' magnitudes. */
static double exact_q8(const int8_t *q, const float *scale, const float *min, size_t ld, size_t n,
                       size_t group, struct q8_row x, double *magnitude)
{
    double total = 0;
    for (size_t g = 0; g < n / group; g++) {
        int64_t dot = 0;
        for (size_t i = g * group; i < (g + 1) * group; i++)
            dot += q[i] * x.q[i];
        double product = (double)x.scale[g] * scale[g * ld] * (double)dot;
        double offset = min ? (double)x.scale[g] * min[g * ld] * x.sum[g] : 0;
        total += product + offset;
        *magnitude += fabs(product) + fabs(offset);
    }
    return total;
}

static const size_t group_counts[] = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48, 64, 100};

START_TEST(integer_dot_products)
{
    struct kernels k = tier(_i);
    for (size_t s = 0; s < COUNT(group_counts) * 4; s++) {
        size_t group = s % 2 ? 32 : 16;
        size_t n = group_counts[s / 4] * group;
        int8_t *q = bytes(n, -128, 127);
        struct q8_row x = random_q8(n, group, -127, 127);
        float *scale = floats(n / group, -1, 1);
        float *min = s / 2 % 2 ? floats(n / group, -1, 1) : NULL;
        double magnitude = 0, expected = exact_q8(q, scale, min, 1, n, group, x, &magnitude);
        double c = ((double)(n / group) + 6) * EPSILON;
        expect_near(k.dot_q8(q, scale, min, n, (int)group, x), expected, c * magnitude, "q8", n);
        release();
    }
}
END_TEST

/* With scales of one every sum is an integer below 2^24, so nothing may be lost. */
START_TEST(integer_dot_products_are_exact)
{
    struct kernels k = tier(_i);
    static const int ends[][2] = {{-128, -128}, {127, 127}, {-128, 127}, {-1, 0}};
    for (size_t s = 0; s < COUNT(ends) * 3 * 2; s++) {
        size_t group = s % 2 ? 32 : 16;
        size_t n = 24 * group;
        const int *w = ends[s / 6];
        int low = s / 2 % 3 == 0 ? 127 : -127, high = s / 2 % 3 == 1 ? -127 : 127;
        int8_t *q = bytes(n, w[0], w[1]);
        struct q8_row x = random_q8(n, group, low, high);
        float *one = floats(n / group, 1, 1);
        x.scale = one;
        double magnitude = 0, expected = exact_q8(q, one, one, 1, n, group, x, &magnitude);
        ck_assert(k.dot_q8(q, one, one, n, (int)group, x) == expected);
        release();
    }
}
END_TEST

/* --- panels -------------------------------------------------------------------------------- */

/* What a tile must give: y += sum, within c * magnitude, for each token and row. */
static struct {
    double sum[TILE_TOKENS_MAX][PANEL_ROWS_MAX];
    double magnitude[TILE_TOKENS_MAX][PANEL_ROWS_MAX];
} tile;

/* Checks the y of `tokens` tokens, with stride `ldy`, against y before; nothing else has changed.
 */
static void check_tile(const float *y, const float *before, size_t ldy, int tokens, size_t rows,
                       double c, size_t n)
{
    for (size_t i = 0; i < (size_t)tokens * ldy; i++) {
        size_t t = i / ldy, r = i % ldy;
        if (r < rows)
            expect_near(y[i], before[i] + tile.sum[t][r],
                        c * (tile.magnitude[t][r] + fabs(before[i])), "panel", n);
        else
            expect(same_bits(y[i], before[i]), "beyond the panel", n);
    }
}

START_TEST(float_panels)
{
    struct kernels k = tier(_i);
    size_t rows = (size_t)k.panel_rows, ldy = rows + 3;
    for (size_t s = 0; rows > 0 && s < COUNT(lengths); s++) {
        size_t n = lengths[s];
        const float *w[PANEL_ROWS_MAX], *x[TILE_TOKENS_MAX];
        const float *all = floats(rows * n, -1, 1);
        memset(&tile, 0, sizeof tile);
        for (size_t t = 0; t < (size_t)k.tile_tokens; t++) {
            x[t] = floats(n, -1, 1);
            for (size_t r = 0; r < rows; r++) {
                w[r] = all + r * n;
                for (size_t i = 0; i < n; i++) {
                    tile.sum[t][r] += (double)w[r][i] * x[t][i];
                    tile.magnitude[t][r] += fabs((double)w[r][i] * x[t][i]);
                }
            }
        }
        float *panel = fresh((rows * n * sizeof *panel + 63) / 64 * 64);
        k.panel_f32(w, n, panel);
        for (int tokens = 1; tokens <= k.tile_tokens; tokens++) {
            float *y = floats((size_t)tokens * ldy, -1, 1);
            float *before = copy_of(y, (size_t)tokens * ldy);
            k.product_f32(panel, n, x, tokens, y, ldy);
            check_tile(y, before, ldy, tokens, rows, ((double)n + 2) * EPSILON, n);
        }
        release();
    }
}
END_TEST

/* Panels of integers for every number of tokens; `low` and `high` bound the weights. */
static void check_panel_q8(const struct kernels *k, size_t n, size_t group, bool has_min, int low,
                           int high)
{
    size_t rows = (size_t)k->panel_rows, ldy = rows + 3;
    const int8_t *w[PANEL_ROWS_MAX];
    struct q8_row x[TILE_TOKENS_MAX];
    const int8_t *all = bytes(rows * n, low, high);
    const float *scale = floats(n / group * rows, -1, 1);
    const float *min = has_min ? floats(n / group * rows, -1, 1) : NULL;
    memset(&tile, 0, sizeof tile);
    for (size_t t = 0; t < (size_t)k->tile_tokens; t++) {
        x[t] = random_q8(n, group, -127, 127);
        for (size_t r = 0; r < rows; r++) {
            w[r] = all + r * n;
            tile.sum[t][r] = exact_q8(w[r], scale + r, min ? min + r : NULL, rows, n, group, x[t],
                                      &tile.magnitude[t][r]);
        }
    }
    int8_t *panel = fresh((rows * n + PANEL_NOTE_BYTES + 63) / 64 * 64);
    k->panel_q8(w, n, panel);
    for (int tokens = 1; tokens <= k->tile_tokens; tokens++) {
        float *y = floats((size_t)tokens * ldy, -1, 1);
        float *before = copy_of(y, (size_t)tokens * ldy);
        k->product_q8(panel, scale, min, n, (int)group, x, tokens, y, ldy);
        check_tile(y, before, ldy, tokens, rows, (2 * (double)(n / group) + 4) * EPSILON, n);
    }
    release();
}

START_TEST(integer_panels)
{
    struct kernels k = tier(_i);
    static const int ends[][2] = {{-128, 127},  {-32, 31},  {0, 15},  {-33, 31}, {-32, 32},
                                  {-128, -128}, {127, 127}, {31, 31}, {-32, -32}};
    for (size_t s = 0; k.panel_rows > 0 && s < COUNT(group_counts) * 4; s++) {
        size_t group = s % 2 ? 32 : 16;
        const int *w = ends[s % COUNT(ends)];
        check_panel_q8(&k, group_counts[s / 4] * group, group, s / 2 % 2, w[0], w[1]);
    }
    for (size_t s = 0; k.panel_rows > 0 && s < COUNT(ends); s++)
        check_panel_q8(&k, 64, 32, true, ends[s][0], ends[s][1]);
}
END_TEST

/* --- element by element -------------------------------------------------------------------- */

START_TEST(sums_products_and_the_largest)
{
    struct kernels k = tier(_i);
    for (size_t s = 0; s < COUNT(lengths); s++) {
        size_t n = lengths[s];
        float *x = floats(n, -9, 9), *y = floats(n, -9, 9), *old = copy_of(y, n);
        k.add(y, x, n);
        for (size_t i = 0; i < n; i++)
            expect(same_bits(y[i], old[i] + x[i]), "add", n);
        memcpy(y, old, n * sizeof *y);
        k.multiply(y, x, n);
        for (size_t i = 0; i < n; i++)
            expect(same_bits(y[i], old[i] * x[i]), "multiply", n);
        memcpy(y, old, n * sizeof *y);
        k.scale(y, n, 0.7F);
        for (size_t i = 0; i < n; i++)
            expect(same_bits(y[i], old[i] * 0.7F), "scale", n);
        for (size_t i = 0; i < n; i++) { /* the largest in every place */
            float was = x[i];
            x[i] = 10;
            expect(k.max(x, n) == 10, "max", n);
            x[i] = was;
        }
        for (size_t i = 0; i < n; i++)
            x[i] = i == n / 2 ? -FLT_MAX : -INFINITY;
        ck_assert(k.max(x, n) == -FLT_MAX);
        release();
    }
}
END_TEST

static double exact_silu(double x)
{
    return x / (1 + exp(-x));
}

static double exact_gelu(double x)
{
    return x * 0.5 * erfc(-x / sqrt(2));
}

static double exact_gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

START_TEST(activations)
{
    struct kernels k = tier(_i);
    struct {
        void (*found)(float *x, size_t n);
        double (*exact)(double x);
        const char *name;
    } functions[] = {{k.silu, exact_silu, "silu"},
                     {k.gelu, exact_gelu, "gelu"},
                     {k.gelu_tanh, exact_gelu_tanh, "gelu_tanh"}};
    static const float widths[] = {0.01F, 1, 6, 30, 200, 1e6F};
    for (size_t f = 0; f < COUNT(functions); f++)
        for (size_t s = 0; s < COUNT(lengths) * COUNT(widths); s++) {
            size_t n = lengths[s / COUNT(widths)];
            float width = widths[s % COUNT(widths)];
            float *x = floats(n, -width, width), *y = copy_of(x, n);
            functions[f].found(y, n);
            for (size_t i = 0; i < n; i++)
                expect_near(y[i], functions[f].exact(x[i]), 3e-7 * fabs(x[i]) + FLT_MIN,
                            functions[f].name, n);
            release();
        }
}
END_TEST

START_TEST(activations_at_the_ends)
{
    struct kernels k = tier(_i);
    void (*functions[])(float *x, size_t n) = {k.silu, k.gelu, k.gelu_tanh};
    for (size_t f = 0; f < COUNT(functions); f++) {
        float ends[] = {INFINITY, NAN, 0, 1e20F, -1e20F};
        functions[f](ends, COUNT(ends));
        ck_assert(isinf(ends[0]) && isnan(ends[1]) && ends[2] == 0);
        ck_assert(ends[3] == 1e20F && fabsf(ends[4]) <= 1);
    }
}
END_TEST

START_TEST(exponentials)
{
    struct kernels k = tier(_i);
    for (size_t s = 0; s < COUNT(lengths) * 3; s++) {
        size_t n = lengths[s / 3];
        float shift = s % 3 ? random_float(-50, 50) : 0;
        float *x = floats(n, shift - (s % 3 == 1 ? 10 : 200), shift), *y = copy_of(x, n);
        y[random_int(0, (int)n - 1)] = -INFINITY;
        memcpy(x, y, n * sizeof *x);
        double sum = k.exp_sum(y, n, shift), expected_sum = 0;
        for (size_t i = 0; i < n; i++) {
            double expected = exp((double)(x[i] - shift));
            expect_near(y[i], expected, 2e-7 * expected + FLT_MIN * 1.1, "exp", n);
            expected_sum += expected;
        }
        expect_near((float)sum, expected_sum,
                    ((double)n * EPSILON + 2e-7) * expected_sum + FLT_MIN * 1.1, "sum of exp", n);
        release();
    }
    enum { STEPS = 1 << 16 };
    float *x = floats(STEPS, 0, 0);
    for (int i = 0; i < STEPS; i++)
        x[i] = (float)i * (-87.25F / STEPS);
    float *y = copy_of(x, STEPS);
    k.exp_sum(y, STEPS, 0);
    for (int i = 0; i < STEPS; i++)
        expect_near(y[i], exp(x[i]), 2e-7 * exp(x[i]), "exp", STEPS);
    ck_assert(y[0] == 1);
    x[100] = NAN;
    ck_assert(isnan(k.exp_sum(x, STEPS, 0)) && isnan(x[100]));
    release();
}
END_TEST

START_TEST(norms)
{
    struct kernels k = tier(_i);
    for (size_t s = 0; s < COUNT(lengths) * 4; s++) {
        size_t n = lengths[s / 4];
        float middle = s % 2 ? 3 : 0;
        float *x = floats(n, middle - 1, middle + 1), *weight = floats(n, -2, 2);
        float *bias = s % 4 < 2 ? floats(n, -1, 1) : NULL;
        double sum = 0, squares = 0, variance = 0;
        for (size_t i = 0; i < n; i++) {
            sum += x[i];
            squares += (double)x[i] * x[i];
        }
        double mean = sum / (double)n;
        for (size_t i = 0; i < n; i++)
            variance += (x[i] - mean) * (x[i] - mean);
        double rms = sqrt(squares / (double)n + 1e-5), sd = sqrt(variance / (double)n + 1e-5);
        /* Sums of n terms in 8 lanes; the mean's error counts against the deviation. */
        double c = ((double)n / 8 + 12) * EPSILON;
        float *y = fresh(n * sizeof *y), *same = copy_of(x, n);
        k.rms_norm(y, x, weight, n, 1e-5F);
        k.rms_norm(same, same, weight, n, 1e-5F);
        for (size_t i = 0; i < n; i++) {
            double expected = x[i] / rms * weight[i];
            expect_near(y[i], expected, c * fabs(expected), "rms_norm", n);
            expect(same_bits(y[i], same[i]), "in place", n);
        }
        memcpy(same, x, n * sizeof *x);
        k.layer_norm(y, x, weight, bias, n, 1e-5F);
        k.layer_norm(same, same, weight, bias, n, 1e-5F);
        for (size_t i = 0; i < n; i++) {
            double normed = (x[i] - mean) / sd * weight[i], offset = bias ? bias[i] : 0;
            double slack = fabs(normed) + fabs(offset) + (middle + 1) / sd * fabs(weight[i]);
            expect_near(y[i], normed + offset, 2 * c * slack, "layer_norm", n);
            expect(same_bits(y[i], same[i]), "in place", n);
        }
        release();
    }
}
END_TEST

START_TEST(rotations)
{
    struct kernels k = tier(_i);
    for (size_t s = 0; s < COUNT(lengths); s++) {
        size_t pairs = lengths[s];
        float *x = floats(2 * pairs, -3, 3), *c = fresh(pairs * sizeof *c),
              *d = fresh(pairs * sizeof *d);
        for (size_t t = 0; t < pairs; t++) {
            float angle = random_float(-4, 4);
            c[t] = cosf(angle);
            d[t] = sinf(angle);
        }
        float *interleaved = copy_of(x, 2 * pairs), *halved = copy_of(x, 2 * pairs);
        k.rotate_interleaved(interleaved, c, d, pairs);
        k.rotate_halves(halved, c, d, pairs);
        for (size_t t = 0; t < pairs; t++) {
            double tolerance = 12 * EPSILON; /* two products of at most 3 each */
            double a = x[2 * t], b = x[2 * t + 1];
            expect_near(interleaved[2 * t], a * c[t] - b * d[t], tolerance, "interleaved", pairs);
            expect_near(interleaved[2 * t + 1], a * d[t] + b * c[t], tolerance, "interleaved",
                        pairs);
            a = x[t];
            b = x[t + pairs];
            expect_near(halved[t], a * c[t] - b * d[t], tolerance, "halves", pairs);
            expect_near(halved[t + pairs], a * d[t] + b * c[t], tolerance, "halves", pairs);
        }
        release();
    }
}
END_TEST

/* --- attention ----------------------------------------------------------------------------- */

static const size_t dims[] = {1, 4, 8, 16, 20, 33, 48, 64, 80, 128};

/* n elements of `format`. */
static void *elements(enum format format, size_t n)
{
    return format == FORMAT_F16 ? (void *)halves(n) : (void *)floats(n, -2, 2);
}

static double element(const void *x, enum format format, size_t i)
{
    return format == FORMAT_F16 ? f16_to_f32(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

/* Numbers of queries: every remainder of any tile. */
static const int query_counts[] = {1, 2, 3, 4, 5, 6, 7, 9, 15};

static void check_scores(const struct kernels *k, enum format format, size_t n, size_t dim)
{
    size_t room = (n + 15) / 16 * 16, ldk = room + 16, lds = room + 5;
    const void *keys = elements(format, (dim - 1) * ldk + room);
    const float *q[QUERIES_MAX];
    size_t scores = (QUERIES_MAX - 1) * lds + room;
    float *all = floats(scores, 0, 0), *some = floats(scores, 0, 0), *one = floats(room, 0, 0);
    for (int i = 0; i < QUERIES_MAX; i++)
        q[i] = floats(dim, -1, 1);
    k->attend_scores(all, lds, q, QUERIES_MAX, keys, ldk, format, n, dim);
    for (size_t i = 0; i < QUERIES_MAX; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0, magnitude = 0;
            for (size_t d = 0; d < dim; d++) {
                double term = q[i][d] * element(keys, format, d * ldk + j);
                sum += term;
                magnitude += fabs(term);
            }
            expect_near(all[i * lds + j], sum, (double)dim * 2 * EPSILON * magnitude, "scores", n);
        }
        k->attend_scores(one, room, q + i, 1, keys, ldk, format, n / 2 + 1, dim);
        for (size_t j = 0; j < n / 2 + 1; j++)
            expect(same_bits(all[i * lds + j], one[j]), "one query, fewer positions: the same bits",
                   n);
    }
    for (size_t c = 0; c < COUNT(query_counts); c++) {
        k->attend_scores(some, lds, q, query_counts[c], keys, ldk, format, n, dim);
        for (size_t i = 0; i < (size_t)query_counts[c]; i++)
            expect(memcmp(some + i * lds, all + i * lds, n * sizeof *all) == 0,
                   "fewer queries: the same bits", n);
    }
    release();
}

static void check_values(const struct kernels *k, enum format format, size_t n, size_t dim)
{
    size_t ldp = n + 3, half = n / 2, row_bytes = dim * (format == FORMAT_F16 ? 2 : 4);
    const char *values = elements(format, n * dim);
    const float *p = floats((QUERIES_MAX - 1) * ldp + n, 0, 1), *start = floats(dim, -1, 1);
    float *all[QUERIES_MAX], *some[QUERIES_MAX], *one = copy_of(start, dim);
    for (int i = 0; i < QUERIES_MAX; i++) {
        all[i] = copy_of(start, dim);
        some[i] = fresh(dim * sizeof(float));
    }
    k->attend_values(all, p, ldp, QUERIES_MAX, values, format, n, dim);
    for (size_t i = 0; i < QUERIES_MAX; i++) {
        for (size_t d = 0; d < dim; d++) {
            double sum = start[d], magnitude = fabs(sum);
            for (size_t j = 0; j < n; j++) {
                double term = p[i * ldp + j] * element(values, format, j * dim + d);
                sum += term;
                magnitude += fabs(term);
            }
            expect_near(all[i][d], sum, (double)(n + 1) * 2 * EPSILON * magnitude, "values", n);
        }
        memcpy(one, start, dim * sizeof *start);
        k->attend_values(&one, p + i * ldp, ldp, 1, values, format, half, dim);
        k->attend_values(&one, p + i * ldp + half, ldp, 1, values + half * row_bytes, format,
                         n - half, dim);
        expect(memcmp(one, all[i], dim * sizeof *one) == 0, "one query, two parts: the same bits",
               n);
    }
    for (size_t c = 0; c < COUNT(query_counts); c++) {
        for (int i = 0; i < query_counts[c]; i++)
            memcpy(some[i], start, dim * sizeof *start);
        k->attend_values(some, p, ldp, query_counts[c], values, format, n, dim);
        for (int i = 0; i < query_counts[c]; i++)
            expect(memcmp(some[i], all[i], dim * sizeof *start) == 0,
                   "fewer queries: the same bits", n);
    }
    release();
}

START_TEST(attention)
{
    struct kernels k = tier(_i);
    static const size_t positions[] = {1, 16, 17, 33, 63, 64, 65, 100};
    for (size_t s = 0; s < COUNT(positions) * COUNT(dims); s++) {
        enum format format = s % 2 ? FORMAT_F16 : FORMAT_F32;
        check_scores(&k, format, positions[s / COUNT(dims)], dims[s % COUNT(dims)]);
        check_values(&k, format, positions[s / COUNT(dims)], dims[s % COUNT(dims)]);
    }
    check_scores(&k, FORMAT_F16, 255, 64);
    check_values(&k, FORMAT_F16, 255, 64);
    check_values(&k, FORMAT_F16, 40, 100); /* ends inside a vector */
}
END_TEST

START_TEST(tables_are_complete)
{
    struct kernels k = tier(_i);
    ck_assert_str_eq(k.name, kernels_available(_i));
    for (int f = 0; f < FORMAT_COUNT; f++)
        ck_assert((k.unpack[f] != NULL) == (format_info[f].group > 0));
    ck_assert(k.f32_from_f16 && k.f32_from_bf16 && k.f16_from_f32);
    ck_assert(k.dot_f32 && k.quantize_q8 && k.dot_q8);
    ck_assert_int_le(k.panel_rows, PANEL_ROWS_MAX);
    ck_assert_int_le(k.tile_tokens, TILE_TOKENS_MAX);
    if (k.panel_rows > 0)
        ck_assert(k.tile_tokens > 0 && k.panel_f32 && k.product_f32 && k.panel_q8 && k.product_q8);
    ck_assert(k.add && k.rms_norm && k.layer_norm && k.silu && k.gelu && k.gelu_tanh && k.multiply);
    ck_assert(k.rotate_interleaved && k.rotate_halves && k.attend_scores && k.attend_values);
    ck_assert(k.max && k.exp_sum && k.softmax && k.scale);
}
END_TEST

Suite *isa_suite(void)
{
    Suite *suite = suite_create("isa");
    TCase *tcase = tcase_create("tiers");
    int tiers = 0;
    fputs("isa: tiers tested here:", stderr);
    for (; kernels_available(tiers); tiers++)
        fprintf(stderr, " %s", kernels_available(tiers));
    fputs("; any other is skipped\n", stderr);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, tables_are_complete, 0, tiers);
    tcase_add_loop_test(tcase, every_half_becomes_its_float, 0, tiers);
    tcase_add_loop_test(tcase, floats_round_to_halves, 0, tiers);
    tcase_add_loop_test(tcase, dot_products, 0, tiers);
    tcase_add_loop_test(tcase, quantized_activations, 0, tiers);
    tcase_add_loop_test(tcase, integer_dot_products, 0, tiers);
    tcase_add_loop_test(tcase, integer_dot_products_are_exact, 0, tiers);
    tcase_add_loop_test(tcase, float_panels, 0, tiers);
    tcase_add_loop_test(tcase, integer_panels, 0, tiers);
    tcase_add_loop_test(tcase, sums_products_and_the_largest, 0, tiers);
    tcase_add_loop_test(tcase, activations, 0, tiers);
    tcase_add_loop_test(tcase, activations_at_the_ends, 0, tiers);
    tcase_add_loop_test(tcase, exponentials, 0, tiers);
    tcase_add_loop_test(tcase, norms, 0, tiers);
    tcase_add_loop_test(tcase, rotations, 0, tiers);
    tcase_add_loop_test(tcase, attention, 0, tiers);
    suite_add_tcase(suite, tcase);
    return suite;
}
