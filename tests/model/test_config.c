/* config: what every architecture's keys become, and a message for every value that cannot be. */
#include "model/config.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/suites.h"

static struct metadata_value u32(uint32_t value)
{
    return (struct metadata_value){.type = METADATA_U32, .u = value};
}

static struct metadata_value i64(int64_t value)
{
    return (struct metadata_value){.type = METADATA_I64, .i = value};
}

static struct metadata_value f32(double value)
{
    return (struct metadata_value){.type = METADATA_F32, .f = value};
}

static struct metadata_value boolean(bool value)
{
    return (struct metadata_value){.type = METADATA_BOOL, .u = value};
}

static struct metadata_value text(const char *value)
{
    return (struct metadata_value){.type = METADATA_STRING, .text = {value, strlen(value)}};
}

static struct metadata_value missing(void)
{
    return (struct metadata_value){.type = METADATA_TYPE_COUNT};
}

/* A directory of keys "<architecture>.<name>". */
struct keys {
    struct metadata metadata;
    const char *architecture;
    char names[32][64];
    int n_names;
};

/* Adds or replaces a key; `missing` takes it away. A name that starts with "general." stays as it
 * is. */
static void set(struct keys *keys, const char *name, struct metadata_value value)
{
    struct error err;
    char key[64];
    bool general = strncmp(name, "general.", 8) == 0;
    snprintf(key, sizeof key, "%s%s%s", general ? "" : keys->architecture, general ? "" : ".",
             name);
    struct metadata *metadata = &keys->metadata;
    for (size_t i = 0; i < metadata->n_entries; i++) {
        if (text_equals(metadata->entries[i].key, key)) {
            metadata->entries[i].value = value;
            if (value.type == METADATA_TYPE_COUNT)
                metadata->entries[i] = metadata->entries[--metadata->n_entries];
            return;
        }
    }
    ck_assert_int_lt(keys->n_names, 32);
    char *copy = keys->names[keys->n_names++];
    memcpy(copy, key, sizeof key);
    ck_assert_int_eq(metadata_add(metadata, (struct text){copy, strlen(copy)}, value, &err), 0);
}

static void start(struct keys *keys, const char *architecture)
{
    bool layer_norm = strcmp(architecture, "llama") != 0 && strncmp(architecture, "qwen", 4) != 0;
    *keys = (struct keys){.architecture = architecture, .metadata = {.place = "m.gguf"}};
    set(keys, "general.architecture", text(architecture));
    set(keys, "block_count", u32(3));
    set(keys, "embedding_length", u32(48));
    set(keys, "feed_forward_length", u32(80));
    set(keys, "attention.head_count", u32(6));
    set(keys, "context_length", u32(128));
    set(keys, layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
        f32(1e-3));
    if (strcmp(architecture, "mpt") == 0)
        set(keys, "attention.max_alibi_bias", f32(12));
}

enum { VOCAB_SIZE = 272 };

static int read(struct keys *keys, struct config *config, struct error *err)
{
    ck_assert_int_eq(metadata_sort(&keys->metadata, err), 0);
    int result = config_read(config, &keys->metadata, VOCAB_SIZE, err);
    metadata_free(&keys->metadata);
    return result;
}

