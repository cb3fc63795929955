/* matmul: see matmul.h.
 *
 *   few tokens            rows -> the tier's product of rows, or unpack and dot, for each token
 *   many tokens           unit of PANELS panels of panel_rows rows:
 *     for each chunk of columns         the tokens' chunk stays in the second-level cache
 *       for each panel                  unpacked and interleaved once, stays in the first level
 *         for each tile of tokens       the tier's register-tiled product */
#include "kernels/matmul.h"

#include <string.h>

#include "base/size.h"
#include "kernels/parallel.h"

enum {
    PANELS = 4,               /* panels a unit holds */
    CHUNK_Q8 = 512,           /* columns of a panel: 32 rows x 512 bytes lie in 16 KiB */
    CHUNK_F32 = 256,          /* 32 rows x 256 floats lie in 32 KiB */
    MIN_GROUP = 16,           /* the smallest group of any format */
    PANEL_MIN_TOKENS = 20,    /* from here on packing a panel pays; 4 where rows are unpacked */
    ROW_UNIT = 4,             /* rows that tiers like to get together */
    LEAST_BYTES = 1 << 14,    /* of the weights that a thread takes at a time, row by row */
    PART_BYTES = 1 << 15,     /* of them, what stays in the cache for several tokens */
    PREFETCH_BYTES = 1 << 12, /* how far ahead of the row at hand memory is asked for */
    /* Multiply-adds below which sharing them costs more than it gives (about a microsecond). */
    SMALL_WORK = 1 << 18,
    SMALL_ROWS_WORK = 1 << 16
};

/* What one thread needs; offsets into its part of workspace.thread. */
struct thread_scratch {
    int8_t *q;    /* unpacked rows: (panel_rows, CHUNK_Q8), or one row of max_cols */
    float *scale; /* of those rows */
    float *min;
    float *row;     /* the same rows as floats */
    void *panel;    /* interleaved: panel_rows * CHUNK_Q8 bytes or panel_rows * CHUNK_F32 floats */
    float *scale_t; /* (CHUNK_Q8 / MIN_GROUP, panel_rows) */
    float *min_t;   /* the same shape */
    float *y;       /* (PANELS, max_tokens, panel_rows) */
};

