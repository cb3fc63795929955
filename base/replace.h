/* replace: a file that appears under its name whole or not at all.
 *
 * It is written beside its place under a name of its own, reaches the disk, and then takes the
 * place of what has been there. Whatever happens on the way (a full disk, the end of the process),
 * the old file stays as it was. */
#ifndef LONGHAND_BASE_REPLACE_H
#define LONGHAND_BASE_REPLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct replace {
    char *path;      /* links followed */
    char *temporary; /* in the same folder */
    int file;
    bool open;
};

/* `path` is a regular file or does not exist. Only the owner may read what is new. */
int replace_open(struct replace *replace, const char *path, struct error *err);
int replace_write(struct replace *replace, const void *bytes, size_t n, struct error *err);
/* Puts the new file in place. */
int replace_finish(struct replace *replace, struct error *err);
/* Gives up what is not finished; accepts a zeroed or already closed struct. */
void replace_close(struct replace *replace);

#endif
