/* config: what every architecture's keys become, layer by layer, and a message for every value that
 * cannot be. */
#include "model/config.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/model/directory.h"
#include "tests/suites.h"

/* A directory of keys "<architecture>.<name>". */
struct file {
    struct directory directory;
    const char *architecture;
};

/* As directory_set. A name that starts with "general." stays as it is. */
static void set(struct file *file, const char *name, struct metadata_value value)
{
    char key[64];
    bool general = strncmp(name, "general.", 8) == 0;
    snprintf(key, sizeof key, "%s%s%s", general ? "" : file->architecture, general ? "" : ".",
             name);
    directory_set(&file->directory, key, value);
}

static void start(struct file *file, const char *architecture)
{
    static const char *const layer_norms[] = {"cohere2", "gptneox", "gpt2", "bloom", "mpt"};
    const char *epsilon = "attention.layer_norm_rms_epsilon";
    for (int i = 0; i < 5; i++)
        if (strcmp(architecture, layer_norms[i]) == 0)
            epsilon = "attention.layer_norm_epsilon";
    file->architecture = architecture;
    directory_init(&file->directory);
    set(file, "general.architecture", value_text(architecture));
    set(file, "block_count", value_u32(3));
    set(file, "embedding_length", value_u32(48));
    set(file, "feed_forward_length", value_u32(80));
    set(file, "attention.head_count", value_u32(6));
    set(file, "context_length", value_u32(128));
    set(file, epsilon, value_f32(1e-3));
    if (strcmp(architecture, "cohere2") == 0)
        set(file, "logit_scale", value_f32(0.25));
}

enum { VOCAB_SIZE = 272 };

static int read(struct file *file, struct config *config, struct error *err)
{
    ck_assert_int_eq(metadata_sort(&file->directory.metadata, err), 0);
    int result = config_read(config, &file->directory.metadata, VOCAB_SIZE, err);
    directory_free(&file->directory);
    return result;
}

/* The caller closes what was read. */
static void accept(struct file *file, struct config *config)
{
    struct error err;
    ck_assert_msg(read(file, config, &err) == 0, "%s", err.text);
}

/* The message names `key` and has `message` in it. */
static void refuse_file(struct file *file, const char *key, const char *message)
{
    struct config config;
    struct error err = {""};
    static const struct config zero;
    ck_assert_msg(read(file, &config, &err) == -1, "%s: no error, expected \"%s\"", key, message);
    ck_assert_msg(strncmp(err.text, "m.gguf: ", 8) == 0, "no place in \"%s\"", err.text);
    ck_assert_msg(strstr(err.text, key) != NULL, "no \"%s\" in \"%s\"", key, err.text);
    ck_assert_msg(strstr(err.text, message) != NULL, "no \"%s\" in \"%s\"", message, err.text);
    ck_assert_mem_eq(&config, &zero, sizeof config);
}

/* A good file but for one value. */
static void refuse(const char *architecture, const char *name, struct metadata_value value,
                   const char *message)
{
    char key[96] = "";
    struct file file;
    start(&file, architecture);
    set(&file, name, value);
    if (strncmp(name, "general.", 8) != 0)
        snprintf(key, sizeof key, "%s.%s", architecture, name);
    refuse_file(&file, key, message);
}

static const char *const architectures[] = {"llama", "qwen2",  "qwen3",   "smollm3",
                                            "phi3",  "gemma3", "cohere2", "gptneox",
                                            "gpt2",  "bloom",  "mpt",     "longhand"};

START_TEST(test_plain)
{
    struct file file;
    struct config config;
    start(&file, architectures[_i]);
    accept(&file, &config);
    ck_assert_str_eq(config.architecture->name, architectures[_i]);
    ck_assert_int_eq(config.parallel_residual, config.architecture->parallel_residual);
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
    ck_assert_float_eq(config.attention_scale, 0);
    bool gemma = strcmp(architectures[_i], "gemma3") == 0;
    ck_assert_float_eq(config.embedding_scale, gemma ? 6.9282032F : 1); /* sqrt(48) */
    ck_assert_float_eq(config.logit_scale, strcmp(architectures[_i], "cohere2") ? 1 : 0.25F);
    for (int l = 0; l < 3; l++) {
        ck_assert_int_eq(config.layers[l].position, config.architecture->position);
        ck_assert_double_eq(config.layers[l].rope_base, 10000);
        ck_assert(config.layers[l].rope_scaling);
        ck_assert_int_eq(config.layers[l].window, 0);
        ck_assert_int_eq(config.layers[l].chunk, 0);
        ck_assert_int_eq(config.layers[l].memory, 0);
        ck_assert_double_eq(config.layers[l].temperature_scale, 0);
    }
    config_close(&config);
    ck_assert_ptr_null(config.layers);
    config_close(&config);
}
END_TEST

