/* scheme: one position scheme, opened from a GGUF file with the keys and tensors of a test. */
#ifndef LONGHAND_TESTS_MODEL_POSITION_SCHEME_H
#define LONGHAND_TESTS_MODEL_POSITION_SCHEME_H

#include "model/position/position.h"
#include "tests/support.h"

struct scheme {
    struct architecture architecture; /* "toy" */
    struct layer_config layers[2];
    struct config config; /* head_dim 4, dim n_heads * 4; may be changed before scheme_open */
    int layer;            /* the one to open: 0 */
    struct gguf_image image;
    struct checkpoint checkpoint;
    struct position position;
    struct error err;
};

/* scheme_init; keys "toy.*" and tensors; scheme_open or scheme_refuse; scheme_close. */
void scheme_init(struct scheme *scheme, enum position_kind kind, int n_heads);
/* An F32 tensor of GGUF shape (cols, rows), or (cols) when rows is 0. */
void scheme_tensor(struct scheme *scheme, const char *name, int rows, int cols, const float *data);
void scheme_open(struct scheme *scheme);
/* Opening fails with a message that has `text` in it, and leaves nothing behind. Closes, too. */
void scheme_refuse(struct scheme *scheme, const char *text);
/* As scheme_open, after failing for want of memory in every place where it can. */
void scheme_open_starved(struct scheme *scheme);
void scheme_close(struct scheme *scheme);

/* Expects this line of info. */
void scheme_expect_text(const struct scheme *scheme, const char *text);

/* What the scheme adds to one score, whichever hook says so. The query's place is `place`. */
double scheme_bias(const struct scheme *scheme, int head, double place, double distance);

#endif
