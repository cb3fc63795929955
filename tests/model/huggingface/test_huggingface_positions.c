/* huggingface_positions: every way in which config.json speaks of positions: the keys that it
 * becomes, and a message that names what is not understood. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "model/model.h"
#include "tests/model/huggingface/hub.h"
#include "tests/suites.h"
#include "tests/support.h"

static struct checkpoint checkpoint;
static struct error err;

/* The config.json of a fixture with members changed ("null" as such) or, with NULL, taken out. */
struct change {
    const char *key, *json;
};
enum { CHANGES = 6 };

static void write_config(const char *name, const struct change *changes)
{
    cJSON *config = hub_json(name, "config.json");
    for (int i = 0; i < CHANGES && changes[i].key; i++) {
        cJSON_DeleteItemFromObject(config, changes[i].key);
        if (changes[i].json) {
            cJSON *value = cJSON_Parse(changes[i].json);
            ck_assert_msg(value != NULL, "%s", changes[i].json);
            cJSON_AddItemToObject(config, changes[i].key, value);
        }
    }
    hub_write("config.json", config);
    hub_write_weights(name, FORMAT_F32, FORMAT_F32);
}

#define LINEAR "{\"rope_type\":\"linear\",\"rope_theta\":1e4,\"factor\":2}"
#define BASE "\"rope_theta\":10000,"

