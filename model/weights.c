/* weights: see weights.h. */
#include "model/weights.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/size.h"

/* Finds tensors and remembers the first failure, so that a whole layer reads without a test a line.
 */
struct finder {
    const struct checkpoint *checkpoint;
    struct error *err;
    bool failed;
    char name[64];
};

static void name_set(struct finder *f, int layer, const char *part)
{
    if (layer < 0)
        snprintf(f->name, sizeof f->name, "%s", part);
    else
        snprintf(f->name, sizeof f->name, "blk.%d.%s", layer, part);
}

static void fail(struct finder *f, const struct tensor *tensor, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct finder *f, const struct tensor *tensor, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    f->failed = true;
    error_set(f->err, "%s: tensor \"%s\" at byte %zu: %s", tensor->place, f->name, tensor->offset,
              text);
}

/* The tensor f->name, or NULL: absent and OPTIONAL, or a failure. */
static const struct tensor *find(struct finder *f, enum presence presence)
{
    if (f->failed)
        return NULL;
    const struct tensor *tensor = checkpoint_find(f->checkpoint, f->name);
    if (!tensor && presence == REQUIRED) {
        f->failed = true;
        error_set(f->err, "%s: tensor \"%s\" is missing", f->checkpoint->path, f->name);
    }
    return tensor;
}

static struct matrix matrix(struct finder *f, enum presence presence, int rows, int cols)
{
    const struct tensor *tensor = find(f, presence);
    if (!tensor)
        return (struct matrix){0};
    if (tensor->n_dims != 2 || tensor->shape[0] != cols || tensor->shape[1] != rows)
        fail(f, tensor, "shape (%lld,%lld,%lld), expected (%d,%d)", (long long)tensor->shape[0],
             (long long)tensor->shape[1], (long long)tensor->shape[2], cols, rows);
    else if (tensor->offset % sizeof(float) != 0)
        fail(f, tensor, "must start at a multiple of 4 bytes");
    return (struct matrix){tensor->data, tensor->format, rows, cols};
}

static const float *vector(struct finder *f, enum presence presence, int n)
{
    const struct tensor *tensor = find(f, presence);
    if (!tensor)
        return NULL;
    if (tensor->n_dims != 1 || tensor->shape[0] != n)
        fail(f, tensor, "shape (%lld,%lld), expected (%d)", (long long)tensor->shape[0],
             (long long)tensor->shape[1], n);
    else if (tensor->format != FORMAT_F32)
        fail(f, tensor, "type %s, expected F32", format_info[tensor->format].name);
    else if ((uintptr_t)tensor->data % sizeof(float) != 0)
        fail(f, tensor, "must start at a multiple of 4 bytes");
    return f->failed ? NULL : tensor->data;
}

static struct linear linear(struct finder *f, int layer, const char *part, int rows, int cols)
{
    char weight[48];
    char bias[48];
    snprintf(weight, sizeof weight, "%s.weight", part);
    snprintf(bias, sizeof bias, "%s.bias", part);
    struct linear result;
    name_set(f, layer, weight);
    result.w = matrix(f, REQUIRED, rows, cols);
    name_set(f, layer, bias);
    result.bias = vector(f, OPTIONAL, rows);
    return result;
}

static struct norm norm(struct finder *f, int layer, const char *part, enum presence presence,
                        int n)
{
    char weight[48];
    char bias[48];
    snprintf(weight, sizeof weight, "%s.weight", part);
    snprintf(bias, sizeof bias, "%s.bias", part);
    struct norm result;
    name_set(f, layer, weight);
    result.weight = vector(f, presence, n);
    name_set(f, layer, bias);
    result.bias = result.weight ? vector(f, OPTIONAL, n) : NULL;
    return result;
}

/* Rows [first, first + n) of a matrix, and their part of the bias. */
static struct linear rows_of(const struct linear *whole, int first, int n)
{
    const struct matrix *w = &whole->w;
    size_t bytes = format_row_bytes(w->format, (size_t)w->cols);
    struct linear part = {.w = {NULL, w->format, n, w->cols}};
    if (w->data)
        part.w.data = (const uint8_t *)w->data + (size_t)first * bytes;
    if (whole->bias)
        part.bias = whole->bias + first;
    return part;
}