START_TEST(test_architectures)
{
    static const struct {
        const char *name;
        enum norm_kind norm;
        enum activation activation;
        enum position_kind position;
        enum rope_pairs pairs;
        float alibi_max_bias;
        bool gated, fused_qkv, embedding_norm, parallel;
    } rows[] = {
        {"llama", NORM_RMS, ACTIVATION_SILU, POSITION_ROPE, ROPE_INTERLEAVED, 0, true, false, false,
         false},
        {"qwen2", NORM_RMS, ACTIVATION_SILU, POSITION_ROPE, ROPE_HALVES, 0, true, false, false,
         false},
        {"qwen3", NORM_RMS, ACTIVATION_SILU, POSITION_ROPE, ROPE_HALVES, 0, true, false, false,
         false},
        {"gptneox", NORM_LAYER, ACTIVATION_GELU, POSITION_ROPE, ROPE_HALVES, 0, false, true, false,
         true},
        {"gpt2", NORM_LAYER, ACTIVATION_GELU_TANH, POSITION_LEARNED, ROPE_INTERLEAVED, 0, false,
         true, false, false},
        {"bloom", NORM_LAYER, ACTIVATION_GELU_TANH, POSITION_ALIBI, ROPE_INTERLEAVED, 8, false,
         true, true, false},
        {"mpt", NORM_LAYER, ACTIVATION_GELU, POSITION_ALIBI, ROPE_INTERLEAVED, 12, false, true,
         false, false},
    };
    struct keys keys;
    struct config config;
    struct error err;
    start(&keys, rows[_i].name);
    ck_assert_msg(read(&keys, &config, &err) == 0, "%s", err.text);
    const struct architecture *a = config.architecture;
    ck_assert_str_eq(a->name, rows[_i].name);
    ck_assert_int_eq(a->norm, rows[_i].norm);
    ck_assert_int_eq(a->activation, rows[_i].activation);
    ck_assert_int_eq(a->position, rows[_i].position);
    ck_assert_int_eq(a->rope_pairs, rows[_i].pairs);
    ck_assert_int_eq(a->gated, rows[_i].gated);
    ck_assert_int_eq(a->fused_qkv, rows[_i].fused_qkv);
    ck_assert_int_eq(a->embedding_norm, rows[_i].embedding_norm);
    ck_assert_int_eq(config.parallel_residual, rows[_i].parallel);
    ck_assert_float_eq(config.alibi_max_bias, rows[_i].alibi_max_bias);
    ck_assert_int_eq(config.vocab_size, VOCAB_SIZE);
    ck_assert_int_eq(config.dim, 48);
    ck_assert_int_eq(config.hidden_dim, 80);
    ck_assert_int_eq(config.n_layers, 3);
    ck_assert_int_eq(config.n_heads, 6);
    ck_assert_int_eq(config.n_kv_heads, 6);
    ck_assert_int_eq(config.head_dim, 8);
    ck_assert_int_eq(config.train_length, 128);
    ck_assert_float_eq(config.norm_epsilon, 1e-3F);
    ck_assert_float_eq(config.clip_qkv, 0);
    if (rows[_i].position == POSITION_ROPE) {
        ck_assert_int_eq(config.rope_dims, 8);
        ck_assert_double_eq(config.rope_base, 10000);
    }
}
END_TEST

START_TEST(test_optional_keys)
{
    struct keys keys;
    struct config config;
    struct error err;
    start(&keys, "llama");
    set(&keys, "attention.head_count_kv", u32(2));
    set(&keys, "attention.key_length", i64(16)); /* any integer type will do */
    set(&keys, "attention.value_length", u32(16));
    set(&keys, "rope.dimension_count", u32(4));
    set(&keys, "rope.freq_base", f32(5e5));
    set(&keys, "vocab_size", u32(VOCAB_SIZE));
    set(&keys, "rope.scaling.type", text("none"));
    set(&keys, "rope.scaling.factor", f32(4));
    set(&keys, "context_length", missing());
    ck_assert_msg(read(&keys, &config, &err) == 0, "%s", err.text);
    ck_assert_int_eq(config.n_kv_heads, 2);
    ck_assert_int_eq(config.head_dim, 16);
    ck_assert_int_eq(config.rope_dims, 4);
    ck_assert_double_eq(config.rope_base, 5e5);
    ck_assert_int_eq(config.train_length, 0);

    start(&keys, "gptneox");
    set(&keys, "use_parallel_residual", boolean(false));
    ck_assert_msg(read(&keys, &config, &err) == 0, "%s", err.text);
    ck_assert(!config.parallel_residual);

    start(&keys, "mpt");
    set(&keys, "attention.clamp_kqv", f32(2));
    ck_assert_msg(read(&keys, &config, &err) == 0, "%s", err.text);
    ck_assert_float_eq(config.clip_qkv, 2);

    start(&keys, "bloom");
    set(&keys, "attention.max_alibi_bias", f32(16));
    ck_assert_msg(read(&keys, &config, &err) == 0, "%s", err.text);
    ck_assert_float_eq(config.alibi_max_bias, 16);

    start(&keys, "llama"); /* scaled by 1 is not scaled */
    set(&keys, "rope.scaling.type", text("linear"));
    set(&keys, "rope.scaling.factor", f32(1));
    ck_assert_msg(read(&keys, &config, &err) == 0, "%s", err.text);
}
END_TEST

