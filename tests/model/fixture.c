/* fixture: see fixture.h. */
#include "tests/model/fixture.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void read_expected(struct fixture *fixture, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "tests/data/%s.expected", name);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s is missing", path);
    int32_t header[2];
    ck_assert_uint_eq(fread(header, sizeof header[0], 2, file), 2);
    ck_assert_int_eq(header[1], fixture->model.config.vocab_size);
    size_t n = (size_t)header[0];
    size_t n_logits = n * (size_t)header[1];
    fixture->n = header[0];
    fixture->ids = malloc(n * sizeof *fixture->ids);
    fixture->expected = malloc(n_logits * sizeof *fixture->expected);
    ck_assert(fixture->ids && fixture->expected);
    ck_assert_uint_eq(fread(fixture->ids, sizeof *fixture->ids, n, file), n);
    ck_assert_uint_eq(fread(fixture->expected, sizeof *fixture->expected, n_logits, file),
                      n_logits);
    ck_assert_int_eq(fgetc(file), EOF);
    fclose(file);
    fixture->largest = 0;
    for (size_t i = 0; i < n_logits; i++)
        fixture->largest = fmaxf(fixture->largest, fabsf(fixture->expected[i]));
}

void fixture_open(struct fixture *fixture, const char *name, const char *expected, const char *isa)
{
    struct error err;
    char path[128];
    snprintf(path, sizeof path, "tests/data/%s.gguf", name);
    *fixture = (struct fixture){0};
    ck_assert_msg(checkpoint_open(&fixture->checkpoint, path, &err) == 0, "%s", err.text);
    ck_assert_msg(model_open(&fixture->model, &fixture->checkpoint,
                             &(struct model_options){.isa = isa}, &err) == 0,
                  "%s", err.text);
    read_expected(fixture, expected);
}

void fixture_close(struct fixture *fixture)
{
    model_close(&fixture->model);
    checkpoint_close(&fixture->checkpoint);
    free(fixture->ids);
    free(fixture->expected);
    *fixture = (struct fixture){0};
}

double fixture_difference(const struct fixture *fixture, const float *a, const float *b, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        if (!(difference <= largest))
            largest = difference; /* a NaN, too */
    }
    return largest / (double)fixture->largest;
}

int fixture_argmax(const float *logits, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}
