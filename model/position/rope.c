/* rope: rotary position embedding (Su et al. 2021, arXiv:2104.09864). Pair t of a head is turned by
 * place * base^(-2t / r), r being the number of rotated dimensions, or by what the model's scaling
 * (rope_scaling.h) makes of that. Angles are computed and reduced in double, so that places of any
 * size keep their exact distances. This file finds out which scaling holds: from the keys and
 * tensors of the file, and from what the command line puts in their place. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "model/keys.h"
#include "model/position/position.h"

struct rope {
    double base;
    struct rope_scaling scaling; /* its factors lie in position->tensors */
    double frequency[];          /* (2, pairs): up to the original length, and past it */
};

enum { DIVISORS, LONG_FACTORS, SHORT_FACTORS, N_FACTORS }; /* of position->tensors */

static const char *const factor_names[N_FACTORS] = {
    [DIVISORS] = "rope_freqs.weight",
    [LONG_FACTORS] = "rope_factors_long.weight",
    [SHORT_FACTORS] = "rope_factors_short.weight",
};

/* --- what xPos has too ------------------------------------------------------------------------ */

int rope_read_shape(struct position *position, const struct position_source *source, double *base,
                    struct error *err)
{
    static const char *const pairs_names[] = {
        [ROPE_INTERLEAVED] = "interleaved", [ROPE_HALVES] = "halves"};
    const struct config *config = source->config;
    const struct architecture *architecture = config->architecture;
    const struct metadata *metadata = &source->checkpoint->metadata;
    struct keys keys = {.metadata = metadata, .prefix = architecture->name, .err = err};
    int rotated = config->head_dim, pairs = (int)architecture->rope_pairs;
    keys_int(&keys, "rope.dimension_count", OPTIONAL, 2, config->head_dim, &rotated);
    if (!keys.failed && rotated % 2)
        keys_refuse(&keys, "rope.dimension_count", rotated, "an even number");
    keys_choice(&keys, "position.pairs", pairs_names, 2, &pairs);
    if (keys.failed)
        return -1;
    position->rotated = rotated;
    position->pairs = (enum rope_pairs)pairs;
    *base = position->layer->rope_base;
    if (position->layer->rope_scaling && source->override && source->override->base > 0)
        *base = source->override->base;
    return 0;
}

void rope_turn(const double *frequency, int pairs, double place, double *cosines, double *sines)
{
    for (int t = 0; t < pairs; t++) {
        double angle = place * frequency[t];
        cosines[t] = cos(angle);
        sines[t] = sin(angle);
    }
}

int rope_describe_shape(const struct position *position, double base, char *text, size_t size)
{
    return snprintf(text, size, "base %.10g, %d of %d dimensions, %s", base, position->rotated,
                    position->config->head_dim,
                    position->pairs == ROPE_HALVES ? "halves" : "interleaved");
}

/* --- which scaling holds ---------------------------------------------------------------------- */

/* What resolving needs at hand. */
struct resolution {
    struct position *position;
    const struct position_source *source;
    struct keys keys;
    struct rope_scaling *scaling;
    bool file_kind; /* the kind is the file's own, */
    bool file_m;    /* and so is all that its m was made for */
};

static bool has_tensor(const struct resolution *r, int which)
{
    return checkpoint_find(r->source->checkpoint, factor_names[which]) != NULL;
}

/* A number of at least `least`, or above 0; an absent key leaves *out as it was. None of these
 * numbers is large, and m squared must fit a float. */
static void read_number(struct keys *keys, const char *name, double least, double *out)
{
    if (keys->failed || !metadata_find(keys->metadata, keys_name(keys, name)))
        return;
    keys_double(keys, name, REQUIRED, out);
    if (!keys->failed && !(*out > 0 && *out >= least && *out <= 1e6))
        keys_refuse(keys, name, *out, least > 0 ? "1 to 1e6" : "more than 0, up to 1e6");
}

