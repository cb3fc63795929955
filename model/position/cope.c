/* cope: contextual places (Golovneva et al. 2024, arXiv:2405.18719). A key counts as far as its
 * own content says, gate = sigmoid(score), and its distance is the sum of the gates from it up to
 * the query, itself included, at most the number of rows less one. The score grows by the query's
 * product with the trained row of that distance, between rows in proportion. */
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "model/position/position.h"

static int open_rows(struct position *position, const struct position_source *source,
                     struct error *err)
{
    int head_dim = position->config->head_dim;
    int64_t rows = position_rows(source, "attn_rel.weight", head_dim, err);
    if (rows < 0)
        return -1;
    if (rows > INT_MAX)
        return error_set(err, "%s: tensor \"attn_rel.weight\" has %lld rows, allowed: at most %d",
                         source->checkpoint->path, (long long)rows, INT_MAX);
    position->row_length = (int)rows;
    return position_read(source, "attn_rel.weight", REQUIRED, rows, head_dim, &position->tensors[0],
                         err);
}

static void describe(const struct position *position, char *text, size_t size)
{
    snprintf(text, size, "counts up to %d by content", position->row_length - 1);
}

static void content_row(const struct position *position, const float *q, float *row)
{
    size_t head_dim = (size_t)position->config->head_dim;
    struct kernels scalar;
    kernels_scalar(&scalar);
    for (int at = 0; at < position->row_length; at++)
        row[at] = scalar.dot_f32(position->tensors[0] + (size_t)at * head_dim, q, head_dim);
}

static void add_content(const struct position *position, const float *row, double *state, int n,
                        float *scores)
{
    int last = position->row_length - 1;
    int j = n - 1;
    for (; j >= 0 && *state < last; j--) {
        *state += 1 / (1 + exp(-(double)scores[j]));
        if (!(*state < last))
            *state = last; /* for good, also where a score is not a number */
        int at = (int)*state;
        double part = *state - at;
        scores[j] +=
            at < last ? (float)(row[at] + part * ((double)row[at + 1] - row[at])) : row[at];
    }
    for (; j >= 0; j--)
        scores[j] += row[last];
}

const struct position_scheme position_cope = {.name = "cope",
                                              .nature = POSITION_PLACELESS,
                                              .layered = true,
                                              .open = open_rows,
                                              .describe = describe,
                                              .add_content = add_content,
                                              .content_row = content_row};
