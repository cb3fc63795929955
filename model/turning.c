/* turning: see turning.h. */
#include "model/turning.h"

#include <string.h>

size_t turning_table_size(const struct position *position)
{
    return position->follows_length ? (size_t)position->rotated * CACHE_BLOCK : 0;
}

void turning_table(const struct position *position, int64_t length, float *table)
{
    double cosine[POSITION_PAIRS_MAX];
    double sine[POSITION_PAIRS_MAX];
    int pairs = position->rotated / 2;
    position->scheme->angles(position, 1, length, cosine, sine);
    for (int t = 0; t < pairs; t++) {
        float *c = table + (size_t)t * CACHE_BLOCK;
        float *s = c + (size_t)pairs * CACHE_BLOCK;
        double x = 1, y = 0; /* turned place by place: off by 1e-14 after a block */
        for (int j = 0; j < CACHE_BLOCK; j++) {
            c[j] = (float)x;
            s[j] = (float)y;
            double next = x * cosine[t] - y * sine[t];
            y = x * sine[t] + y * cosine[t];
            x = next;
        }
    }
}

void turning_keys(const struct position *position, const struct kernels *kernels,
                  const float *table, const void *keys, enum format format, size_t begin,
                  size_t end, float *out)
{
    size_t pairs = (size_t)position->rotated / 2;
    size_t dim = (size_t)position->config->head_dim;
    for (size_t d = 0; d < dim; d++) {
        size_t at = d * CACHE_BLOCK + begin;
        if (format == FORMAT_F16)
            kernels->f32_from_f16((const uint16_t *)keys + at, end - begin, out + at);
        else
            memcpy(out + at, (const float *)keys + at, (end - begin) * sizeof *out);
    }
    for (size_t t = 0; t < pairs; t++) {
        bool halves = position->pairs == ROPE_HALVES;
        float *a = out + (halves ? t : 2 * t) * CACHE_BLOCK;
        float *b = out + (halves ? t + pairs : 2 * t + 1) * CACHE_BLOCK;
        const float *c = table + t * CACHE_BLOCK;
        const float *s = c + pairs * CACHE_BLOCK;
        for (size_t j = begin; j < end; j++) {
            float x = a[j];
            a[j] = x * c[j] - b[j] * s[j];
            b[j] = x * s[j] + b[j] * c[j];
        }
    }
}
