/* perplexity_picture: the curves of all points, in the terminal and in the file of --plot. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/size.h"
#include "commands/perplexity/perplexity_sweep.h"

int picture_open(struct picture *picture, const struct options *options, struct error *err)
{
    const char *path = options->plot;
    if (!path || strcmp(path, "-") == 0)
        return 0;
    size_t n = strlen(path);
    if (n > 4 && strcmp(path + n - 4, ".png") == 0)
        return error_set(err, "--plot: \"%s\": pictures are SVG; expected a name that ends in .svg",
                         path);
    picture->path = path;
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    picture->file = file >= 0 ? fdopen(file, "w") : NULL;
    if (!picture->file)
        return error_set(err, "%s: cannot open for writing: %s", path, strerror(errno));
    return 0;
}

void picture_close(struct picture *picture)
{
    struct stat info; /* a file that was only tried, and is new, goes */
    if (picture->file && fstat(fileno(picture->file), &info) == 0 && S_ISREG(info.st_mode) &&
        info.st_size == 0)
        unlink(picture->path);
    if (picture->file)
        fclose(picture->file);
    for (int i = 0; i < picture->plot.n_series; i++)
        free(picture->plot.series[i].points);
    free(picture->plot.series);
    *picture = (struct picture){0};
}

/* The curve of a model: the last one, as long as its points keep coming. */
static struct plot_series *find_series(struct plot *plot, const char *name, bool is_new,
                                       struct error *err)
{
    if (!is_new && plot->n_series > 0)
        return &plot->series[plot->n_series - 1];
    size_t bytes = ((size_t)plot->n_series + 1) * sizeof *plot->series;
    struct plot_series *grown = realloc(plot->series, bytes);
    if (!grown) {
        error_memory(err, "a curve", bytes);
        return NULL;
    }
    plot->series = grown;
    struct plot_series *series = &grown[plot->n_series++];
    *series = (struct plot_series){0};
    snprintf(series->name, sizeof series->name, "%s", name);
    return series;
}

int picture_add(struct picture *picture, const struct subject *subject, const struct point *point,
                const struct row *rows, int n_rows, struct error *err)
{
    struct plot_series *series =
        find_series(&picture->plot, subject->name, picture->subject != subject, err);
    if (!series)
        return -1;
    picture->subject = subject;
    size_t bytes = (size_t)(series->n + n_rows) * sizeof *series->points;
    struct plot_point *grown = realloc(series->points, bytes);
    if (!grown)
        return error_memory(err, "a curve", bytes);
    series->points = grown;
    for (int i = 0; i < n_rows; i++) {
        const struct row *row = &rows[i];
        if (row->whole && n_rows > 1)
            continue; /* no place on the curve */
        double x =
            row->whole ? (double)point->length : sqrt((double)row->first * (double)row->last);
        grown[series->n++] = (struct plot_point){x, exp(row->loss), exp(row->low), exp(row->high)};
    }
    return 0;
}

static int write_file(struct picture *picture, const char *path, struct error *err)
{
    FILE *file = picture->file;
    picture->file = NULL;
    bool written = ftruncate(fileno(file), 0) == 0 || errno == EINVAL; /* no regular file */
    plot_write_svg(&picture->plot, file);
    written = written && !ferror(file);
    if (fclose(file) == 0 && written)
        return 0;
    return error_set(err, "%s: cannot write: %s", path, strerror(errno));
}

int picture_write(struct picture *picture, const struct options *options, const struct plan *plan,
                  struct error *err)
{
    static const char *const labels[] = {
        [MODE_CHUNKED] = "tokens of a segment",
        [MODE_SLIDING] = "tokens of a window",
        [MODE_STREAMING] = "tokens before the one predicted",
        [MODE_POSITIONS] = "tokens before the one predicted",
    };
    bool terminal = isatty(STDOUT_FILENO) == 1;
    bool here = options->plot && strcmp(options->plot, "-") == 0;
    struct plot *plot = &picture->plot;
    plot->x_label = labels[plan->mode];
    plot->y_label = "perplexity";
    if (picture->file && write_file(picture, options->plot, err))
        return -1;
    bool curve = false;
    for (int i = 0; i < plot->n_series; i++)
        curve = curve || plot->series[i].n > 1;
    if (options->json || !(here || (terminal && curve)))
        return 0;
    plot_write_text(plot, plot_terminal_style(terminal), stdout);
    return output_write("", 0, err);
}
