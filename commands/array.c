/* array: see array.h. Holds the implementation of stb_ds. */
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wcast-align"
#endif
#define STB_DS_IMPLEMENTATION
#include "commands/array.h"

#include <stdio.h>

#include "commands/commands.h"

void *array_realloc(void *memory, size_t bytes)
{
    void *grown = realloc(memory, bytes);
    if (!grown) {
        fprintf(stderr, "longhand: out of memory: %zu bytes for text\n", bytes);
        exit(EXIT_FAILED);
    }
    return grown;
}
