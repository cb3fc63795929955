/* test_stream: stop texts that begin and end anywhere, characters that come in parts. */
#include <check.h>
#include <string.h>

#include "commands/array.h"
#include "commands/stream.h"
#include "tests/suites.h"
#include "tests/tokenizer/toy.h"

enum { MAX_TOKENS = 300 };

static struct toy toy;

/* Ids 0 to 255 are the bytes. */
static void setup(void)
{
    struct toy_token tokens[MAX_TOKENS];
    size_t n = toy_add_bytes(tokens);
    struct gguf_image image;
    scratch_make();
    toy_image(&image, "gpt2", tokens, n);
    gguf_image_text(&image, "tokenizer.ggml.pre", "gpt-2");
    gguf_image_texts(&image, "tokenizer.ggml.merges", NULL, 0);
    toy_open(&toy, &image);
}

static void teardown(void)
{
    toy_close(&toy);
    scratch_remove();
}

/* Streams the bytes of `text` one token each and requires `expected`, and to have been stopped or
 * not. */
static void expect(const char *text, const char *const *stops, int n_stops, const char *expected,
                   bool stopped)
{
    struct options options = {.json = true, .stops.n = n_stops};
    for (int i = 0; i < n_stops; i++)
        options.stops.items[i] = stops[i];
    struct stream stream;
    struct error err;
    ck_assert_int_eq(stream_open(&stream, toy.tokenizer, &options, true, &err), 0);
    for (size_t i = 0; text[i] && !stream.stopped; i++) {
        int32_t id = tokenizer_find(toy.tokenizer, text + i, 1);
        ck_assert_int_ge(id, 0);
        ck_assert_int_eq(stream_token(&stream, id, &err), 0);
    }
    ck_assert_int_eq(stream_end(&stream, &err), 0);
    arrput(stream.text, '\0');
    ck_assert_str_eq(stream.text, expected);
    ck_assert_int_eq(stream.stopped, stopped);
    stream_close(&stream);
}

START_TEST(without_stops_everything_comes_out)
{
    expect("any text", NULL, 0, "any text", false);
    expect("caf\xC3\xA9 \xF0\x9F\xA6\x99", NULL, 0, "caf\xC3\xA9 \xF0\x9F\xA6\x99", false);
    expect("", NULL, 0, "", false);
}
END_TEST

START_TEST(stop_text_and_what_follows_stay_inside)
{
    const char *const stops[] = {"END"};
    expect("abcENDdef", stops, 1, "abc", true);
    expect("END", stops, 1, "", true);
    expect("abcEND", stops, 1, "abc", true);
}
END_TEST

START_TEST(beginnings_of_stop_texts_are_let_go)
{
    const char *const stops[] = {"END"};
    expect("ENENEN", stops, 1, "ENENEN", false);
    expect("abcEN", stops, 1, "abcEN", false);
    expect("EENDx", stops, 1, "E", true);
    const char *const repeated[] = {"aab"};
    expect("aaaab", repeated, 1, "aa", true);
}
END_TEST

START_TEST(earliest_of_several_stops_counts)
{
    const char *const stops[] = {"world", "lo", "xyz"};
    expect("hello world", stops, 3, "hel", true);
    const char *const nested[] = {"bcd", "abcde"};
    expect("zabcdef", nested, 2, "za", true);
}
END_TEST

START_TEST(unfinished_character_becomes_a_replacement)
{
    expect("a\xF0\x9F\xA6", NULL, 0, "a\xEF\xBF\xBD", false);
}
END_TEST

Suite *stream_suite(void)
{
    Suite *suite = suite_create("stream");
    TCase *tcase = tcase_create("stops");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, without_stops_everything_comes_out);
    tcase_add_test(tcase, stop_text_and_what_follows_stay_inside);
    tcase_add_test(tcase, beginnings_of_stop_texts_are_let_go);
    tcase_add_test(tcase, earliest_of_several_stops_counts);
    tcase_add_test(tcase, unfinished_character_becomes_a_replacement);
    suite_add_tcase(suite, tcase);
    return suite;
}
