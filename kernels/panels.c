/* panels: products of many tokens. Rows of weights are unpacked by panels that all tokens share.
 *
 *   group of panels, whose sums for all tokens stay in the second-level cache:
 *     for each chunk of columns         the tokens' chunk stays in the second-level cache
 *       for each panel                  unpacked once, stays in the first-level cache
 *         for each tile of tokens       the tier's register-tiled product
 *
 * A panel is of one of three kinds: floats, integers, or tiles of bf16. */
#include <string.h>

#include "base/size.h"
#include "kernels/parallel.h"
#include "kernels/product.h"

/* Tokens from which on panels pay. Tiles take as long for one token as for 16, and unpacking to
 * bf16 costs about what twelve products of a token with integers do beyond what these take to
 * interleave; up to ROW_TOKENS_MAX tokens together have the bits that they have one by one. */
enum {
    PANEL_MIN_TOKENS = 4, /* where rows are unpacked */
    PANEL_MIN_TOKENS_ROWS = 20,
    CHUNK_UNIT = 256, /* whole blocks of every format */
    TILES_MIN_TOKENS = ROW_TOKENS_MAX + 1
};

/* A part of the product at hand: n columns from k0 on of the panel that begins at row0. */
struct part {
    const struct task *task;
    struct thread_scratch *scratch;
    size_t row0;
    size_t k0;
    size_t n;
    int panel; /* its place among the panels of the group */
    int panels;
    int rows; /* of each */
};

struct kind {
    size_t columns; /* of a panel at most: it lies in 16 to 32 KiB */
    int panels;     /* in a group */
    void (*panel)(const struct part *part);
    /* sums += panel times tokens [t0, t0 + tokens), at most a tile of them; at k0 = 0 sums begin.
     */
    void (*product)(const struct part *part, int t0, int tokens, float *sums);
    /* The sums of a group, `rows` rows and all tokens, to y; `part` is its first panel. */
    void (*store)(const struct part *part, float *sums, int rows, float *y);
};

static const uint8_t *block_at(const struct task *task, size_t row, size_t k)
{
    const struct matrix *w = task->product->w;
    const struct format_info *info = &format_info[w->format];
    return (const uint8_t *)w->data + row * task->row_bytes +
           k / (size_t)info->block_len * (size_t)info->block_bytes;
}

/* The weights of row i of a panel. Rows beyond the matrix repeat its last one: their results are
 * not copied out. */
static const uint8_t *panel_row(const struct part *part, int i)
{
    size_t row = part->row0 + (size_t)i, rows = (size_t)part->task->product->w->rows;
    return block_at(part->task, row < rows ? row : rows - 1, part->k0);
}

static void unpack_row(const struct part *part, int i, int8_t *q)
{
    const struct thread_scratch *s = part->scratch;
    enum format format = part->task->product->w->format;
    part->task->kernels->unpack[format](panel_row(part, i), part->n, q, s->scale, s->min);
}

static const float *float_row(const struct part *part, int i, float *row)
{
    const struct kernels *k = part->task->kernels;
    return product_float_row(k, part->task->product->w->format, panel_row(part, i), part->n, row);
}

/* --- sums of integers and floats: (tokens, panels, panel_rows) ----------------------------- */

static size_t sums_pitch(const struct part *part)
{
    return (size_t)part->panels * (size_t)part->rows;
}

static float *tile_sums(const struct part *part, int t0, int tokens, float *sums)
{
    size_t rows = (size_t)part->rows, pitch = sums_pitch(part);
    float *tile = sums + (size_t)t0 * pitch + (size_t)part->panel * rows;
    for (int t = 0; part->k0 == 0 && t < tokens; t++)
        memset(tile + (size_t)t * pitch, 0, rows * sizeof *tile);
    return tile;
}

static void copy_sums(const struct part *part, float *sums, int rows, float *y)
{
    for (int t = 0; t < part->task->n; t++)
        memcpy(y + (size_t)t * part->task->product->ldy, sums + (size_t)t * sums_pitch(part),
               (size_t)rows * sizeof *y);
}

/* --- integers ----------------------------------------------------------------------------- */

static void panel_q8(const struct part *part)
{
    const struct kernels *k = part->task->kernels;
    const struct thread_scratch *s = part->scratch;
    const struct format_info *info = &format_info[part->task->product->w->format];
    size_t rows = (size_t)k->panel_rows;
    size_t groups = part->n / (size_t)info->group;
    const int8_t *q[PANEL_ROWS_MAX];
    for (int i = 0; i < k->panel_rows; i++) {
        int8_t *row = s->q + (size_t)i * PANEL_COLUMNS;
        unpack_row(part, i, row);
        q[i] = row;
        for (size_t g = 0; g < groups; g++)
            s->scale_t[g * rows + (size_t)i] = s->scale[g];
        for (size_t g = 0; info->has_min && g < groups; g++)
            s->min_t[g * rows + (size_t)i] = s->min[g];
    }
    k->panel_q8(q, part->n, s->panel);
}

