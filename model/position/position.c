/* position: see position.h. */
#include "model/position/position.h"

#include <stdlib.h>

static const struct position_scheme *const schemes[POSITION_COUNT] = {
    [POSITION_NONE] = &position_none,
    [POSITION_LEARNED] = &position_learned,
    [POSITION_ROPE] = &position_rope,
    [POSITION_ALIBI] = &position_alibi,
};

int position_open(struct position *position, const struct config *config,
                  const struct checkpoint *checkpoint, struct error *err)
{
    *position = (struct position){
        .scheme = schemes[config->architecture->position],
        .config = config,
        .limit = INT64_MAX,
    };
    if (position->scheme->open && position->scheme->open(position, checkpoint, err)) {
        position_close(position);
        return -1;
    }
    return 0;
}

void position_close(struct position *position)
{
    free(position->frequency);
    free(position->slope);
    *position = (struct position){0};
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