static size_t round_up(size_t bytes)
{
    return (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

/* The next part of `base`, which takes `bytes` bytes from *at on; NULL when base is. */
static void *take(uint8_t *base, size_t *at, size_t bytes)
{
    void *part = base ? base + *at : NULL;
    *at += round_up(bytes);
    return part;
}

/* Lays the scratch out over `base` (NULL: only measure) and returns its size. Every count is
 * bounded by int products far below SIZE_MAX once cols and tokens passed workspace_reserve. */
static size_t scratch_layout(struct thread_scratch *s, uint8_t *base, size_t cols, size_t tokens)
{
    size_t panel = (size_t)PANEL_ROWS_MAX;
    size_t q = panel * CHUNK_Q8 > cols ? panel * CHUNK_Q8 : cols;
    size_t row = panel * CHUNK_F32 > cols ? panel * CHUNK_F32 : cols;
    size_t at = 0;
    s->q = take(base, &at, q);
    s->scale = take(base, &at, q / MIN_GROUP * sizeof(float));
    s->min = take(base, &at, q / MIN_GROUP * sizeof(float));
    s->row = take(base, &at, row * sizeof(float));
    s->panel = take(base, &at, panel * CHUNK_F32 * sizeof(float));
    s->scale_t = take(base, &at, panel * CHUNK_Q8 / MIN_GROUP * sizeof(float));
    s->min_t = take(base, &at, panel * CHUNK_Q8 / MIN_GROUP * sizeof(float));
    s->y = take(base, &at, PANELS * panel * tokens * sizeof(float));
    return at;
}

int workspace_reserve(struct workspace *workspace, int tokens, int cols, struct error *err)
{
    int n_threads = parallel_threads();
    if (tokens <= workspace->max_tokens && cols <= workspace->max_cols &&
        n_threads <= workspace->n_threads)
        return 0;
    struct workspace new = {
        .max_tokens = tokens > workspace->max_tokens ? tokens : workspace->max_tokens,
        .max_cols = cols > workspace->max_cols ? cols : workspace->max_cols,
        .n_threads = n_threads > workspace->n_threads ? n_threads : workspace->n_threads,
    };
    struct thread_scratch unused;
    size_t groups = (size_t) new.max_cols / MIN_GROUP + 1;
    new.thread_bytes =
        scratch_layout(&unused, NULL, (size_t) new.max_cols, (size_t) new.max_tokens);
    new.q = size_alloc((size_t) new.max_tokens, (size_t) new.max_cols);
    new.scale = size_alloc((size_t) new.max_tokens, groups * sizeof(float));
    new.sum = size_alloc((size_t) new.max_tokens, groups * sizeof(int32_t));
    new.thread = size_alloc((size_t) new.n_threads, new.thread_bytes);
    if (!new.q || !new.scale || !new.sum || !new.thread) {
        size_t bytes = workspace_bytes(&new);
        workspace_free(&new);
        return error_memory(err, "the scratch of matrix products", bytes);
    }
    workspace_free(workspace);
    *workspace = new;
    return 0;
}

size_t workspace_bytes(const struct workspace *workspace)
{
    size_t groups = (size_t)workspace->max_cols / MIN_GROUP + 1;
    return (size_t)workspace->max_tokens *
               ((size_t)workspace->max_cols + 2 * groups * sizeof(float)) +
           (size_t)workspace->n_threads * workspace->thread_bytes;
}

void workspace_free(struct workspace *workspace)
{
    free(workspace->q);
    free(workspace->scale);
    free(workspace->sum);
    free(workspace->thread);
    *workspace = (struct workspace){0};
}

/* Everything the threads share while one call to matmul runs. */
struct task {
    const struct kernels *kernels;
    struct workspace *workspace;
    const float *x;
    size_t ldx;
    int n;
    int group; /* of the quantised activations */
    const struct product *product;
    size_t row_bytes; /* of its weights */
};

static struct thread_scratch thread_scratch(const struct task *task, int thread)
{
    struct workspace *ws = task->workspace;
    struct thread_scratch s;
    scratch_layout(&s, ws->thread + ws->thread_bytes * (size_t)thread, (size_t)ws->max_cols,
                   (size_t)ws->max_tokens);
    return s;
}

/* Token t's quantised activations from column k on. */
static struct q8_row q8_at(const struct task *task, int t, size_t k)
{
    const struct workspace *ws = task->workspace;
    size_t cols = (size_t)task->product->w->cols;
    size_t group = (size_t)t * (cols / (size_t)task->group) + k / (size_t)task->group;
    return (struct q8_row){ws->q + (size_t)t * cols + k, ws->scale + group, ws->sum + group};
}

static void quantize_tokens(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct task *task = context;
    const struct workspace *ws = task->workspace;
    size_t cols = (size_t)task->product->w->cols;
    size_t groups = cols / (size_t)task->group;
    for (int t = begin; t < end; t++)
        task->kernels->quantize_q8(task->x + (size_t)t * task->ldx, cols, task->group,
                                   ws->q + (size_t)t * cols, ws->scale + (size_t)t * groups,
                                   ws->sum + (size_t)t * groups);
}

static const uint8_t *block_at(const struct matrix *w, size_t row, size_t k)
{
    const struct format_info *info = &format_info[w->format];
    return (const uint8_t *)w->data + row * format_row_bytes(w->format, (size_t)w->cols) +
           k / (size_t)info->block_len * (size_t)info->block_bytes;
}

/* n weights of a float format as floats: in place for F32. */
static const float *float_row(const struct kernels *k, enum format format, const void *w, size_t n,
                              float *row)
{
    switch (format) {
    case FORMAT_F32:
        return w;
    case FORMAT_F16:
        k->f32_from_f16(w, n, row);
        return row;
    case FORMAT_BF16:
        k->f32_from_bf16(w, n, row);
        return row;
    default:
        format_dequantize(format, w, n, row);
        return row;
    }
}

static bool in_integers(const struct kernels *kernels, enum format format)
{
    return kernels->integer && format_info[format].group > 0;
}

static int at_least_one(size_t n)
{
    return n > 0 ? (int)n : 1;
}

/* Rows [begin, end) by the tier's own operation, in parts that stay in the cache for all tokens. */
static void multiply_rows(const struct task *task, int begin, int end)
{
    const struct product *product = task->product;
    const struct matrix *w = product->w;
    bool integer = in_integers(task->kernels, w->format);
    int most = task->n > ROW_TOKENS_MAX ? at_least_one(PART_BYTES / task->row_bytes) : end - begin;
    for (int r = begin; r < end; r += most) {
        size_t count = (size_t)(end - r < most ? end - r : most);
        const uint8_t *data = (const uint8_t *)w->data + (size_t)r * task->row_bytes;
        for (int t0 = 0; t0 < task->n; t0 += ROW_TOKENS_MAX) {
            int tokens = task->n - t0 < ROW_TOKENS_MAX ? task->n - t0 : ROW_TOKENS_MAX;
            float *y = product->y + (size_t)t0 * product->ldy + r;
            struct vector x[ROW_TOKENS_MAX];
            for (int t = 0; t < tokens; t++)
                x[t] = (struct vector){task->x + (size_t)(t0 + t) * task->ldx,
                                       integer ? q8_at(task, t0 + t, 0) : (struct q8_row){0}};
            task->kernels->rows[w->format](data, task->row_bytes, count, (size_t)w->cols, x, tokens,
                                           y, product->ldy);
            for (int t = 0; product->bias && t < tokens; t++)
                task->kernels->add(y + (size_t)t * product->ldy, product->bias + r, count);
        }
    }
}

/* Unpacking and multiplying take turns, and only the first reads memory: asking for later rows in
 * between keeps it busy. Past the end of the weights this does nothing. */
static void prefetch_row(const uint8_t *row, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch(row + PREFETCH_BYTES + i, 0, 2);
}

/* The same where the tier has none: each row is unpacked for all tokens. */
static void unpack_and_multiply(const struct task *task, struct thread_scratch *s, int begin,
                                int end)
{
    const struct kernels *k = task->kernels;
    const struct product *product = task->product;
    const struct matrix *w = product->w;
    const struct format_info *info = &format_info[w->format];
    size_t cols = (size_t)w->cols;
    bool integer = in_integers(k, w->format);
    for (int r = begin; r < end; r++) {
        const uint8_t *data = (const uint8_t *)w->data + (size_t)r * task->row_bytes;
        const float *row = NULL;
        prefetch_row(data, task->row_bytes);
        if (integer)
            k->unpack[w->format](data, cols, s->q, s->scale, s->min);
        else
            row = float_row(k, w->format, data, cols, s->row);
        for (int t = 0; t < task->n; t++) {
            float dot = integer ? k->dot_q8(s->q, s->scale, info->has_min ? s->min : NULL, cols,
                                            info->group, q8_at(task, t, 0))
                                : k->dot_f32(row, task->x + (size_t)t * task->ldx, cols);
            product->y[(size_t)t * product->ldy + (size_t)r] =
                dot + (product->bias ? product->bias[r] : 0);
        }
    }
}

/* Items are ROW_UNIT rows. */
static void rows_body(void *context, int begin, int end, int thread)
{
    const struct task *task = context;
    const struct matrix *w = task->product->w;
    int last = end > w->rows / ROW_UNIT ? w->rows : end * ROW_UNIT;
    if (task->kernels->rows[w->format]) {
        multiply_rows(task, begin * ROW_UNIT, last);
        return;
    }
    struct thread_scratch s = thread_scratch(task, thread);
    unpack_and_multiply(task, &s, begin * ROW_UNIT, last);
}

/* Rows beyond the matrix repeat its last one: their results are not copied out. */
static size_t panel_row(const struct matrix *w, size_t row0, int i)
{
    size_t row = row0 + (size_t)i;
    return row < (size_t)w->rows ? row : (size_t)w->rows - 1;
}

static void panel_product_q8(const struct task *task, struct thread_scratch *s, size_t row0,
                             size_t k0, size_t n, float *y)
{
    const struct kernels *k = task->kernels;
    const struct matrix *w = task->product->w;
    const struct format_info *info = &format_info[w->format];
    size_t rows = (size_t)k->panel_rows;
    size_t groups = n / (size_t)info->group;
    const int8_t *q[PANEL_ROWS_MAX];
    for (int i = 0; i < k->panel_rows; i++) {
        int8_t *row = s->q + (size_t)i * CHUNK_Q8;
        k->unpack[w->format](block_at(w, panel_row(w, row0, i), k0), n, row, s->scale, s->min);
        q[i] = row;
        for (size_t g = 0; g < groups; g++)
            s->scale_t[g * rows + (size_t)i] = s->scale[g];
        for (size_t g = 0; info->has_min && g < groups; g++)
            s->min_t[g * rows + (size_t)i] = s->min[g];
    }
    k->panel_q8(q, n, s->panel);
    for (int t0 = 0; t0 < task->n; t0 += k->tile_tokens) {
        int tokens = task->n - t0 < k->tile_tokens ? task->n - t0 : k->tile_tokens;
        struct q8_row x[TILE_TOKENS_MAX];
        for (int t = 0; t < tokens; t++)
            x[t] = q8_at(task, t0 + t, k0);
        k->product_q8(s->panel, s->scale_t, info->has_min ? s->min_t : NULL, n, info->group, x,
                      tokens, y + (size_t)t0 * rows, rows);
    }
}

static void panel_product_f32(const struct task *task, struct thread_scratch *s, size_t row0,
                              size_t k0, size_t n, float *y)
{
    const struct kernels *k = task->kernels;
    const struct matrix *w = task->product->w;
    size_t rows = (size_t)k->panel_rows;
    const float *row[PANEL_ROWS_MAX];
    for (int i = 0; i < k->panel_rows; i++)
        row[i] = float_row(k, w->format, block_at(w, panel_row(w, row0, i), k0), n,
                           s->row + (size_t)i * CHUNK_F32);
    k->panel_f32(row, n, s->panel);
    for (int t0 = 0; t0 < task->n; t0 += k->tile_tokens) {
        int tokens = task->n - t0 < k->tile_tokens ? task->n - t0 : k->tile_tokens;
        const float *x[TILE_TOKENS_MAX];
        for (int t = 0; t < tokens; t++)
            x[t] = task->x + (size_t)(t0 + t) * task->ldx + k0;
        k->product_f32(s->panel, n, x, tokens, y + (size_t)t0 * rows, rows);
    }
}

/* Panels [begin, end): at most PANELS of them at a time. */
static void panels_body(void *context, int begin, int end, int thread)
{
    const struct task *task = context;
    const struct kernels *k = task->kernels;
    const struct matrix *w = task->product->w;
    struct thread_scratch s = thread_scratch(task, thread);
    size_t rows = (size_t)k->panel_rows;
    size_t cols = (size_t)w->cols;
    size_t panel_y = rows * (size_t)task->n;
    bool integer = in_integers(k, w->format);
    size_t chunk = integer ? CHUNK_Q8 : CHUNK_F32;
    for (int p0 = begin; p0 < end; p0 += PANELS) {
        int panels = end - p0 < PANELS ? end - p0 : PANELS;
        memset(s.y, 0, (size_t)panels * panel_y * sizeof *s.y);
        for (size_t k0 = 0; k0 < cols; k0 += chunk) {
            size_t n = cols - k0 < chunk ? cols - k0 : chunk;
            for (int p = 0; p < panels; p++)
                (integer ? panel_product_q8 : panel_product_f32)(task, &s, (size_t)(p0 + p) * rows,
                                                                 k0, n, s.y + (size_t)p * panel_y);
        }
        for (int p = 0; p < panels; p++) {
            size_t row0 = (size_t)(p0 + p) * rows;
            size_t live = (size_t)w->rows - row0 < rows ? (size_t)w->rows - row0 : rows;
            for (int t = 0; t < task->n; t++) {
                float *y = task->product->y + (size_t)t * task->product->ldy + row0;
                memcpy(y, s.y + (size_t)p * panel_y + (size_t)t * rows, live * sizeof *y);
                if (task->product->bias)
                    k->add(y, task->product->bias + row0, live);
            }
        }
    }
}

static void one_product(struct task *task)
{
    const struct matrix *w = task->product->w;
    size_t work = (size_t)w->rows * (size_t)w->cols * (size_t)task->n;
    int rows = task->kernels->panel_rows;
    int from = task->kernels->rows[w->format] ? PANEL_MIN_TOKENS : 4;
    if (rows > 0 && task->n >= from) {
        int panels = (w->rows + rows - 1) / rows;
        /* Enough pieces for the threads to finish together, and at most PANELS panels in one. */
        int grain = at_least_one((size_t)panels / (size_t)(4 * parallel_threads()));
        grain = grain < PANELS ? grain : PANELS;
        parallel_for(panels, work < SMALL_WORK ? panels : grain, panels_body, task);
        return;
    }
    task->row_bytes = format_row_bytes(w->format, (size_t)w->cols);
    int units = w->rows / ROW_UNIT + (w->rows % ROW_UNIT > 0);
    int least = at_least_one(LEAST_BYTES / (task->row_bytes * ROW_UNIT));
    parallel_for_shrinking(units, work < SMALL_ROWS_WORK ? units : least, rows_body, task);
}

void matmul(const struct kernels *kernels, struct workspace *workspace, const float *x, size_t ldx,
            int n, const struct product *products, int n_products)
{
    struct task task = {.kernels = kernels, .workspace = workspace, .x = x, .ldx = ldx, .n = n};
    int quantised = 0; /* the group size of the q8 activations that the workspace holds */
    for (int i = 0; i < n_products; i++) {
        task.product = &products[i];
        const struct matrix *w = products[i].w;
        task.group = format_info[w->format].group;
        if (in_integers(kernels, w->format) && quantised != task.group) {
            size_t work = (size_t)n * (size_t)w->cols;
            parallel_for(n, work < SMALL_WORK ? n : 1, quantize_tokens, &task);
            quantised = task.group;
        }
        one_product(&task);
    }
}
