/* test_checksum: XXH64 as its other implementations have it (the values of the reference
 * implementation and of python-xxhash's documentation). */
#include "base/checksum.h"

#include <check.h>
#include <string.h>

#include "tests/suites.h"

START_TEST(known_values)
{
    static const struct {
        const char *text;
        uint64_t sum;
    } known[] = {
        {"", 0xef46db3751d8e999},
        {"a", 0xd24ec4f1a98c6e5b},
        {"abc", 0x44bc2cf5ad770999},
        {"Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        ck_assert_uint_eq(checksum(known[i].text, strlen(known[i].text)), known[i].sum);
    ck_assert_uint_eq(checksum(NULL, 0), known[0].sum);
}
END_TEST

START_TEST(every_bit_counts)
{
    unsigned char bytes[100];
    for (size_t n = 0; n <= sizeof bytes; n++) {
        memset(bytes, 7, sizeof bytes);
        uint64_t sum = checksum(bytes, n);
        for (size_t i = 0; i < n * 8; i++) {
            bytes[i / 8] ^= (unsigned char)(1U << i % 8);
            ck_assert_uint_ne(checksum(bytes, n), sum);
            bytes[i / 8] ^= (unsigned char)(1U << i % 8);
        }
    }
}
END_TEST

Suite *checksum_suite(void)
{
    Suite *suite = suite_create("checksum");
    TCase *tcase = tcase_create("checksum");
    tcase_add_test(tcase, known_values);
    tcase_add_test(tcase, every_bit_counts);
    suite_add_tcase(suite, tcase);
    return suite;
}
