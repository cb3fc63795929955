/* oracle: see oracle.h. */
#include "tests/model/oracle.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double oracle_number(const struct oracle *oracle, const char *name, double missing)
{
    char key[96];
    snprintf(key, sizeof key, "longhand.%s", name);
    const struct metadata_value *value = metadata_find(&oracle->checkpoint->metadata, key);
    if (!value)
        return missing;
    return value->type == METADATA_F32 || value->type == METADATA_F64 ? value->f : (double)value->u;
}

const float *oracle_tensor(const struct oracle *oracle, int layer, const char *name)
{
    char full[96];
    snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    const struct tensor *tensor = checkpoint_find(oracle->checkpoint, full);
    if (!tensor)
        tensor = checkpoint_find(oracle->checkpoint, name);
    if (!tensor)
        return NULL;
    if (tensor->format != FORMAT_F32) /* (an assertion writes a line even where it holds) */
        ck_abort_msg("%s is not F32", full);
    return tensor->data;
}

void oracle_open(struct oracle *oracle, const struct checkpoint *checkpoint)
{
    *oracle = (struct oracle){.checkpoint = checkpoint};
    oracle->n_layers = (int)oracle_number(oracle, "block_count", 0);
    oracle->dim = (int)oracle_number(oracle, "embedding_length", 0);
    oracle->hidden = (int)oracle_number(oracle, "feed_forward_length", 0);
    oracle->n_heads = (int)oracle_number(oracle, "attention.head_count", 0);
    oracle->n_kv_heads = (int)oracle_number(oracle, "attention.head_count_kv", oracle->n_heads);
    oracle->head_dim =
        (int)oracle_number(oracle, "attention.key_length", oracle->dim / oracle->n_heads);
    oracle->epsilon = oracle_number(oracle, "attention.layer_norm_rms_epsilon", 0);
    oracle->rotated = (int)oracle_number(oracle, "rope.dimension_count", oracle->head_dim);
    double base = oracle_number(oracle, "rope.freq_base", 1e4);
    ck_assert_int_le(oracle->dim, 128);
    for (int t = 0; t < oracle->rotated / 2; t++)
        oracle->frequency[t] = pow(base, -2.0 * t / oracle->rotated);
    for (int t = 0; t < oracle->dim / 2; t++)
        oracle->wave[t] = pow(1e4, -2.0 * t / oracle->dim);
    oracle->vocab_size = (int)checkpoint_find(checkpoint, "token_embd.weight")->shape[1];
}

static double *allocate(int n, int width)
{
    double *memory = calloc((size_t)n * (size_t)width, sizeof *memory);
    if (!memory)
        ck_abort_msg("out of memory");
    return memory;
}

/* y (n, rows) = x (n, cols) times the tensor (rows, cols). */
static void multiply(const struct oracle *o, int layer, const char *name, const double *x, int n,
                     int cols, int rows, double *y)
{
    const float *w = oracle_tensor(o, layer, name);
    for (int t = 0; t < n; t++)
        for (int r = 0; r < rows; r++) {
            double sum = 0;
            for (int c = 0; c < cols; c++)
                sum += (double)w[r * cols + c] * x[t * cols + c];
            y[t * rows + r] = sum;
        }
}

static void normalise(const struct oracle *o, int layer, const char *name, const double *x, int n,
                      double *y)
{
    const float *w = oracle_tensor(o, layer, name);
    for (int t = 0; t < n; t++, x += o->dim, y += o->dim) {
        double sum = 0;
        for (int d = 0; d < o->dim; d++)
            sum += x[d] * x[d];
        for (int d = 0; d < o->dim; d++)
            y[d] = x[d] / sqrt(sum / o->dim + o->epsilon) * (double)w[d];
    }
}

struct attention {
    const double *q, *k, *v;
    oracle_score *score;
    oracle_distance *distance;
    const void *policy;
};

