/* codec: what is stored lies where the picture in cache.h puts it, is as near to what was given as
 * its format allows, and is read back as stored. */
#include "model/codec.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/half.h"
#include "tests/suites.h"

static const enum format formats[] = {FORMAT_F32, FORMAT_F16, FORMAT_BF16, FORMAT_Q8_0,
                                      FORMAT_Q4_0};
static const size_t dims[] = {1, 2, 3, 16, 31, 32, 33, 63, 64, 65, 80, 128, 129};
enum { N_FORMATS = 5, N_DIMS = sizeof dims / sizeof dims[0], DIM_MAX = 129, GUARD = 64 };

/* One head of one tier, between guard bytes, and what was stored to it. */
struct subject {
    struct kernels kernels;
    const struct codec *codec;
    enum format format;
    size_t dim;
    bool values;
    uint8_t *memory;
    void *head;
    float *x; /* (CACHE_BLOCK, dim) */
};

/* Bytes of a head as cache.h draws it. */
static size_t drawn_bytes(enum format format, size_t dim)
{
    size_t scales = 2 * ((dim + 31) / 32) * 128;
    switch (format) {
    case FORMAT_F32:
        return dim * 128 * 4;
    case FORMAT_Q8_0:
        return dim * 128 + scales;
    case FORMAT_Q4_0:
        return (dim + 1) / 2 * 128 + scales;
    default:
        return dim * 128 * 2;
    }
}

static void subject_open(struct subject *s, int tier, enum format format, size_t dim, bool values)
{
    struct error err;
    *s = (struct subject){.format = format, .dim = dim, .values = values};
    ck_assert_int_eq(kernels_select(&s->kernels, kernels_available(tier), &err), 0);
    s->codec = codec_find(format);
    ck_assert_ptr_nonnull(s->codec);
    size_t bytes = drawn_bytes(format, dim);
    ck_assert_uint_eq(codec_bytes(s->codec, dim), bytes);
    s->memory = aligned_alloc(64, bytes + 2 * GUARD);
    s->x = malloc(128 * dim * sizeof *s->x);
    ck_assert(s->memory && s->x);
    memset(s->memory, 0xA5, bytes + 2 * GUARD);
    s->head = s->memory + GUARD;
    memset(s->head, 0, bytes);
}

static void subject_close(struct subject *s)
{
    size_t bytes = drawn_bytes(s->format, s->dim);
    for (size_t i = 0; i < GUARD; i++) {
        ck_assert_uint_eq(s->memory[i], 0xA5);
        ck_assert_uint_eq(s->memory[GUARD + bytes + i], 0xA5);
    }
    free(s->memory);
    free(s->x);
}

/* The row is copied to where nothing follows it, so that a reader beyond it is seen by ASan. */
static void put(struct subject *s, size_t place, const float *x)
{
    memcpy(s->x + place * s->dim, x, s->dim * sizeof *x);
    float *alone = malloc(s->dim * sizeof *x);
    ck_assert_ptr_nonnull(alone);
    memcpy(alone, x, s->dim * sizeof *x);
    codec_put *store = s->values ? s->codec->put_value : s->codec->put_key;
    store(&s->kernels, s->head, s->dim, place, alone);
    free(alone);
}

static uint16_t u16_at(const void *head, size_t offset)
{
    uint16_t h;
    memcpy(&h, (const uint8_t *)head + offset, sizeof h);
    return h;
}

/* The scale of an element, from the picture. */
static float drawn_scale(const struct subject *s, size_t place, size_t d)
{
    size_t groups = (s->dim + 31) / 32;
    size_t elements = drawn_bytes(s->format, s->dim) - 2 * groups * 128;
    size_t index = s->values ? place * groups + d / 32 : d / 32 * 128 + place;
    return f16_to_f32(u16_at(s->head, elements + 2 * index));
}

/* An element, from the picture. */
static float drawn(const struct subject *s, size_t place, size_t d)
{
    size_t index = s->values ? place * s->dim + d : d * 128 + place;
    const uint8_t *bytes = s->head;
    float x;
    switch (s->format) {
    case FORMAT_F32:
        memcpy(&x, bytes + 4 * index, sizeof x);
        return x;
    case FORMAT_F16:
        return f16_to_f32(u16_at(bytes, 2 * index));
    case FORMAT_BF16:
        return bf16_to_f32(u16_at(bytes, 2 * index));
    case FORMAT_Q8_0:
        return drawn_scale(s, place, d) * (float)(int8_t)bytes[index];
    default:
        index = s->values ? place * ((s->dim + 1) / 2) + d / 2 : d / 2 * 128 + place;
        return drawn_scale(s, place, d) * (float)((bytes[index] >> (d % 2 * 4) & 15) - 8);
    }
}

