/* plot_text: a picture for a terminal: one letter or symbol a model, braille or ASCII dots for the
 * lines between the points. See plot.h. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "commands/pictures/plot.h"

enum { LEFT = 9, MAX_COLUMNS = 120, MAX_ROWS = 40 };

/* A picture in cells of 2 x 4 dots (of braille; ASCII has one dot a cell). */
struct canvas {
    int columns, rows;
    uint8_t dots[MAX_ROWS][MAX_COLUMNS];  /* bits of braille: see dot_bit */
    uint8_t owner[MAX_ROWS][MAX_COLUMNS]; /* 1 + the series whose colour the cell has; 0: none */
    char marks[MAX_ROWS][MAX_COLUMNS];    /* 1 + the series whose symbol stands there; 0: none */
};

static const char *const symbols[] = {"●", "▲", "■", "◆", "○", "△", "□", "◇", "✚", "✖"};
static const char letters[] = "oxv#*+@%&=";
enum { N_SYMBOLS = 10, N_COLOURS = 6 };
static const int colours[N_COLOURS] = {34, 31, 32, 35, 36, 33};

struct plot_style plot_terminal_style(bool terminal)
{
    const char *locale = getenv("LC_ALL");
    const char *term = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");
    if (!locale || !*locale)
        locale = getenv("LC_CTYPE");
    if (!locale || !*locale)
        locale = getenv("LANG");
    bool dumb = terminal && (!term || strcmp(term, "dumb") == 0);
    struct plot_style style = {.columns = 80, .rows = 24};
    struct winsize size;
    if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        style.columns = size.ws_col;
    style.unicode = !dumb && locale && (strcasestr(locale, "utf-8") || strcasestr(locale, "utf8"));
    style.colour = terminal && !dumb && !(no_colour && *no_colour);
    return style;
}

/* Braille numbers its dots 1-3 down the left, 4-6 down the right, 7 and 8 below. */
static uint8_t dot_bit(int x, int y)
{
    static const uint8_t bits[4][2] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    return bits[y & 3][x & 1];
}

static void set_dot(struct canvas *canvas, double x, double y, int series)
{
    int column = (int)(x * (canvas->columns * 2 - 1) + 0.5);
    int row = (int)((1 - y) * (canvas->rows * 4 - 1) + 0.5);
    if (column < 0 || row < 0 || column >= canvas->columns * 2 || row >= canvas->rows * 4)
        return;
    canvas->dots[row / 4][column / 2] |= dot_bit(column, row);
    canvas->owner[row / 4][column / 2] = (uint8_t)(series + 1);
}

static void draw_series(struct canvas *canvas, const struct plot_series *series, int number,
                        const struct plot_axis *x, const struct plot_axis *y)
{
    double x0 = 0, y0 = 0;
    bool before = false;
    for (int i = 0; i < series->n; i++) {
        const struct plot_point *point = &series->points[i];
        if (!plot_shows(point)) {
            before = false;
            continue;
        }
        double x1 = plot_share(x, point->x);
        double y1 = plot_share(y, point->y);
        int steps = 2 * (canvas->columns + canvas->rows * 4);
        for (int k = 0; before && k <= steps; k++)
            set_dot(canvas, x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps, number);
        int column = (int)(x1 * (canvas->columns * 2 - 1) + 0.5) / 2;
        int row = (int)((1 - y1) * (canvas->rows * 4 - 1) + 0.5) / 4;
        canvas->marks[row][column] = (char)(number + 1);
        x0 = x1;
        y0 = y1;
        before = true;
    }
}

static void put_colour(FILE *out, struct plot_style style, int series)
{
    if (style.colour)
        fprintf(out, "\033[%dm", colours[series % N_COLOURS]);
}

static void end_colour(FILE *out, struct plot_style style)
{
    if (style.colour)
        fputs("\033[0m", out);
}

static void put_symbol(FILE *out, struct plot_style style, int series)
{
    put_colour(out, style, series);
    if (style.unicode)
        fputs(symbols[series % N_SYMBOLS], out);
    else
        fputc(letters[series % N_SYMBOLS], out);
    end_colour(out, style);
}