/* One head of the query at i: its softmax over all keys that it sees. */
static void attend(const struct oracle *o, const struct attention *a, int layer, int head, int i,
                   double *out)
{
    int d = o->head_dim, kv = head / (o->n_heads / o->n_kv_heads);
    double *weights = allocate(1, i + 1), largest = -INFINITY, sum = 0;
    for (int j = 0; j <= i; j++) {
        struct pair pair = {.layer = layer,
                            .head = head,
                            .i = i,
                            .j = j,
                            .distance = a->distance(a->policy, i, j),
                            .q = a->q + ((size_t)i * (size_t)o->n_heads + (size_t)head) * (size_t)d,
                            .k = a->k +
                                 ((size_t)j * (size_t)o->n_kv_heads + (size_t)kv) * (size_t)d};
        weights[j] = isnan(pair.distance) ? -INFINITY : a->score(o, &pair);
        largest = fmax(largest, weights[j]);
    }
    memset(out, 0, (size_t)d * sizeof *out);
    for (int j = 0; j <= i; j++) {
        double weight = exp(weights[j] - largest);
        sum += weight;
        for (int c = 0; c < d; c++)
            out[c] += weight * a->v[(j * o->n_kv_heads + kv) * d + c];
    }
    for (int c = 0; c < d; c++)
        out[c] /= sum;
    double *entropy = o->entropy ? &o->entropy[layer * o->n_heads + head] : NULL;
    if (entropy)
        *entropy = 0;
    for (int j = 0; entropy && j <= i; j++) {
        double share = exp(weights[j] - largest) / sum;
        *entropy -= share > 0 ? share * log(share) : 0;
    }
    free(weights);
}

static void attention_half(const struct oracle *o, int layer, int n, struct attention *a,
                           const double *h, double *y)
{
    int heads = o->n_heads * o->head_dim, kv = o->n_kv_heads * o->head_dim;
    double *q = allocate(n, heads), *k = allocate(n, kv), *v = allocate(n, kv);
    double *mixed = allocate(n, heads);
    multiply(o, layer, "attn_q.weight", h, n, o->dim, heads, q);
    multiply(o, layer, "attn_k.weight", h, n, o->dim, kv, k);
    multiply(o, layer, "attn_v.weight", h, n, o->dim, kv, v);
    a->q = q;
    a->k = k;
    a->v = v;
    for (int i = 0; i < n; i++)
        for (int head = 0; head < o->n_heads; head++)
            attend(o, a, layer, head, i,
                   mixed + ((size_t)i * (size_t)o->n_heads + (size_t)head) * (size_t)o->head_dim);
    multiply(o, layer, "attn_output.weight", mixed, n, heads, o->dim, y);
    free(q);
    free(k);
    free(v);
    free(mixed);
}

static void feed_forward_half(const struct oracle *o, int layer, int n, const double *h, double *y)
{
    double *gate = allocate(n, o->hidden), *up = allocate(n, o->hidden);
    multiply(o, layer, "ffn_gate.weight", h, n, o->dim, o->hidden, gate);
    multiply(o, layer, "ffn_up.weight", h, n, o->dim, o->hidden, up);
    for (int e = 0; e < n * o->hidden; e++)
        up[e] *= gate[e] / (1 + exp(-gate[e]));
    multiply(o, layer, "ffn_down.weight", up, n, o->hidden, o->dim, y);
    free(gate);
    free(up);
}

void oracle_logits(const struct oracle *o, const int32_t *ids, int n, oracle_score *score,
                   oracle_distance *distance, const void *policy, double *logits)
{
    struct attention a = {.score = score, .distance = distance, .policy = policy};
    double *x = allocate(n, o->dim), *h = allocate(n, o->dim), *y = allocate(n, o->dim);
    const float *embedding = oracle_tensor(o, 0, "token_embd.weight");
    for (int t = 0; t < n; t++)
        for (int d = 0; d < o->dim; d++)
            x[t * o->dim + d] = (double)embedding[ids[t] * o->dim + d];
    for (int layer = 0; layer < o->n_layers; layer++) {
        normalise(o, layer, "attn_norm.weight", x, n, h);
        attention_half(o, layer, n, &a, h, y);
        for (int e = 0; e < n * o->dim; e++)
            x[e] += y[e];
        normalise(o, layer, "ffn_norm.weight", x, n, h);
        feed_forward_half(o, layer, n, h, y);
        for (int e = 0; e < n * o->dim; e++)
            x[e] += y[e];
    }
    normalise(o, 0, "output_norm.weight", x, n, h);
    const char *output =
        checkpoint_find(o->checkpoint, "output.weight") ? "output.weight" : "token_embd.weight";
    multiply(o, 0, output, h, n, o->dim, o->vocab_size, logits);
    free(x);
    free(h);
    free(y);
}

/* --- scores -------------------------------------------------------------------------------- */

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int d = 0; d < n; d++)
        sum += a[d] * b[d];
    return sum;
}