static const struct {
    const char *name;
    struct change changes[CHANGES];
    const char *message;
} refused[] = {
    {"llama", {{"model_type", "\"mamba\""}}, "\"model_type\" is \"mamba\", expected one of: llama"},
    {"llama", {{"model_type", NULL}}, "\"model_type\" is missing"},
    {"llama", {{"hidden_size", NULL}}, "\"hidden_size\" is missing"},
    {"llama", {{"hidden_size", "3.5"}}, "\"hidden_size\" is 3.5"},
    {"llama", {{"num_hidden_layers", "2147483647"}}, "\"num_hidden_layers\" is 2147483647"},
    {"llama", {{"hidden_act", "\"gelu\""}}, "\"hidden_act\" is \"gelu\", expected silu"},
    {"llama", {{"quantization_config", "{\"bits\":4}"}}, "\"quantization_config\" is an object"},
    {"gemma3", {{"use_bidirectional_attention", "true"}}, "\"use_bidirectional_attention\""},
    /* Keys that are not understood are named, not passed over. */
    {"llama", {{"alibi", "true"}}, "\"alibi\" is true, expected nothing"},
    {"llama", {{"sliding_window", "24"}}, "\"sliding_window\" is 24, expected nothing"},
    {"llama", {{"rotary_pct", "0.5"}}, "\"rotary_pct\" is 0.5, expected nothing"},
    {"llama", {{"rope_ratio", "2"}}, "\"rope_ratio\" is 2, expected nothing"},
    {"llama", {{"position_embedding_type", "\"alibi\""}}, "\"position_embedding_type\""},
    {"llama", {{"attention_chunk_size", "64"}}, "\"attention_chunk_size\" is 64"},
    {"qwen2", {{"dual_chunk_attention_config", "{\"a\":1}"}}, "\"dual_chunk_attention_config\""},
    {"qwen2", {{"no_rope_layers", "[1,0,1]"}}, "\"no_rope_layers\" is a list, expected nothing"},
    {"cohere2", {{"position_embedding_type", "\"rope\""}}, "\"position_embedding_type\""},
    {"cohere2", {{"rotary_pct", "0.5"}}, "\"rotary_pct\" is 0.5"},
    /* Rotation. */
    {"llama", {{"rope_scaling", LINEAR}}, "\"rope_scaling\" is an object, expected none beside"},
    {"llama", {{"rope_parameters", "3"}}, "\"rope_parameters\" is 3, expected an object"},
    {"llama",
     {{"rope_parameters", "{" BASE "\"rope_type\":\"ntk\",\"factor\":2}"}},
     "\"rope_parameters.rope_type\" is \"ntk\", expected default, linear"},
    {"llama",
     {{"rope_parameters", "{" BASE "\"type\":\"mrope\",\"mrope_section\":[1]}"}},
     "\"rope_parameters.type\" is \"mrope\""},
    {"llama",
     {{"rope_parameters", "{" BASE "\"mrope_section\":[1]}"}},
     "\"rope_parameters.mrope_section\" is a list, expected nothing"},
    {"llama",
     {{"rope_parameters", "{" BASE "\"factor\":2}"}},
     "\"rope_parameters.factor\" is 2, expected nothing"},
    {"llama",
     {{"rope_parameters", "{" BASE "\"rope_type\":\"linear\"}"}},
     "\"rope_parameters.factor\" is missing"},
    {"llama",
     {{"rope_parameters", "{" BASE "\"rope_type\":\"linear\",\"factor\":\"2\"}"}},
     "\"rope_parameters.factor\" is \"2\", expected a number"},
    {"llama3",
     {{"rope_parameters", "{" BASE "\"rope_type\":\"llama3\",\"factor\":8}"}},
     "\"rope_parameters.low_freq_factor\" is missing"},
    {"llama",
     {{"rope_parameters",
       "{" BASE "\"rope_type\":\"yarn\",\"factor\":2,\"original_max_position_embeddings\":64}"},
      {"original_max_position_embeddings", "32"}},
     "\"rope_parameters.original_max_position_embeddings\" is 64, expected what config.json"},
    {"phi-long",
     {{"rope_parameters", "{" BASE "\"rope_type\":\"longrope\",\"short_factor\":[1,1,1]}"}},
     "\"rope_parameters.long_factor\" is missing"},
    {"phi-long",
     {{"rope_parameters",
       "{" BASE "\"rope_type\":\"longrope\",\"short_factor\":[1,\"\"],\"long_factor\":[1]}"}},
     "\"rope_parameters.short_factor\" is \"\", expected a list of numbers"},
    {"phi-long",
     {{"rope_parameters",
       "{" BASE "\"rope_type\":\"longrope\",\"short_factor\":[],\"long_factor\":[1]}"}},
     "\"rope_parameters.short_factor\" is a list, expected at least one number"},
    {"llama", {{"partial_rotary_factor", "0"}}, "\"partial_rotary_factor\""},
    {"gemma3", {{"rope_parameters", LINEAR}}, "expected full_attention and sliding_attention"},
    {"gemma3",
     {{"rope_parameters", "{\"sliding_attention\":" LINEAR "}"}},
     "\"rope_parameters.sliding_attention.rope_type\" is \"linear\", expected default"},
    {"qwen3",
     {{"rope_parameters", "{\"full_attention\":" LINEAR "}"}},
     "\"rope_parameters.full_attention\" is an object, expected nothing"},
    /* Layers. */
    {"qwen3", {{"layer_types", "[\"full_attention\"]"}}, "\"layer_types\" is a list, expected an"},
    {"qwen3",
     {{"layer_types", "[\"full_attention\",\"full_attention\",\"full_attention\"]"}},
     "\"layer_types\" is a list, expected an item for every layer"},
    {"qwen3",
     {{"layer_types", "[\"chunked_attention\",\"full_attention\"]"}},
     "\"layer_types\" is \"chunked_attention\""},
    {"qwen3",
     {{"layer_types", "[\"sliding_attention\",\"full_attention\"]"}},
     "\"sliding_window\" is missing, expected a number of tokens in use"},
    {"mistral",
     {{"layer_types", "[\"sliding_attention\",\"full_attention\"]"}},
     "\"layer_types\" is \"full_attention\", expected the same window in all layers"},
    {"gemma3", {{"sliding_window", "null"}}, "\"sliding_window\" is missing"},
    {"smollm3", {{"no_rope_layers", "[1,2,1,1,1]"}}, "\"no_rope_layers\" is 2, expected a list of"},
    {"smollm3", {{"no_rope_layers", "[1,0]"}}, "\"no_rope_layers\" is a list, expected an item"},
};
enum { N_REFUSED = sizeof refused / sizeof refused[0] };

START_TEST(what_is_not_understood_is_named)
{
    write_config(refused[_i].name, refused[_i].changes);
    ck_assert_msg(checkpoint_open(&checkpoint, hub_path(), &err) == -1, "%s opened",
                  refused[_i].message);
    ck_assert_msg(strstr(err.text, refused[_i].message), "%s", err.text);
    ck_assert_msg(strstr(err.text, "config.json: "), "%s", err.text);
}
END_TEST

