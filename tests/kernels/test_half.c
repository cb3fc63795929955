/* test_half: 16-bit floats, all of them, against the definition: value by ldexp, and rounding by
 * where the midpoint between two neighbours goes. */
#include "kernels/half.h"

#include <check.h>
#include <math.h>

#include "tests/suites.h"

/* |h| < 0x7C00 by IEEE 754: fraction * 2^-24 below exponent 1, else (1024 + fraction) * 2^(e - 25).
 */
static float f16_value(unsigned h)
{
    int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 1023);
    double x = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    return (float)(h & 0x8000 ? -x : x);
}

START_TEST(every_f16_has_its_value)
{
    for (unsigned h = 0; h < 0x10000; h++) {
        float x = f16_to_f32((uint16_t)h);
        ck_assert_int_eq(signbit(x) != 0, h >> 15);
        if ((h & 0x7FFF) > 0x7C00)
            ck_assert(isnan(x));
        else if ((h & 0x7FFF) == 0x7C00)
            ck_assert(isinf(x));
        else
            ck_assert_uint_eq(float_bits(x), float_bits(f16_value(h)));
    }
}
END_TEST

START_TEST(every_f16_survives)
{
    for (unsigned h = 0; h < 0x10000; h++)
        if ((h & 0x7FFF) <= 0x7C00)
            ck_assert_uint_eq(f16_from_f32(f16_to_f32((uint16_t)h)), h);
        else
            ck_assert(isnan(f16_to_f32(f16_from_f32(f16_to_f32((uint16_t)h)))));
}
END_TEST

typedef uint16_t round_half(float x);

/* Between neighbours below and below + 1: up to the midpoint, at it to the even one, and past it.
 */
static void check_between(round_half *round, unsigned below, float midpoint)
{
    ck_assert_uint_eq(round(nextafterf(midpoint, 0)), below);
    ck_assert_uint_eq(round(midpoint), below + (below & 1));
    ck_assert_uint_eq(round(nextafterf(midpoint, INFINITY)), below + 1);
    ck_assert_uint_eq(round(-midpoint), (below + (below & 1)) | 0x8000);
}

START_TEST(f16_rounds_to_nearest_even)
{
    for (unsigned h = 0; h < 0x7C00; h++) {
        double next = h == 0x7BFF ? 65536 : (double)f16_value(h + 1);
        check_between(f16_from_f32, h, (float)(((double)f16_value(h) + next) / 2));
    }
    ck_assert_uint_eq(f16_from_f32(0x1p-149F), 0);
    ck_assert_uint_eq(f16_from_f32(-0x1p-149F), 0x8000);
    ck_assert_uint_eq(f16_from_f32(0x1.fffffep127F), 0x7C00);
    ck_assert_uint_eq(f16_from_f32(-INFINITY), 0xFC00);
    ck_assert(isnan(f16_to_f32(f16_from_f32(float_from_bits(0x7F800001)))));
    ck_assert(isnan(f16_to_f32(f16_from_f32(float_from_bits(0xFFFFFFFF)))));
}
END_TEST

START_TEST(bf16_rounds_to_nearest_even)
{
    for (unsigned h = 0; h < 0x7F80; h++) {
        ck_assert_uint_eq(float_bits(bf16_to_f32((uint16_t)h)), h << 16);
        ck_assert_uint_eq(bf16_from_f32(bf16_to_f32((uint16_t)h)), h);
        check_between(bf16_from_f32, h, float_from_bits(h << 16 | 0x8000));
    }
    ck_assert_uint_eq(bf16_from_f32(-INFINITY), 0xFF80);
    /* NaNs whose set bits are all in the half that is cut off, and whose sum would overflow */
    ck_assert(isnan(bf16_to_f32(bf16_from_f32(float_from_bits(0x7F800001)))));
    ck_assert(isnan(bf16_to_f32(bf16_from_f32(float_from_bits(0xFFFFFFFF)))));
}
END_TEST

Suite *half_suite(void)
{
    Suite *suite = suite_create("half");
    TCase *tcase = tcase_create("half");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, every_f16_has_its_value);
    tcase_add_test(tcase, every_f16_survives);
    tcase_add_test(tcase, f16_rounds_to_nearest_even);
    tcase_add_test(tcase, bf16_rounds_to_nearest_even);
    suite_add_tcase(suite, tcase);
    return suite;
}
