/* table: see table.h. */
#include "model/position/table.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "model/cache.h"

/* Distances that are computed together: a cache line of a row. Kernels read as many past a row. */
enum { LANES = 16 };

/* --- growing ---------------------------------------------------------------------------------- */

static float *table_rows(struct position_table *table, size_t n_rows, struct error *err)
{
    size_t n, bytes = SIZE_MAX;
    float *rows = NULL;
    if (size_mul(n_rows, (size_t)table->n, &n) && size_add(n, LANES, &n) &&
        size_mul(n, sizeof *rows, &bytes))
        rows = size_alloc(n, sizeof *rows);
    if (!rows) {
        error_memory(err, "a table of distances", bytes);
        return NULL;
    }
    memset(rows + n - LANES, 0, LANES * sizeof *rows);
    table->bytes += bytes;
    return rows;
}

/* The entries that `old` has, at the end of every row of `row` numbers an entry. */
static void keep(float *rows, const struct position_table *table, const float *old_rows,
                 const struct position_table *old, size_t n_rows, size_t row)
{
    size_t n = (size_t)table->n * row, n_old = (size_t)old->n * row;
    for (size_t i = 0; old_rows && i < n_rows; i++)
        memcpy(rows + (i + 1) * n - n_old, old_rows + i * n_old, n_old * sizeof *rows);
}

static int fill_bias(struct position_table *table, const struct position_table *old,
                     const struct position *position, struct error *err)
{
    size_t heads = (size_t)position->config->n_heads;
    table->bias = table_rows(table, heads, err);
    if (!table->bias)
        return -1;
    keep(table->bias, table, old->bias, old, heads, 1);
    for (int head = 0; head < position->config->n_heads; head++) {
        float *end = table->bias + (head + 1) * table->n;
        for (int64_t d = old->n; d < table->n; d++)
            end[-1 - d] = (float)position->scheme->bias(position, head, (double)d);
    }
    return 0;
}

/* The vectors of distances d .. d + LANES - 1, which `lanes` (LANES, width) has, into the rows. */
static void place_lanes(struct position_table *table, const struct position *position,
                        enum position_vectors which, int64_t d, const float *lanes)
{
    size_t heads = (size_t)position->vector_heads[which];
    size_t head_dim = (size_t)position->config->head_dim;
    size_t width = heads * head_dim;
    size_t n = (size_t)table->n;
    size_t first = n - (size_t)d - LANES; /* index of the farthest */
    for (size_t head = 0; which == VECTORS_VALUE && head < heads; head++)
        for (size_t lane = 0; lane < LANES; lane++)
            memcpy(table->vectors[which] + (head * n + first + lane) * head_dim,
                   lanes + (LANES - 1 - lane) * width + head * head_dim, head_dim * sizeof *lanes);
    for (size_t row = 0; which != VECTORS_VALUE && row < width; row++)
        for (size_t lane = 0; lane < LANES; lane++)
            table->vectors[which][row * n + first + lane] = lanes[(LANES - 1 - lane) * width + row];
}

static int fill_vectors(struct position_table *table, const struct position_table *old,
                        const struct position *position, enum position_vectors which,
                        struct error *err)
{
    size_t heads = (size_t)position->vector_heads[which];
    size_t head_dim = (size_t)position->config->head_dim;
    size_t width = heads * head_dim;
    table->vectors[which] = table_rows(table, width, err);
    if (!table->vectors[which])
        return -1;
    float *lanes = size_alloc(LANES * width, sizeof *lanes);
    if (!lanes)
        return error_memory(err, "a table of distances", LANES * width * sizeof *lanes);
    bool values = which == VECTORS_VALUE;
    keep(table->vectors[which], table, old->vectors[which], old, values ? heads : width,
         values ? head_dim : 1);
    for (int64_t d = old->n; d < table->n; d += LANES) {
        for (int lane = 0; lane < LANES; lane++)
            position->scheme->vectors(position, which, d + lane, lanes + (size_t)lane * width);
        place_lanes(table, position, which, d, lanes);
    }
    free(lanes);
    return 0;
}

/* As many distances as all others repeat: a run of keys that are all past the last distance has
 * its entries in neighbouring places, too. */