START_TEST(test_optional_keys)
{
    struct file file;
    struct config config;
    start(&file, "llama");
    set(&file, "attention.head_count_kv", value_u32(2));
    set(&file, "attention.key_length", value_i64(16)); /* any integer type will do */
    set(&file, "attention.value_length", value_u32(16));
    set(&file, "rope.freq_base", value_f32(5e5));
    set(&file, "vocab_size", value_u32(VOCAB_SIZE));
    set(&file, "context_length", value_absent());
    accept(&file, &config);
    ck_assert_int_eq(config.n_kv_heads, 2);
    ck_assert_int_eq(config.head_dim, 16);
    ck_assert_double_eq(config.layers[2].rope_base, 5e5);
    ck_assert_int_eq(config.train_length, 0);
    config_close(&config);

    start(&file, "gptneox");
    set(&file, "use_parallel_residual", value_bool(false));
    accept(&file, &config);
    ck_assert(!config.parallel_residual);
    config_close(&config);

    start(&file, "mpt");
    set(&file, "attention.clamp_kqv", value_f32(2));
    accept(&file, &config);
    ck_assert_float_eq(config.clip_qkv, 2);
    config_close(&config);

    start(&file, "gemma3"); /* no bound at all */
    set(&file, "final_logit_softcapping", value_f32(0));
    accept(&file, &config);
    config_close(&config);
}
END_TEST

START_TEST(test_architecture_name)
{
    refuse("llama", "general.architecture", value_text("mamba"),
           "architecture \"mamba\" is not supported; supported: llama, ");
    refuse("llama", "general.architecture", value_text("mamba"), architectures_names());
    refuse("llama", "general.architecture", value_text("llam"), "\"llam\"");
    refuse("llama", "general.architecture", value_text(""), "\"\"");
    refuse("llama", "general.architecture", value_text("\033[2J"), "\"\\x1b[2J\"");
    refuse("llama", "general.architecture", value_absent(), "\"general.architecture\" is missing");
    refuse("llama", "general.architecture", value_u32(1), "u32, expected string");
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
    refuse("llama", sizes[_i], value_absent(), "is missing, expected an integer");
    refuse("llama", sizes[_i], value_f32(2), "type f32, expected an integer");
    refuse("llama", sizes[_i], value_text("2"), "type string, expected an integer");
    refuse("llama", sizes[_i], value_u32(0), "is 0");
    refuse("llama", sizes[_i], value_u32(0), range);
    refuse("llama", sizes[_i], value_i64(-1), "is -1");
    refuse("llama", sizes[_i], value_i64(-1), range);
    refuse("llama", sizes[_i], value_u32((1 << 20) + 1), range);
    refuse("llama", sizes[_i], value_u32(UINT32_MAX), "is 4294967295");
    refuse("llama", sizes[_i], value_i64((int64_t)1 << 40), "is 1099511627776");
    refuse("llama", sizes[_i], value_u64(UINT64_MAX), "is 18446744073709551615");
}
END_TEST