/* The kind that the file names or, in silence, means. */
static void read_kind(struct resolution *r)
{
    const char *choices[ROPE_SCALING_COUNT + 1];
    for (int i = 0; i < ROPE_SCALING_COUNT; i++)
        choices[i] = rope_scaling_name((enum rope_scaling_kind)i);
    choices[ROPE_SCALING_COUNT] = "su";
    int kind = -1;
    keys_choice(&r->keys, "rope.scaling.type", choices, ROPE_SCALING_COUNT + 1, &kind);
    read_number(&r->keys, "rope.scale_linear", 1, &r->scaling->factor);
    read_number(&r->keys, "rope.scaling.factor", 1, &r->scaling->factor);
    if (r->keys.failed)
        return;
    if (kind == ROPE_SCALING_COUNT)
        kind = ROPE_SCALING_LONGROPE;
    bool factors = has_tensor(r, LONG_FACTORS) || has_tensor(r, SHORT_FACTORS);
    if (kind < 0 && r->scaling->factor > 0)
        kind = factors ? ROPE_SCALING_LONGROPE : ROPE_SCALING_LINEAR;
    if (kind < 0 || (kind == ROPE_SCALING_LINEAR && r->scaling->factor <= 0))
        kind = ROPE_SCALING_NONE;
    if (kind == ROPE_SCALING_NONE && factors)
        kind = ROPE_SCALING_LONGROPE;
    if (kind == ROPE_SCALING_NONE && has_tensor(r, DIVISORS))
        kind = ROPE_SCALING_LLAMA3;
    if (factors && kind != ROPE_SCALING_LONGROPE) {
        r->keys.failed = true;
        error_set(r->keys.err, "%s: %s is %s, allowed with tensor \"%s\" or \"%s\": longrope",
                  r->keys.metadata->place, keys_name(&r->keys, "rope.scaling.type"), choices[kind],
                  factor_names[LONG_FACTORS], factor_names[SHORT_FACTORS]);
    }
    r->scaling->kind = (enum rope_scaling_kind)kind;
}

static int apply_override(struct resolution *r)
{
    const struct rope_override *override = r->source->override;
    struct rope_scaling *scaling = r->scaling;
    const char *place = r->keys.metadata->place;
    r->file_kind = r->file_m = true;
    if (!override)
        return 0;
    if (override->kind >= 0) {
        r->file_kind = false;
        r->file_m = override->kind == (int)scaling->kind;
        scaling->kind = (enum rope_scaling_kind) override->kind;
    }
    if (override->factor > 0) {
        if (override->factor < 1 || override->factor > 1e6)
            return error_set(r->keys.err, "--rope-factor is %g, allowed: 1 to 1e6",
                             override->factor);
        if (r->file_kind && has_tensor(r, DIVISORS))
            return error_set(r->keys.err,
                             "%s: tensor \"%s\" holds the scaling: --rope-factor needs "
                             "--rope-scaling to say what takes its place",
                             place, factor_names[DIVISORS]);
        if (r->file_kind && scaling->kind == ROPE_SCALING_NONE)
            scaling->kind = ROPE_SCALING_LINEAR;
        r->file_m = false;
        scaling->factor = override->factor;
    }
    return 0;
}

/* Numbers of tensor factor_names[which], if it is there. */
static int read_factors(const struct resolution *r, int which, const float **out)
{
    const struct tensor *tensor = checkpoint_find(r->source->checkpoint, factor_names[which]);
    struct error *err = r->keys.err;
    int pairs = r->position->rotated / 2;
    if (!tensor)
        return 0;
    if (tensor->format != FORMAT_F32 || tensor->n_dims != 1 || tensor->shape[0] != pairs)
        return error_set(err,
                         "%s: tensor \"%s\" at byte %zu: %s with %lld numbers, expected F32 with "
                         "%d",
                         tensor->place, factor_names[which], tensor->offset,
                         format_info[tensor->format].name, (long long)tensor->shape[0], pairs);
    float *factors = size_alloc((size_t)pairs, sizeof *factors);
    r->position->tensors[which] = factors;
    if (!factors)
        return error_memory(err, factor_names[which], (size_t)pairs * sizeof *factors);
    format_dequantize(FORMAT_F32, tensor->data, (size_t)pairs, factors);
    for (int t = 0; t < pairs; t++)
        if (!(factors[t] > 0) || isinf(factors[t]))
            return error_set(err, "%s: tensor \"%s\": number %d is %g, allowed: more than 0",
                             tensor->place, factor_names[which], t, (double)factors[t]);
    *out = factors;
    return 0;
}

/* Divisors are the file's own scaling, whatever else it says, or Llama-3's; they win over
 * LongRoPE's factors. */
static int read_tensors(struct resolution *r)
{
    struct rope_scaling *scaling = r->scaling;
    bool divided = r->file_kind ||
                   (scaling->kind == ROPE_SCALING_LLAMA3 && !(r->source->override->factor > 0));
    if (divided && read_factors(r, DIVISORS, &scaling->divisors))
        return -1;
    if (scaling->kind != ROPE_SCALING_LONGROPE || scaling->divisors)
        return 0;
    if (read_factors(r, LONG_FACTORS, &scaling->long_factors) ||
        read_factors(r, SHORT_FACTORS, &scaling->short_factors))
        return -1;
    if (scaling->long_factors || scaling->short_factors)
        return 0;
    return error_set(r->keys.err,
                     "%s: tensors \"%s\" and \"%s\" are missing: longrope is for models that were "
                     "trained with them",
                     r->keys.metadata->place, factor_names[LONG_FACTORS],
                     factor_names[SHORT_FACTORS]);
}