static void refuse(const char *architecture, const char *name, struct metadata_value value,
                   const char *message)
{
    struct keys keys;
    struct config config;
    struct error err = {""};
    start(&keys, architecture);
    set(&keys, name, value);
    ck_assert_msg(read(&keys, &config, &err) == -1, "%s.%s: no error, expected \"%s\"",
                  architecture, name, message);
    ck_assert_msg(strncmp(err.text, "m.gguf: ", 8) == 0, "no place in \"%s\"", err.text);
    ck_assert_msg(strstr(err.text, name) != NULL || strncmp(name, "general.", 8) == 0,
                  "no \"%s\" in \"%s\"", name, err.text);
    ck_assert_msg(strstr(err.text, message) != NULL, "no \"%s\" in \"%s\"", message, err.text);
}

START_TEST(test_architecture_name)
{
    const char *all = "llama, qwen2, qwen3, gptneox, gpt2, bloom, mpt";
    ck_assert_str_eq(architecture_names(), all);
    refuse("llama", "general.architecture", text("mamba"),
           "architecture \"mamba\" is not supported; supported: llama, ");
    refuse("llama", "general.architecture", text("mamba"), all);
    refuse("llama", "general.architecture", text("llam"), "\"llam\"");
    refuse("llama", "general.architecture", text(""), "\"\"");
    refuse("llama", "general.architecture", text("\033[2J"), "\"\\x1b[2J\"");
    refuse("llama", "general.architecture", missing(), "\"general.architecture\" is missing");
    refuse("llama", "general.architecture", u32(1), "u32, expected string");
}
END_TEST

static const char *const sizes[] = {
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
};

START_TEST(test_sizes)
{
    static const char *const largest[] = {"4096", "131072", "1048576", "4096"};
    char range[32];
    snprintf(range, sizeof range, "expected 1 to %s", largest[_i]);
    refuse("llama", sizes[_i], missing(), "is missing, expected an integer");
    refuse("llama", sizes[_i], f32(2), "type f32, expected an integer");
    refuse("llama", sizes[_i], text("2"), "type string, expected an integer");
    refuse("llama", sizes[_i], u32(0), "is 0");
    refuse("llama", sizes[_i], u32(0), range);
    refuse("llama", sizes[_i], i64(-1), "is -1");
    refuse("llama", sizes[_i], i64(-1), range);
    refuse("llama", sizes[_i], u32((1 << 20) + 1), range);
    refuse("llama", sizes[_i], u32(UINT32_MAX), "is 4294967295");
    refuse("llama", sizes[_i], i64((int64_t)1 << 40), "is 1099511627776");
    refuse("llama", sizes[_i], (struct metadata_value){.type = METADATA_U64, .u = UINT64_MAX},
           "is 18446744073709551615");
}
END_TEST

