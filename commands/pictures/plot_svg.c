/* plot_svg: a picture as SVG 1.1, which needs nothing outside itself. See plot.h. */
#include <math.h>
#include <string.h>

#include "commands/pictures/plot.h"
#include "commands/pictures/svg.h"

enum { WIDTH = 800, HEIGHT = 500, LEFT = 76, RIGHT = 24, TOP = 20, BOTTOM = 68, LEGEND_LINE = 20 };

/* Okabe and Ito's colours, which everybody can tell apart, without their yellow. */
static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                      "#000000", "#56b4e9", "#e69f00"};
enum { N_COLOURS = 7, N_DASHES = 3, N_SHAPES = 4 };
static const char *const dashes[N_DASHES] = {"", " stroke-dasharray=\"7 3\"",
                                             " stroke-dasharray=\"2 3\""};

struct frame {
    struct plot_axis x, y;
    int height; /* of the whole picture */
    int bottom; /* where the plot ends */
};

static double place_x(const struct frame *frame, double x)
{
    return LEFT + plot_share(&frame->x, x) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const struct frame *frame, double y)
{
    return frame->bottom - plot_share(&frame->y, y) * (frame->bottom - TOP);
}

static void put_axes(const struct plot *plot, const struct frame *frame, FILE *out)
{
    fputs("<g stroke=\"#e0e0e0\">\n", out);
    for (int i = 0; i < frame->x.n_ticks; i++)
        fprintf(out, "<path d=\"M%.1f %d V%d\"/>\n", place_x(frame, frame->x.ticks[i]), TOP,
                frame->bottom);
    for (int i = 0; i < frame->y.n_ticks; i++)
        fprintf(out, "<path d=\"M%d %.1f H%d\"/>\n", LEFT, place_y(frame, frame->y.ticks[i]),
                WIDTH - RIGHT);
    fprintf(out,
            "</g>\n<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" "
            "stroke=\"#444444\"/>\n",
            LEFT, TOP, WIDTH - LEFT - RIGHT, frame->bottom - TOP);
    fputs("<g text-anchor=\"middle\">\n", out);
    for (int i = 0; i < frame->x.n_ticks; i++)
        fprintf(out, "<text x=\"%.1f\" y=\"%d\">%.0f</text>\n", place_x(frame, frame->x.ticks[i]),
                frame->bottom + 20, frame->x.ticks[i]);
    if (plot->mark > frame->x.low && plot->mark < frame->x.high)
        fprintf(
            out,
            "<path stroke=\"#888888\" stroke-dasharray=\"4 4\" d=\"M%.1f %d V%d\"/>\n"
            "<text x=\"%.1f\" y=\"%d\" font-size=\"11\" fill=\"#666666\">training length</text>\n",
            place_x(frame, plot->mark), TOP, frame->bottom, place_x(frame, plot->mark), TOP - 6);
    fprintf(out, "<text x=\"%d\" y=\"%d\">%s</text>\n", (LEFT + WIDTH - RIGHT) / 2,
            frame->bottom + 44, plot->x_label);
    fprintf(out, "<text transform=\"translate(18 %d) rotate(-90)\">%s</text>\n",
            (TOP + frame->bottom) / 2, plot->y_label);
    fputs("</g>\n<g text-anchor=\"end\">\n", out);
    for (int i = 0; i < frame->y.n_ticks; i++)
        fprintf(out, "<text x=\"%d\" y=\"%.1f\">%.4g</text>\n", LEFT - 8,
                place_y(frame, frame->y.ticks[i]) + 5, frame->y.ticks[i]);
    fputs("</g>\n", out);
}

static void put_shape(FILE *out, int series, double x, double y)
{
    switch (series % N_SHAPES) {
    case 0:
        fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>\n", x, y);
        break;
    case 1:
        fprintf(out, "<path d=\"M%.1f %.1f l4 7 h-8 z\"/>\n", x, y - 4.5);
        break;
    case 2:
        fprintf(out, "<path d=\"M%.1f %.1f h7 v7 h-7 z\"/>\n", x - 3.5, y - 3.5);
        break;
    default:
        fprintf(out, "<path d=\"M%.1f %.1f l4.5 4.5 l-4.5 4.5 l-4.5 -4.5 z\"/>\n", x, y - 4.5);
    }
}

/* The curve, broken where a point cannot be shown; error bars; points. */
static void put_series(const struct plot_series *series, int number, const struct frame *frame,
                       FILE *out)
{
    const char *colour = colours[number % N_COLOURS];
    fprintf(out, "<g stroke=\"%s\" fill=\"%s\">\n<path fill=\"none\" stroke-width=\"1.6\"%s d=\"",
            colour, colour, dashes[number / N_COLOURS % N_DASHES]);
    bool before = false;
    for (int i = 0; i < series->n; i++) {
        const struct plot_point *p = &series->points[i];
        if (plot_shows(p))
            fprintf(out, "%s%.1f %.1f", before ? " L" : " M", place_x(frame, p->x),
                    place_y(frame, p->y));
        before = plot_shows(p);
    }
    fputs("\"/>\n", out);
    for (int i = 0; i < series->n; i++) {
        const struct plot_point *p = &series->points[i];
        if (!plot_shows(p))
            continue;
        double x = place_x(frame, p->x);
        if (isfinite(p->low) && isfinite(p->high)) {
            double low = place_y(frame, p->low);
            double high = place_y(frame, p->high);
            fprintf(out, "<path d=\"M%.1f %.1f V%.1f M%.1f %.1f h6 M%.1f %.1f h6\"/>\n", x, low,
                    high, x - 3, low, x - 3, high);
        }
        put_shape(out, number, x, place_y(frame, p->y));
    }
    fputs("</g>\n", out);
}

/* Below the plot, two columns. */
static void put_legend(const struct plot *plot, const struct frame *frame, FILE *out)
{
    int columns = plot->n_series > 3 ? 2 : 1;
    for (int s = 0; s < plot->n_series; s++) {
        double x = LEFT + s % columns * (WIDTH - LEFT - RIGHT) / columns;
        double y = frame->bottom + BOTTOM + LEGEND_LINE * (s / columns);
        const char *colour = colours[s % N_COLOURS];
        fprintf(
            out,
            "<g stroke=\"%s\" fill=\"%s\"><path stroke-width=\"1.6\"%s d=\"M%.1f %.1f h30\"/>\n",
            colour, colour, dashes[s / N_COLOURS % N_DASHES], x, y);
        put_shape(out, s, x + 15, y);
        fprintf(out, "</g>\n<text x=\"%.1f\" y=\"%.1f\">", x + 38, y + 5);
        svg_put_text(out, plot->series[s].name);
        fputs("</text>\n", out);
    }
}

void plot_write_svg(const struct plot *plot, FILE *out)
{
    struct frame frame = {.bottom = HEIGHT - BOTTOM};
    int columns = plot->n_series > 3 ? 2 : 1;
    frame.height = HEIGHT + LEGEND_LINE * ((plot->n_series + columns - 1) / columns);
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" font-family=\"sans-serif\" font-size=\"14\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
            WIDTH, frame.height, WIDTH, frame.height);
    if (plot_axes(plot, &frame.x, &frame.y)) {
        put_axes(plot, &frame, out);
        for (int s = 0; s < plot->n_series; s++)
            put_series(&plot->series[s], s, &frame, out);
        put_legend(plot, &frame, out);
    }
    fputs("</svg>\n", out);
}