static void product_q8(const struct part *part, int t0, int tokens, float *sums)
{
    const struct kernels *k = part->task->kernels;
    const struct thread_scratch *s = part->scratch;
    const struct format_info *info = &format_info[part->task->product->w->format];
    struct q8_row x[TILE_TOKENS_MAX];
    for (int t = 0; t < tokens; t++)
        x[t] = product_q8_at(part->task, t0 + t, part->k0, part->n);
    k->product_q8(s->panel, s->scale_t, info->has_min ? s->min_t : NULL, part->n, info->group, x,
                  tokens, tile_sums(part, t0, tokens, sums), sums_pitch(part));
}

static const struct kind q8_kind = {512, 4, panel_q8, product_q8, copy_sums};

/* --- floats ------------------------------------------------------------------------------- */

static void panel_f32(const struct part *part)
{
    const struct kernels *k = part->task->kernels;
    const float *row[PANEL_ROWS_MAX];
    for (int i = 0; i < k->panel_rows; i++)
        row[i] = float_row(part, i, part->scratch->row + (size_t)i * PANEL_COLUMNS / 2);
    k->panel_f32(row, part->n, part->scratch->panel);
}

static void product_f32(const struct part *part, int t0, int tokens, float *sums)
{
    const struct task *task = part->task;
    const float *x[TILE_TOKENS_MAX];
    for (int t = 0; t < tokens; t++)
        x[t] = product_floats_at(task, t0 + t, part->k0, part->n);
    task->kernels->product_f32(part->scratch->panel, part->n, x, tokens,
                               tile_sums(part, t0, tokens, sums), sums_pitch(part));
}

static const struct kind f32_kind = {256, 4, panel_f32, product_f32, copy_sums};

/* --- tiles -------------------------------------------------------------------------------- */

static void panel_tiles(const struct part *part)
{
    const struct kernels *k = part->task->kernels;
    const struct thread_scratch *s = part->scratch;
    const struct format_info *info = &format_info[part->task->product->w->format];
    for (int i = 0; i < TILES_ROWS; i++) {
        if (info->group > 0) {
            unpack_row(part, i, s->q);
            k->tiles_row_q8(s->q, s->scale, info->has_min ? s->min : NULL, part->n, info->group, i,
                            s->panel);
        } else {
            k->tiles_row_f32(float_row(part, i, s->row), part->n, i, s->panel);
        }
    }
}

/* The sums of a panel of the group. */
static float *tiles_of(const struct part *part, int panel, float *sums)
{
    size_t tiles = ((size_t)part->task->n + TILES_TOKENS - 1) / TILES_TOKENS;
    return sums + (size_t)panel * tiles * TILES_TOKENS * TILES_ROWS;
}

static void product_tiles(const struct part *part, int t0, int tokens, float *sums)
{
    const struct task *task = part->task;
    const uint16_t *x = task->workspace->activations;
    float *tile = tiles_of(part, part->panel, sums) + (size_t)t0 * TILES_ROWS;
    size_t steps = ((size_t)task->product->w->cols + TILES_DEPTH - 1) / TILES_DEPTH;
    size_t block = (size_t)t0 / TILES_TOKENS;
    x += (block * steps + part->k0 / TILES_DEPTH) * TILES_DEPTH * TILES_TOKENS;
    task->kernels->tiles_product(part->scratch->panel, x, (part->n + TILES_DEPTH - 1) / TILES_DEPTH,
                                 tokens, part->k0 == 0, part->panel, part->panels, tile);
}

static void store_tiles(const struct part *part, float *sums, int rows, float *y)
{
    const struct task *task = part->task;
    for (int p = 0; p < part->panels; p++, rows -= TILES_ROWS, y += TILES_ROWS)
        task->kernels->tiles_sums(tiles_of(part, p, sums), task->n,
                                  rows < TILES_ROWS ? rows : TILES_ROWS, y, task->product->ldy);
}

static const struct kind tiles_kind = {320, SUM_ROWS / TILES_ROWS, panel_tiles, product_tiles,
                                       store_tiles};

/* --- all of them -------------------------------------------------------------------------- */

bool panels_are_tiles(const struct kernels *kernels, int n)
{
    return kernels->tiles_product && n >= TILES_MIN_TOKENS;
}

bool panels_pay(const struct kernels *kernels, enum format format, int n)
{
    int least = kernels->rows[format] ? PANEL_MIN_TOKENS_ROWS : PANEL_MIN_TOKENS;
    return panels_are_tiles(kernels, n) || (kernels->panel_rows > 0 && n >= least);
}

static const struct kind *choose_kind(const struct task *task)
{
    if (panels_are_tiles(task->kernels, task->n))
        return &tiles_kind;
    return product_in_integers(task->kernels, task->product->w->format) ? &q8_kind : &f32_kind;
}

