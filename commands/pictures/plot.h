/* plot: curves over lengths, both axes logarithmic: as text for a terminal, and as SVG. */
#ifndef LONGHAND_COMMANDS_PLOT_H
#define LONGHAND_COMMANDS_PLOT_H

#include <stdbool.h>
#include <stdio.h>

struct plot_point {
    double x, y;      /* > 0; what is not finite is left out */
    double low, high; /* the error bar; NaN: none */
};

struct plot_series {
    char name[100];
    struct plot_point *points; /* x rising */
    int n;
};

struct plot {
    const char *x_label;
    const char *y_label;
    struct plot_series *series;
    int n_series;
    double mark; /* x of the training length; 0: not shown */
};

/* What both forms share: the range of an axis, and the numbers that it marks. */
enum { PLOT_TICKS_MAX = 32 };
struct plot_axis {
    double low, high; /* 0 < low < high */
    double ticks[PLOT_TICKS_MAX];
    int n_ticks;
};

/* Whether a point has a place on logarithmic axes. */
bool plot_shows(const struct plot_point *point);
/* The axes that show all points and error bars: x marked at powers of two, y at round numbers.
 * False where no point can be shown. */
bool plot_axes(const struct plot *plot, struct plot_axis *x, struct plot_axis *y);
/* Where on the axis, 0 at its low end and 1 at its high end. */
double plot_share(const struct plot_axis *axis, double value);

struct plot_style {
    int columns, rows; /* of the whole picture */
    bool unicode;      /* otherwise ASCII */
    bool colour;
};
/* What a terminal can show, by its size, LC_ALL, LC_CTYPE, LANG, TERM and NO_COLOR. */
struct plot_style plot_terminal_style(bool terminal);

void plot_write_text(const struct plot *plot, struct plot_style style, FILE *out);
void plot_write_svg(const struct plot *plot, FILE *out);

#endif
