/* key_writer: adds keys to the metadata of a checkpoint whose file has others, and remembers the
 * first failure. Keys and values are copied into memory that the checkpoint owns. */
#ifndef LONGHAND_MODEL_KEY_WRITER_H
#define LONGHAND_MODEL_KEY_WRITER_H

#include "model/checkpoint.h"

struct key_writer {
    struct checkpoint *checkpoint;
    const char *prefix; /* keys are "<prefix>.<name>" */
    struct error *err;
    bool failed; /* set once; every later write does nothing */
};

void key_writer_uint(struct key_writer *writer, const char *name, uint64_t value);
void key_writer_double(struct key_writer *writer, const char *name, double value);
void key_writer_bool(struct key_writer *writer, const char *name, bool value);
void key_writer_text(struct key_writer *writer, const char *name, struct text value);
void key_writer_uints(struct key_writer *writer, const char *name, const uint32_t *values,
                      size_t n);
void key_writer_ints(struct key_writer *writer, const char *name, const int32_t *values, size_t n);
void key_writer_floats(struct key_writer *writer, const char *name, const float *values, size_t n);
void key_writer_texts(struct key_writer *writer, const char *name, const struct text *values,
                      size_t n);

#endif
