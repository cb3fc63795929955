/* matmul: see matmul.h. Activations are prepared once for all rows; few tokens are then multiplied
 * here, row by row, and many by panels.c. */
#include "kernels/matmul.h"

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

/* Activations as integers take one byte each, in whole tiles of bf16 two. */
static size_t activation_bytes(const struct workspace *workspace)
{
    return whole((size_t)workspace->max_tokens, TILES_TOKENS) *
           whole((size_t)workspace->max_cols, TILES_DEPTH) * sizeof(uint16_t);
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

void product_q8_tokens(const struct task *task, int t0, int tokens, size_t k, struct q8_row *x)
{
    const struct workspace *ws = task->workspace;
    const int8_t *q = ws->activations;
    size_t cols = (size_t)task->product->w->cols;
    int shift = task->group == 32 ? 5 : 4; /* this is called too often for divisions */
    for (size_t t = (size_t)t0; t < (size_t)(t0 + tokens); t++, x++) {
        size_t group = t * (cols >> shift) + (k >> shift);
        *x = (struct q8_row){q + t * cols + k, ws->scale + group, ws->sum + group};
    }
}

struct q8_row product_q8_at(const struct task *task, int t, size_t k)
{
    struct q8_row x;
    product_q8_tokens(task, t, 1, k, &x);
    return x;
}

static void quantize_tokens(void *context, int begin, int end, int thread)
{
    (void)thread;
    const struct task *task = context;
    const struct workspace *ws = task->workspace;
    int8_t *q = ws->activations;
    size_t cols = (size_t)task->product->w->cols;
    size_t groups = cols / (size_t)task->group;
    for (int t = begin; t < end; t++)
        task->kernels->quantize_q8(task->x + (size_t)t * task->ldx, cols, task->group,
                                   q + (size_t)t * cols, ws->scale + (size_t)t * groups,
                                   ws->sum + (size_t)t * groups);
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
                    x[t].q8 = product_q8_at(task, t0 + t, 0);
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
                                            info->group, product_q8_at(task, t, 0))
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
enum form { AS_THEY_ARE, GROUPS_OF_16 = 16, GROUPS_OF_32 = 32, TILES };

static enum form form_of(const struct task *task)
{
    enum format format = task->product->w->format;
    if (panels_are_tiles(task->kernels, task->n))
        return TILES;
    return product_in_integers(task->kernels, format) ? (enum form)format_info[format].group
                                                      : AS_THEY_ARE;
}

static void prepare_activations(struct task *task, enum form form)
{
    bool small = (size_t)task->n * (size_t)task->product->w->cols < SMALL_WORK;
    int n = form == TILES ? (int)(whole((size_t)task->n, TILES_TOKENS) / TILES_TOKENS) : task->n;
    parallel_for(n, small ? n : 1, form == TILES ? pack_tokens : quantize_tokens, task);
}

void matmul(const struct kernels *kernels, struct workspace *workspace, const float *x, size_t ldx,
            int n, const struct product *products, int n_products)
{
    struct task task = {.kernels = kernels, .workspace = workspace, .x = x, .ldx = ldx, .n = n};
    enum form held = AS_THEY_ARE; /* what the workspace holds */
    for (int i = 0; i < n_products; i++) {
        const struct matrix *w = products[i].w;
        task.product = &products[i];
        task.group = format_info[w->format].group;
        task.row_bytes = format_row_bytes(w->format, (size_t)w->cols);
        enum form form = form_of(&task);
        if (form != AS_THEY_ARE && form != held) {
            prepare_activations(&task, form);
            held = form;
        }
        if (panels_pay(kernels, w->format, n))
            panels_multiply(&task);
        else
            multiply_by_rows(&task);
    }
}
