/* oracle: the architecture "longhand" in double, slowly: no cache, no table, every pair of tokens
 * from scratch by its distance, whatever a policy says that distance is. Knows none of the code
 * under test but the reader of its files. */
#ifndef LONGHAND_TESTS_MODEL_ORACLE_H
#define LONGHAND_TESTS_MODEL_ORACLE_H

#include <stdint.h>

#include "model/checkpoint.h"

struct oracle {
    const struct checkpoint *checkpoint;
    int n_layers, dim, hidden, n_heads, n_kv_heads, head_dim, vocab_size;
    double epsilon;
    int rotated;          /* dimensions of a head that RoPE turns */
    double frequency[64]; /* of its pairs */
    double wave[64];      /* of Transformer-XL's sines */
    double *entropy;      /* (n_layers, n_heads) of the attention of the last token, or NULL */
};

/* A query, a key, and how far apart they are taken to be (not always a whole number). */
struct pair {
    int layer, head;
    int64_t i, j;
    double distance;
    const double *q, *k; /* (head_dim) */
};

/* The distance of key j from query i, or NaN: it is not seen. */
typedef double oracle_distance(const void *policy, int64_t i, int64_t j);
/* What goes into the softmax. */
typedef double oracle_score(const struct oracle *oracle, const struct pair *pair);

void oracle_open(struct oracle *oracle, const struct checkpoint *checkpoint);

/* Numbers of a metadata key "longhand.<name>", and of a tensor, which must be F32. */
double oracle_number(const struct oracle *oracle, const char *name, double missing);
const float *oracle_tensor(const struct oracle *oracle, int layer, const char *name);

/* logits (n, vocab_size) of ids[n]. */
void oracle_logits(const struct oracle *oracle, const int32_t *ids, int n, oracle_score *score,
                   oracle_distance *distance, const void *policy, double *logits);

/* The scores of some schemes, as their papers have them. */
oracle_score oracle_none, oracle_rope, oracle_xpos, oracle_alibi, oracle_t5, oracle_shaw,
    oracle_transformer_xl;

#endif
