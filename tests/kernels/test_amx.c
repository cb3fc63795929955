/* amx: the tiles of the AMX tier. Their layout and what they may touch, on the CPU's own tiles or
 * those in C; and where the CPU has AMX, that both give the same bits. (Products are in
 * test_matmul.c, attention in test_attend.c.) */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/half.h"
#include "kernels/matmul.h"
#include "tests/kernels/tiers.h"
#include "tests/suites.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum { TILE = 16, PAIR = 2, AREA_BYTES = 1 << 18, WATCH = 0xA5 };

static uint64_t random_state = 1;

static uint32_t random_bits(void)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(random_state >> 32);
}

static float uniform(float limit)
{
    return limit * ((float)(random_bits() >> 8) * 0x1p-23F - 1);
}

/* n bytes that end at a page without access, one array for each `area`. */
static void *guarded(int area, size_t bytes)
{
    static uint8_t *areas[4];
    if (!areas[area]) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        areas[area] = mmap(NULL, AREA_BYTES + page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ck_assert_ptr_ne(areas[area], MAP_FAILED);
        ck_assert_int_eq(mprotect(areas[area] + AREA_BYTES, page, PROT_NONE), 0);
    }
    ck_assert_uint_le(bytes, AREA_BYTES);
    memset(areas[area] + AREA_BYTES - bytes, WATCH, bytes);
    return areas[area] + AREA_BYTES - bytes;
}

