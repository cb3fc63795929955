/* matmul: see matmul.h. Activations are prepared once for all rows; few tokens are then multiplied
 * here, row by row, and many by panels.c. */
#include "kernels/matmul.h"

#include <string.h>

#include "base/size.h"
#include "kernels/parallel.h"
#include "kernels/product.h"

enum {
    ROW_UNIT = 4,             /* rows that tiers like to get together */
    LEAST_BYTES = 1 << 14,    /* of the weights that a thread takes at a time, row by row */
    PART_BYTES = 1 << 15,     /* of them, what stays in the cache for several tokens */
    PREFETCH_BYTES = 1 << 12, /* how far ahead of the row at hand memory is asked for */
    SMALL_ROWS_WORK = 1 << 16 /* as SMALL_WORK, row by row */
};

/* n in whole units. */
static size_t whole(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* The next part of `base`, which takes `bytes` bytes from *at on; NULL when base is. */
static void *take(uint8_t *base, size_t *at, size_t bytes)
{
    void *part = base ? base + *at : NULL;
    *at += whole(bytes, CACHE_LINE);
    return part;
}

/* Lays the scratch out over `base` (NULL: only measure) and returns its size. Every count is
 * bounded by int products far below SIZE_MAX once cols and tokens passed workspace_reserve. */
static size_t scratch_layout(struct thread_scratch *s, uint8_t *base, size_t cols, size_t tokens)
{
    size_t panel = (size_t)PANEL_ROWS_MAX;
    size_t q = panel * PANEL_COLUMNS > cols ? panel * PANEL_COLUMNS : cols;
    size_t row = panel * PANEL_COLUMNS / 2 > cols ? panel * PANEL_COLUMNS / 2 : cols;
    size_t at = 0;
    s->q = take(base, &at, q);
    s->scale = take(base, &at, q / MIN_GROUP * sizeof(float));
    s->min = take(base, &at, q / MIN_GROUP * sizeof(float));
    s->row = take(base, &at, row * sizeof(float));
    s->panel = take(base, &at, panel * PANEL_COLUMNS * 2);
    s->scale_t = take(base, &at, panel * PANEL_COLUMNS / MIN_GROUP * sizeof(float));
    s->min_t = take(base, &at, panel * PANEL_COLUMNS / MIN_GROUP * sizeof(float));
    s->sums = take(base, &at, SUM_ROWS * whole(tokens, TILES_TOKENS) * sizeof(float));
    return at;
}

/* Activations take one byte each as integers, two in whole tiles of bf16, four as floats. */
static size_t activation_bytes(const struct workspace *workspace)
{
    return whole((size_t)workspace->max_tokens, TILES_TOKENS) *
           whole((size_t)workspace->max_cols, TILES_DEPTH) * sizeof(float);
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
    new.activations = size_alloc(activation_bytes(&new), 1);
    new.scale = size_alloc((size_t) new.max_tokens, groups * sizeof(float));
    new.sum = size_alloc((size_t) new.max_tokens, groups * sizeof(int32_t));
    new.thread = size_alloc((size_t) new.n_threads, new.thread_bytes);
    if (!new.activations || !new.scale || !new.sum || !new.thread) {
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
    return activation_bytes(workspace) +
           (size_t)workspace->max_tokens * 2 * groups * sizeof(float) +
           (size_t)workspace->n_threads * workspace->thread_bytes;
}

void workspace_free(struct workspace *workspace)
{
    free(workspace->activations);
    free(workspace->scale);
    free(workspace->sum);
    free(workspace->thread);
    *workspace = (struct workspace){0};
}

struct thread_scratch product_scratch(const struct task *task, int thread)
{
    struct workspace *ws = task->workspace;
    struct thread_scratch s;
    scratch_layout(&s, ws->thread + ws->thread_bytes * (size_t)thread, (size_t)ws->max_cols,
                   (size_t)ws->max_tokens);
    return s;
}

size_t product_chunk(const struct task *task, size_t chunk, size_t *n)
{
    size_t cols = (size_t)task->product->w->cols;
    size_t units = (cols + task->unit - 1) / task->unit;
    size_t k0 = units * chunk / task->chunks * task->unit;
    size_t end = units * (chunk + 1) / task->chunks * task->unit;
    *n = (end < cols ? end : cols) - k0;
    return k0;
}

static size_t prepared_at(const struct task *task, int t, size_t k0, size_t n)
{
    return k0 * (size_t)task->n + (size_t)t * n;
}

struct q8_row product_q8_at(const struct task *task, int t, size_t k0, size_t n)
{
    const struct workspace *ws = task->workspace;
    const int8_t *q = ws->activations;
    size_t at = prepared_at(task, t, k0, n);
    size_t group = task->group == 32 ? at / 32 : at / 16; /* too frequent for true divisions */
    return (struct q8_row){q + at, ws->scale + group, ws->sum + group};
}

const float *product_floats_at(const struct task *task, int t, size_t k0, size_t n)
{
    return (const float *)task->workspace->activations + prepared_at(task, t, k0, n);
}

static void quantize_tokens(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct task *task = context;
    const struct workspace *ws = task->workspace;
    int8_t *q = ws->activations;
    for (size_t c = 0; c < task->chunks; c++) {
        size_t n, k0 = product_chunk(task, c, &n);
        for (int t = begin; t < end; t++) {
            size_t at = prepared_at(task, t, k0, n), group = at / (size_t)task->group;
            task->kernels->quantize_q8(task->x + (size_t)t * task->ldx + k0, n, task->group, q + at,
                                       ws->scale + group, ws->sum + group);
        }
    }
}

static void copy_tokens(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct task *task = context;
    float *x = task->workspace->activations;
    for (size_t c = 0; c < task->chunks; c++) {
        size_t n, k0 = product_chunk(task, c, &n);
        for (int t = begin; t < end; t++)
            memcpy(x + prepared_at(task, t, k0, n), task->x + (size_t)t * task->ldx + k0,
                   n * sizeof *x);
    }
}

const float *product_float_row(const struct kernels *k, enum format format, const void *w, size_t n,
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

static int at_least_one(size_t n)
{
    return n > 0 ? (int)n : 1;
}

/* Rows [begin, end) by the tier's own operation, in parts that stay in the cache for all tokens. */
static void multiply_rows(const struct task *task, int begin, int end)
{
    const struct product *product = task->product;
    const struct matrix *w = product->w;
    bool integer = product_in_integers(task->kernels, w->format);
    int most = task->n > ROW_TOKENS_MAX ? at_least_one(PART_BYTES / task->row_bytes) : end - begin;
    for (int r = begin; r < end; r += most) {
        size_t count = (size_t)(end - r < most ? end - r : most);
        const uint8_t *data = (const uint8_t *)w->data + (size_t)r * task->row_bytes;
        for (int t0 = 0; t0 < task->n; t0 += ROW_TOKENS_MAX) {
            int tokens = task->n - t0 < ROW_TOKENS_MAX ? task->n - t0 : ROW_TOKENS_MAX;
            float *y = product->y + (size_t)t0 * product->ldy + r;
            struct vector x[ROW_TOKENS_MAX];
            for (int t = 0; t < tokens; t++) {
                x[t] = (struct vector){.x = task->x + (size_t)(t0 + t) * task->ldx};
                if (integer)
                    x[t].q8 = product_q8_at(task, t0 + t, 0, (size_t)w->cols);
            }
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
    bool integer = product_in_integers(k, w->format);
    for (int r = begin; r < end; r++) {
        const uint8_t *data = (const uint8_t *)w->data + (size_t)r * task->row_bytes;
        const float *row = NULL;
        prefetch_row(data, task->row_bytes);
        if (integer)
            k->unpack[w->format](data, cols, s->q, s->scale, s->min);
        else
            row = product_float_row(k, w->format, data, cols, s->row);
        for (int t = 0; t < task->n; t++) {
            float dot = integer ? k->dot_q8(s->q, s->scale, info->has_min ? s->min : NULL, cols,
                                            info->group, product_q8_at(task, t, 0, cols))
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
    struct thread_scratch s = product_scratch(task, thread);
    unpack_and_multiply(task, &s, begin * ROW_UNIT, last);
}

static void multiply_by_rows(struct task *task)
{
    const struct matrix *w = task->product->w;
    size_t work = (size_t)w->rows * (size_t)w->cols * (size_t)task->n;
    int units = w->rows / ROW_UNIT + (w->rows % ROW_UNIT > 0);
    int least = at_least_one(LEAST_BYTES / (task->row_bytes * ROW_UNIT));
    parallel_for_shrinking(units, work < SMALL_ROWS_WORK ? units : least, rows_body, task);
}

/* Items are tiles of tokens. */
static void pack_tokens(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct task *task = context;
    size_t cols = (size_t)task->product->w->cols;
    uint16_t *packed = task->workspace->activations;
    for (int i = begin; i < end; i++) {
        int t0 = i * TILES_TOKENS;
        int tokens = task->n - t0 < TILES_TOKENS ? task->n - t0 : TILES_TOKENS;
        task->kernels->tiles_pack(task->x + (size_t)t0 * task->ldx, task->ldx, tokens, cols,
                                  packed + (size_t)t0 * whole(cols, TILES_DEPTH));
    }
}

/* What products want to be in the workspace. */
enum form { AS_THEY_ARE, FLOATS, GROUPS_OF_16 = 16, GROUPS_OF_32 = 32, TILES };

static enum form form_of(const struct task *task, bool panels)
{
    enum format format = task->product->w->format;
    if (panels_are_tiles(task->kernels, task->n))
        return TILES;
    if (product_in_integers(task->kernels, format))
        return (enum form)format_info[format].group;
    return panels ? FLOATS : AS_THEY_ARE;
}

static void prepare_activations(struct task *task, enum form form)
{
    bool small = (size_t)task->n * (size_t)task->product->w->cols < SMALL_WORK;
    int n = form == TILES ? (int)(whole((size_t)task->n, TILES_TOKENS) / TILES_TOKENS) : task->n;
    parallel_body *body = form == TILES    ? pack_tokens
                          : form == FLOATS ? copy_tokens
                                           : quantize_tokens;
    parallel_for(n, small ? n : 1, body, task);
}

void matmul(const struct kernels *kernels, struct workspace *workspace, const float *x, size_t ldx,
            int n, const struct product *products, int n_products)
{
    struct task task = {.kernels = kernels, .workspace = workspace, .x = x, .ldx = ldx, .n = n};
    enum form held = AS_THEY_ARE; /* what the workspace holds, and how it is cut */
    size_t held_unit = 0, held_chunks = 0;
    for (int i = 0; i < n_products; i++) {
        const struct matrix *w = products[i].w;
        bool panels = panels_pay(kernels, w->format, n);
        task.product = &products[i];
        task.group = format_info[w->format].group;
        task.row_bytes = format_row_bytes(w->format, (size_t)w->cols);
        task.unit = (size_t)w->cols;
        task.chunks = 1;
        if (panels)
            panels_cut(&task);
        enum form form = form_of(&task, panels);
        bool same_cut = task.unit == held_unit && task.chunks == held_chunks;
        bool holds = form == held && (form == TILES || same_cut);
        if (form != AS_THEY_ARE && !holds) {
            prepare_activations(&task, form);
            held = form;
            held_unit = task.unit;
            held_chunks = task.chunks;
        }
        if (panels)
            panels_multiply(&task);
        else
            multiply_by_rows(&task);
    }
}