/* Keys that the model itself refuses later. */
START_TEST(softcaps_reach_the_model)
{
    struct model model;
    write_config("gemma3", (struct change[CHANGES]){{"final_logit_softcapping", "30"}});
    ck_assert_msg(checkpoint_open(&checkpoint, hub_path(), &err) == 0, "%s", err.text);
    ck_assert_int_eq(model_open(&model, &checkpoint, &(struct model_options){0}, &err), -1);
    ck_assert_msg(strstr(err.text, "gemma3.final_logit_softcapping is 30"), "%s", err.text);
    checkpoint_close(&checkpoint);
}
END_TEST

/* What a model makes of config.json: the scheme of every layer as info says it. */
static const struct {
    const char *name;
    struct change changes[CHANGES];
    struct {
        const char *scheme, *words;
        int64_t window;
    } layers[5];
} understood[] = {
    {"llama",
     {{"rope_parameters", NULL}},
     {{"rope", "base 10000, 8 of 8 dimensions, halves", 0}, {"rope", "base 10000,", 0}}},
    {"llama",
     {{"rope_parameters", NULL}, {"rope_theta", "5000"}, {"rope_scaling", "null"}},
     {{"rope", "base 5000, 8 of 8 dimensions, halves", 0}, {"rope", "base 5000,", 0}}},
    {"llama",
     {{"rope_parameters", NULL},
      {"rope_theta", "5000"},
      {"rope_scaling", "{\"type\":\"linear\",\"factor\":4}"}},
     {{"rope", "base 5000, 8 of 8 dimensions, halves; linear, factor 4", 0}, {"rope", "", 0}}},
    {"llama",
     {{"rope_parameters", "{" BASE "\"rope_type\":\"dynamic\",\"factor\":4}"}},
     {{"rope", "halves; dynamic, factor 4 over 128", 0}, {"rope", "", 0}}},
    {"llama",
     {{"rope_parameters", "{" BASE "\"rope_type\":\"yarn\",\"factor\":4,\"type\":\"yarn\","
                          "\"original_max_position_embeddings\":32}"}},
     {{"rope", "halves; yarn, factor 4 over 32, m 1.1386", 0}, {"rope", "", 0}}},
    {"llama",
     {{"rope_parameters", "{" BASE "\"rope_type\":\"yarn\",\"factor\":null,\"beta_fast\":0}"},
      {"original_max_position_embeddings", "32"}},
     {{"rope", "halves; yarn, factor 4 over 32, m 1.1386", 0}, {"rope", "", 0}}},
    {"llama",
     {{"rope_parameters",
       "{" BASE "\"rope_type\":\"yarn\",\"factor\":4,\"attention_factor\":1.25}"}},
     {{"rope", "halves; yarn, factor 4 over 128, m 1.2500", 0}, {"rope", "", 0}}},
    {"llama",
     {{"rope_parameters", "{" BASE "\"rope_type\":\"yarn\",\"factor\":40,\"mscale\":0.707,"
                          "\"mscale_all_dim\":1.0,\"truncate\":false}"}},
     /* (0.0707 ln 40 + 1) / (0.1 ln 40 + 1) */
     {{"rope", "halves; yarn, factor 40 over 128, m 0.9210", 0}, {"rope", "", 0}}},
    {"phi-long",
     {{"rope_parameters", NULL},
      {"partial_rotary_factor", "0.75"},
      {"rope_scaling", "{\"type\":\"su\",\"short_factor\":[1,1,1],\"long_factor\":[1,2,3]}"}},
     {{"rope", "6 of 8 dimensions, halves; longrope, factor 4 over 32, m 1.1832", 0},
      {"rope", "", 0}}},
    {"phi-long",
     {{"rope_parameters", "{\"rope_type\":\"longrope\",\"attention_factor\":1.5,\"factor\":8,"
                          "\"short_factor\":[1,1,1,1],\"long_factor\":[1,2,3,4]}"}},
     {{"rope", "8 of 8 dimensions, halves; longrope, factor 8 over 32, m 1.5000", 0},
      {"rope", "", 0}}},
    {"mistral", {{"sliding_window", "null"}}, {{"rope", "", 0}, {"rope", "", 0}}},
    {"mistral", {{"sliding_window", NULL}}, {{"rope", "", 4096}, {"rope", "", 4096}}},
    {"qwen2",
     {{"use_sliding_window", "true"},
      {"sliding_window", "9"},
      {"max_window_layers", "1"},
      {"layer_types", NULL}},
     {{"rope", "", 0}, {"rope", "", 9}, {"rope", "", 9}}},
    {"qwen2",
     {{"sliding_window", "9"}, {"max_window_layers", "1"}, {"layer_types", NULL}},
     {{"rope", "", 0}, {"rope", "", 0}, {"rope", "", 0}}},
    {"smollm3",
     {{"no_rope_layers", "[0,1,1,1,0]"}},
     {{"none", "", 0},
      {"rope", "base 5000000", 0},
      {"rope", "", 0},
      {"rope", "", 0},
      {"none", "", 0}}},
    {"smollm3",
     {{"no_rope_layers", "[]"},
      {"no_rope_layer_interval", "2"},
      {"layer_types", NULL},
      {"use_sliding_window", "true"},
      {"sliding_window", "7"}},
     {{"rope", "", 0}, {"none", "", 7}, {"rope", "", 0}, {"none", "", 7}, {"rope", "", 0}}},
    {"cohere2",
     {{"layer_types", NULL}, {"sliding_window_pattern", "2"}, {"rotary_pct", "1.0"}},
     {{"rope", "interleaved", 24},
      {"none", "", 0},
      {"rope", "", 24},
      {"none", "", 0},
      {"rope", "", 24}}},
    {"gemma3",
     {{"rope_parameters", NULL},
      {"rope_theta", "2000000"},
      {"rope_local_base_freq", "20000"},
      {"rope_scaling", "{\"rope_type\":\"linear\",\"factor\":4}"},
      {"layer_types", NULL},
      {"_sliding_window_pattern", "3"}},
     {{"rope", "base 20000, 12 of 12 dimensions, halves", 24},
      {"rope", "base 20000", 24},
      {"rope", "base 2000000, 12 of 12 dimensions, halves; linear, factor 4", 0},
      {"rope", "base 20000", 24},
      {"rope", "base 20000", 24}}},
};
enum { N_UNDERSTOOD = sizeof understood / sizeof understood[0] };

