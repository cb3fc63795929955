/* product: what the files of matrix products share: matmul.c, which owns the activations and the
 * scratch memory and multiplies row by row, and panels.c, which multiplies by panels. */
#ifndef LONGHAND_KERNELS_PRODUCT_H
#define LONGHAND_KERNELS_PRODUCT_H

#include "kernels/matmul.h"

enum {
    MIN_GROUP = 16,       /* the smallest group of any format */
    PANEL_COLUMNS = 512,  /* of a panel at most */
    SUM_ROWS = 512,       /* rows whose sums a thread keeps at a time, for all tokens */
    SMALL_WORK = 1 << 18, /* multiply-adds below which sharing them costs more than it gives */
};

/* What one thread needs; offsets into its part of workspace.thread. */
struct thread_scratch {
    int8_t *q;    /* unpacked rows: (PANEL_ROWS_MAX, PANEL_COLUMNS), or one row of max_cols */
    float *scale; /* of those rows */
    float *min;
    float *row;     /* rows as floats: PANEL_ROWS_MAX * PANEL_COLUMNS / 2, or one row of max_cols */
    void *panel;    /* PANEL_ROWS_MAX * PANEL_COLUMNS * 2 bytes */
    float *scale_t; /* (PANEL_COLUMNS / MIN_GROUP, panel rows) */
    float *min_t;   /* the same shape */
    float *sums;    /* SUM_ROWS * (max_tokens to whole tiles) */
};

/* Everything the threads share while one call to matmul runs. Columns are cut into chunks, as even
 * as whole units allow. The activations that are prepared for integers, and for panels of floats,
 * lie chunk by chunk, so that what is multiplied together fills a cache evenly:
 * (chunks, tokens, columns of the chunk). */
struct task {
    const struct kernels *kernels;
    struct workspace *workspace;
    const float *x;
    size_t ldx;
    int n;
    int group; /* of the quantised activations */
    const struct product *product;
    size_t row_bytes; /* of its weights */
    size_t unit;
    size_t chunks;
};

struct thread_scratch product_scratch(const struct task *task, int thread);

/* The first column of a chunk, and how many it has. */
size_t product_chunk(const struct task *task, size_t chunk, size_t *n);

/* Token t's prepared activations of the chunk of n columns from k0 on. */
struct q8_row product_q8_at(const struct task *task, int t, size_t k0, size_t n);
const float *product_floats_at(const struct task *task, int t, size_t k0, size_t n);

/* n weights of any format as floats: in place for F32, otherwise in `row`. */
const float *product_float_row(const struct kernels *k, enum format format, const void *w, size_t n,
                               float *row);

/* Whether a product with this format reads quantised activations, where it is not by tiles. */
static inline bool product_in_integers(const struct kernels *kernels, enum format format)
{
    return kernels->integer && format_info[format].group > 0;
}

/* Whether n tokens are multiplied by panels at all, and whether those are tiles of bf16. */
bool panels_pay(const struct kernels *kernels, enum format format, int n);
bool panels_are_tiles(const struct kernels *kernels, int n);

/* Sets the chunks of task->product. */
void panels_cut(struct task *task);

/* task->product by panels; it is cut and its activations are prepared. */
void panels_multiply(struct task *task);

#endif
