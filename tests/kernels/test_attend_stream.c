/* test_attend_stream: scores and weighted values of a few queries, read from what the cache stores
 * in every format, against sums in double precision of elements that the picture in cache_block.h
 * gives. Every array ends at a page that may not be touched. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/half.h"
#include "kernels/kernels.h"
#include "tests/suites.h"

#define EPSILON 0x1p-24 /* relative error of one rounding to f32 */
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const enum format formats[] = {FORMAT_F32, FORMAT_F16, FORMAT_BF16, FORMAT_Q8_0,
                                      FORMAT_Q4_0};
static const size_t dims[] = {1, 2, 3, 8, 20, 31, 32, 33, 48, 63, 64, 65, 80, 100, 128, 161};
static const size_t positions[] = {1, 15, 16, 17, 33, 48, 63, 64, 65, 100, 128};

/* Numbers of queries: every remainder of any tile. */
static const int query_counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 15};

/* --- arrays -------------------------------------------------------------------------------- */

enum { MAX_ARRAYS = 80, ARRAY_BYTES = 1 << 18 };

static uint8_t *arrays; /* each followed by a page without access */
static int n_arrays;

/* `bytes` bytes that end where nothing may be touched; later ones lie further up. */
static void *fresh(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), step = ARRAY_BYTES + page;
    if (!arrays) {
        arrays = mmap(NULL, MAX_ARRAYS * step, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        ck_assert_ptr_ne(arrays, MAP_FAILED);
        for (size_t i = 0; i < MAX_ARRAYS; i++)
            ck_assert_int_eq(mprotect(arrays + i * step + ARRAY_BYTES, page, PROT_NONE), 0);
    }
    if (n_arrays >= MAX_ARRAYS || bytes > ARRAY_BYTES)
        ck_abort_msg("array %d of %zu bytes", n_arrays, bytes);
    return arrays + (size_t)n_arrays++ * step + ARRAY_BYTES - bytes;
}

static uint32_t random_bits(void)
{
    static uint64_t state = 7;
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(state >> 32);
}

static float random_float(float low, float high)
{
    return low + (high - low) * (float)(random_bits() >> 8) * 0x1p-24F;
}