START_TEST(layers_are_as_config_says)
{
    struct model model;
    write_config(understood[_i].name, understood[_i].changes);
    ck_assert_msg(checkpoint_open(&checkpoint, hub_path(), &err) == 0, "%s", err.text);
    ck_assert_msg(model_open(&model, &checkpoint, &(struct model_options){0}, &err) == 0, "%s",
                  err.text);
    for (int l = 0; l < 5 && understood[_i].layers[l].scheme; l++) {
        const struct position *position = model.layers[l].position;
        char words[160] = "";
        if (position->scheme->describe)
            position->scheme->describe(position, words, sizeof words);
        ck_assert_str_eq(position->scheme->name, understood[_i].layers[l].scheme);
        ck_assert_msg(strstr(words, understood[_i].layers[l].words), "layer %d: %s", l, words);
        ck_assert_int_eq(model.config.layers[l].window, understood[_i].layers[l].window);
    }
    model_close(&model);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(factors_are_as_config_says)
{
    struct model model;
    write_config("gemma3", (struct change[CHANGES]){{"query_pre_attn_scalar", "25"}});
    ck_assert_msg(checkpoint_open(&checkpoint, hub_path(), &err) == 0, "%s", err.text);
    ck_assert_int_eq(model_open(&model, &checkpoint, &(struct model_options){0}, &err), 0);
    ck_assert_float_eq_tol(model.config.attention_scale, 0.2F, 1e-7F);
    ck_assert_float_eq_tol(model.config.embedding_scale, sqrtf(32), 1e-5F);
    model_close(&model);
    checkpoint_close(&checkpoint);
    write_config("cohere2", (struct change[CHANGES]){{"logit_scale", NULL}});
    ck_assert_msg(checkpoint_open(&checkpoint, hub_path(), &err) == 0, "%s", err.text);
    ck_assert_int_eq(model_open(&model, &checkpoint, &(struct model_options){0}, &err), 0);
    ck_assert_float_eq(model.config.logit_scale, 0.0625F);
    model_close(&model);
    checkpoint_close(&checkpoint);
}
END_TEST

Suite *huggingface_positions_suite(void)
{
    Suite *suite = suite_create("huggingface_positions");
    TCase *tcase = tcase_create("huggingface_positions");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_add_loop_test(tcase, what_is_not_understood_is_named, 0, N_REFUSED);
    tcase_add_test(tcase, softcaps_reach_the_model);
    tcase_add_loop_test(tcase, layers_are_as_config_says, 0, N_UNDERSTOOD);
    tcase_add_test(tcase, factors_are_as_config_says);
    suite_add_tcase(suite, tcase);
    return suite;
}
