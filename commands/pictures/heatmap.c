/* heatmap: see heatmap.h. The colours go from dark red through yellow to dark green in steps of
 * equal lightness at both ends, so the numbers in the cells say it again for those who cannot tell
 * these apart. */
#include "commands/pictures/heatmap.h"

#include <math.h>

#include "commands/pictures/svg.h"

enum { N_SHADES = 11 };

/* For 0 to 100 %: numbers of the terminal's 256 colours, and the same for SVG. */
static const unsigned char terminal_shades[N_SHADES] = {124, 160, 202, 208, 214, 220,
                                                        226, 190, 148, 70,  28};
static const char *const svg_shades[N_SHADES] = {"#a50026", "#d73027", "#f46d43", "#fdae61",
                                                 "#fee08b", "#ffffbf", "#d9ef8b", "#a6d96a",
                                                 "#66bd63", "#1a9850", "#006837"};

static int shade(double share)
{
    return (int)lround(fmin(fmax(share, 0), 1) * (N_SHADES - 1));
}

static bool is_dark(int shade)
{
    return shade <= 1 || shade >= N_SHADES - 2;
}

/* ---- Text ------------------------------------------------------------------------------------ */

static void put_text_cell(double share, bool colour, FILE *out)
{
    if (!isfinite(share)) {
        fprintf(out, "%7s", "-");
        return;
    }
    if (!colour) {
        fprintf(out, "%7.0f", 100 * share);
        return;
    }
    int number = shade(share);
    fprintf(out, " \033[48;5;%d;38;5;%dm%5.0f \033[0m", terminal_shades[number],
            is_dark(number) ? 231 : 16, 100 * share);
}

static bool bounded(const struct heatmap *map, int column)
{
    return column > 0 && column == map->boundary && map->boundary < map->n_columns;
}

void heatmap_write_text(const struct heatmap *map, bool colour, FILE *out)
{
    fprintf(out, "%s\n%8s", map->title, "");
    for (int c = 0; c < map->n_columns; c++)
        fprintf(out, "%s%7lld", bounded(map, c) ? " |" : "", (long long)map->columns[c]);
    fprintf(out, "  %s\n", map->column_label);
    for (int r = 0; r < map->n_rows; r++) {
        fprintf(out, "%6.4g %%", map->rows[r]);
        for (int c = 0; c < map->n_columns; c++) {
            fputs(bounded(map, c) ? " |" : "", out);
            put_text_cell(map->shares[r * map->n_columns + c], colour, out);
        }
        fprintf(out, "%s%s\n", r == 0 ? "  " : "", r == 0 ? map->row_label : "");
    }
    if (map->boundary > 0 && map->boundary < map->n_columns)
        fprintf(out, "%8s%*s | %s\n", "", 7 * map->boundary, "", map->boundary_label);
}

/* ---- SVG ------------------------------------------------------------------------------------- */

enum { CELL_WIDTH = 64, CELL_HEIGHT = 34, LEFT = 90, TOP = 44, BOTTOM = 56, RIGHT = 24 };

static void put_svg_cells(const struct heatmap *map, FILE *out)
{
    for (int r = 0; r < map->n_rows; r++)
        for (int c = 0; c < map->n_columns; c++) {
            double share = map->shares[r * map->n_columns + c];
            bool known = isfinite(share);
            int number = known ? shade(share) : 0;
            int x = LEFT + c * CELL_WIDTH;
            int y = TOP + r * CELL_HEIGHT;
            fprintf(out,
                    "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\" "
                    "stroke=\"#ffffff\"/>\n",
                    x, y, CELL_WIDTH, CELL_HEIGHT, known ? svg_shades[number] : "#e0e0e0");
            if (known)
                fprintf(out, "<text x=\"%d\" y=\"%d\" fill=\"%s\">%.0f</text>\n",
                        x + CELL_WIDTH / 2, y + CELL_HEIGHT / 2 + 5,
                        is_dark(number) ? "#ffffff" : "#000000", 100 * share);
        }
}

static void put_svg_labels(const struct heatmap *map, FILE *out)
{
    int bottom = TOP + map->n_rows * CELL_HEIGHT;
    int width = map->n_columns * CELL_WIDTH;
    for (int c = 0; c < map->n_columns; c++)
        fprintf(out, "<text x=\"%d\" y=\"%d\">%lld</text>\n",
                LEFT + c * CELL_WIDTH + CELL_WIDTH / 2, bottom + 18, (long long)map->columns[c]);
    for (int r = 0; r < map->n_rows; r++)
        fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%.4g</text>\n", LEFT - 8,
                TOP + r * CELL_HEIGHT + CELL_HEIGHT / 2 + 5, map->rows[r]);
    fprintf(out, "<text x=\"%d\" y=\"%d\">", LEFT + width / 2, bottom + 42);
    svg_put_text(out, map->column_label);
    fprintf(out, "</text>\n<text transform=\"translate(24 %d) rotate(-90)\">",
            TOP + map->n_rows * CELL_HEIGHT / 2);
    svg_put_text(out, map->row_label);
    fprintf(out, "</text>\n<text x=\"%d\" y=\"20\" text-anchor=\"start\">", LEFT);
    svg_put_text(out, map->title);
    fputs("</text>\n", out);
    if (map->boundary <= 0 || map->boundary >= map->n_columns)
        return;
    int x = LEFT + map->boundary * CELL_WIDTH;
    fprintf(out,
            "<path d=\"M%d %d V%d\" stroke=\"#000000\" stroke-width=\"2\" "
            "stroke-dasharray=\"6 3\"/>\n<text x=\"%d\" y=\"%d\" text-anchor=\"start\">",
            x, TOP - 8, bottom, x + 4, TOP - 6);
    svg_put_text(out, map->boundary_label);
    fputs("</text>\n", out);
}

void heatmap_write_svg(const struct heatmap *map, FILE *out)
{
    int cells = map->n_columns * CELL_WIDTH;
    int width = LEFT + (cells < 480 ? 480 : cells) + RIGHT; /* room for the title */
    int height = TOP + map->n_rows * CELL_HEIGHT + BOTTOM;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" font-family=\"sans-serif\" font-size=\"14\" text-anchor=\"middle\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
            width, height, width, height);
    put_svg_cells(map, out);
    put_svg_labels(map, out);
    fputs("</svg>\n", out);
}
