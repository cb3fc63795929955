/* replace: see replace.h. */
#include "base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char suffix[] = ".XXXXXX";

/* The name that is to be replaced: where a link leads, if `path` is one. Nothing else than a file
 * may stand there. */
static char *find_place(const char *path, struct error *err)
{
    struct stat status;
    if (!*path) {
        error_set(err, "cannot write a file without a name");
        return NULL;
    }
    bool exists = stat(path, &status) == 0;
    if (exists && !S_ISREG(status.st_mode)) {
        error_set(err, "%s: is a %s, expected a regular file, or none", path,
                  S_ISDIR(status.st_mode) ? "directory" : "special file");
        return NULL;
    }
    char *place = exists ? realpath(path, NULL) : strdup(path);
    if (!place)
        error_set(err, "%s: cannot follow the name: %s", path, strerror(errno));
    return place;
}

int replace_open(struct replace *replace, const char *path, struct error *err)
{
    *replace = (struct replace){.path = find_place(path, err)};
    if (!replace->path)
        return -1;
    size_t length = strlen(replace->path);
    replace->temporary = malloc(length + sizeof suffix);
    if (!replace->temporary) {
        replace_close(replace);
        return error_memory(err, "a file name", length + sizeof suffix);
    }
    memcpy(replace->temporary, replace->path, length);
    memcpy(replace->temporary + length, suffix, sizeof suffix);
    replace->file = mkostemp(replace->temporary, O_CLOEXEC);
    if (replace->file < 0) {
        error_set(err, "%s: cannot create a file beside it: %s", path, strerror(errno));
        replace_close(replace);
        return -1;
    }
    replace->open = true;
    return 0;
}

static int fail(const struct replace *replace, struct error *err)
{
    return error_set(err, "%s: cannot write: %s; what was there before is unchanged", replace->path,
                     strerror(errno));
}

int replace_write(struct replace *replace, const void *bytes, size_t n, struct error *err)
{
    const char *at = bytes;
    while (n > 0) {
        ssize_t written = write(replace->file, at, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return fail(replace, err);
        at += written;
        n -= (size_t)written;
    }
    return 0;
}

/* The new name reaches the disk with the folder. Not every file system can be asked for that, and
 * the file is in place in any case. */
static void sync_folder(char *path)
{
    char *slash = strrchr(path, '/');
    const char *folder = !slash ? "." : slash == path ? "/" : path;
    if (slash && slash != path)
        *slash = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

int replace_finish(struct replace *replace, struct error *err)
{
    if (fsync(replace->file) != 0)
        return fail(replace, err);
    replace->open = false;
    int closed = close(replace->file);
    if (closed != 0 || rename(replace->temporary, replace->path) != 0) {
        fail(replace, err);
        (void)unlink(replace->temporary);
        return -1;
    }
    sync_folder(replace->path);
    return 0;
}

void replace_close(struct replace *replace)
{
    if (replace->open) {
        close(replace->file);
        (void)unlink(replace->temporary);
    }
    free(replace->path);
    free(replace->temporary);
    *replace = (struct replace){0};
}