static uint32_t random_state = 1;

static uint32_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

/* Rows of many sizes, now and then with zeros or one element that is far larger. */
static void random_row(float *x, size_t n)
{
    float size = exp2f((float)(random_bits() % 24) - 14);
    for (size_t d = 0; d < n; d++)
        x[d] = size * ((float)(random_bits() % 20001) - 10000) / 10000;
    if (random_bits() % 4 == 0)
        x[random_bits() % n] *= 30;
    if (random_bits() % 8 == 0)
        memset(x, 0, (n < 32 ? n : 32) * sizeof *x);
}

/* The first element of largest magnitude of an element's group. */
static double group_peak(const float *x, size_t n, size_t d)
{
    double peak = 0;
    for (size_t i = d / 32 * 32; i < n && i < d / 32 * 32 + 32; i++)
        if (fabs((double)x[i]) > fabs(peak))
            peak = x[i];
    return peak;
}

/* A scale is its ideal rounded to F16; of the integers, the nearest one is stored. Checks the first
 * and returns the error that goes with the second. */
static double quantized_error(const struct subject *s, size_t place, size_t d)
{
    const float *x = s->x + place * s->dim;
    bool q8 = s->format == FORMAT_Q8_0;
    double peak = group_peak(x, s->dim, d);
    double ideal = q8 ? fabs(peak) / 127 : peak / -8;
    double scale = drawn_scale(s, place, d);
    if (!(fabs(scale - ideal) <= fabs(ideal) * (0x1p-11 + 0x1p-22) + 0x1p-25))
        ck_abort_msg("scale %a, expected %a", scale, ideal);
    double best = INFINITY;
    for (int q = q8 ? -127 : -8; q <= (q8 ? 127 : 7); q++)
        best = fmin(best, fabs((double)x[d] - q * scale));
    return best + fabs((double)x[d]) * 0x1p-21;
}

static void check_element(const struct subject *s, size_t place, size_t d)
{
    double x = s->x[place * s->dim + d];
    double allowed = 0; /* error */
    if (s->format == FORMAT_F16)
        allowed = fabs(x) * 0x1p-11 + 0x1p-25;
    else if (s->format == FORMAT_BF16)
        allowed = fabs(x) * 0x1p-8;
    else if (s->format != FORMAT_F32)
        allowed = quantized_error(s, place, d);
    double found = drawn(s, place, d);
    if (!(fabs(found - x) <= allowed))
        ck_abort_msg("position %zu, dimension %zu: %a, stored %a, error allowed: %a", place, d,
                     found, x, allowed);
}

/* Positions [0, n) read back are what the picture says, and no other float is touched. */
static void check_get(const struct subject *s, size_t n)
{
    size_t bytes = DIM_MAX * CACHE_BLOCK * sizeof(float);
    float *out = malloc(bytes);
    ck_assert_ptr_nonnull(out);
    memset(out, 0xFF, bytes);
    codec_get *get = s->values ? s->codec->get_values : s->codec->get_keys;
    get(&s->kernels, s->head, s->dim, n, out);
    size_t read = 0;
    for (size_t i = 0; i < DIM_MAX * CACHE_BLOCK; i++) {
        size_t place = s->values ? i / s->dim : i % 128;
        size_t d = s->values ? i % s->dim : i / 128;
        if (place < n && d < s->dim) {
            if (out[i] != drawn(s, place, d))
                ck_abort_msg("position %zu, dimension %zu", place, d);
            read++;
        } else if (float_bits(out[i]) != 0xFFFFFFFF) {
            ck_abort_msg("float %zu was touched", i);
        }
    }
    ck_assert_uint_eq(read, n * s->dim);
    free(out);
}

static void check_subject(int tier, enum format format, size_t dim, bool values)
{
    struct subject s;
    subject_open(&s, tier, format, dim, values);
    float x[DIM_MAX];
    for (size_t i = 0; i < 128; i++) { /* in some order, each once */
        random_row(x, dim);
        put(&s, i * 37 % 128, x);
    }
    for (size_t place = 0; place < 128; place++)
        for (size_t d = 0; d < dim; d++)
            check_element(&s, place, d);
    if (s.codec->get_keys) {
        check_get(&s, 128);
        check_get(&s, 48);
        check_get(&s, values ? 1 : 16);
    }
    subject_close(&s);
}

