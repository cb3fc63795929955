/* candidates: see candidates.h. */
#include "model/candidates.h"

#include <stdbool.h>

/* Likelier first; among equals the lower id, so that the order never depends on the algorithm. */
static bool precedes(const struct candidate *a, const struct candidate *b)
{
    return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}

static void swap(struct candidate *a, struct candidate *b)
{
    struct candidate t = *a;
    *a = *b;
    *b = t;
}

/* Moves what precedes one of them, c[result] afterwards, before it, and the others behind it. */
static size_t partition(struct candidate *c, size_t n)
{
    size_t front = 0;
    swap(&c[n / 2], &c[n - 1]);
    for (size_t i = 0; i + 1 < n; i++)
        if (precedes(&c[i], &c[n - 1]))
            swap(&c[i], &c[front++]);
    swap(&c[front], &c[n - 1]);
    return front;
}

void candidates_first(struct candidate *c, size_t n, size_t k)
{
    while (n > 1 && k > 0 && k < n) {
        size_t front = partition(c, n);
        if (k <= front) {
            n = front;
        } else {
            c += front + 1;
            n -= front + 1;
            k -= front + 1;
        }
    }
}

size_t candidates_sum(struct candidate *c, size_t n, double sum)
{
    size_t done = 0;
    while (n > 1) {
        struct candidate *rest = c + done;
        size_t front = partition(rest, n);
        double weight = 0;
        for (size_t i = 0; i < front; i++)
            weight += (double)rest[i].weight;
        if (front > 0 && weight >= sum) {
            n = front;
            continue;
        }
        weight += (double)rest[front].weight;
        done += front + 1;
        n -= front + 1;
        if (weight >= sum)
            return done;
        sum -= weight;
    }
    return done + n;
}
