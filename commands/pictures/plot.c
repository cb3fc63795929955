/* plot: the axes that both forms of a picture share. See plot.h. */
#include "commands/pictures/plot.h"

#include <math.h>

bool plot_shows(const struct plot_point *point)
{
    return isfinite(point->x) && point->x > 0 && isfinite(point->y) && point->y > 0;
}

static void widen(struct plot_axis *axis, double value)
{
    if (!isfinite(value) || value <= 0)
        return;
    axis->low = axis->low > 0 && axis->low < value ? axis->low : value;
    axis->high = axis->high > value ? axis->high : value;
}

static void add_tick(struct plot_axis *axis, double value)
{
    if (axis->n_ticks < PLOT_TICKS_MAX && value >= axis->low * (1 - 1e-9) &&
        value <= axis->high * (1 + 1e-9))
        axis->ticks[axis->n_ticks++] = value;
}

/* Powers of two, every one or every second, third ... so that there are at most ten. */
static void mark_lengths(struct plot_axis *axis)
{
    int first = (int)floor(log2(axis->low) + 1e-9);
    int last = (int)ceil(log2(axis->high) - 1e-9);
    int step = 1 + (last - first) / 10;
    axis->low = ldexp(1, first);
    axis->high = ldexp(1, last);
    for (int e = first; e <= last; e += step)
        add_tick(axis, ldexp(1, e));
    double margin = pow(2, fmax(0.25, 0.02 * (last - first)));
    axis->low /= margin;
    axis->high *= margin;
}

/* Round numbers: over less than a decade steps of 1, 2 or 5 times a power of ten, over more the
 * numbers 1, 2, 5 of each decade, over many the decades alone. */
static void mark_values(struct plot_axis *axis)
{
    double ratio = axis->high / axis->low;
    if (ratio < 1.02) {
        axis->low *= 0.98;
        axis->high *= 1.02;
    } else {
        double margin = pow(ratio, 0.04);
        axis->low /= margin;
        axis->high *= margin;
    }
    if (axis->high / axis->low < 8) {
        double step = pow(10, floor(log10((axis->high - axis->low) / 4)));
        double steps = (axis->high - axis->low) / step;
        step *= steps > 25 ? 5 : steps > 10 ? 2 : 1;
        for (double at = ceil(axis->low / step) * step; at <= axis->high; at += step)
            add_tick(axis, at);
        return;
    }
    static const double digits[] = {1, 2, 5};
    int decades = (int)log10(axis->high / axis->low);
    int every = 1 + decades / 12;
    int e = (int)floor(log10(axis->low));
    for (e -= ((e % every) + every) % every; pow(10, e) <= axis->high; e += every)
        for (int d = 0; d < (decades <= 3 ? 3 : 1); d++)
            add_tick(axis, digits[d] * pow(10, e));
}

bool plot_axes(const struct plot *plot, struct plot_axis *x, struct plot_axis *y)
{
    *x = *y = (struct plot_axis){0};
    for (int s = 0; s < plot->n_series; s++)
        for (int i = 0; i < plot->series[s].n; i++) {
            const struct plot_point *point = &plot->series[s].points[i];
            if (!plot_shows(point))
                continue;
            widen(x, point->x);
            widen(y, point->y);
            widen(y, point->low);
            widen(y, point->high);
        }
    if (x->high <= 0)
        return false;
    mark_lengths(x);
    mark_values(y);
    return true;
}

double plot_share(const struct plot_axis *axis, double value)
{
    return log(value / axis->low) / log(axis->high / axis->low);
}
