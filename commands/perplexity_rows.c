/* perplexity_rows: results from the losses of pieces: means, and intervals by the bootstrap (Efron
 * 1979): means of pieces drawn with replacement, as many as there are. */
#include <math.h>
#include <stdlib.h>

#include "base/size.h"
#include "commands/perplexity.h"

enum { RESAMPLES = 1000, TAIL = RESAMPLES / 40 };

/* Steele, Lea and Flood's splitmix64. */
static uint64_t draw(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void resample(struct row *row, const struct piece *const *pieces, int64_t n, uint64_t seed)
{
    double means[RESAMPLES];
    uint64_t state = seed;
    for (int i = 0; i < RESAMPLES; i++) {
        double loss = 0;
        int64_t tokens = 0;
        for (int64_t k = 0; k < n; k++) {
            const struct piece *piece = pieces[draw(&state) % (uint64_t)n];
            loss += piece->loss;
            tokens += piece->n;
        }
        means[i] = loss / (double)tokens;
    }
    qsort(means, RESAMPLES, sizeof *means, compare_doubles);
    row->low = means[TAIL];
    row->high = means[RESAMPLES - 1 - TAIL];
}

static void fill_row(struct row *row, const struct point *point, uint64_t seed,
                     const struct piece **chosen)
{
    int64_t n = 0;
    int64_t bytes = 0;
    double loss = 0;
    for (int64_t i = 0; i < point->n_pieces; i++) {
        const struct piece *piece = &point->pieces[i];
        const struct bin *bin = &point->bins[piece->bin];
        if (bin->first < row->first || bin->last > row->last)
            continue;
        chosen[n++] = piece;
        loss += piece->loss;
        row->tokens += piece->n;
        bytes += piece->bytes;
    }
    row->loss = loss / (double)row->tokens;
    row->bits_per_byte = bytes > 0 ? loss / log(2) / (double)bytes : NAN;
    row->low = row->high = NAN;
    if (n >= 2 && isfinite(loss))
        resample(row, chosen, n, seed);
}

int rows_make(const struct point *point, uint64_t seed, struct row **rows, int *n_rows,
              struct error *err)
{
    int n = point->n_bins > 1 ? point->n_bins + 1 : 1;
    size_t pieces = (size_t)point->n_pieces;
    const struct piece **chosen = size_alloc(pieces, sizeof *chosen);
    *rows = calloc((size_t)n, sizeof **rows);
    if (!*rows || !chosen) {
        free(*rows);
        free(chosen);
        *rows = NULL;
        return error_memory(err, "results", pieces * sizeof *chosen);
    }
    for (int i = 0; i < n; i++) {
        bool whole = i == n - 1;
        const struct bin *bins = point->bins;
        (*rows)[i].whole = whole;
        (*rows)[i].first = bins[whole ? 0 : i].first;
        (*rows)[i].last = bins[whole ? point->n_bins - 1 : i].last;
        fill_row(&(*rows)[i], point, seed, chosen);
    }
    free(chosen);
    *n_rows = n;
    return 0;
}

double rows_file_loss(const struct point *point, int file, int64_t *tokens)
{
    double loss = 0;
    *tokens = 0;
    for (int64_t i = 0; i < point->n_pieces; i++)
        if (point->pieces[i].file == file) {
            loss += point->pieces[i].loss;
            *tokens += point->pieces[i].n;
        }
    return loss / (double)*tokens;
}
