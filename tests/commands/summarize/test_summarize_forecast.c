/* test_summarize_forecast: what is left of summaries of summaries, counted by hand. */
#include <check.h>

#include "commands/summarize/summarize.h"
#include "tests/suites.h"

/* Levels of 100, 20, 4 passages and 1: 2000, 400 and 80 tokens of summaries are read, and 25 frames
 * of 10 tokens; 20 and 4 summaries of 20 tokens are written, and the last one. */
START_TEST(levels_follow_until_one_passage_is_left)
{
    struct forecast forecast = {.frame = 10, .filled = 100, .said = 20, .last = 50};
    struct load load = forecast_levels(&forecast, 100);
    ck_assert_double_eq(load.read, 2000 + 400 + 80 + 25 * 10);
    ck_assert_double_eq(load.written, 24 * 20 + 50);
}
END_TEST

START_TEST(nothing_follows_one_passage_or_what_is_not_shorter)
{
    struct forecast forecast = {.frame = 10, .filled = 100, .said = 76, .last = 90};
    ck_assert_double_eq(forecast_levels(&forecast, 1000).read, 0);
    forecast.said = 20;
    ck_assert_double_eq(forecast_levels(&forecast, 1).written, 0);
}
END_TEST

/* Two seconds for the first request are not counted: 300 tokens were read in 3 s, 50 written in 1.
 */
START_TEST(reading_and_writing_have_each_their_pace)
{
    struct summarizer s = {.prompt_tokens = 400, .new_tokens = 60, .write_seconds = 1.5};
    s.warm.at = 102;
    s.warm.write_seconds = 0.5;
    s.warm.prompt_tokens = 100;
    s.warm.new_tokens = 10;
    struct load load = {.read = 1000, .written = 500};
    ck_assert_double_eq_tol(forecast_seconds(&s, 106, load), 10 + 10, 1e-9);
}
END_TEST

Suite *summarize_forecast_suite(void)
{
    Suite *suite = suite_create("summarize_forecast");
    TCase *tcase = tcase_create("forecast");
    tcase_add_test(tcase, levels_follow_until_one_passage_is_left);
    tcase_add_test(tcase, nothing_follows_one_passage_or_what_is_not_shorter);
    tcase_add_test(tcase, reading_and_writing_have_each_their_pace);
    suite_add_tcase(suite, tcase);
    return suite;
}
