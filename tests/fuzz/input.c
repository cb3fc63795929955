/* input: see input.h. */
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>

void require(bool truth)
{
    if (!truth)
        abort();
}

static void *copy(const void *bytes, size_t size)
{
    void *out = malloc(size > 0 ? size : 1);
    require(out != NULL);
    memcpy(out, bytes, size);
    return out;
}

struct checkpoint input_open(const char *name, const uint8_t *data, size_t size)
{
    struct file file = {size > 0 ? copy(data, size) : NULL, size};
    char *path = copy(name, strlen(name) + 1);
    return (struct checkpoint){
        .path = copy(name, strlen(name) + 1),
        .files = copy(&file, sizeof file),
        .paths = copy(&path, sizeof path),
        .n_files = 1,
    };
}

void input_close(struct checkpoint *checkpoint)
{
    void *data = (void *)(uintptr_t)checkpoint->files[0].data;
    checkpoint->files[0] = (struct file){0}; /* it is not a mapping */
    checkpoint_close(checkpoint);
    free(data);
}