START_TEST(test_heads)
{
    refuse("llama", "attention.head_count_kv", u32(4),
           "is 4, allowed: a divisor of attention.head_count");
    refuse("llama", "attention.head_count_kv", u32(12), "is 12, allowed: a divisor");
    refuse("llama", "attention.head_count_kv", u32(0), "is 0, expected 1 to 4096");
    refuse("llama", "attention.head_count_kv", i64(-2), "is -2, expected 1 to 4096");
    refuse("llama", "attention.head_count_kv",
           (struct metadata_value){.type = METADATA_ARRAY, .array.type = METADATA_I32},
           "array of i32, expected an integer");
    refuse("llama", "attention.key_length", u32(0), "is 0, expected 1 to 4096");
    refuse("llama", "attention.key_length", u32(4097), "is 4097, expected 1 to 4096");
    refuse("llama", "attention.value_length", u32(16),
           "is 16, allowed: the same as attention.key_length");
    refuse("llama", "context_length", u32(0), "is 0, expected 1 to");
    refuse("llama", "context_length", u32(1u << 31), "is 2147483648, expected 1 to 2147483647");
    refuse("llama", "context_length", f32(128), "type f32");
    refuse("llama", "vocab_size", u32(VOCAB_SIZE + 1), "is 273, but the embedding has 272 rows");
    refuse("llama", "vocab_size", u32(0), "is 0, expected 1 to");

    /* heads that do not divide the width must say how long they are */
    struct keys keys;
    struct config config;
    struct error err;
    start(&keys, "llama");
    set(&keys, "attention.head_count", u32(5));
    ck_assert_int_eq(read(&keys, &config, &err), -1);
    ck_assert_msg(strstr(err.text, "\"llama.attention.key_length\" is missing") != NULL, "%s",
                  err.text);
    start(&keys, "llama");
    set(&keys, "attention.head_count", u32(5));
    set(&keys, "attention.key_length", u32(10));
    ck_assert_msg(read(&keys, &config, &err) == 0, "%s", err.text);
    ck_assert_int_eq(config.head_dim, 10);
    start(&keys, "llama"); /* more heads than width: none is longer than 0 */
    set(&keys, "embedding_length", u32(4));
    ck_assert_int_eq(read(&keys, &config, &err), -1);
    ck_assert_msg(strstr(err.text, "key_length") != NULL, "%s", err.text);
}
END_TEST

START_TEST(test_norm)
{
    static const struct {
        const char *architecture, *key;
    } rows[] = {
        {"llama", "attention.layer_norm_rms_epsilon"},
        {"qwen3", "attention.layer_norm_rms_epsilon"},
        {"gptneox", "attention.layer_norm_epsilon"},
        {"gpt2", "attention.layer_norm_epsilon"},
        {"mpt", "attention.layer_norm_epsilon"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        refuse(rows[i].architecture, rows[i].key, missing(), "is missing, expected f32 or f64");
        refuse(rows[i].architecture, rows[i].key, u32(0), "type u32, expected f32 or f64");
        refuse(rows[i].architecture, rows[i].key, f32(-1e-5), "is -1e-05, allowed: 0 to 1");
        refuse(rows[i].architecture, rows[i].key, f32(1), "is 1, allowed: 0 to 1");
        refuse(rows[i].architecture, rows[i].key, f32((double)INFINITY), "is inf");
        refuse(rows[i].architecture, rows[i].key, f32((double)NAN), "nan");
    }
}
END_TEST

START_TEST(test_rope)
{
    static const char *const names[] = {"llama", "qwen2", "gptneox"};
    const char *name = names[_i];
    refuse(name, "rope.dimension_count", u32(3), "is 3, allowed: an even number");
    refuse(name, "rope.dimension_count", u32(0), "is 0, expected 2 to 8");
    refuse(name, "rope.dimension_count", i64(-2), "is -2, expected 2 to 8");
    refuse(name, "rope.dimension_count", u32(10), "is 10, expected 2 to 8");
    refuse(name, "rope.dimension_count", f32(0.5), "type f32, expected an integer");
    refuse(name, "rope.freq_base", f32((double)NAN), "nan, allowed: 1 to 1e15");
    refuse(name, "rope.freq_base", f32((double)INFINITY), "inf, allowed: 1 to 1e15");
    refuse(name, "rope.freq_base", f32(0), "is 0, allowed: 1 to 1e15");
    refuse(name, "rope.freq_base", f32(-10000), "is -10000, allowed: 1 to 1e15");
    refuse(name, "rope.freq_base", u32(10000), "type u32, expected f32 or f64");

    struct keys keys; /* a head of odd length cannot be turned whole */
    struct config config;
    struct error err;
    start(&keys, name);
    set(&keys, "attention.head_count", u32(16));
    ck_assert_int_eq(read(&keys, &config, &err), -1);
    ck_assert_msg(strstr(err.text, "rope.dimension_count is 3, allowed: an even number") != NULL,
                  "%s", err.text);
}
END_TEST

/* A scaling that is not applied would give a text that is wrong without a word. */
START_TEST(test_rope_scaling)
{
    static const char *const unsupported[] = {"linear", "yarn", "dynamic", "longrope", "\033c"};
    static const char *const shown[] = {"linear", "\"yarn\"", "\"dynamic\"", "\"longrope\"",
                                        "\"\\x1bc\""};
    struct keys keys;
    struct config config;
    struct error err;
    for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++) {
        start(&keys, "llama");
        set(&keys, "rope.scaling.type", text(unsupported[i]));
        set(&keys, "rope.scaling.factor", f32(4));
        ck_assert_int_eq(read(&keys, &config, &err), -1);
        ck_assert_msg(strstr(err.text, shown[i]) != NULL &&
                          strstr(err.text, "not supported; supported: none") != NULL,
                      "%s", err.text);
    }
    refuse("llama", "rope.scaling.type", text("longrope"), "\"longrope\" is not supported");
    refuse("llama", "rope.scaling.type", text("banana"), "\"banana\" is not supported");
    refuse("llama", "rope.scaling.type", u32(1), "type u32, expected string");
    refuse("llama", "rope.scaling.factor", f32(4), "is 4"); /* without a type it is linear */
    refuse("llama", "rope.scaling.factor", f32((double)NAN), "nan");
    refuse("llama", "rope.scaling.factor", text("4"), "type string, expected f32 or f64");
    refuse("llama", "rope.scale_linear", f32(4), "is 4"); /* the same in old files */
}
END_TEST

