/* tiers: what tests of kernels run on: every tier of this CPU, and where it has AVX-512 with bf16
 * the AMX tier with its tile instructions in C ("amx model", see tile_model.h). */
#ifndef LONGHAND_TESTS_TIERS_H
#define LONGHAND_TESTS_TIERS_H

#include "kernels/kernels.h"

/* How many there are; the i-th of them, worst first. */
int tiers_count(void);
struct kernels tiers_get(int i);

#endif