void panels_cut(struct task *task)
{
    const struct kind *kind = choose_kind(task);
    size_t block = (size_t)format_info[task->product->w->format].block_len;
    size_t tile = block > TILES_DEPTH ? block : TILES_DEPTH;
    task->unit = kind == &q8_kind ? CHUNK_UNIT : tile; /* one way for all formats of integers */
    size_t units = ((size_t)task->product->w->cols + task->unit - 1) / task->unit;
    size_t units_in_chunk = kind->columns / task->unit;
    task->chunks = (units + units_in_chunk - 1) / units_in_chunk;
}

/* What is the same for every panel of a product. */
struct plan {
    struct task *task;
    const struct kind *kind;
    int rows;   /* of a panel */
    int tokens; /* of a tile */
};

static struct plan make_plan(struct task *task)
{
    const struct kind *kind = choose_kind(task);
    bool tiles = kind == &tiles_kind;
    return (struct plan){
        .task = task,
        .kind = kind,
        .rows = tiles ? TILES_ROWS : task->kernels->panel_rows,
        .tokens = tiles ? TILES_TOKENS : task->kernels->tile_tokens,
    };
}

/* The part of panel `panel` in the group that begins at row0, and of chunk `chunk`. */
static struct part make_part(const struct plan *plan, struct thread_scratch *scratch, size_t row0,
                             int panel, int panels, size_t chunk)
{
    struct part part = {.task = plan->task,
                        .scratch = scratch,
                        .row0 = row0 + (size_t)panel * (size_t)plan->rows,
                        .panel = panel,
                        .panels = panels,
                        .rows = plan->rows};
    part.k0 = product_chunk(plan->task, chunk, &part.n);
    return part;
}

/* Asks for rows [begin, end) of a panel that is soon unpacked. */
static void prefetch_rows(const struct part *part, int begin, int end)
{
    const struct format_info *info = &format_info[part->task->product->w->format];
    size_t bytes = part->n / (size_t)info->block_len * (size_t)info->block_bytes;
    for (int i = begin; i < end; i++) {
        const uint8_t *row = panel_row(part, i);
        for (size_t at = 0; at < bytes; at += CACHE_LINE)
            __builtin_prefetch(row + at, 0, 2);
    }
}

/* One panel for all tokens. Between the products, which read caches alone, the rows of the part
 * that comes next are asked for. */
static void multiply_part(const struct plan *plan, const struct part *part, const struct part *next,
                          float *sums)
{
    int n = plan->task->n;
    int tiles = (n + plan->tokens - 1) / plan->tokens;
    plan->kind->panel(part);
    for (int i = 0; i < tiles; i++) {
        int t0 = i * plan->tokens;
        prefetch_rows(next, plan->rows * i / tiles, plan->rows * (i + 1) / tiles);
        plan->kind->product(part, t0, n - t0 < plan->tokens ? n - t0 : plan->tokens, sums);
    }
}

/* `panels` panels from the one at row0 on. */
static void multiply_group(const struct plan *plan, struct thread_scratch *s, size_t row0,
                           int panels)
{
    const struct task *task = plan->task;
    const struct product *product = task->product;
    size_t left = (size_t)product->w->rows - row0, most = (size_t)panels * (size_t)plan->rows;
    size_t rows = left < most ? left : most;
    struct part first = make_part(plan, s, row0, 0, panels, 0);
    for (size_t chunk = 0; chunk < plan->task->chunks; chunk++) {
        for (int p = 0; p < panels; p++) {
            struct part part = make_part(plan, s, row0, p, panels, chunk);
            bool last = p + 1 == panels;
            struct part next =
                make_part(plan, s, row0, last ? 0 : p + 1, panels,
                          last && chunk + 1 < plan->task->chunks ? chunk + 1 : chunk);
            multiply_part(plan, &part, &next, s->sums);
        }
    }
    plan->kind->store(&first, s->sums, (int)rows, product->y + row0);
    for (int t = 0; product->bias && t < task->n; t++)
        task->kernels->add(product->y + (size_t)t * product->ldy + row0, product->bias + row0,
                           rows);
}

/* Panels [begin, end), in groups as even as may be. */
static void panels_body(void *context, int begin, int end, int thread)
{
    const struct plan *plan = context;
    struct thread_scratch s = product_scratch(plan->task, thread);
    int groups = (end - begin + plan->kind->panels - 1) / plan->kind->panels;
    if (plan->kind == &tiles_kind)
        plan->task->kernels->tiles_begin();
    for (int g = 0; g < groups; g++) {
        int from = begin + (end - begin) * g / groups,
            to = begin + (end - begin) * (g + 1) / groups;
        multiply_group(plan, &s, (size_t)from * (size_t)plan->rows, to - from);
    }
    if (plan->kind == &tiles_kind)
        plan->task->kernels->tiles_end();
}

void panels_multiply(struct task *task)
{
    struct plan plan = make_plan(task);
    const struct matrix *w = task->product->w;
    size_t work = (size_t)w->rows * (size_t)w->cols * (size_t)task->n;
    int panels = (w->rows + plan.rows - 1) / plan.rows;
    parallel_for_shrinking(panels, work < SMALL_WORK ? panels : 1, panels_body, &plan);
}