START_TEST(test_alibi)
{
    refuse("mpt", "attention.max_alibi_bias", missing(), "is missing, expected f32 or f64");
    static const char *const names[] = {"mpt", "bloom"};
    for (size_t i = 0; i < 2; i++) {
        refuse(names[i], "attention.max_alibi_bias", f32(0),
               "is 0, allowed: more than 0, at most 1024");
        refuse(names[i], "attention.max_alibi_bias", f32(-8), "is -8, allowed: more than 0");
        refuse(names[i], "attention.max_alibi_bias", f32(1025), "is 1025, allowed");
        refuse(names[i], "attention.max_alibi_bias", f32((double)NAN), "nan, allowed");
        refuse(names[i], "attention.max_alibi_bias", u32(8), "type u32, expected f32 or f64");
    }
}
END_TEST

START_TEST(test_others)
{
    refuse("mpt", "attention.clamp_kqv", f32(-1), "is -1, allowed: 0 (none) or more");
    refuse("mpt", "attention.clamp_kqv", f32((double)NAN), "nan, allowed");
    refuse("mpt", "attention.clamp_kqv", f32((double)INFINITY), "inf, allowed");
    refuse("mpt", "attention.clamp_kqv", u32(2), "type u32, expected f32 or f64");
    refuse("gptneox", "use_parallel_residual", u32(1), "type u32, expected bool");
}
END_TEST

Suite *config_suite(void)
{
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");
    tcase_add_loop_test(tcase, test_architectures, 0, 7);
    tcase_add_test(tcase, test_optional_keys);
    tcase_add_test(tcase, test_architecture_name);
    tcase_add_loop_test(tcase, test_sizes, 0, 4);
    tcase_add_test(tcase, test_heads);
    tcase_add_test(tcase, test_norm);
    tcase_add_loop_test(tcase, test_rope, 0, 3);
    tcase_add_test(tcase, test_rope_scaling);
    tcase_add_test(tcase, test_alibi);
    tcase_add_test(tcase, test_others);
    suite_add_tcase(suite, tcase);
    return suite;
}
