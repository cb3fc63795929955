/* perplexity_sweep: a whole run of the command: its record on disk, its picture, its reports. */
#ifndef LONGHAND_COMMANDS_PERPLEXITY_SWEEP_H
#define LONGHAND_COMMANDS_PERPLEXITY_SWEEP_H

#include <stdio.h>

#include "commands/perplexity/perplexity.h"
#include "commands/pictures/plot.h"

/* The file that results are appended to, and beside it ("FILE.parts") the losses of all pieces,
 * from which an interrupted run goes on. Zeroed: there is none. */
struct record {
    const char *path;
    char parts_path[4096];
    int csv;
    int parts;
    char *old_parts; /* what was there at the start, NUL-terminated */
    bool open;
    bool failed;   /* something could not be written */
    double synced; /* when parts last reached the disk */
};

int record_open(struct record *record, const char *path, struct error *err);
int record_close(struct record *record, struct error *err); /* accepts a zeroed struct */
/* Fills in what earlier runs have measured of the point; returns how many stretches. */
int64_t record_restore(const struct record *record, struct point *point);
int record_stretch(struct record *record, const struct point *point, int64_t stretch,
                   const struct effort *effort, struct error *err);
/* Appends the lines of a point's rows, unless they are there. */
int record_rows(struct record *record, const struct subject *subject, const struct plan *plan,
                const struct point *point, const struct row *rows, int n_rows, struct error *err);

/* The curves of all points. */
struct picture {
    const char *path; /* of --plot */
    FILE *file;       /* NULL: none */
    struct plot plot;
    const struct subject *subject; /* whose curve is the last */
};
/* Finds out whether --plot can be written. */
int picture_open(struct picture *picture, const struct options *options, struct error *err);
void picture_close(struct picture *picture); /* accepts a zeroed struct */
int picture_add(struct picture *picture, const struct subject *subject, const struct point *point,
                const struct row *rows, int n_rows, struct error *err);
/* Writes it where it is wanted and holds a curve. */
int picture_write(struct picture *picture, const struct options *options, const struct plan *plan,
                  struct error *err);

struct sweep {
    const struct options *options;
    struct plan plan;
    struct output output;
    struct source *sources;
    int n_sources;
    struct subject *subjects;
    int n_subjects;
    struct record record;
    struct picture picture;
    bool table;       /* its head is written */
    double started;   /* seconds */
    double drawn;     /* when the line of progress last was, from the start */
    double cost;      /* of all that was left to measure at the start */
    double cost_done; /* of finished points */
    double current_cost;
    const struct point *current;
    const char *current_name;
    int n_failed;
    struct error failure; /* the first */
};

/* Writes a point's results, as table or JSON. */
int report_head(const struct sweep *sweep, struct error *err);
int report_point(const struct sweep *sweep, const struct subject *subject,
                 const struct point *point, const struct row *rows, int n_rows, struct error *err);
int report_failure(const struct sweep *sweep, const char *model, int64_t length,
                   const struct error *failure, struct error *err);

#endif