START_TEST(test_heads)
{
    refuse("llama", "attention.head_count_kv", value_u32(4),
           "is 4, allowed: a divisor of attention.head_count");
    refuse("llama", "attention.head_count_kv", value_u32(12), "is 12, allowed: a divisor");
    refuse("llama", "attention.head_count_kv", value_u32(0), "is 0, expected 1 to 4096");
    refuse("llama", "attention.head_count_kv", value_i64(-2), "is -2, expected 1 to 4096");
    refuse("llama", "attention.head_count_kv",
           (struct metadata_value){.type = METADATA_ARRAY, .array.type = METADATA_I32},
           "array of i32, expected an integer");
    refuse("llama", "attention.key_length", value_u32(0), "is 0, expected 1 to 4096");
    refuse("llama", "attention.key_length", value_u32(4097), "is 4097, expected 1 to 4096");
    refuse("llama", "attention.value_length", value_u32(16),
           "is 16, allowed: the same as attention.key_length");
    refuse("llama", "context_length", value_u32(0), "is 0, expected 1 to");
    refuse("llama", "context_length", value_u32(1u << 31),
           "is 2147483648, expected 1 to 2147483647");
    refuse("llama", "context_length", value_f32(128), "type f32");
    refuse("llama", "vocab_size", value_u32(VOCAB_SIZE + 1),
           "is 273, but the embedding has 272 rows");
    refuse("llama", "vocab_size", value_u32(0), "is 0, expected 1 to");

    /* heads that do not divide the width must say how long they are */
    struct file file;
    struct config config;
    start(&file, "llama");
    set(&file, "attention.head_count", value_u32(5));
    refuse_file(&file, "llama.attention.key_length", "is missing");
    start(&file, "llama");
    set(&file, "attention.head_count", value_u32(5));
    set(&file, "attention.key_length", value_u32(10));
    accept(&file, &config);
    ck_assert_int_eq(config.head_dim, 10);
    config_close(&config);
    start(&file, "llama"); /* more heads than width: none is longer than 0 */
    set(&file, "embedding_length", value_u32(4));
    refuse_file(&file, "llama.attention.key_length", "");
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
        refuse(rows[i].architecture, rows[i].key, value_absent(),
               "is missing, expected f32 or f64");
        refuse(rows[i].architecture, rows[i].key, value_u32(0), "type u32, expected f32 or f64");
        refuse(rows[i].architecture, rows[i].key, value_f32(-1e-5), "is -1e-05, allowed: 0 to 1");
        refuse(rows[i].architecture, rows[i].key, value_f32(1), "is 1, allowed: 0 to 1");
        refuse(rows[i].architecture, rows[i].key, value_f32((double)INFINITY), "is inf");
        refuse(rows[i].architecture, rows[i].key, value_f32((double)NAN), "nan");
    }
}
END_TEST

START_TEST(test_rope_base)
{
    static const char *const names[] = {"llama", "qwen2", "gptneox"};
    const char *name = names[_i];
    refuse(name, "rope.freq_base", value_f32((double)NAN), "nan, allowed: 1 to 1e15");
    refuse(name, "rope.freq_base", value_f32((double)INFINITY), "inf, allowed: 1 to 1e15");
    refuse(name, "rope.freq_base", value_f32(0), "is 0, allowed: 1 to 1e15");
    refuse(name, "rope.freq_base", value_f32(-10000), "is -10000, allowed: 1 to 1e15");
    refuse(name, "rope.freq_base", value_text("10000"), "is a string, expected a number");
    struct file file;
    struct config config;
    start(&file, name);
    set(&file, "rope.freq_base", value_f32s(&file.directory, (float[]){1e4F, 1e6F, 5e5F}, 3));
    accept(&file, &config);
    ck_assert_double_eq(config.layers[0].rope_base, 1e4);
    ck_assert_double_eq(config.layers[1].rope_base, 1e6);
    ck_assert_double_eq(config.layers[2].rope_base, 5e5);
    config_close(&config);
    start(&file, name);
    set(&file, "rope.freq_base", value_f32s(&file.directory, (float[]){1e4F, 1e6F}, 2));
    refuse_file(&file, "rope.freq_base", "has 2 items, expected 3, one a layer");
}
END_TEST

START_TEST(test_windows)
{
    struct file file;
    struct config config;
    static const int64_t windows[] = {16, 0, 4096};
    start(&file, "llama");
    set(&file, "attention.sliding_window", value_u32(24));
    accept(&file, &config);
    for (int l = 0; l < 3; l++)
        ck_assert_int_eq(config.layers[l].window, 24);
    config_close(&config);
    start(&file, "longhand");
    set(&file, "attention.sliding_window",
        value_ints(&file.directory, METADATA_I32, 4, windows, 3));
    accept(&file, &config);
    for (int l = 0; l < 3; l++)
        ck_assert_int_eq(config.layers[l].window, windows[l]);
    config_close(&config);
    refuse("llama", "attention.sliding_window", value_i64(-1),
           "is -1, allowed: 0 or a whole number of tokens");
    refuse("llama", "attention.sliding_window", value_f32(2.5), "is 2.5, allowed: 0 or a whole");
    refuse("llama", "attention.sliding_window", value_f32((double)NAN), "nan, allowed");
    refuse("llama", "attention.sliding_window", value_u64(UINT64_MAX), "allowed: 0 or a whole");
    start(&file, "llama");
    set(&file, "attention.sliding_window",
        value_ints(&file.directory, METADATA_I32, 4, windows, 2));
    refuse_file(&file, "llama.attention.sliding_window", "has 2 items, expected 3, one a layer");
}
END_TEST

