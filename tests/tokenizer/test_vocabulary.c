/* test_vocabulary: the index from bytes to ids. */
#include "tokenizer/vocabulary.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/suites.h"

static struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

START_TEST(bytes_are_parsed_strictly)
{
    static const char *const bad[] = {"<0x-1>", "<0x+1>",  "<0x1>",  "<0x 1>", "<0X41>", "<0x41",
                                      "0x41>",  "<0x411>", "<0xG0>", "<0x4 >", "",       "A"};
    ck_assert_int_eq(vocabulary_parse_byte(text_of("<0x00>")), 0);
    ck_assert_int_eq(vocabulary_parse_byte(text_of("<0xFF>")), 255);
    ck_assert_int_eq(vocabulary_parse_byte(text_of("<0xa9>")), 0xA9);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(vocabulary_parse_byte(text_of(bad[i])) == -1, "%s", bad[i]);
}
END_TEST

/* Every length around the index's word sizes, differing in one byte at every place. */
START_TEST(pieces_are_told_apart)
{
    enum { LONGEST = 40 };
    static char pieces[LONGEST * LONGEST][LONGEST + 1];
    struct error err;
    struct vocabulary vocabulary;
    int32_t n = 0;
    ck_assert_int_eq(vocabulary_init(&vocabulary, LONGEST * (LONGEST + 1) / 2, 0, &err), 0);
    for (size_t length = 1; length <= LONGEST; length++) {
        for (size_t at = 0; at < length; at++, n++) {
            memset(pieces[n], 'a', length);
            pieces[n][at] = 'b';
            vocabulary.pieces[n] = (struct text){pieces[n], length};
        }
    }
    ck_assert_int_eq(n, vocabulary.n_tokens);
    ck_assert_int_eq(vocabulary_index(&vocabulary, &err), 0);
    ck_assert_uint_eq(vocabulary.longest, LONGEST);
    ck_assert(!vocabulary.has_duplicates);
    for (int32_t id = 0; id < n; id++) {
        char copy[LONGEST];
        size_t length = vocabulary.pieces[id].length;
        memcpy(copy, pieces[id], length);
        ck_assert_int_eq(vocabulary_find(&vocabulary, copy, length), id);
        memset(copy, 'a', length);
        ck_assert_int_eq(vocabulary_find(&vocabulary, copy, length), -1);
    }
    ck_assert_int_eq(vocabulary_find(&vocabulary, "", 0), -1);
    vocabulary_free(&vocabulary);
    vocabulary_free(&vocabulary);
}
END_TEST

START_TEST(duplicates_bytes_and_kinds)
{
    struct error err;
    struct vocabulary vocabulary;
    ck_assert_int_eq(vocabulary_init(&vocabulary, 6, 0, &err), 0);
    static const char *const pieces[] = {"A", "A", "B", "B", "", "</s>"};
    static const uint8_t kinds[] = {TOKEN_BYTE,   TOKEN_NORMAL, TOKEN_NORMAL,
                                    TOKEN_NORMAL, TOKEN_NORMAL, TOKEN_CONTROL};
    for (int i = 0; i < 6; i++) {
        vocabulary.pieces[i] = text_of(pieces[i]);
        vocabulary.kinds[i] = kinds[i];
    }
    ck_assert_int_eq(vocabulary_index(&vocabulary, &err), 0);
    ck_assert_int_eq(vocabulary_find(&vocabulary, "A", 1), 1);
    ck_assert_int_eq(vocabulary_find(&vocabulary, "B", 1), 2);
    ck_assert(vocabulary.has_duplicates);
    ck_assert_int_eq(vocabulary_find(&vocabulary, "</s>", 4), 5);
    ck_assert_int_eq(vocabulary_find_text(&vocabulary, "</s>", 4), -1);
    ck_assert_int_eq(vocabulary_find_text(&vocabulary, "A", 1), 1);
    vocabulary_free(&vocabulary);
}
END_TEST

Suite *vocabulary_suite(void)
{
    Suite *suite = suite_create("vocabulary");
    TCase *tcase = tcase_create("vocabulary");
    tcase_add_test(tcase, bytes_are_parsed_strictly);
    tcase_add_test(tcase, pieces_are_told_apart);
    tcase_add_test(tcase, duplicates_bytes_and_kinds);
    suite_add_tcase(suite, tcase);
    return suite;
}