static int64_t all_distances(const struct position *position)
{
    int64_t last = position->last_distance;
    return last < INT64_MAX - TABLE_STEP ? last + TABLE_STEP : INT64_MAX;
}

/* How many distances to have where n are asked for: at least twice as many as before, so that what
 * is moved stays in proportion, but no more than there are. An odd number of steps: rows whose
 * starts differ by a power of two share few places of a processor's cache. */
static int64_t grown(int64_t old_n, int64_t n, int64_t all)
{
    if (n < 2 * old_n)
        n = 2 * old_n;
    if (all < n)
        n = all;
    return ((n + TABLE_STEP - 1) / TABLE_STEP | 1) * TABLE_STEP;
}

int table_reserve(struct position_table *table, const struct position *position, int64_t n,
                  struct error *err)
{
    const struct position_scheme *scheme = position->scheme;
    if (n <= table->n || table->n >= all_distances(position) || scheme->add_bias ||
        (!scheme->bias && !scheme->vectors))
        return 0;
    if (n > INT64_MAX / 4)
        return error_memory(err, "a table of distances", SIZE_MAX);
    struct position_table next = {.n = grown(table->n, n, all_distances(position))};
    int result = scheme->bias ? fill_bias(&next, table, position, err) : 0;
    for (int which = 0; !result && which < VECTORS_COUNT; which++)
        if (position->vector_heads[which] > 0)
            result = fill_vectors(&next, table, position, (enum position_vectors)which, err);
    if (result) {
        table_free(&next);
        return -1;
    }
    table_free(table);
    *table = next;
    return 0;
}

void table_free(struct position_table *table)
{
    free(table->bias);
    for (int which = 0; which < VECTORS_COUNT; which++)
        free(table->vectors[which]);
    *table = (struct position_table){0};
}

/* --- reading ---------------------------------------------------------------------------------- */

/* The entries of a run: its first keys may share one, the others have neighbouring ones. */
struct entries {
    int n_same;
    size_t same;  /* index in a row: the entry of the first n_same keys */
    size_t first; /* ... of the key behind them */
};

static struct entries find(const struct position_table *table, const struct position *position,
                           const struct run *run)
{
    int64_t last = position->last_distance < table->n ? position->last_distance : table->n - 1;
    int64_t distance = run->distance < (double)last ? (int64_t)run->distance : last;
    struct entries e = {.n_same = run->n, .same = (size_t)(table->n - 1 - distance)};
    if (run->step > 0) {
        double beyond = run->distance - (double)last;
        e.n_same = beyond <= 0 ? 0 : beyond < run->n ? (int)beyond : run->n;
        e.first = e.same;
    }
    return e;
}

static const float *head_rows(const struct position_table *table, const struct position *position,
                              enum position_vectors which, int head)
{
    size_t shared =
        (size_t)head * (size_t)position->vector_heads[which] / (size_t)position->config->n_heads;
    return table->vectors[which] + shared * (size_t)position->config->head_dim * (size_t)table->n;
}

/* The biases from a whole distance on, in falling order; NULL: they are not in the table. */
static const float *find_bias(const struct position_table *table, const struct run *run)
{
    int64_t distance = (int64_t)run->distance;
    if (!table->bias || (double)distance != run->distance)
        return NULL;
    if (distance >= table->n) /* where all are the same */
        distance = table->n - 1;
    return table->bias + (run->head + 1) * table->n - 1 - distance;
}

const float *table_bias(const struct position_table *table, const struct run *run)
{
    return run->step == 1 ? find_bias(table, run) : NULL;
}

static void add_bias(const struct position_table *table, const struct position *position,
                     const struct kernels *kernels, const struct run *run, float *scores)
{
    const struct position_scheme *scheme = position->scheme;
    const float *row = run->step == 0 || run->step == 1 ? find_bias(table, run) : NULL;
    if (scheme->add_bias) {
        scheme->add_bias(position, run->head, run->place, run->distance, run->step, run->n, scores);
    } else if (row && run->step == 1) {
        kernels->add(scores, row, (size_t)run->n);
    } else if (run->step == 0) {
        float bias = row ? *row : (float)scheme->bias(position, run->head, run->distance);
        for (int j = 0; j < run->n; j++)
            scores[j] += bias;
    } else {
        for (int j = 0; j < run->n; j++)
            scores[j] += (float)scheme->bias(position, run->head, run->distance - run->step * j);
    }
}