double oracle_none(const struct oracle *o, const struct pair *p)
{
    return dot(p->q, p->k, o->head_dim) / sqrt(o->head_dim);
}

/* <R(distance) q, k> over pairs (2t, 2t + 1), each shrunk by zeta^(distance / 512) for xPos. */
static double rotated(const struct oracle *o, const struct pair *p, bool decays)
{
    int r = o->rotated;
    double sum = dot(p->q + r, p->k + r, o->head_dim - r);
    for (int t = 0; t < r / 2; t++) {
        double angle = p->distance * o->frequency[t];
        double a = p->q[2 * t] * cos(angle) - p->q[2 * t + 1] * sin(angle);
        double b = p->q[2 * t] * sin(angle) + p->q[2 * t + 1] * cos(angle);
        double zeta = (2.0 * t / r + 0.4) / 1.4;
        double factor =
            decays ? pow(zeta, p->distance / oracle_number(o, "position.scale_base", 512)) : 1;
        sum += factor * (a * p->k[2 * t] + b * p->k[2 * t + 1]);
    }
    return sum / sqrt(o->head_dim);
}

double oracle_rope(const struct oracle *o, const struct pair *p)
{
    return rotated(o, p, false);
}

double oracle_xpos(const struct oracle *o, const struct pair *p)
{
    return rotated(o, p, true);
}

/* Slopes 2^(-most/P), 2^(-2 most/P), ... for the largest power of two P of heads; the others have
 * the odd ones of the series for 2 P. */
double oracle_alibi(const struct oracle *o, const struct pair *p)
{
    double most = oracle_number(o, "attention.max_alibi_bias", 8);
    int power = 1;
    while (2 * power <= o->n_heads)
        power *= 2;
    double step = p->head < power ? (double)(p->head + 1) / power : (p->head - power + 0.5) / power;
    return oracle_none(o, p) - pow(2, -most * step) * p->distance;
}

double oracle_t5(const struct oracle *o, const struct pair *p)
{
    int buckets = (int)oracle_number(o, "attention.relative_buckets_count", 0), exact = buckets / 2;
    double most = oracle_number(o, "position.max_distance", 128);
    int bucket = (int)p->distance;
    if (bucket >= exact)
        bucket =
            exact + (int)(log(p->distance / exact) / log(most / exact) * (double)(buckets - exact));
    bucket = bucket < buckets ? bucket : buckets - 1;
    return dot(p->q, p->k, o->head_dim) +
           (double)oracle_tensor(o, p->layer, "attn_rel_b.weight")[bucket * o->n_heads + p->head];
}

double oracle_shaw(const struct oracle *o, const struct pair *p)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.attn_rel_k.weight", p->layer);
    int64_t last = checkpoint_find(o->checkpoint, name)->shape[1] - 1;
    int64_t row = (int64_t)p->distance < last ? (int64_t)p->distance : last;
    const float *a = oracle_tensor(o, p->layer, "attn_rel_k.weight") + row * o->head_dim;
    double sum = 0;
    for (int d = 0; d < o->head_dim; d++)
        sum += p->q[d] * (p->k[d] + (double)a[d]);
    return sum / sqrt(o->head_dim);
}

double oracle_transformer_xl(const struct oracle *o, const struct pair *p)
{
    const float *w = oracle_tensor(o, p->layer, "attn_rel.weight");
    const float *u = oracle_tensor(o, p->layer, "attn_rel_u.weight") + p->head * o->head_dim;
    const float *v = oracle_tensor(o, p->layer, "attn_rel_v.weight") + p->head * o->head_dim;
    double clamp = oracle_number(o, "position.clamp_length", 0), sum = 0;
    double distance = clamp > 0 && p->distance > clamp ? clamp : p->distance;
    double waves[128];
    for (int t = 0; t < o->dim / 2; t++) {
        waves[t] = sin(distance * o->wave[t]);
        waves[o->dim / 2 + t] = cos(distance * o->wave[t]);
    }
    w += (size_t)(p->head / (o->n_heads / o->n_kv_heads) * o->head_dim) * (size_t)o->dim;
    for (int d = 0; d < o->head_dim; d++, w += o->dim) {
        double r = 0;
        for (int t = 0; t < o->dim; t++)
            r += (double)w[t] * waves[t];
        sum += (p->q[d] + (double)u[d]) * p->k[d] + (p->q[d] + (double)v[d]) * r;
    }
    return sum / sqrt(o->head_dim);
}