/* The numbers of the formulas but s and L0. */
static void read_borders(struct keys *keys, struct rope_scaling *scaling)
{
    read_number(keys, "rope.scaling.yarn_beta_fast", 0, &scaling->beta_fast);
    read_number(keys, "rope.scaling.yarn_beta_slow", 0, &scaling->beta_slow);
    keys_bool(keys, "rope.scaling.truncate", &scaling->truncate);
    read_number(keys, "rope.scaling.mscale", 0, &scaling->mscale);
    read_number(keys, "rope.scaling.mscale_all_dim", 0, &scaling->mscale_all);
    read_number(keys, "rope.scaling.low_freq_factor", 0, &scaling->low_freq);
    read_number(keys, "rope.scaling.high_freq_factor", 0, &scaling->high_freq);
    if (!keys->failed && scaling->high_freq <= scaling->low_freq)
        keys_refuse(keys, "rope.scaling.high_freq_factor", scaling->high_freq,
                    "more than low_freq_factor");
}

/* Divisors have Llama-3's and LongRoPE's scaling in them. */
static bool needs_length(const struct rope_scaling *scaling)
{
    enum rope_scaling_kind kind = scaling->kind;
    if (kind == ROPE_SCALING_LLAMA3 || kind == ROPE_SCALING_LONGROPE)
        return !scaling->divisors;
    return kind == ROPE_SCALING_YARN || rope_scaling_follows_length(scaling);
}

/* L0, and then s where nobody gave it. */
static int resolve_lengths(struct resolution *r)
{
    struct rope_scaling *scaling = r->scaling;
    const struct rope_override *override = r->source->override;
    enum rope_scaling_kind kind = scaling->kind;
    const char *name = rope_scaling_name(kind), *place = r->keys.metadata->place;
    int trained = r->source->config->train_length, length = trained;
    keys_int(&r->keys, "rope.scaling.original_context_length", OPTIONAL, 1, INT32_MAX, &length);
    if (r->keys.failed)
        return -1;
    if (override && override->train_length > 0)
        length = override->train_length;
    if (length <= 0 && needs_length(scaling))
        return error_set(r->keys.err,
                         "%s: %s is missing, and so is context_length: %s needs the length of the "
                         "training texts (--train-length)",
                         place, keys_name(&r->keys, "rope.scaling.original_context_length"), name);
    scaling->original_length = length;
    bool from_lengths =
        kind == ROPE_SCALING_LONGROPE || (kind == ROPE_SCALING_YARN && r->file_kind);
    if (scaling->factor <= 0 && from_lengths && trained > length)
        scaling->factor = (double)trained / length;
    bool optional = kind == ROPE_SCALING_NONE || kind == ROPE_SCALING_LONGROPE ||
                    (kind == ROPE_SCALING_LLAMA3 && scaling->divisors) ||
                    rope_scaling_follows_length(scaling);
    if (scaling->factor <= 0 && !optional)
        return error_set(r->keys.err, "%s: %s is missing: %s needs a factor (--rope-factor)", place,
                         keys_name(&r->keys, "rope.scaling.factor"), name);
    if (scaling->factor <= 0)
        scaling->factor = 1;
    return 0;
}

/* m, where the file was made for the scaling in force. attn_factor is m itself for LongRoPE, else
 * what the formula is multiplied by; attention_factor is m. */
static int resolve_attention(struct resolution *r)
{
    struct keys *keys = &r->keys;
    struct rope_scaling *scaling = r->scaling;
    double attn = 0, yarn_attn = 0, ramp = 1, m = 1;
    if (!r->file_m)
        return 0;
    if (scaling->kind == ROPE_SCALING_YARN)
        keys_double(keys, "rope.scaling.yarn_ext_factor", OPTIONAL, &ramp);
    if (!keys->failed && ramp != 0 && ramp != 1)
        keys_refuse(keys, "rope.scaling.yarn_ext_factor", ramp, "0 or 1");
    if (ramp == 0)
        scaling->kind = ROPE_SCALING_LINEAR;
    read_number(keys, "rope.scaling.attn_factor", 0, &attn);
    read_number(keys, "rope.scaling.yarn_attn_factor", 0, &yarn_attn);
    if (attn > 0 || yarn_attn > 0) {
        if (!keys->failed && scaling->kind == ROPE_SCALING_DYNAMIC_YARN)
            keys_refuse(keys,
                        attn > 0 ? "rope.scaling.attn_factor" : "rope.scaling.yarn_attn_factor",
                        fmax(attn, yarn_attn), "none with dynamic-yarn");
        if (scaling->kind != ROPE_SCALING_LONGROPE)
            rope_scaling_frequencies(scaling, 0, 0, 0, NULL, &m);
        scaling->attention_factor = m * (attn > 0 ? attn : 1) * (yarn_attn > 0 ? yarn_attn : 1);
    }
    read_number(keys, "rope.scaling.attention_factor", 0, &scaling->attention_factor);
    return keys->failed ? -1 : 0;
}

