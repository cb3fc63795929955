/* matmul: products of weight matrices with activations, over all threads.
 *
 * Weights stay where they are mapped: a product unpacks them as it goes, row by row for a few
 * tokens, by panels that a whole batch of tokens shares for many. */
#ifndef LONGHAND_KERNELS_MATMUL_H
#define LONGHAND_KERNELS_MATMUL_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/kernels.h"

struct matrix {
    const void *data; /* rows of format_row_bytes(format, cols) */
    enum format format;
    int rows;
    int cols;
};

/* y[t][r] = dot(w row r, x[t]) (+ bias[r] unless NULL), t < n, with rows of y ldy floats apart. */
struct product {
    const struct matrix *w;
    const float *bias;
    float *y;
    size_t ldy;
};

/* Scratch of one timeline: prepared activations and per-thread panels. Zero it, reserve, use. */
struct workspace {
    int max_tokens;
    int max_cols;
    int n_threads;
    void *activations; /* int8_t or float (see product.h), or tiles of bf16 */
    float *scale;      /* of integers, (max_tokens, max_cols / 16) */
    int32_t *sum;      /* the same */
    uint8_t *thread;   /* (n_threads, thread_bytes) */
    size_t thread_bytes;
};

/* Makes room for products of up to `tokens` tokens and `cols` columns with parallel_threads()
 * threads. Keeps the old room on failure. */
int workspace_reserve(struct workspace *workspace, int tokens, int cols, struct error *err);
size_t workspace_bytes(const struct workspace *workspace);
void workspace_free(struct workspace *workspace);

/* Computes products[n_products], which share the activations x (n rows of `cols` floats, ldx
 * apart). The result does not depend on the number of threads. */
void matmul(const struct kernels *kernels, struct workspace *workspace, const float *x, size_t ldx,
            int n, const struct product *products, int n_products);

#endif