static float *floats(size_t n, float low, float high)
{
    float *x = fresh(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = random_float(low, high);
    return x;
}

static float *copy_of(const float *x, size_t n)
{
    float *copy = fresh(n * sizeof *copy);
    memcpy(copy, x, n * sizeof *copy);
    return copy;
}

/* --- what is stored ------------------------------------------------------------------------ */

/* n elements, respectively bytes that hold two, of any bits but infinities and NaNs. */
static void *elements(enum format format, size_t n)
{
    if (format == FORMAT_F32)
        return floats(n, -2, 2);
    if (format == FORMAT_F16 || format == FORMAT_BF16) {
        uint16_t *h = fresh(n * sizeof *h);
        for (size_t i = 0; i < n; i++) {
            float x = random_float(-2, 2);
            h[i] = format == FORMAT_F16 ? f16_from_f32(x) : bf16_from_f32(x);
        }
        return h;
    }
    uint8_t *bytes = fresh(n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)random_bits();
    return bytes;
}

static uint16_t *random_scales(size_t n)
{
    uint16_t *scales = fresh(n * sizeof *scales);
    for (size_t i = 0; i < n; i++)
        scales[i] = f16_from_f32(random_float(-0.01F, 0.01F));
    return scales;
}

static bool is_grouped(enum format format)
{
    return format == FORMAT_Q8_0 || format == FORMAT_Q4_0;
}

/* Element `i`, of 4 bits the half of byte i that `odd` says, with the scale of index s. */
static float element(const struct stored *x, size_t i, bool odd, size_t s)
{
    const uint8_t *bytes = x->elements;
    switch (x->format) {
    case FORMAT_F32:
        return ((const float *)x->elements)[i];
    case FORMAT_F16:
        return f16_to_f32(((const uint16_t *)x->elements)[i]);
    case FORMAT_BF16:
        return bf16_to_f32(((const uint16_t *)x->elements)[i]);
    case FORMAT_Q8_0:
        return f16_to_f32(x->scales[s]) * (float)(int8_t)bytes[i];
    default:
        return f16_to_f32(x->scales[s]) * (float)((odd ? bytes[i] >> 4 : bytes[i] & 15) - 8);
    }
}

/* Dimension d of key j. */
static float key_element(const struct stored *keys, size_t j, size_t d)
{
    size_t row = keys->format == FORMAT_Q4_0 ? d / 2 : d;
    return element(keys, row * keys->stride + j, d % 2 != 0, d / 32 * keys->stride + j);
}

/* Dimension d of value j. */
static float value_element(const struct stored *values, size_t j, size_t d, size_t dim)
{
    size_t groups = (dim + 31) / 32;
    size_t i = values->format == FORMAT_Q4_0 ? j * ((dim + 1) / 2) + d / 2 : j * dim + d;
    return element(values, i, d % 2 != 0, j * groups + d / 32);
}

/* Whole lanes of n keys; what lies behind the last may not be touched. */
static struct stored make_keys(enum format format, size_t n, size_t dim, bool ahead)
{
    size_t room = (n + 15) / 16 * 16, rows = format == FORMAT_Q4_0 ? (dim + 1) / 2 : dim;
    struct stored keys = {.format = format, .stride = room + 16 * (n % 3)};
    keys.elements = elements(format, (rows - 1) * keys.stride + room);
    if (is_grouped(format))
        keys.scales = random_scales((dim - 1) / 32 * keys.stride + room);
    keys.ahead = ahead ? keys.elements : NULL;
    return keys;
}

static struct stored make_values(enum format format, size_t n, size_t dim, bool ahead)
{
    size_t row = format == FORMAT_Q4_0 ? (dim + 1) / 2 : dim;
    struct stored values = {.format = format, .elements = elements(format, n * row)};
    if (is_grouped(format))
        values.scales = random_scales(n * ((dim + 31) / 32));
    values.ahead = ahead ? values.elements : NULL;
    return values;
}

/* --- checks -------------------------------------------------------------------------------- */

struct shape {
    enum format format;
    size_t n;
    size_t dim;
};

static void expect(bool good, const char *what, struct shape s)
{
    if (!good)
        ck_abort_msg("%s: %s, n %zu, dim %zu", what, format_info[s.format].name, s.n, s.dim);
}

static void check_score(const struct stored *keys, struct shape s, size_t j, const float *q,
                        float score)
{
    double sum = 0, magnitude = 0;
    for (size_t d = 0; d < s.dim; d++) {
        double term = (double)q[d] * key_element(keys, j, d);
        sum += term;
        magnitude += fabs(term);
    }
    expect(fabs(score - sum) <= (double)s.dim * 2 * EPSILON * magnitude, "score", s);
}

static void check_scores(const struct kernels *k, struct shape s)
{
    size_t room = (s.n + 15) / 16 * 16, lds = room + 5, size = (QUERIES_MAX - 1) * lds + room;
    struct stored keys = make_keys(s.format, s.n, s.dim, s.dim % 2 == 0);
    float *all = floats(size, 0, 0), *some = floats(size, 0, 0), *one = floats(room, 0, 0);
    float *unpacked = floats(s.dim * room, 0, 0);
    const float *q[QUERIES_MAX];
    for (int i = 0; i < QUERIES_MAX; i++)
        q[i] = floats(s.dim, -1, 1);
    k->attend_scores(all, lds, q, QUERIES_MAX, &keys, s.n, s.dim);
    for (size_t i = 0; i < QUERIES_MAX; i++) {
        for (size_t j = 0; j < s.n; j++)
            check_score(&keys, s, j, q[i], all[i * lds + j]);
        k->attend_scores(one, room, q + i, 1, &keys, s.n / 2 + 1, s.dim);
        expect(memcmp(one, all + i * lds, (s.n / 2 + 1) * sizeof *one) == 0,
               "scores of one query, fewer positions", s);
    }
    for (size_t d = 0; d < s.dim; d++)
        for (size_t j = 0; j < room; j++)
            unpacked[d * room + j] = key_element(&keys, j, d);
    const struct stored same = {FORMAT_F32, unpacked, NULL, room, NULL};
    for (size_t c = 0; c < COUNT(query_counts); c++) {
        k->attend_scores(some, lds, q, query_counts[c], c % 2 ? &keys : &same, s.n, s.dim);
        for (size_t i = 0; i < (size_t)query_counts[c]; i++)
            expect(memcmp(some + i * lds, all + i * lds, s.n * sizeof *all) == 0,
                   "scores of fewer queries, or of unpacked keys", s);
    }
    n_arrays = 0;
}

static void check_value(const struct stored *values, struct shape s, const float *p,
                        const float *start, const float *out)
{
    for (size_t d = 0; d < s.dim; d++) {
        double sum = start[d], magnitude = fabs(sum);
        for (size_t j = 0; j < s.n; j++) {
            double term = (double)p[j] * value_element(values, j, d, s.dim);
            sum += term;
            magnitude += fabs(term);
        }
        expect(fabs(out[d] - sum) <= (double)(s.n + 1) * 2 * EPSILON * magnitude, "value", s);
    }
}

/* Positions `first` on. */
static struct stored later(struct stored values, size_t first, size_t dim)
{
    static const size_t bytes[FORMAT_COUNT] = {
        [FORMAT_F32] = 4, [FORMAT_F16] = 2, [FORMAT_BF16] = 2, [FORMAT_Q8_0] = 1};
    size_t row = values.format == FORMAT_Q4_0 ? (dim + 1) / 2 : dim * bytes[values.format];
    values.elements = (const uint8_t *)values.elements + first * row;
    values.scales = values.scales ? values.scales + first * ((dim + 31) / 32) : NULL;
    values.ahead = NULL;
    return values;
}

static void check_values(const struct kernels *k, struct shape s)
{
    size_t ldp = s.n + 3, half = s.n / 2, bytes = s.dim * sizeof(float);
    struct stored values = make_values(s.format, s.n, s.dim, s.dim % 2 == 0);
    struct stored rest = later(values, half, s.dim);
    const float *p = floats((QUERIES_MAX - 1) * ldp + s.n, 0, 1), *start = floats(s.dim, -1, 1);
    float *unpacked = floats(s.n * s.dim, 0, 0);
    float *all[QUERIES_MAX], *some[QUERIES_MAX], *one = copy_of(start, s.dim);
    for (int i = 0; i < QUERIES_MAX; i++) {
        all[i] = copy_of(start, s.dim);
        some[i] = fresh(bytes);
    }
    k->attend_values(all, p, ldp, QUERIES_MAX, &values, s.n, s.dim);
    for (size_t i = 0; i < QUERIES_MAX; i++) {
        check_value(&values, s, p + i * ldp, start, all[i]);
        memcpy(one, start, bytes);
        k->attend_values(&one, p + i * ldp, ldp, 1, &values, half, s.dim);
        k->attend_values(&one, p + i * ldp + half, ldp, 1, &rest, s.n - half, s.dim);
        expect(memcmp(one, all[i], bytes) == 0, "values of one query, in two parts", s);
    }
    for (size_t j = 0; j < s.n; j++)
        for (size_t d = 0; d < s.dim; d++)
            unpacked[j * s.dim + d] = value_element(&values, j, d, s.dim);
    const struct stored same = {FORMAT_F32, unpacked, NULL, 0, NULL};
    for (size_t c = 0; c < COUNT(query_counts); c++) {
        for (int i = 0; i < query_counts[c]; i++)
            memcpy(some[i], start, bytes);
        k->attend_values(some, p, ldp, query_counts[c], c % 2 ? &values : &same, s.n, s.dim);
        for (int i = 0; i < query_counts[c]; i++)
            expect(memcmp(some[i], all[i], bytes) == 0,
                   "values of fewer queries, or of unpacked ones", s);
    }
    n_arrays = 0;
}

static struct kernels tier(int i)
{
    struct kernels k;
    struct error err;
    if (kernels_select(&k, kernels_available(i), &err))
        ck_abort_msg("%s", err.text);
    return k;
}

/* Every dimension in every format, with three numbers of positions each. */
START_TEST(test_stored)
{
    struct kernels k = tier(_i);
    size_t turn = 0;
    for (size_t f = 0; f < COUNT(formats); f++)
        for (size_t i = 0; i < 3 * COUNT(dims); i++, turn += 4) {
            struct shape s = {formats[f], positions[turn % COUNT(positions)],
                              dims[i % COUNT(dims)]};
            check_scores(&k, s);
            check_values(&k, s);
        }
}
END_TEST

/* Many groups: scales of few positions at a time. */
START_TEST(test_wide_heads)
{
    struct kernels k = tier(_i);
    for (size_t f = 0; f < COUNT(formats); f++) {
        check_scores(&k, (struct shape){formats[f], 16, 1100});
        check_values(&k, (struct shape){formats[f], 21, 1100});
    }
}
END_TEST

/* What stands in a real head from any position on. */
START_TEST(test_head_of_a_block)
{
    enum { DIM = 33, FIRST = 48 };
    struct kernels k = tier(_i);
    for (size_t f = 0; f < COUNT(formats); f++) {
        enum format format = formats[f];
        size_t bytes = stored_bytes(format, DIM);
        uint8_t *head = fresh(bytes);
        for (size_t i = 0; i < bytes; i++) /* no infinity or NaN in any format */
            head[i] = (uint8_t)(i % 2 ? 0x30 + random_bits() % 8 : random_bits());
        struct stored whole = stored_keys(format, head, DIM, 0);
        struct stored keys = stored_keys(format, head, DIM, FIRST);
        float scores[CACHE_BLOCK], fewer[CACHE_BLOCK];
        const float *q = floats(DIM, -1, 1);
        k.attend_scores(scores, CACHE_BLOCK, &q, 1, &whole, CACHE_BLOCK, DIM);
        k.attend_scores(fewer, CACHE_BLOCK, &q, 1, &keys, CACHE_BLOCK - FIRST, DIM);
        ck_assert_mem_eq(fewer, scores + FIRST, (CACHE_BLOCK - FIRST) * sizeof *scores);
        struct stored all = stored_values(format, head, DIM, 0);
        struct stored last = stored_values(format, head, DIM, CACHE_BLOCK - 1);
        float weights[CACHE_BLOCK] = {[CACHE_BLOCK - 1] = 1}, x[DIM] = {0}, y[DIM] = {0};
        float *out = x, *alone = y;
        k.attend_values(&out, weights, CACHE_BLOCK, 1, &all, CACHE_BLOCK, DIM);
        k.attend_values(&alone, weights + CACHE_BLOCK - 1, 1, 1, &last, 1, DIM);
        ck_assert_mem_eq(x, y, sizeof x);
        for (size_t d = 0; d < DIM; d++)
            ck_assert(y[d] == value_element(&all, CACHE_BLOCK - 1, d, DIM));
        n_arrays = 0;
    }
}
END_TEST

Suite *attend_stream_suite(void)
{
    Suite *suite = suite_create("attend_stream");
    TCase *tcase = tcase_create("tiers");
    int tiers = 0;
    while (kernels_available(tiers))
        tiers++;
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_stored, 0, tiers);
    tcase_add_loop_test(tcase, test_wide_heads, 0, tiers);
    tcase_add_loop_test(tcase, test_head_of_a_block, 0, tiers);
    suite_add_tcase(suite, tcase);
    return suite;
}