static void put_cell(const struct canvas *canvas, int row, int column, struct plot_style style,
                     FILE *out)
{
    int mark = canvas->marks[row][column];
    uint8_t dots = canvas->dots[row][column];
    if (mark > 0) {
        put_symbol(out, style, mark - 1);
    } else if (!dots) {
        fputc(' ', out);
    } else if (style.unicode) {
        put_colour(out, style, canvas->owner[row][column] - 1);
        /* U+2800 and the dots, in UTF-8 */
        fprintf(out, "\xe2%c%c", 0xa0 + (dots >> 6), 0x80 + (dots & 63));
        end_colour(out, style);
    } else {
        fputc('.', out);
    }
}

/* "256", "4k", "1M": lengths as people write them. */
static int length_text(double length, char *text, size_t size)
{
    if (length >= 0x1p20)
        return snprintf(text, size, "%.0fM", length / 0x1p20);
    if (length >= 0x1p12)
        return snprintf(text, size, "%.0fk", length / 0x1p10);
    return snprintf(text, size, "%.0f", length);
}

static void put_x_axis(const struct plot *plot, const struct plot_axis *x, int columns,
                       struct plot_style style, FILE *out)
{
    char line[MAX_COLUMNS + LEFT + 32];
    memset(line, ' ', sizeof line);
    int used = 0;
    for (int i = 0; i < x->n_ticks; i++) {
        char text[32];
        int n = length_text(x->ticks[i], text, sizeof text);
        int at = (int)(plot_share(x, x->ticks[i]) * (columns - 1) + 0.5) - n / 2;
        at = at < 0 ? 0 : at;
        if (at > used || used == 0) {
            memcpy(line + at, text, (size_t)n);
            used = at + n;
        }
    }
    fprintf(out, "%*s%s", LEFT - 1, "", style.unicode ? "└" : "+");
    for (int i = 0; i < columns; i++)
        fputs(style.unicode ? "─" : "-", out);
    int indent = (columns - (int)strlen(plot->x_label)) / 2;
    fprintf(out, "\n%*s%.*s\n", LEFT, "", used, line);
    fprintf(out, "%*s%s\n", LEFT + (indent > 0 ? indent : 0), "", plot->x_label);
}

static void put_legend(const struct plot *plot, struct plot_style style, FILE *out)
{
    fprintf(out, "%*s%s", LEFT, "", plot->y_label);
    for (int s = 0; s < plot->n_series; s++) {
        fputs("   ", out);
        put_symbol(out, style, s);
        fprintf(out, " %s", plot->series[s].name);
    }
    fputc('\n', out);
}

void plot_write_text(const struct plot *plot, struct plot_style style, FILE *out)
{
    struct plot_axis x, y;
    struct canvas canvas = {0};
    if (!plot_axes(plot, &x, &y))
        return;
    int columns = style.columns - LEFT - 1;
    int rows = style.rows - 7;
    canvas.columns = columns < 20 ? 20 : columns > MAX_COLUMNS ? MAX_COLUMNS : columns;
    canvas.rows = rows < 6 ? 6 : rows > MAX_ROWS ? MAX_ROWS : rows;
    for (int s = 0; s < plot->n_series; s++)
        draw_series(&canvas, &plot->series[s], s, &x, &y);
    fputc('\n', out);
    put_legend(plot, style, out);
    for (int row = 0; row < canvas.rows; row++) {
        const char *bar = style.unicode ? "│" : "|";
        char label[LEFT + 24] = "";
        for (int i = 0; i < y.n_ticks; i++)
            if ((int)((1 - plot_share(&y, y.ticks[i])) * (canvas.rows - 1) + 0.5) == row) {
                snprintf(label, sizeof label, "%.4g", y.ticks[i]);
                bar = style.unicode ? "┤" : "+";
            }
        fprintf(out, "%*s%s", LEFT - 1, label, bar);
        int last = canvas.columns - 1;
        while (last >= 0 && !canvas.marks[row][last] && !canvas.dots[row][last])
            last--;
        for (int column = 0; column <= last; column++)
            put_cell(&canvas, row, column, style, out);
        fputc('\n', out);
    }
    put_x_axis(plot, &x, canvas.columns, style, out);
}
