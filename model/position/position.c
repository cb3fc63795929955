/* position: see position.h. */
#include "model/position/position.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

static const struct position_scheme *const schemes[POSITION_COUNT] = {
    [POSITION_NONE] = &position_none,
    [POSITION_SINUSOIDAL] = &position_sinusoidal,
    [POSITION_LEARNED] = &position_learned,
    [POSITION_ROPE] = &position_rope,
    [POSITION_XPOS] = &position_xpos,
    [POSITION_ALIBI] = &position_alibi,
    [POSITION_T5] = &position_t5,
    [POSITION_SHAW] = &position_shaw,
    [POSITION_TRANSFORMER_XL] = &position_transformer_xl,
    [POSITION_DISENTANGLED] = &position_disentangled,
    [POSITION_KERPLE] = &position_kerple,
    [POSITION_SANDWICH] = &position_sandwich,
    [POSITION_FIRE] = &position_fire,
    [POSITION_COPE] = &position_cope,
};

const char *position_name(enum position_kind kind)
{
    return schemes[kind]->name;
}

int position_open(struct position *position, const struct position_source *source,
                  struct error *err)
{
    const struct config *config = source->config;
    const struct layer_config *layer = &config->layers[source->layer];
    *position = (struct position){
        .scheme = schemes[layer->position],
        .config = config,
        .layer = layer,
        .limit = INT64_MAX,
        .scale = config->attention_scale > 0 ? config->attention_scale
                                             : 1 / sqrtf((float)config->head_dim),
        .rotation_scale = 1,
        .last_distance = INT64_MAX,
    };
    if (position->scheme->open && position->scheme->open(position, source, err)) {
        position_close(position);
        return -1;
    }
    return 0;
}

void position_close(struct position *position)
{
    free(position->parameters);
    for (int i = 0; i < POSITION_TENSORS_MAX; i++)
        free(position->tensors[i]);
    *position = (struct position){0};
}

void position_describe(const struct position *position, char *text, size_t size)
{
    int n = snprintf(text, size, "%s", position->scheme->name);
    if (!position->scheme->describe || n < 0 || (size_t)n + 2 >= size)
        return;
    memcpy(text + n, ", ", 3);
    position->scheme->describe(position, text + n + 2, size - (size_t)n - 2);
    if (!text[n + 2])
        text[n] = '\0';
}

/* "blk.<layer>.<name>", or "<name>", in *full; NULL when there is neither. */
static const struct tensor *find(const struct position_source *source, const char *name,
                                 char full[POSITION_NAME_BYTES])
{
    snprintf(full, POSITION_NAME_BYTES, "blk.%d.%s", source->layer, name);
    const struct tensor *tensor = checkpoint_find(source->checkpoint, full);
    if (tensor)
        return tensor;
    snprintf(full, POSITION_NAME_BYTES, "%s", name);
    return checkpoint_find(source->checkpoint, full);
}

static int missing(const struct position_source *source, const char *name, struct error *err)
{
    return error_set(err, "%s: tensor \"blk.%d.%s\" is missing, and so is \"%s\"",
                     source->checkpoint->path, source->layer, name, name);
}

int position_read(const struct position_source *source, const char *name, enum presence presence,
                  int64_t rows, int64_t cols, float **out, struct error *err)
{
    char full[POSITION_NAME_BYTES];
    const struct tensor *tensor = find(source, name, full);
    *out = NULL;
    if (!tensor)
        return presence == REQUIRED ? missing(source, name, err) : 0;
    bool vector = rows == 1 && tensor->n_dims == 1;
    if ((tensor->n_dims != 2 && !vector) || tensor->shape[0] != cols || tensor->shape[1] != rows)
        return error_set(err,
                         "%s: tensor \"%s\" at byte %zu: shape (%lld,%lld,%lld), expected "
                         "(%lld,%lld)",
                         tensor->place, full, tensor->offset, (long long)tensor->shape[0],
                         (long long)tensor->shape[1], (long long)tensor->shape[2], (long long)cols,
                         (long long)rows);
    size_t n = (size_t)rows * (size_t)cols; /* no overflow: the tensor lies in the file */
    size_t row_bytes = format_row_bytes(tensor->format, (size_t)cols);
    *out = size_alloc(n, sizeof **out);
    if (!*out)
        return error_memory(err, full, n * sizeof **out);
    for (int64_t row = 0; row < rows; row++)
        format_dequantize(tensor->format, (const uint8_t *)tensor->data + (size_t)row * row_bytes,
                          (size_t)cols, *out + row * cols);
    return 0;
}

int64_t position_rows(const struct position_source *source, const char *name, int64_t cols,
                      struct error *err)
{
    char full[POSITION_NAME_BYTES];
    const struct tensor *tensor = find(source, name, full);
    if (!tensor)
        return missing(source, name, err);
    if (tensor->n_dims < 1 || tensor->n_dims > 2 || tensor->shape[0] != cols ||
        tensor->shape[1] < 1)
        return error_set(err,
                         "%s: tensor \"%s\" at byte %zu: shape (%lld,%lld), expected (%lld,rows)",
                         tensor->place, full, tensor->offset, (long long)tensor->shape[0],
                         (long long)tensor->shape[1], (long long)cols);
    return tensor->shape[1];
}

int position_check(const struct position_source *source, const char *name, const float *x,
                   int64_t n, struct error *err)
{
    for (int64_t i = 0; x && i < n; i++)
        if (!isfinite(x[i]))
            return error_set(err,
                             "%s: tensor \"%s\" of layer %d: number %lld is %g, expected a "
                             "finite one",
                             source->checkpoint->path, name, source->layer, (long long)i,
                             (double)x[i]);
    return 0;
}

void position_rotate(const struct position *position, const struct kernels *kernels, float *x,
                     int n_heads, const float *cos, const float *sin)
{
    size_t pairs = (size_t)position->rotated / 2;
    for (int head = 0; head < n_heads; head++, x += position->config->head_dim)
        if (position->pairs == ROPE_INTERLEAVED)
            kernels->rotate_interleaved(x, cos, sin, pairs);
        else
            kernels->rotate_halves(x, cos, sin, pairs);
}

void position_turns(const struct position *position, double place, int64_t length, bool query,
                    float *cos, float *sin)
{
    double cosine[POSITION_PAIRS_MAX];
    double sine[POSITION_PAIRS_MAX];
    position->scheme->angles(position, place, length, cosine, sine);
    double scale = query ? (double)rope_rotation_scale(position, length) : 1;
    for (int t = 0; t < position->rotated / 2; t++) {
        cos[t] = (float)(cosine[t] * scale);
        sin[t] = (float)(sine[t] * scale);
    }
}

void position_multiply(const struct position *position, float *x, int n_heads, const float *factor)
{
    int pairs = position->rotated / 2;
    bool halves = position->pairs == ROPE_HALVES;
    for (int head = 0; head < n_heads; head++, x += position->config->head_dim)
        for (int t = 0; t < pairs; t++) {
            x[halves ? t : 2 * t] *= factor[t];
            x[halves ? t + pairs : 2 * t + 1] *= factor[t];
        }
}
