/* candidates: what comes first, against sorting. */
#include "model/candidates.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"

enum { MOST = 700 };

static int in_order(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* In random order, ties among them; weights are whole numbers, so that their sums are exact. */
static size_t make(struct candidate *c, struct candidate *sorted, int trial)
{
    size_t n = 1 + (size_t)rand() % (trial % 2 ? 12 : MOST);
    int values = 1 + rand() % (trial % 3 ? 1000 : 5);
    for (size_t i = 0; i < n; i++) {
        float value = (float)(rand() % values);
        c[i] = (struct candidate){(int32_t)i * 3, value - 400, value};
    }
    for (size_t i = n - 1; i > 0; i--) {
        size_t j = (size_t)rand() % (i + 1);
        struct candidate t = c[i];
        c[i] = c[j];
        c[j] = t;
    }
    memcpy(sorted, c, n * sizeof *c);
    qsort(sorted, n, sizeof *sorted, in_order);
    return n;
}

/* (An assertion for each would write a line each.) */
static void check_same(const struct candidate *c, const struct candidate *expected, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c[i].id != expected[i].id)
            ck_abort_msg("%zu of %zu: %d, expected %d", i, n, c[i].id, expected[i].id);
}

START_TEST(test_first)
{
    struct candidate c[MOST], sorted[MOST];
    srand(1);
    for (int trial = 0; trial < 2000; trial++) {
        size_t n = make(c, sorted, trial), k = (size_t)rand() % (n + 1);
        candidates_first(c, n, k);
        qsort(c, k, sizeof *c, in_order);
        check_same(c, sorted, k);
        qsort(c, n, sizeof *c, in_order);
        check_same(c, sorted, n); /* none is lost */
    }
}
END_TEST

START_TEST(test_sum)
{
    struct candidate c[MOST], sorted[MOST];
    srand(2);
    for (int trial = 0; trial < 4000; trial++) {
        size_t n = make(c, sorted, trial), expected = 0;
        double total = 0, sum = 0;
        for (size_t i = 0; i < n; i++)
            total += (double)c[i].weight;
        double wanted = trial % 5 == 0 ? total : trial % 7 == 0 ? 0 : rand() % (int)(total + 3);
        do
            sum += (double)sorted[expected++].weight;
        while (sum < wanted && expected < n);
        size_t found = candidates_sum(c, n, wanted);
        ck_assert_uint_eq(found, expected);
        ck_assert_int_eq(c[found - 1].id, sorted[found - 1].id);
        qsort(c, found, sizeof *c, in_order);
        check_same(c, sorted, found);
    }
}
END_TEST

Suite *candidates_suite(void)
{
    Suite *suite = suite_create("candidates");
    TCase *tcase = tcase_create("candidates");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_first);
    tcase_add_test(tcase, test_sum);
    suite_add_tcase(suite, tcase);
    return suite;
}
