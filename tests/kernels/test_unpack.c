/* test_unpack: every tier's unpack against the scalar one, to the last bit. The blocks end where
 * the next page must not be touched, and begin at any address. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/kernels.h"
#include "tests/suites.h"

enum { MOST_WEIGHTS = 8192, GUARD = 64 };

/* Pages whose end is the end of what may be read. */
static uint8_t *pages;
static size_t pages_bytes;

static void setup(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    pages_bytes = (2 * (size_t)MOST_WEIGHTS / page + 2) * page;
    pages =
        mmap(NULL, pages_bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(pages != MAP_FAILED);
    ck_assert_int_eq(mprotect(pages + pages_bytes, page, PROT_NONE), 0);
}

static void teardown(void)
{
    munmap(pages, pages_bytes + (size_t)sysconf(_SC_PAGESIZE));
}

static uint64_t random_state;

static uint8_t random_byte(void)
{
    random_state = random_state * 6364136223846793005 + 1442695040888963407;
    return (uint8_t)(random_state >> 56);
}

/* What unpack writes, between guards. */
struct unpacked {
    int8_t q[GUARD + MOST_WEIGHTS + GUARD];
    float scale[GUARD + MOST_WEIGHTS / 16 + GUARD];
    float min[GUARD + MOST_WEIGHTS / 16 + GUARD];
};

/* `shift` moves the results off their alignment. */
static void unpack_guarded(const struct format_info *info, format_unpack *unpack,
                           const uint8_t *blocks, size_t n, size_t shift, struct unpacked *out)
{
    memset(out, 0x5A, sizeof *out);
    unpack(blocks, n, out->q + GUARD + shift, out->scale + GUARD + shift,
           info->has_min ? out->min + GUARD + shift : NULL);
}

/* Of a NaN only that it is one: the payload is the machine's choice. */
static bool same_floats(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], 4) != 0 && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

static void compare(const struct kernels *tier, const struct format_info *info,
                    format_unpack *unpack, size_t n_blocks, size_t before_end)
{
    static struct unpacked expected, found;
    size_t n = n_blocks * (size_t)info->block_len, bytes = n_blocks * (size_t)info->block_bytes;
    uint8_t *blocks = pages + pages_bytes - bytes - before_end;
    for (size_t i = 0; i < bytes; i++)
        blocks[i] = random_byte();
    size_t shift = before_end % 16;
    unpack_guarded(info, info->unpack, blocks, n, shift, &expected);
    unpack_guarded(info, unpack, blocks, n, shift, &found);
    const char *where = "%s: %s: %zu blocks, %zu bytes before the end: %s differ";
    ck_assert_msg(memcmp(expected.q, found.q, sizeof found.q) == 0, where, tier->name, info->name,
                  n_blocks, before_end, "integers");
    ck_assert_msg(same_floats(expected.scale, found.scale, sizeof found.scale / 4), where,
                  tier->name, info->name, n_blocks, before_end, "scales");
    ck_assert_msg(same_floats(expected.min, found.min, sizeof found.min / 4), where, tier->name,
                  info->name, n_blocks, before_end, "minima");
}

START_TEST(every_tier_agrees)
{
    const struct format_info *info = &format_info[_i];
    if (!info->unpack)
        return;
    size_t most = MOST_WEIGHTS / (size_t)info->block_len;
    random_state = (uint64_t)_i;
    for (int t = 1; kernels_available(t); t++) {
        struct kernels tier;
        struct error err;
        ck_assert_msg(kernels_select(&tier, kernels_available(t), &err) == 0, "%s", err.text);
        format_unpack *unpack = tier.unpack[_i];
        for (size_t n_blocks = 1; n_blocks <= 70 && n_blocks <= most; n_blocks++)
            compare(&tier, info, unpack, n_blocks, 0);
        for (size_t before_end = 1; before_end < 64; before_end++)
            compare(&tier, info, unpack, 7, before_end);
        compare(&tier, info, unpack, most, 0);
        compare(&tier, info, unpack, most, 3);
    }
}
END_TEST

/* Every pattern of a 16-bit scale: subnormal, infinite, not a number. */
START_TEST(every_scale_agrees)
{
    enum { Q8_0_BYTES = 34, N_BLOCKS = 256 };
    static uint8_t blocks[Q8_0_BYTES * N_BLOCKS];
    static struct unpacked expected, found;
    const struct format_info *info = &format_info[FORMAT_Q8_0];
    for (int t = 1; kernels_available(t); t++) {
        struct kernels tier;
        struct error err;
        ck_assert_int_eq(kernels_select(&tier, kernels_available(t), &err), 0);
        for (int high = 0; high < 256; high++) {
            for (int low = 0; low < N_BLOCKS; low++) {
                blocks[Q8_0_BYTES * low] = (uint8_t)low;
                blocks[Q8_0_BYTES * low + 1] = (uint8_t)high;
            }
            unpack_guarded(info, info->unpack, blocks, 32 * N_BLOCKS, 0, &expected);
            unpack_guarded(info, tier.unpack[FORMAT_Q8_0], blocks, 32 * N_BLOCKS, 0, &found);
            ck_assert_msg(same_floats(expected.scale, found.scale, sizeof found.scale / 4),
                          "%s: %02x..", tier.name, (unsigned)high);
        }
    }
}
END_TEST

Suite *unpack_suite(void)
{
    Suite *suite = suite_create("unpack");
    TCase *tcase = tcase_create("unpack");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, every_tier_agrees, 0, FORMAT_COUNT);
    tcase_add_test(tcase, every_scale_agrees);
    suite_add_tcase(suite, tcase);
    return suite;
}
