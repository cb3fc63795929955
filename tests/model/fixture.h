/* fixture: the tiny models of tests/data, opened, with the logits that transformers computes for
 * them. */
#ifndef LONGHAND_TESTS_MODEL_FIXTURE_H
#define LONGHAND_TESTS_MODEL_FIXTURE_H

#include "model/model.h"
#include "model/session.h"

struct fixture {
    struct checkpoint checkpoint;
    struct model model;
    int n;           /* tokens */
    int32_t *ids;    /* (n) */
    float *expected; /* (n, vocab_size) */
    float largest;   /* of the expected logits' magnitudes */
};

/* tests/data/<name>.gguf on tier `isa` (NULL: the best one). The file may be that of another
 * container of the model `expected`, whose tokens and logits are read from
 * tests/data/<expected>.expected. */
void fixture_open(struct fixture *fixture, const char *name, const char *expected, const char *isa);
void fixture_close(struct fixture *fixture);

/* The largest difference of two rows of logits (n), as a share of fixture->largest. */
double fixture_difference(const struct fixture *fixture, const float *a, const float *b, size_t n);

int fixture_argmax(const float *logits, int n);

#endif
