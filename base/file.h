/* file: a whole file mapped read-only into memory. */
#ifndef LONGHAND_BASE_FILE_H
#define LONGHAND_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct file {
    const uint8_t *data; /* valid until file_close; NULL for a zeroed struct */
    size_t size;         /* bytes, > 0 once open */
};

/* Maps `path`. Fails on a missing, unreadable or empty file, and on a directory, pipe or device. */
int file_open(struct file *file, const char *path, struct error *err);

/* Makes the pages of bytes [at, at + n) present at once, instead of a page fault each later. Only a
 * hint: where the system cannot, nothing happens. */
void file_prefault(const struct file *file, size_t at, size_t n);

/* Accepts a zeroed or already closed struct. */
void file_close(struct file *file);

#endif