START_TEST(test_format)
{
    for (int tier = 0; kernels_available(tier); tier++)
        for (size_t i = 0; i < N_DIMS; i++)
            for (int values = 0; values < 2; values++)
                check_subject(tier, formats[_i], dims[i], values);
}
END_TEST

/* Integers whose scale is 1, worked out by hand. */
START_TEST(test_bytes)
{
    struct subject s;
    float x[34];
    for (int values = 0; values < 2; values++) {
        size_t next = values ? 1 : 128;
        for (int d = 0; d < 34; d++)
            x[d] = (float)(d - 40);
        x[7] = -127;
        subject_open(&s, 0, FORMAT_Q8_0, 34, values);
        put(&s, 0, x);
        const int8_t *q = s.head;
        for (size_t d = 0; d < 32; d++)
            ck_assert_int_eq(q[d * next], (int)x[d]);
        ck_assert_uint_eq(u16_at(s.head, 34 * 128), 0x3C00);
        ck_assert_int_eq(q[32 * next], -127); /* the larger one of the group of -8 and -7 */
        subject_close(&s);

        for (int d = 0; d < 33; d++)
            x[d] = (float)(d % 16 - 8);
        subject_open(&s, 0, FORMAT_Q4_0, 33, values);
        put(&s, 0, x);
        const uint8_t *pairs = s.head;
        for (size_t i = 0; i < 16; i++)
            ck_assert_uint_eq(pairs[i * next], i % 8 * 2 + (i % 8 * 2 + 1) * 16);
        ck_assert_uint_eq(u16_at(s.head, 17 * 128), 0x3C00);
        ck_assert_uint_eq(pairs[16 * next], 0); /* -8, alone in its byte */
        subject_close(&s);
    }
}
END_TEST

/* What no scale of 16 bits can express: the largest there is; NaN stays in its group; nothing else
 * becomes infinite. */
START_TEST(test_extremes)
{
    static const float large[] = {9e6F, 3e38F, -3e38F, INFINITY, -INFINITY};
    float low = _i == 3 ? 127 : 8, high = _i == 3 ? 127 : 7;
    for (int values = 0; values < 2; values++) {
        struct subject s;
        subject_open(&s, 0, formats[_i], 40, values);
        for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
            float x[40] = {1, large[i], 0, -large[i]};
            x[39] = 5;
            put(&s, i, x);
            for (size_t d = 0; d < 4; d++) {
                ck_assert(isfinite(drawn(&s, i, d)));
                ck_assert_float_ge(fabsf(drawn_scale(&s, i, d)), 65504);
            }
            ck_assert_float_eq(drawn(&s, i, 1), copysignf(low * 65504, large[i]));
            ck_assert_float_eq(drawn(&s, i, 3), copysignf(high * 65504, -large[i]));
            ck_assert_float_eq_tol(drawn(&s, i, 39), 5, 0.01F);
        }
        float x[40] = {1, NAN, 3};
        x[39] = 5;
        put(&s, 100, x);
        for (size_t d = 0; d < 32; d++)
            ck_assert(isnan(drawn(&s, 100, d)));
        ck_assert_float_eq_tol(drawn(&s, 100, 39), 5, 0.01F);
        float tiny[40] = {1e-30F, -1e-30F, 1e-44F};
        put(&s, 101, tiny);
        for (size_t d = 0; d < 40; d++)
            ck_assert_float_eq(drawn(&s, 101, d), 0);
        subject_close(&s);
    }
}
END_TEST

START_TEST(test_names)
{
    char list[128] = "";
    for (int i = 0; i < N_FORMATS; i++) {
        const char *name = format_info[formats[i]].name;
        size_t length = strlen(list);
        snprintf(list + length, sizeof list - length, "%s%s", i > 0 ? ", " : "", name);
    }
    ck_assert_int_eq(strcasecmp(list, codec_names()), 0);
    int found = 0;
    for (int format = 0; format < FORMAT_COUNT; format++)
        found += codec_find((enum format)format) != NULL;
    ck_assert_int_eq(found, N_FORMATS);
}
END_TEST

Suite *codec_suite(void)
{
    Suite *suite = suite_create("codec");
    TCase *tcase = tcase_create("codec");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, test_format, 0, N_FORMATS);
    tcase_add_test(tcase, test_bytes);
    tcase_add_loop_test(tcase, test_extremes, 3, N_FORMATS);
    tcase_add_test(tcase, test_names);
    suite_add_tcase(suite, tcase);
    return suite;
}
