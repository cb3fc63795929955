/* candidates: the likeliest of many tokens, without sorting them (quickselect: Hoare 1961).
 *
 * Likelier ones precede others; of equals the lower id does, so that who comes first never depends
 * on the algorithm. */
#ifndef LONGHAND_MODEL_CANDIDATES_H
#define LONGHAND_MODEL_CANDIDATES_H

#include <stddef.h>
#include <stdint.h>

struct candidate {
    int32_t id;
    float logit;
    float weight; /* its unnormalised probability, >= 0 */
};

/* Moves the k first of c[n] to the front; the order among them is open. */
void candidates_first(struct candidate *c, size_t n, size_t k);

/* Moves the first of c[n], n > 0, as many as it takes for their weights to reach `sum`, to the
 * front, the last of them last, and returns how many; all n where they do not reach it. */
size_t candidates_sum(struct candidate *c, size_t n, double sum);

#endif
