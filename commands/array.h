/* array: growing arrays (stb_ds), for what a person types and reads: always small.
 *
 * stb_ds cannot report that memory is short, so array_realloc ends the process with a message then:
 * the one place that does, and the reason why nothing below commands/ uses stb_ds. */
#ifndef LONGHAND_COMMANDS_ARRAY_H
#define LONGHAND_COMMANDS_ARRAY_H

#include <stddef.h>
#include <stdlib.h>

void *array_realloc(void *memory, size_t bytes);

#define STBDS_REALLOC(context, memory, bytes) array_realloc(memory, bytes)
#define STBDS_FREE(context, memory) free(memory)
#include <stb/stb_ds.h>

/* The macros find the header of an array through a pointer to its elements, of any type. */
#pragma GCC diagnostic ignored "-Wcast-align"

#endif
