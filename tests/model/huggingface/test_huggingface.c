/* huggingface: directories as transformers saves them: the logits of every family are
 * transformers', whatever types the files have; and what is wrong with files and tensors is a
 * message. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/parallel.h"
#include "tests/model/fixture.h"
#include "tests/model/huggingface/hub.h"
#include "tests/suites.h"
#include "tests/support.h"

static struct checkpoint checkpoint;
static struct error err;

/* The largest difference from the fixture's logits, as a share of the largest of them. */
static double compare(const char *path, const char *name)
{
    struct fixture fixture;
    struct model model;
    struct session session;
    fixture_open(&fixture, name, name, "scalar");
    ck_assert_msg(checkpoint_open(&checkpoint, path, &err) == 0, "%s: %s", name, err.text);
    ck_assert_str_eq(checkpoint.container, "safetensors");
    ck_assert_msg(model_open(&model, &checkpoint, &(struct model_options){.isa = "scalar"}, &err) ==
                      0,
                  "%s: %s", name, err.text);
    ck_assert_int_eq(model.config.vocab_size, fixture.model.config.vocab_size);
    size_t n = (size_t)fixture.n * (size_t)model.config.vocab_size;
    float *logits = malloc(n * sizeof *logits);
    ck_assert_ptr_nonnull(logits);
    parallel_set_threads(1);
    ck_assert_int_eq(
        session_open(&session, &model, &(struct session_options){.kv = FORMAT_F32}, &err), 0);
    ck_assert_int_eq(session_feed(&session, fixture.ids, fixture.n, logits, &err), 0);
    double difference = fixture_difference(&fixture, logits, fixture.expected, n);
    free(logits);
    session_close(&session);
    model_close(&model);
    checkpoint_close(&checkpoint);
    fixture_close(&fixture);
    return difference;
}

static const char *const models[] = {"llama",   "llama3", "mistral", "qwen2",     "qwen3",
                                     "smollm3", "gemma3", "cohere2", "phi-short", "phi-long"};

START_TEST(logits_are_those_of_transformers)
{
    hub_copy(models[_i], "config.json");
    hub_write_weights(models[_i], FORMAT_F32, FORMAT_F32);
    ck_assert_double_le(compare(hub_path(), models[_i]), 1e-5);
}
END_TEST

/* Rounding to 8 and 11 bits moves logits, but by no more than it moves those of a GGUF file. */
START_TEST(halves_are_read)
{
    hub_copy(models[_i], "config.json");
    hub_write_weights(models[_i], FORMAT_F32, FORMAT_F16);
    ck_assert_double_le(compare(hub_path(), models[_i]), 2e-2);
    hub_write_weights(models[_i], FORMAT_F16, FORMAT_BF16);
    ck_assert_double_le(compare(hub_path(), models[_i]), 1e-1);
}
END_TEST

START_TEST(saved_directories_are_read)
{
    static const char *const saved[] = {"llama", "phi-long"};
    char path[64];
    snprintf(path, sizeof path, "tests/data/huggingface/%s", saved[_i]);
    ck_assert_double_le(compare(path, saved[_i]), 1e-5);
}
END_TEST

START_TEST(matrices_stay_in_the_mapping)
{
    ck_assert_int_eq(checkpoint_open(&checkpoint, "tests/data/huggingface/llama", &err), 0);
    ck_assert_int_eq(checkpoint.n_files, 3);
    for (size_t i = 0; i < checkpoint.n_tensors; i++) {
        const struct tensor *tensor = &checkpoint.tensors[i];
        bool mapped = false;
        for (int f = 0; f < checkpoint.n_files; f++) {
            const struct file *file = &checkpoint.files[f];
            mapped = mapped || tensor->data == file->data + tensor->offset;
        }
        ck_assert_msg(mapped, "%.*s", (int)tensor->name.length, tensor->name.bytes);
    }
    checkpoint_close(&checkpoint);
}
END_TEST

