/* perplexity_rows: results from the losses of pieces: means, and intervals by the bootstrap (Efron
 * 1979): means of pieces drawn with replacement, as many as there are. */
#include <math.h>
#include <stdlib.h>

#include "base/size.h"
#include "commands/perplexity/perplexity.h"

/* From a few pieces nothing can be said of their spread. */
enum { RESAMPLES = 1000, TAIL = RESAMPLES / 40, LEAST_PIECES = 5 };

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

static void fill_row(struct row *row, const struct piece *const *pieces, int64_t n, uint64_t seed)
{
    int64_t bytes = 0;
    double loss = 0;
    for (int64_t i = 0; i < n; i++) {
        loss += pieces[i]->loss;
        row->tokens += pieces[i]->n;
        bytes += pieces[i]->bytes;
    }
    row->loss = loss / (double)row->tokens;
    row->bits_per_byte = bytes > 0 ? loss / log(2) / (double)bytes : NAN;
    row->low = row->high = NAN;
    if (n >= LEAST_PIECES && isfinite(loss))
        resample(row, pieces, n, seed);
}

/* The pieces bin by bin, in their order: ends[b] is where those of bin b end. */
static void sort_pieces(const struct point *point, const struct piece **sorted, int64_t *ends)
{
    for (int64_t i = 0; i < point->n_pieces; i++)
        ends[point->pieces[i].bin]++;
    for (int64_t b = 0, begin = 0; b < point->n_bins; b++) {
        int64_t n = ends[b];
        ends[b] = begin;
        begin += n;
    }
    for (int64_t i = 0; i < point->n_pieces; i++)
        sorted[ends[point->pieces[i].bin]++] = &point->pieces[i];
}

int rows_make(const struct point *point, uint64_t seed, struct row **rows, int *n_rows,
              struct error *err)
{
    const struct bin *bins = point->bins;
    int n_bins = point->n_bins;
    int n = n_bins > 1 ? n_bins + 1 : 1;
    const struct piece **sorted = size_alloc((size_t)point->n_pieces, sizeof *sorted);
    int64_t *ends = calloc((size_t)n_bins, sizeof *ends);
    *rows = calloc((size_t)n, sizeof **rows);
    *n_rows = n;
    int result = 0;
    if (sorted && ends && *rows) {
        sort_pieces(point, sorted, ends);
        for (int b = 0; n > 1 && b < n_bins; b++) {
            int64_t begin = b > 0 ? ends[b - 1] : 0;
            (*rows)[b] = (struct row){.first = bins[b].first, .last = bins[b].last};
            fill_row(&(*rows)[b], sorted + begin, ends[b] - begin, seed);
        }
        (*rows)[n - 1] =
            (struct row){.first = bins[0].first, .last = bins[n_bins - 1].last, .whole = true};
        fill_row(&(*rows)[n - 1], sorted, point->n_pieces, seed);
    } else {
        result = error_memory(err, "results", (size_t)point->n_pieces * sizeof *sorted);
        free(*rows);
        *rows = NULL;
    }
    free(sorted);
    free(ends);
    return result;
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

struct health rows_health(const struct point *point)
{
    const struct effort *effort = &point->effort;
    double scored = 0;
    for (int64_t i = 0; i < point->n_pieces; i++)
        scored += (double)point->pieces[i].n;
    return (struct health){
        .entropy = effort->entropy / (double)point->n_stretches,
        .repetition = (double)effort->counts.repeated / scored,
        .text_repetition = (double)effort->counts.text / scored,
    };
}