/* scores += the query's products. One lane and many give the same bits. */
static void add_query(const struct position_table *table, const struct position *position,
                      const struct kernels *kernels, const struct run *run, const float *relative,
                      float *scores)
{
    struct entries e = find(table, position, run);
    const float *rows = head_rows(table, position, VECTORS_QUERY, run->head);
    size_t n = (size_t)table->n;
    size_t head_dim = (size_t)position->config->head_dim;
    float products[CACHE_BLOCK];
    if (e.n_same > 0) {
        kernels->attend_scores(products, CACHE_BLOCK, &relative, 1, rows + e.same, n, FORMAT_F32, 1,
                               head_dim);
        float same = products[0];
        for (int j = 0; j < e.n_same; j++)
            scores[j] += same;
    }
    size_t others = (size_t)(run->n - e.n_same);
    if (others > 0) {
        kernels->attend_scores(products, CACHE_BLOCK, &relative, 1, rows + e.first, n, FORMAT_F32,
                               others, head_dim);
        kernels->add(scores + e.n_same, products, others);
    }
}

/* scores[lanes] += scale * the products of as many keys with neighbouring rows, or with one row.
 * Inlined for whole lanes, whose sums then stay in registers. */
static inline void add_lanes(const float *keys, const float *rows, size_t n, size_t head_dim,
                             int lanes, bool same, float scale, float *scores)
{
    float sums[LANES] = {0};
    for (size_t d = 0; d < head_dim; d++, keys += CACHE_BLOCK, rows += n)
        for (int lane = 0; lane < lanes; lane++)
            sums[lane] += keys[lane] * rows[same ? 0 : lane];
    for (int lane = 0; lane < lanes; lane++)
        scores[lane] += scale * sums[lane];
}

static void add_key(const struct position_table *table, const struct position *position,
                    const struct run *run, const float *keys, float *scores)
{
    struct entries e = find(table, position, run);
    const float *rows = head_rows(table, position, VECTORS_KEY, run->head);
    size_t n = (size_t)table->n;
    size_t head_dim = (size_t)position->config->head_dim;
    float scale = position->scale;
    int j = 0;
    for (; j + LANES <= e.n_same; j += LANES)
        add_lanes(keys + j, rows + e.same, n, head_dim, LANES, true, scale, scores + j);
    for (; j < e.n_same; j++)
        add_lanes(keys + j, rows + e.same, n, head_dim, 1, true, scale, scores + j);
    rows += e.first;
    for (; j + LANES <= run->n; j += LANES, rows += LANES)
        add_lanes(keys + j, rows, n, head_dim, LANES, false, scale, scores + j);
    for (; j < run->n; j++, rows++)
        add_lanes(keys + j, rows, n, head_dim, 1, false, scale, scores + j);
}

void table_add_scores(const struct position_table *table, const struct position *position,
                      const struct kernels *kernels, const struct run *run, const float *relative,
                      const float *keys, float *scores)
{
    if (position->scheme->add_bias || position->scheme->bias)
        add_bias(table, position, kernels, run, scores);
    if (relative && table->vectors[VECTORS_QUERY])
        add_query(table, position, kernels, run, relative, scores);
    if (keys && table->vectors[VECTORS_KEY])
        add_key(table, position, run, keys, scores);
}

void table_add_values(const struct position_table *table, const struct position *position,
                      const struct kernels *kernels, const struct run *run, const float *weights,
                      float *out)
{
    if (!table->vectors[VECTORS_VALUE])
        return;
    struct entries e = find(table, position, run);
    const float *rows = head_rows(table, position, VECTORS_VALUE, run->head);
    size_t head_dim = (size_t)position->config->head_dim;
    size_t others = (size_t)(run->n - e.n_same);
    if (e.n_same > 0) {
        float sum = 0;
        for (int j = 0; j < e.n_same; j++)
            sum += weights[j];
        kernels->attend_values(&out, &sum, 1, 1, rows + e.same * head_dim, FORMAT_F32, 1, head_dim);
    }
    if (others > 0)
        kernels->attend_values(&out, weights + e.n_same, others, 1, rows + e.first * head_dim,
                               FORMAT_F32, others, head_dim);
}