/* Gemma adds 1 to the weights of its norms; vectors of 16 bits become floats. */
START_TEST(vectors_become_floats)
{
    struct checkpoint gguf;
    static const char name[] = "blk.3.attn_q_norm.weight";
    hub_copy("gemma3", "config.json");
    hub_write_weights("gemma3", FORMAT_F32, FORMAT_BF16);
    ck_assert_int_eq(checkpoint_open(&gguf, "tests/data/gemma3.gguf", &err), 0);
    ck_assert_msg(checkpoint_open(&checkpoint, hub_path(), &err) == 0, "%s", err.text);
    const struct tensor *found = checkpoint_find(&checkpoint, name);
    const struct tensor *expected = checkpoint_find(&gguf, name);
    ck_assert(found && expected);
    ck_assert_int_eq(found->format, FORMAT_F32);
    ck_assert_uint_eq(found->bytes, 12 * sizeof(float));
    for (int i = 0; i < 12; i++)
        ck_assert_float_eq_tol(((const float *)found->data)[i], ((const float *)expected->data)[i],
                               0.004F);
    checkpoint_close(&checkpoint);
    checkpoint_close(&gguf);
}
END_TEST

/* --- files ------------------------------------------------------------------------------------ */

static void refuse(const char *message)
{
    ck_assert_int_eq(checkpoint_open(&checkpoint, hub_path(), &err), -1);
    ck_assert_msg(strstr(err.text, message), "%s", err.text);
    ck_assert_ptr_null(checkpoint.tensors);
}

static void copy_llama(void)
{
    static const char *const files[] = {"config.json",
                                        "model-00001-of-00003.safetensors",
                                        "model-00002-of-00003.safetensors",
                                        "model-00003-of-00003.safetensors",
                                        "model.safetensors.index.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        hub_copy("llama", files[i]);
}

START_TEST(missing_files_are_named)
{
    refuse("is a directory without config.json");
    hub_copy("llama", "config.json");
    refuse("has neither model.safetensors nor model.safetensors.index.json");
    copy_llama();
    remove(scratch_path("model-00002-of-00003.safetensors"));
    refuse("model-00002-of-00003.safetensors: cannot open");
    scratch_write("model-00002-of-00003.safetensors", "", 0);
    refuse("model-00002-of-00003.safetensors: is empty");
    ck_assert_int_eq(
        checkpoint_open(&checkpoint, scratch_path("model-00001-of-00003.safetensors"), &err), -1);
    ck_assert_msg(strstr(err.text, "looks like a safetensors file (name its directory instead)"),
                  "%s", err.text);
    ck_assert_int_eq(checkpoint_open(&checkpoint, scratch_path("config.json"), &err), -1);
    ck_assert_msg(strstr(err.text, "looks like a JSON file (name the directory of the model"), "%s",
                  err.text);
}
END_TEST

/* One line of the index says something else. */
static void index_with(const char *tensor, cJSON *file)
{
    copy_llama();
    cJSON *index = hub_json("llama", "model.safetensors.index.json");
    cJSON *map = cJSON_GetObjectItem(index, "weight_map");
    cJSON_DeleteItemFromObject(map, tensor);
    if (file)
        cJSON_AddItemToObject(map, tensor, file);
    hub_write("model.safetensors.index.json", index);
}

START_TEST(an_index_that_lies_is_refused)
{
    static const char *const outside[] = {
        "../model-00001-of-00003.safetensors",
        "/etc/passwd",
        "",
        ".hidden.safetensors",
        "sub/model.safetensors",
        "model.bin",
        "..",
    };
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        index_with("lm_head.weight", cJSON_CreateString(outside[i]));
        refuse("expected the name of a .safetensors file in the same directory");
    }
    index_with("lm_head.weight", cJSON_CreateNumber(3));
    refuse("\"lm_head.weight\" is 3, expected the name of a file");
    index_with("lm_head.weight", cJSON_CreateString("model-00004-of-00003.safetensors"));
    refuse("model-00004-of-00003.safetensors: cannot open");
    index_with("lm_head.weight", cJSON_CreateString("model-00002-of-00003.safetensors"));
    refuse("has 13 tensors, expected the index's 14: mixed-up models?");
    index_with("model.norm.weight", NULL);
    refuse("tensor \"model.norm.weight\" is not in this file by the index");
    index_with("lm_head.weight", NULL); /* alone in its file, which nobody opens then */
    refuse("tensor \"lm_head.weight\" is missing, and \"tie_word_embeddings\" is false");
    index_with("another.weight", cJSON_CreateString("model-00003-of-00003.safetensors"));
    refuse("tensors, expected the index's");
    copy_llama();
    scratch_write("model.safetensors.index.json", "{\"weight_map\":[]}", 17);
    refuse("\"weight_map\" is a list, expected an object");
    scratch_write("model.safetensors.index.json", "{}", 2);
    refuse("\"weight_map\" is missing");
}
END_TEST

/* --- tensors ---------------------------------------------------------------------------------- */

