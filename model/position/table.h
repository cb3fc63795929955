/* table: what a scheme says about distances 0, 1, 2, ..., computed once and grown with the text, in
 * the order in which a score row runs.
 *
 * Keys of rising position have falling distances, so rows are stored backwards: the entry of
 * distance d lies at index n - 1 - d, and the biases of neighbouring keys are neighbours. */
#ifndef LONGHAND_MODEL_POSITION_TABLE_H
#define LONGHAND_MODEL_POSITION_TABLE_H

#include "model/position/position.h"

struct position_table {
    int64_t n;                     /* distances [0, n); a multiple of TABLE_STEP, or 0 */
    float *bias;                   /* (n_heads, n), or NULL */
    float *vectors[VECTORS_COUNT]; /* QUERY, KEY: (vector_heads, head_dim, n); VALUE:
                                      (vector_heads, n, head_dim); or NULL */
    size_t bytes;
};

/* Whole lanes may be read past the last distance of a row: that many numbers lie behind. */
enum { TABLE_STEP = 128 };

/* Computes distances [0, n), or fewer where the scheme's last_distance ends them: a TABLE_STEP of
 * its repetitions is then there. On failure the
 * table is as it was. */
int table_reserve(struct position_table *table, const struct position *position, int64_t n,
                  struct error *err);
void table_free(struct position_table *table);

/* One query and a run of n keys of one block whose distances are distance - step * j >= 0, where
 * step is 0 or 1, or, for natures that allow it, anything. */
struct run {
    int head;
    double place; /* of the query */
    double distance;
    double step;
    int n;
};

/* Where the biases of a run lie in a row, n neighbours: what table_add_scores adds of them. NULL:
 * nowhere. */
const float *table_bias(const struct position_table *table, const struct run *run);

/* scores[n] += everything that the scheme adds by distance: biases, and products with the query's
 * `relative` (head_dim; (q + relative_bias) * scale) and the keys (head_dim, CACHE_BLOCK) in F32,
 * which begin with the run's first. `relative` and `keys` may be NULL where the scheme has no such
 * vectors. */
void table_add_scores(const struct position_table *table, const struct position *position,
                      const struct kernels *kernels, const struct run *run, const float *relative,
                      const float *keys, float *scores);

/* out[head_dim] += sum over the run of weights[j] * VECTORS_VALUE at its distance. */
void table_add_values(const struct position_table *table, const struct position *position,
                      const struct kernels *kernels, const struct run *run, const float *weights,
                      float *out);

#endif
