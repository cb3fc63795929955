/* input: what the fuzz targets of model files share. */
#ifndef LONGHAND_TESTS_FUZZ_INPUT_H
#define LONGHAND_TESTS_FUZZ_INPUT_H

#include <stdbool.h>

#include "model/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process, which is a finding, where something is not so. */
void require(bool truth);

/* A checkpoint, not read yet, whose one file has the bytes data[size]: a copy on the heap, so that
 * the sanitizer sees a step past the end. */
struct checkpoint input_open(const char *name, const uint8_t *data, size_t size);
void input_close(struct checkpoint *checkpoint);

#endif