static float *floats(int area, size_t n)
{
    float *x = guarded(area, n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = uniform(4);
    return x;
}

static size_t depth_of(size_t n)
{
    return (n + TILES_DEPTH - 1) / TILES_DEPTH;
}

/* The value at column k of a tile in pairs, respectively of a row of weights. */
static uint16_t packed_at(const uint16_t *tiles, size_t t, size_t k)
{
    const uint16_t *tile = tiles + (k / TILES_DEPTH * 2 + t / TILE) * TILE * TILES_DEPTH;
    return tile[(k % TILES_DEPTH / PAIR * TILE + t % TILE) * PAIR + k % PAIR];
}

static uint16_t panel_at(const uint16_t *panel, size_t r, size_t k)
{
    const uint16_t *tile = panel + (k / TILES_DEPTH * 2 + r / TILE) * TILE * TILES_DEPTH;
    return tile[r % TILE * TILES_DEPTH + k % TILES_DEPTH];
}

static void expect_same(const char *what, uint16_t found, float x, size_t n)
{
    if (found != bf16_from_f32(x))
        ck_abort_msg("%s of %zu: %x, not %x", what, n, found, bf16_from_f32(x));
}

static const size_t lengths[] = {1, 2, 15, 16, 17, 31, 32, 33, 47, 64, 100, 320};

/* Activations and float weights lie as kernels.h says, rounded to nearest even, zero beyond. */
START_TEST(test_layouts)
{
    struct kernels k = tiers_get(_i);
    for (size_t s = 0; k.tiles_pack && s < COUNT(lengths) * 4; s++) {
        size_t n = lengths[s / 4], columns = depth_of(n) * TILES_DEPTH;
        size_t tokens = (size_t[]){1, 16, 17, 32}[s % 4], ldx = n + s % 3;
        float *x = floats(0, (tokens - 1) * ldx + n);
        uint16_t *tiles = guarded(1, columns * TILES_TOKENS * sizeof *tiles);
        k.tiles_pack(x, ldx, (int)tokens, n, tiles);
        for (size_t t = 0; t < TILES_TOKENS; t++)
            for (size_t c = 0; c < columns; c++)
                expect_same("activation", packed_at(tiles, t, c),
                            t < tokens && c < n ? x[t * ldx + c] : 0, n);
        uint16_t *panel = guarded(2, columns * TILES_ROWS * sizeof *panel);
        for (size_t r = 0; r < TILES_ROWS; r++) {
            float *w = floats(0, n);
            k.tiles_row_f32(w, n, (int)r, panel);
            for (size_t c = 0; c < columns; c++)
                expect_same("weight", panel_at(panel, r, c), c < n ? w[c] : 0, n);
        }
    }
}
END_TEST

START_TEST(test_integer_rows)
{
    struct kernels k = tiers_get(_i);
    for (size_t s = 0; k.tiles_row_q8 && s < 10 * 4; s++) {
        size_t n = (s / 4 + 1) * 32, group = s % 2 ? 32 : 16;
        uint16_t *panel = guarded(0, n * TILES_ROWS * sizeof *panel);
        for (size_t r = 0; r < TILES_ROWS; r++) {
            int8_t *q = guarded(1, n);
            for (size_t i = 0; i < n; i++)
                q[i] = (int8_t)random_bits();
            float *scale = floats(2, n / group), *min = s & 2 ? floats(3, n / group) : NULL;
            k.tiles_row_q8(q, scale, min, n, (int)group, (int)r, panel);
            for (size_t c = 0; c < n; c++) {
                float x = scale[c / group] * (float)q[c];
                expect_same("integer", panel_at(panel, r, c), min ? x + min[c / group] : x, n);
            }
        }
    }
}
END_TEST

/* Sums of 0 to 63 x 31 in their tiles; y is written where it should be and nowhere else. */
START_TEST(test_sums)
{
    struct kernels k = tiers_get(_i);
    for (size_t s = 0; k.tiles_sums && s < 32 * 8; s++) {
        size_t rows = s / 8 + 1, tokens = (size_t[]){1, 15, 16, 17, 32, 33, 50, 64}[s % 8];
        size_t ldy = rows + s % 3;
        float *sums = guarded(0, 2 * TILES_ROWS * TILES_TOKENS * sizeof *sums);
        for (size_t t = 0; t < (tokens + 31) / 32 * 32; t++)
            for (size_t r = 0; r < TILES_ROWS; r++) {
                size_t tile = t / 32 * 4 + r / TILE * 2 + t / TILE % 2;
                sums[(tile * TILE + r % TILE) * TILE + t % TILE] = (float)(t * TILES_ROWS + r);
            }
        float *y = guarded(1, ((tokens - 1) * ldy + rows) * sizeof *y), untouched;
        memset(&untouched, WATCH, sizeof untouched);
        k.tiles_sums(sums, (int)tokens, (int)rows, y, ldy);
        for (size_t i = 0; i < (tokens - 1) * ldy + rows; i++) {
            size_t t = i / ldy, r = i % ldy;
            if (y[i] != (r < rows ? (float)(t * TILES_ROWS + r) : untouched))
                ck_abort_msg("sum of row %zu of %zu, token %zu of %zu: %g", r, rows, t, tokens,
                             (double)y[i]);
        }
    }
}
END_TEST

/* --- instructions ---------------------------------------------------------------------------- */

/* Any finite bf16, subnormal or large; large ones seldom, so that not all sums overflow. */
static uint16_t any_bf16(void)
{
    uint32_t bits = random_bits();
    uint16_t kinds[] = {(uint16_t)(bits & 0x807F), bf16_from_f32(uniform(1e18F))};
    return bits >> 28 < 2 ? kinds[bits >> 28] : bf16_from_f32(uniform(2));
}

/* The same operands on two tiers. */
static void compare_products(const struct kernels *a, const struct kernels *b, size_t depth,
                             int tokens, bool begin)
{
    size_t n = depth * TILES_DEPTH * TILES_ROWS;
    uint16_t *panel = guarded(0, n * sizeof *panel), *x = guarded(1, n * sizeof *x);
    size_t sums_bytes = TILES_ROWS * TILES_TOKENS * sizeof(float);
    float *sums[2] = {guarded(2, sums_bytes), guarded(3, sums_bytes)};
    for (size_t i = 0; i < n; i++) {
        panel[i] = any_bf16();
        x[i] = any_bf16();
    }
    for (size_t i = 0; i < sums_bytes / sizeof(float); i++)
        sums[0][i] = sums[1][i] = uniform(1);
    const struct kernels *tiers[] = {a, b};
    for (int i = 0; i < 2; i++) {
        tiers[i]->tiles_begin();
        tiers[i]->tiles_product(panel, x, depth, tokens, begin, 0, 1, sums[i]);
        tiers[i]->tiles_end();
    }
    ck_assert_mem_eq(sums[0], sums[1], sums_bytes);
}

START_TEST(test_instructions)
{
    int last = tiers_count() - 1;
    struct kernels model = tiers_get(last), cpu = last > 0 ? tiers_get(last - 1) : model;
    if (!model.tiles_product || !cpu.tiles_product)
        return; /* there is no AMX here, or nothing to compare it with */
    for (size_t depth = 1; depth <= 10; depth++)
        for (int tokens = 16; tokens <= 32; tokens += 16)
            for (int begin = 0; begin < 2; begin++)
                compare_products(&cpu, &model, depth, tokens, begin);
}
END_TEST

Suite *amx_suite(void)
{
    Suite *suite = suite_create("amx");
    TCase *tcase = tcase_create("amx");
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, test_layouts, 0, tiers_count());
    tcase_add_loop_test(tcase, test_integer_rows, 0, tiers_count());
    tcase_add_loop_test(tcase, test_sums, 0, tiers_count());
    tcase_add_test(tcase, test_instructions);
    suite_add_tcase(suite, tcase);
    return suite;
}
