/* test_plot: pictures of known points. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands/pictures/plot.h"
#include "tests/suites.h"

static struct plot_point rising[] = {
    {256, 10, 9, 11}, {1024, 100, 90, 110}, {4096, 1000, NAN, NAN}, {16384, NAN, NAN, NAN}};
static struct plot_point flat[] = {{256, 10, NAN, NAN}, {4096, 10, NAN, NAN}};

static char *draw(const struct plot *plot, const struct plot_style *style)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    ck_assert_ptr_nonnull(out);
    if (style)
        plot_write_text(plot, *style, out);
    else
        plot_write_svg(plot, out);
    fclose(out);
    return text;
}

static struct plot two_curves(struct plot_series series[2])
{
    series[0] = (struct plot_series){"sinusoidal", rising, 4};
    series[1] = (struct plot_series){"a<b & \"c\"", flat, 2};
    return (struct plot){
        .x_label = "tokens", .y_label = "perplexity", .series = series, .n_series = 2, .mark = 512};
}

START_TEST(axes_hold_all_points_and_mark_round_numbers)
{
    struct plot_series series[2];
    struct plot plot = two_curves(series);
    struct plot_axis x, y;
    ck_assert(plot_axes(&plot, &x, &y));
    ck_assert(x.low <= 256 && x.high >= 4096 && y.low <= 9 && y.high >= 1000);
    ck_assert_int_eq(x.n_ticks, 5); /* 256 to 4096 */
    for (int i = 0; i < x.n_ticks; i++)
        ck_assert_double_eq(x.ticks[i], 256 << i);
    ck_assert_double_eq(y.ticks[0], 10);
    ck_assert_double_eq(y.ticks[1], 20);
    ck_assert_double_eq_tol(plot_share(&y, sqrt(y.low * y.high)), 0.5, 1e-12);
    plot.n_series = 0;
    ck_assert(!plot_axes(&plot, &x, &y));
}
END_TEST

START_TEST(text_in_ascii_has_a_letter_a_point)
{
    struct plot_series series[2];
    struct plot plot = two_curves(series);
    struct plot_style style = {.columns = 60, .rows = 20};
    char *text = draw(&plot, &style);
    int points[2] = {0};
    char *line = text;
    for (char *next; (next = strchr(line, '\n')); line = next + 1) {
        *next = '\0';
        ck_assert_msg(strlen(line) <= 80, "%s", line);
        for (char *c = line; *c; c++) {
            ck_assert_msg(*c >= ' ' && *c < 127, "%s", line);
            bool plotted = c - line > 8 && strlen(line) > 9 && (line[8] == '|' || line[8] == '+');
            points[0] += plotted && *c == 'o' && line[8] == '|';
            points[1] += plotted && *c == 'x';
        }
    }
    ck_assert_int_ge(points[1], 2);
    free(text);
    char *again = draw(&plot, &style);
    ck_assert_ptr_nonnull(strstr(again, "perplexity   o sinusoidal   x a<b"));
    ck_assert_ptr_nonnull(strstr(again, "256"));
    ck_assert_ptr_null(strchr(again, '\033'));
    free(again);
}
END_TEST

START_TEST(text_in_unicode_draws_lines_and_colours_when_asked)
{
    struct plot_series series[2];
    struct plot plot = two_curves(series);
    struct plot_style style = {.columns = 60, .rows = 20, .unicode = true, .colour = true};
    char *text = draw(&plot, &style);
    ck_assert_ptr_nonnull(strstr(text, "●"));
    ck_assert_ptr_nonnull(strstr(text, "\033[31m▲"));
    ck_assert_ptr_nonnull(strstr(text, "\xe2\xa0")); /* braille */
    free(text);
}
END_TEST

START_TEST(svg_shows_what_is_finite_and_escapes_names)
{
    struct plot_series series[2];
    struct plot plot = two_curves(series);
    char *svg = draw(&plot, NULL);
    ck_assert_ptr_nonnull(strstr(svg, "a&lt;b &amp; \"c\""));
    ck_assert_ptr_nonnull(strstr(svg, "training length"));
    ck_assert_ptr_null(strstr(svg, "nan"));
    int circles = 0;
    int bars = 0;
    for (const char *at = svg; (at = strstr(at, "<circle")); at++)
        circles++;
    for (const char *at = svg; (at = strstr(at, " h6 M")); at++)
        bars++;
    ck_assert_int_eq(circles, 3 + 1); /* the points of the first curve, and its legend */
    ck_assert_int_eq(bars, 2);
    ck_assert_str_eq(svg + strlen(svg) - 7, "</svg>\n");
    free(svg);
}
END_TEST

Suite *plot_suite(void)
{
    Suite *suite = suite_create("plot");
    TCase *tests = tcase_create("plot");
    tcase_add_test(tests, axes_hold_all_points_and_mark_round_numbers);
    tcase_add_test(tests, text_in_ascii_has_a_letter_a_point);
    tcase_add_test(tests, text_in_unicode_draws_lines_and_colours_when_asked);
    tcase_add_test(tests, svg_shows_what_is_finite_and_escapes_names);
    suite_add_tcase(suite, tests);
    return suite;
}