static int resolve(struct position *position, const struct position_source *source,
                   struct rope_scaling *scaling, struct error *err)
{
    struct resolution r = {
        .position = position,
        .source = source,
        .keys = {.metadata = &source->checkpoint->metadata,
                 .prefix = source->config->architecture->name,
                 .err = err},
        .scaling = scaling,
    };
    read_kind(&r);
    read_borders(&r.keys, scaling);
    if (r.keys.failed || apply_override(&r) || read_tensors(&r) || resolve_lengths(&r))
        return -1;
    return resolve_attention(&r);
}

/* --- the scheme ------------------------------------------------------------------------------- */

static int open_rope(struct position *position, const struct position_source *source,
                     struct error *err)
{
    double base, m;
    struct rope_scaling scaling = {
        .beta_fast = 32, .beta_slow = 1, .truncate = true, .low_freq = 1, .high_freq = 4};
    if (rope_read_shape(position, source, &base, err) ||
        (position->layer->rope_scaling && resolve(position, source, &scaling, err)))
        return -1;
    int pairs = position->rotated / 2;
    size_t row = (size_t)pairs * sizeof(double), bytes = sizeof(struct rope) + 2 * row;
    struct rope *rope = size_alloc(bytes, 1);
    position->parameters = rope;
    if (!rope)
        return error_memory(err, "rotary frequencies", bytes);
    rope->base = base;
    rope->scaling = scaling;
    int64_t original = (int64_t)scaling.original_length;
    rope_scaling_frequencies(&scaling, base, pairs, original, rope->frequency, &m);
    rope_scaling_frequencies(&scaling, base, pairs, original + 1, rope->frequency + pairs, NULL);
    position->rotation_scale = (float)(m * m);
    position->follows_length = rope_scaling_follows_length(&scaling);
    if (!position->follows_length && memcmp(rope->frequency, rope->frequency + pairs, row))
        position->switch_length = original;
    return 0;
}

static void angles(const struct position *position, double place, int64_t length, double *cosines,
                   double *sines)
{
    const struct rope *rope = position->parameters;
    const double *frequency = rope->frequency;
    int pairs = position->rotated / 2;
    if ((double)length > rope->scaling.original_length) {
        frequency += pairs;
        if (position->follows_length) {
            rope_scaling_frequencies(&rope->scaling, rope->base, pairs, length, cosines, NULL);
            frequency = cosines;
        }
    }
    rope_turn(frequency, pairs, place, cosines, sines);
}

float rope_rotation_scale(const struct position *position, int64_t length)
{
    if (!position->follows_length)
        return position->rotation_scale;
    const struct rope *rope = position->parameters;
    double m;
    rope_scaling_frequencies(&rope->scaling, rope->base, position->rotated / 2, length, NULL, &m);
    return (float)(m * m);
}

/* "base 500000, 64 of 64 dimensions, halves; yarn, factor 4 over 4096, m 1.1386" */
static void describe(const struct position *position, char *text, size_t size)
{
    const struct rope *rope = position->parameters;
    const struct rope_scaling *scaling = &rope->scaling;
    char parts[3][48] = {"", "", ""};
    double m = sqrt((double)position->rotation_scale);
    bool has_m = fabs(m - 1) > 5e-5;
    int n = rope_describe_shape(position, rope->base, text, size);
    if (n < 0 || (size_t)n >= size || (scaling->kind == ROPE_SCALING_NONE && !has_m))
        return;
    if (scaling->factor > 1)
        snprintf(parts[0], sizeof parts[0], ", factor %.6g", scaling->factor);
    if (needs_length(scaling))
        snprintf(parts[1], sizeof parts[1], " over %.0f", scaling->original_length);
    if (has_m)
        snprintf(parts[2], sizeof parts[2], ", m %.4f", m);
    snprintf(text + n, size - (size_t)n, "; %s%s%s%s%s", rope_scaling_name(scaling->kind), parts[0],
             parts[1], parts[2], scaling->divisors ? ", divided by rope_freqs.weight" : "");
}

const struct position_scheme position_rope = {
    .name = "rope",
    .nature = POSITION_REAL,
    .open = open_rope,
    .describe = describe,
    .angles = angles,
};
