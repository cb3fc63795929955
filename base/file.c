/* file: see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Huge pages are a hint for the first reading of a file from disk. As long as it then stays in
 * memory it is mapped 2 MiB at a time, not 4 KiB: that takes microseconds, not tens of
 * milliseconds. */
int file_open(struct file *file, const char *path, struct error *err)
{
    *file = (struct file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set(err, "%s: cannot open: %s", path, strerror(errno));
    struct stat status;
    int result = -1;
    if (fstat(fd, &status) != 0) {
        error_set(err, "%s: cannot read its size: %s", path, strerror(errno));
    } else if (!S_ISREG(status.st_mode)) {
        error_set(err, "%s: is a %s, expected a regular file", path,
                  S_ISDIR(status.st_mode) ? "directory" : "special file");
    } else if (status.st_size == 0) {
        error_set(err, "%s: is empty", path);
    } else {
        size_t size = (size_t)status.st_size;
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            error_set(err, "%s: cannot map %zu bytes: %s", path, size, strerror(errno));
        } else {
            (void)madvise(data, size, MADV_HUGEPAGE);
            file->data = data;
            file->size = size;
            result = 0;
        }
    }
    close(fd);
    return result;
}

void file_prefault(const struct file *file, size_t at, size_t n)
{
#ifdef MADV_POPULATE_READ
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t start = at / page * page;
    size_t end = n < file->size - at ? at + n : file->size;
    (void)madvise((void *)(uintptr_t)(file->data + start), end - start, MADV_POPULATE_READ);
#else
    (void)file, (void)at, (void)n;
#endif
}

void file_close(struct file *file)
{
    if (file->data)
        munmap((void *)(uintptr_t)file->data, file->size);
    *file = (struct file){0};
}