/* Phi-3's files from before the key. */
START_TEST(test_unsaid_window)
{
    static const struct {
        uint32_t train_length;
        bool said;
        int64_t window;
    } rows[] = {{4096, false, 2047}, {4096, true, 0}, {131072, false, 0}, {128, false, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct file file;
        struct config config;
        start(&file, "phi3");
        set(&file, "context_length", value_u32(rows[i].train_length));
        if (rows[i].said)
            set(&file, "attention.sliding_window", value_u32(0));
        accept(&file, &config);
        ck_assert_int_eq(config.layers[0].window, rows[i].window);
        ck_assert_int_eq(config.layers[2].window, rows[i].window);
        config_close(&config);
    }
}
END_TEST

/* A model of 8 layers with windows of 24, whose pattern is the default of its architecture or what
 * `pattern` says; 'g' for a layer that sees everything. */
static void start_pattern(struct file *file, const char *architecture)
{
    start(file, architecture);
    set(file, "block_count", value_u32(8));
    set(file, "attention.sliding_window", value_u32(24));
    set(file, "rope.freq_base", value_f32(1e6));
}

static void check_pattern(struct file *file, const char *expected)
{
    struct config config;
    accept(file, &config);
    const struct architecture *architecture = config.architecture;
    bool other_base = architecture->local_rope_base > 0;
    for (int l = 0; l < 8; l++) {
        const struct layer_config *layer = &config.layers[l];
        bool global = expected[l] == 'g';
        ck_assert_int_eq(layer->window, global ? 0 : 24);
        ck_assert_int_eq(layer->position,
                         global && architecture->global_nope ? POSITION_NONE : POSITION_ROPE);
        ck_assert_double_eq(layer->rope_base, global || !other_base ? 1e6 : 1e4);
        ck_assert_int_eq(layer->rope_scaling, global || !other_base);
    }
    config_close(&config);
}

START_TEST(test_patterns)
{
    static const char *const name = "attention.sliding_window_pattern";
    static const int64_t local[] = {1, 0, 0, 1, 1, 0, 1, 1};
    struct file file;
    start_pattern(&file, "cohere2");
    check_pattern(&file, "lllglllg");
    start_pattern(&file, "smollm3");
    check_pattern(&file, "lllglllg");
    start_pattern(&file, "gemma3");
    check_pattern(&file, "lllllgll");
    start_pattern(&file, "llama");
    check_pattern(&file, "llllllll");
    start_pattern(&file, "gemma3");
    set(&file, name, value_u32(3));
    check_pattern(&file, "llgllgll");
    start_pattern(&file, "gemma3");
    set(&file, name, value_u32(1));
    check_pattern(&file, "gggggggg");
    start_pattern(&file, "cohere2");
    set(&file, name, value_u32(0));
    check_pattern(&file, "llllllll");
    start_pattern(&file, "gemma3");
    set(&file, name, value_ints(&file.directory, METADATA_BOOL, 1, local, 8));
    check_pattern(&file, "lggllgll");
    start_pattern(&file, "cohere2");
    set(&file, name, value_ints(&file.directory, METADATA_I32, 4, local, 8));
    check_pattern(&file, "lggllgll");

    start_pattern(&file, "gemma3");
    set(&file, name, value_ints(&file.directory, METADATA_BOOL, 1, local, 7));
    refuse_file(&file, "gemma3.attention.sliding_window_pattern", "has 7 items, expected 8");
    refuse("cohere2", name, value_i64(-1), "is -1, allowed: 0 to 4096");
    refuse("cohere2", name, value_f32(1.5), "is 1.5, allowed: 0 to 4096");
    refuse("cohere2", name, value_u32(4097), "is 4097, allowed: 0 to 4096");
    refuse("cohere2", name, value_text("lllg"), "is a string, expected a number");
}
END_TEST

/* The base of layers with a window is Gemma 3's own, or the key's; without windows all layers are
 * of one kind. */
START_TEST(test_local_base)
{
    struct file file;
    struct config config;
    start_pattern(&file, "gemma3");
    set(&file, "rope.freq_base_swa", value_f32(2e4));
    accept(&file, &config);
    ck_assert_double_eq(config.layers[0].rope_base, 2e4);
    ck_assert_double_eq(config.layers[5].rope_base, 1e6);
    config_close(&config);
    start_pattern(&file, "gemma3");
    set(&file, "attention.sliding_window", value_absent());
    accept(&file, &config);
    ck_assert_double_eq(config.layers[0].rope_base, 1e6);
    ck_assert(config.layers[0].rope_scaling);
    config_close(&config);
    start_pattern(&file, "gemma3");
    set(&file, "rope.freq_base_swa", value_f32(0));
    refuse_file(&file, "gemma3.rope.freq_base_swa", "is 0, allowed: 1 to 1e15");
}
END_TEST

START_TEST(test_position_type)
{
    static const char *const all[] = {
        "none", "sinusoidal",     "learned",      "rope",   "xpos",     "alibi", "t5",
        "shaw", "transformer-xl", "disentangled", "kerple", "sandwich", "fire",  "cope"};
    static const char *const mixed[] = {"rope", "none", "t5"};
    static const char *const wrong[] = {"rope", "nope", "t5"};
    struct file file;
    struct config config;
    for (int i = 0; i < POSITION_COUNT; i++) {
        start(&file, "longhand");
        set(&file, "position.type", value_text(all[i]));
        accept(&file, &config);
        for (int l = 0; l < 3; l++)
            ck_assert_int_eq(config.layers[l].position, i);
        config_close(&config);
    }
    start(&file, "longhand");
    set(&file, "position.type", value_texts(&file.directory, mixed, 3));
    accept(&file, &config);
    ck_assert_int_eq(config.layers[0].position, POSITION_ROPE);
    ck_assert_int_eq(config.layers[1].position, POSITION_NONE);
    ck_assert_int_eq(config.layers[2].position, POSITION_T5);
    config_close(&config);

    const char *allowed = "allowed: none, sinusoidal, learned, rope, xpos, alibi, t5, shaw, "
                          "transformer-xl, disentangled, kerple, sandwich, fire, cope";
    refuse("longhand", "position.type", value_text("nope"), "is \"nope\", allowed: ");
    refuse("longhand", "position.type", value_text("nope"), allowed);
    refuse("longhand", "position.type", value_u32(1), "type u32, expected string");
    start(&file, "longhand");
    set(&file, "position.type", value_texts(&file.directory, wrong, 3));
    refuse_file(&file, "longhand.position.type", "is \"nope\", allowed: ");
    start(&file, "longhand");
    set(&file, "position.type", value_texts(&file.directory, mixed, 2));
    refuse_file(&file, "longhand.position.type", "has 2 items, expected 3, one a layer");
    start(&file, "longhand");
    set(&file, "position.type", value_f32s(&file.directory, (float[]){1, 2, 3}, 3));
    refuse_file(&file, "longhand.position.type", "array of f32");

    start(&file, "llama"); /* which has a scheme where no key names one */
    set(&file, "position.type", value_texts(&file.directory, mixed, 3));
    accept(&file, &config);
    ck_assert_int_eq(config.layers[0].position, POSITION_ROPE);
    ck_assert_int_eq(config.layers[1].position, POSITION_NONE);
    config_close(&config);
}
END_TEST

START_TEST(test_chunks)
{
    static const int64_t chunks[] = {8, 0, 16};
    struct file file;
    struct config config;
    start(&file, "longhand");
    set(&file, "attention.chunk_size", value_ints(&file.directory, METADATA_U32, 4, chunks, 3));
    set(&file, "attention.memory_length", value_u32(5));
    set(&file, "attention.temperature_scale",
        value_f32s(&file.directory, (float[]){0, 0.5F, 0}, 3));
    accept(&file, &config);
    for (int l = 0; l < 3; l++) {
        ck_assert_int_eq(config.layers[l].chunk, chunks[l]);
        ck_assert_int_eq(config.layers[l].memory, 5);
        ck_assert_double_eq(config.layers[l].temperature_scale, l == 1 ? 0.5 : 0);
        ck_assert_double_eq(config.layers[l].temperature_floor, 8192);
    }
    config_close(&config);
    start(&file, "longhand");
    set(&file, "attention.temperature_floor", value_u32(32));
    accept(&file, &config);
    ck_assert_double_eq(config.layers[1].temperature_floor, 32);
    config_close(&config);

    refuse("longhand", "attention.chunk_size", value_f32(0.5), "is 0.5, allowed: 0 or a whole");
    refuse("longhand", "attention.memory_length", value_i64(-2), "is -2, allowed: 0 or a whole");
    refuse("longhand", "attention.temperature_scale", value_f32(-1), "is -1, allowed: 0 to 1e6");
    refuse("longhand", "attention.temperature_scale", value_f32((double)NAN), "nan, allowed");
    refuse("longhand", "attention.temperature_scale", value_f32(2e6), "is 2e+06, allowed");
    refuse("longhand", "attention.temperature_floor", value_u32(0), "is 0, allowed: 1 or more");
    refuse("longhand", "attention.temperature_floor", value_f32((double)INFINITY), "inf, allowed");
}
END_TEST

START_TEST(test_scales)
{
    struct file file;
    struct config config;
    start(&file, "gemma3"); /* as many layers as Gemma 3 27B */
    set(&file, "block_count", value_u32(62));
    set(&file, "attention.key_length", value_u32(32));
    accept(&file, &config);
    ck_assert_float_eq_tol(config.attention_scale, 0.35355339F, 1e-7F); /* 1 / sqrt(48 / 6) */
    config_close(&config);
    start(&file, "llama");
    set(&file, "block_count", value_u32(62));
    accept(&file, &config);
    ck_assert_float_eq(config.attention_scale, 0);
    config_close(&config);

    refuse("cohere2", "logit_scale", value_absent(), "is missing, expected f32 or f64");
    refuse("cohere2", "logit_scale", value_f32(0), "is 0, allowed: more than 0, less than 1e6");
    refuse("cohere2", "logit_scale", value_f32(-1), "is -1, allowed");
    refuse("cohere2", "logit_scale", value_f32((double)NAN), "nan, allowed");
    refuse("cohere2", "logit_scale", value_f32((double)INFINITY), "inf, allowed");
    refuse("gemma3", "final_logit_softcapping", value_f32(30), "is 30, allowed: 0 (none)");
    refuse("gemma3", "attn_logit_softcapping", value_f32(50), "is 50, allowed: 0 (none)");
    refuse("mpt", "attention.clamp_kqv", value_f32(-1), "is -1, allowed: 0 (none) or more");
    refuse("mpt", "attention.clamp_kqv", value_f32((double)NAN), "nan, allowed");
    refuse("mpt", "attention.clamp_kqv", value_f32((double)INFINITY), "inf, allowed");
    refuse("mpt", "attention.clamp_kqv", value_u32(2), "type u32, expected f32 or f64");
}
END_TEST

START_TEST(test_residual)
{
    refuse("gptneox", "use_parallel_residual", value_u32(1), "type u32, expected bool");
    refuse("cohere2", "use_parallel_residual", value_bool(false), "is 0, allowed: 1 (true)");
}
END_TEST

START_TEST(test_no_memory)
{
    struct file file;
    struct config config;
    struct error err;
    start(&file, "llama");
    ck_assert_int_eq(metadata_sort(&file.directory.metadata, &err), 0);
    support_fail_memory(1, true);
    int result = config_read(&config, &file.directory.metadata, VOCAB_SIZE, &err);
    support_fail_memory(0, false);
    ck_assert_int_eq(result, -1);
    ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
    ck_assert_ptr_null(config.layers);
    directory_free(&file.directory);
}
END_TEST

Suite *config_suite(void)
{
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");
    tcase_add_loop_test(tcase, test_plain, 0, sizeof architectures / sizeof architectures[0]);
    tcase_add_test(tcase, test_optional_keys);
    tcase_add_test(tcase, test_architecture_name);
    tcase_add_loop_test(tcase, test_sizes, 0, 4);
    tcase_add_test(tcase, test_heads);
    tcase_add_test(tcase, test_norm);
    tcase_add_loop_test(tcase, test_rope_base, 0, 3);
    tcase_add_test(tcase, test_windows);
    tcase_add_test(tcase, test_unsaid_window);
    tcase_add_test(tcase, test_patterns);
    tcase_add_test(tcase, test_local_base);
    tcase_add_test(tcase, test_position_type);
    tcase_add_test(tcase, test_chunks);
    tcase_add_test(tcase, test_scales);
    tcase_add_test(tcase, test_residual);
    tcase_add_test(tcase, test_no_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