/* A directory whose only weights are of this header. */
static void write_header(const char *header)
{
    struct bytes file = {0};
    hub_copy("llama", "config.json");
    bytes_add_uint(&file, strlen(header), 8);
    bytes_add(&file, header, strlen(header));
    for (int i = 0; i < 64; i++)
        bytes_add_uint(&file, 0, 1);
    scratch_write("model.safetensors", file.data, file.size);
    free(file.data);
}

#define F32_OF_16 "{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":"

START_TEST(names_that_are_not_known_are_refused)
{
    static const char *const unknown[] = {
        "score.weight",
        "model.layers.2.input_layernorm.weight",
        "model.layers.00.input_layernorm.weight",
        "model.layers.-1.input_layernorm.weight",
        "model.layers.99999999999999999999.input_layernorm.weight",
        "model.layers.0.input_layernorm",
        "model.layers.0.input_layernorm.weight.weight",
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.0.self_attn.qkv_proj.weight",
        "model.layers.0.model.norm.weight",
        "model.layers.",
        "input_layernorm.weight",
        "",
    };
    char header[256];
    snprintf(header, sizeof header, "{\"%s\":" F32_OF_16 "[0,16]}}", unknown[_i]);
    write_header(header);
    refuse("no tensor of a llama with 2 layers has this name");
}
END_TEST

START_TEST(tensors_that_overlap_or_come_twice_are_refused)
{
    write_header("{\"lm_head.weight\":" F32_OF_16 "[48,64]},"
                 "\"model.norm.weight\":" F32_OF_16 "[0,16]},"
                 "\"model.norm.bias\":" F32_OF_16 "[12,28]}}");
    refuse("overlaps");
    write_header("{\"lm_head.weight\":" F32_OF_16 "[48,64]},"
                 "\"model.norm.weight\":" F32_OF_16 "[0,16]},"
                 "\"model.norm.weight\":" F32_OF_16 "[16,32]}}");
    refuse("tensor \"output_norm.weight\" at byte");
}
END_TEST

START_TEST(angles_and_tied_outputs_are_left_out)
{
    write_header("{\"model.layers.0.self_attn.rotary_emb.inv_freq\":" F32_OF_16 "[0,16]},"
                 "\"lm_head.weight\":" F32_OF_16 "[16,32]}}");
    ck_assert_msg(checkpoint_open(&checkpoint, hub_path(), &err) == 0, "%s", err.text);
    ck_assert_uint_eq(checkpoint.n_tensors, 1);
    checkpoint_close(&checkpoint);
    cJSON *config = hub_json("llama", "config.json");
    cJSON_ReplaceItemInObject(config, "tie_word_embeddings", cJSON_CreateTrue());
    hub_write("config.json", config);
    ck_assert_msg(checkpoint_open(&checkpoint, hub_path(), &err) == 0, "%s", err.text);
    ck_assert_uint_eq(checkpoint.n_tensors, 0);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(want_of_memory_is_an_error)
{
    copy_llama();
    char path[256];
    snprintf(path, sizeof path, "%s", hub_path());
    long failures = 0;
    for (long n = 1; n < 5000; n++) {
        support_fail_memory(n, false);
        int result = checkpoint_open(&checkpoint, path, &err);
        support_fail_memory(0, false);
        if (result == 0)
            break;
        ck_assert_ptr_nonnull(strstr(err.text, "out of memory: "));
        failures++;
    }
    ck_assert_int_ge(failures, 100);
    checkpoint_close(&checkpoint);
}
END_TEST

Suite *huggingface_suite(void)
{
    Suite *suite = suite_create("huggingface");
    TCase *tcase = tcase_create("huggingface");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_add_loop_test(tcase, logits_are_those_of_transformers, 0, 10);
    tcase_add_loop_test(tcase, halves_are_read, 0, 10);
    tcase_add_loop_test(tcase, saved_directories_are_read, 0, 2);
    tcase_add_test(tcase, matrices_stay_in_the_mapping);
    tcase_add_test(tcase, vectors_become_floats);
    tcase_add_test(tcase, missing_files_are_named);
    tcase_add_test(tcase, an_index_that_lies_is_refused);
    tcase_add_loop_test(tcase, names_that_are_not_known_are_refused, 0, 13);
    tcase_add_test(tcase, tensors_that_overlap_or_come_twice_are_refused);
    tcase_add_test(tcase, angles_and_tied_outputs_are_left_out);
    tcase_add_test(tcase, want_of_memory_is_an_error);
    suite_add_tcase(suite, tcase);
    return suite;
}
