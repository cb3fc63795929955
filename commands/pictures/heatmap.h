/* heatmap: shares from 0 to 1 in cells of rows and columns: as text for a terminal, and as SVG. */
#ifndef LONGHAND_COMMANDS_HEATMAP_H
#define LONGHAND_COMMANDS_HEATMAP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct heatmap {
    const char *title;
    const char *column_label;
    const char *row_label;
    const int64_t *columns; /* (n_columns) their names */
    const double *rows;     /* (n_rows) theirs, in percent */
    const double *shares;   /* (n_rows, n_columns); NaN: not measured */
    int n_columns;
    int n_rows;
    int boundary; /* a line is drawn before this column; 0 or n_columns: none */
    const char *boundary_label;
};

/* Percentages in a table, on coloured ground where `colour`. */
void heatmap_write_text(const struct heatmap *map, bool colour, FILE *out);
void heatmap_write_svg(const struct heatmap *map, FILE *out);

#endif