static void read_feed_forward(struct finder *f, const struct config *config, int l,
                              struct layer *layer)
{
    const struct architecture *architecture = config->architecture;
    int dim = config->dim, hidden = config->hidden_dim;
    if (!architecture->shared_norm)
        layer->ffn_norm = norm(f, l, "ffn_norm", REQUIRED, dim);
    if (architecture->fused_gate) {
        struct linear both = linear(f, l, "ffn_up", 2 * hidden, dim);
        layer->gate = rows_of(&both, 0, hidden);
        layer->up = rows_of(&both, hidden, hidden);
    } else {
        if (architecture->gated)
            layer->gate = linear(f, l, "ffn_gate", hidden, dim);
        layer->up = linear(f, l, "ffn_up", hidden, dim);
    }
    layer->down = linear(f, l, "ffn_down", dim, hidden);
    if (architecture->post_norms)
        layer->ffn_post_norm = norm(f, l, "post_ffw_norm", REQUIRED, dim);
}

static void read_layer(struct finder *f, const struct config *config, int l, struct layer *layer)
{
    int q = config->n_heads * config->head_dim;
    int kv = config->n_kv_heads * config->head_dim;
    int dim = config->dim;
    layer->attention_norm = norm(f, l, "attn_norm", REQUIRED, dim);
    if (config->architecture->fused_qkv) {
        layer->n_qkv = 1;
        layer->qkv[0] = linear(f, l, "attn_qkv", q + 2 * kv, dim);
    } else {
        layer->n_qkv = 3;
        layer->qkv[0] = linear(f, l, "attn_q", q, dim);
        layer->qkv[1] = linear(f, l, "attn_k", kv, dim);
        layer->qkv[2] = linear(f, l, "attn_v", kv, dim);
    }
    layer->q_norm = norm(f, l, "attn_q_norm", OPTIONAL, config->head_dim);
    layer->k_norm = norm(f, l, "attn_k_norm", OPTIONAL, config->head_dim);
    layer->output = linear(f, l, "attn_output", dim, q);
    if (config->architecture->post_norms)
        layer->attention_post_norm = norm(f, l, "post_attention_norm", REQUIRED, dim);
    read_feed_forward(f, config, l, layer);
}

int weights_vocab_size(const struct checkpoint *checkpoint, struct error *err)
{
    const struct tensor *embedding = checkpoint_find(checkpoint, "token_embd.weight");
    if (!embedding) {
        const char *why = checkpoint->n_tensors == 0 ? "; the file holds a vocabulary only" : "";
        return error_set(err, "%s: tensor \"token_embd.weight\" is missing%s", checkpoint->path,
                         why);
    }
    if (embedding->n_dims != 2 || embedding->shape[1] < 1 || embedding->shape[1] > INT_MAX)
        return error_set(err,
                         "%s: tensor \"token_embd.weight\" at byte %zu: shape (%lld,%lld), "
                         "expected (dim,tokens)",
                         embedding->place, embedding->offset, (long long)embedding->shape[0],
                         (long long)embedding->shape[1]);
    return (int)embedding->shape[1];
}

int weights_read(struct model *model, const struct checkpoint *checkpoint, struct error *err)
{
    const struct config *config = &model->config;
    struct finder f = {.checkpoint = checkpoint, .err = err};
    name_set(&f, -1, "token_embd.weight");
    model->embedding = matrix(&f, REQUIRED, config->vocab_size, config->dim);
    if (config->architecture->embedding_norm)
        model->embedding_norm = norm(&f, -1, "token_embd_norm", REQUIRED, config->dim);
    model->output_norm = norm(&f, -1, "output_norm", REQUIRED, config->dim);
    if (checkpoint_find(checkpoint, "output.weight"))
        model->output = linear(&f, -1, "output", config->vocab_size, config->dim);
    else
        model->output.w = model->embedding;
    if (f.failed)
        return -1;
    size_t bytes = (size_t)config->n_layers * sizeof *model->layers;
    model->layers = calloc((size_t)config->n_layers, sizeof *model->layers);
    if (!model->layers)
        return error_memory(err, "the directory of layers", bytes);
    for (int l = 0; l < config->n_layers && !f.failed; l++)
        read_layer(&f, config, l, &model->layers[l]);
    return f.failed ? -1 : 0;
}
