/* weights: a tiny model of each kind as a list of tensors, and what is said when one of them is not
 * as it must be. */
#include "model/weights.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"
#include "tests/support.h"

/* dim 32, hidden 64, 4 heads of 8, 2 for keys and values, 2 layers, 48 tokens */
struct part {
    const char *name;
    uint64_t shape[2]; /* shape[1] = 0: a vector */
    uint32_t type;
};

static const struct part llama_parts[] = {
    {"token_embd.weight", {32, 48}, GGML_F32},
    {"output_norm.weight", {32, 0}, GGML_F32},
    {"output.weight", {32, 48}, GGML_F16},
    {"blk.%d.attn_norm.weight", {32, 0}, GGML_F32},
    {"blk.%d.attn_q.weight", {32, 32}, GGML_Q8_0},
    {"blk.%d.attn_k.weight", {32, 16}, GGML_F32},
    {"blk.%d.attn_v.weight", {32, 16}, GGML_F32},
    {"blk.%d.attn_output.weight", {32, 32}, GGML_Q4_0},
    {"blk.%d.ffn_norm.weight", {32, 0}, GGML_F32},
    {"blk.%d.ffn_gate.weight", {32, 64}, GGML_F32},
    {"blk.%d.ffn_up.weight", {32, 64}, GGML_F32},
    {"blk.%d.ffn_down.weight", {64, 32}, GGML_F32},
};

static const struct part phi3_parts[] = {
    {"token_embd.weight", {32, 48}, GGML_F32},
    {"output_norm.weight", {32, 0}, GGML_F32},
    {"blk.%d.attn_norm.weight", {32, 0}, GGML_F32},
    {"blk.%d.attn_qkv.weight", {32, 64}, GGML_F32},
    {"blk.%d.attn_output.weight", {32, 32}, GGML_F32},
    {"blk.%d.ffn_norm.weight", {32, 0}, GGML_F32},
    {"blk.%d.ffn_up.weight", {32, 128}, GGML_Q8_0},
    {"blk.%d.ffn_up.bias", {128, 0}, GGML_F32},
    {"blk.%d.ffn_down.weight", {64, 32}, GGML_F32},
};

static const struct part gemma3_parts[] = {
    {"token_embd.weight", {32, 48}, GGML_F32},
    {"output_norm.weight", {32, 0}, GGML_F32},
    {"blk.%d.attn_norm.weight", {32, 0}, GGML_F32},
    {"blk.%d.attn_q.weight", {32, 32}, GGML_F32},
    {"blk.%d.attn_k.weight", {32, 16}, GGML_F32},
    {"blk.%d.attn_v.weight", {32, 16}, GGML_F32},
    {"blk.%d.attn_q_norm.weight", {8, 0}, GGML_F32},
    {"blk.%d.attn_k_norm.weight", {8, 0}, GGML_F32},
    {"blk.%d.attn_output.weight", {32, 32}, GGML_F32},
    {"blk.%d.post_attention_norm.weight", {32, 0}, GGML_F32},
    {"blk.%d.ffn_norm.weight", {32, 0}, GGML_F32},
    {"blk.%d.ffn_gate.weight", {32, 64}, GGML_F32},
    {"blk.%d.ffn_up.weight", {32, 64}, GGML_F32},
    {"blk.%d.ffn_down.weight", {64, 32}, GGML_F32},
    {"blk.%d.post_ffw_norm.weight", {32, 0}, GGML_F32},
};

static const struct part cohere2_parts[] = {
    {"token_embd.weight", {32, 48}, GGML_F32},
    {"output_norm.weight", {32, 0}, GGML_F32},
    {"blk.%d.attn_norm.weight", {32, 0}, GGML_F32},
    {"blk.%d.attn_q.weight", {32, 32}, GGML_F32},
    {"blk.%d.attn_k.weight", {32, 16}, GGML_F32},
    {"blk.%d.attn_v.weight", {32, 16}, GGML_F32},
    {"blk.%d.attn_output.weight", {32, 32}, GGML_F32},
    {"blk.%d.ffn_gate.weight", {32, 64}, GGML_F32},
    {"blk.%d.ffn_up.weight", {32, 64}, GGML_F32},
    {"blk.%d.ffn_down.weight", {64, 32}, GGML_F32},
};

struct kind {
    const char *architecture;
    const struct part *parts;
    int n;
};
#define KIND(name)                                                        \
    {                                                                     \
#name, name##_parts, sizeof name##_parts / sizeof name##_parts[0] \
    }
static const struct kind llama = KIND(llama), phi3 = KIND(phi3), gemma3 = KIND(gemma3),
                         cohere2 = KIND(cohere2);
enum { N_LAYERS = 2 };

static size_t part_bytes(const struct part *part)
{
    size_t n = (size_t)part->shape[0] * (size_t)(part->shape[1] > 0 ? part->shape[1] : 1);
    switch (part->type) {
    case GGML_F32:
        return 4 * n;
    case GGML_F16:
        return 2 * n;
    case GGML_Q8_0:
        return n / 32 * 34;
    default: /* Q4_0 */
        return n / 32 * 18;
    }
}

static void add_part(struct gguf_image *image, const struct part *part, const char *name)
{
    gguf_image_tensor(image, name, part->type, part->shape[1] > 0 ? 2 : 1, part->shape, NULL,
                      part_bytes(part));
}

static const char *key(const struct kind *kind, const char *name)
{
    static char text[64];
    snprintf(text, sizeof text, "%s.%s", kind->architecture, name);
    return text;
}

static void add_metadata(struct gguf_image *image, const struct kind *kind)
{
    gguf_image_text(image, "general.architecture", kind->architecture);
    gguf_image_u32(image, key(kind, "block_count"), N_LAYERS);
    gguf_image_u32(image, key(kind, "embedding_length"), 32);
    gguf_image_u32(image, key(kind, "feed_forward_length"), 64);
    gguf_image_u32(image, key(kind, "attention.head_count"), 4);
    gguf_image_u32(image, key(kind, "attention.head_count_kv"), 2);
    gguf_image_f32(image, key(kind, "attention.layer_norm_rms_epsilon"), 1e-5F);
    gguf_image_f32(image, key(kind, "attention.layer_norm_epsilon"), 1e-5F);
    gguf_image_f32(image, key(kind, "logit_scale"), 0.5F);
}

/* The model with `changed` in the place of the tensor of that name (or, where there is none,
 * besides), or without it when its type is ABSENT. */
enum { ABSENT = 9999 };

static const char *write_model(const struct kind *kind, const struct part *changed)
{
    struct gguf_image image;
    gguf_image_init(&image);
    add_metadata(&image, kind);
    bool found = false;
    for (int layer = 0; layer < N_LAYERS; layer++) {
        for (int i = 0; i < kind->n; i++) {
            char name[64];
            const struct part *part = &kind->parts[i];
            const char *percent = strchr(part->name, '%');
            if (!percent && layer > 0)
                continue;
            snprintf(name, sizeof name, "blk.%d%s", layer, percent ? percent + 2 : "");
            if (!percent)
                snprintf(name, sizeof name, "%s", part->name);
            bool this = changed && strcmp(changed->name, name) == 0;
            found = found || this;
            if (!this || changed->type != ABSENT)
                add_part(&image, this ? changed : part, name);
        }
    }
    if (changed && !found)
        add_part(&image, changed, changed->name);
    return gguf_image_write(&image, "m.gguf");
}

static int open_model(struct model *model, struct checkpoint *checkpoint, const struct kind *kind,
                      const struct part *changed, struct error *err)
{
    const char *path = write_model(kind, changed);
    ck_assert_msg(checkpoint_open(checkpoint, path, err) == 0, "%s", err->text);
    return model_open(model, checkpoint, &(struct model_options){.isa = "scalar"}, err);
}

static void refuse(const struct kind *kind, const char *name, uint64_t columns, uint64_t rows,
                   uint32_t type, const char *message)
{
    struct checkpoint checkpoint;
    struct model model;
    struct error err = {""};
    struct part changed = {name, {columns, rows}, type};
    ck_assert_msg(open_model(&model, &checkpoint, kind, &changed, &err) == -1,
                  "%s: no error, expected \"%s\"", name, message);
    ck_assert_msg(strstr(err.text, message) && strstr(err.text, name) &&
                      strstr(err.text, "m.gguf: tensor"),
                  "no \"%s\" in \"%s\"", message, err.text);
    static const struct model zero;
    ck_assert_mem_eq(&model, &zero, sizeof model);
    model_close(&model);
    checkpoint_close(&checkpoint);
}

START_TEST(test_good)
{
    struct checkpoint checkpoint;
    struct model model;
    struct error err;
    ck_assert_msg(open_model(&model, &checkpoint, &llama, NULL, &err) == 0, "%s", err.text);
    ck_assert_int_eq(model.config.vocab_size, 48);
    ck_assert_int_eq(model.layers[1].n_qkv, 3);
    ck_assert_int_eq(model.layers[1].qkv[1].w.rows, 16);
    ck_assert_int_eq(model.layers[1].qkv[1].w.cols, 32);
    ck_assert_int_eq(model.layers[1].qkv[0].w.format, FORMAT_Q8_0);
    ck_assert_int_eq(model.layers[1].output.w.format, FORMAT_Q4_0);
    ck_assert_ptr_null(model.layers[1].qkv[0].bias);
    ck_assert_ptr_null(model.layers[1].q_norm.weight);
    ck_assert_int_eq(model.output.w.format, FORMAT_F16);
    ck_assert_uint_eq(model.n_weights,
                      32 * 48 * 2 + 32 + 2 * (2 * 32 + 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64));
    /* All is read to generate a token but the embedding. */
    ck_assert_uint_eq(model.weight_bytes - model.token_bytes, 32 * 48 * 4);
    model_close(&model);
    model_close(&model);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(test_tied)
{
    struct checkpoint checkpoint;
    struct model model;
    struct error err;
    const struct part none = {"output.weight", {0}, ABSENT};
    ck_assert_msg(open_model(&model, &checkpoint, &llama, &none, &err) == 0, "%s", err.text);
    ck_assert_ptr_eq(model.output.w.data, model.embedding.data);
    ck_assert_uint_eq(model.token_bytes, model.weight_bytes);
    model_close(&model);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(test_missing)
{
    static const char *const names[] = {
        "token_embd.weight",        "output_norm.weight",    "blk.0.attn_norm.weight",
        "blk.1.attn_q.weight",      "blk.0.attn_k.weight",   "blk.1.attn_v.weight",
        "blk.1.attn_output.weight", "blk.0.ffn_norm.weight", "blk.1.ffn_gate.weight",
        "blk.0.ffn_up.weight",      "blk.1.ffn_down.weight",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        refuse(&llama, names[i], 0, 0, ABSENT, "is missing");
}
END_TEST

START_TEST(test_shapes)
{
    refuse(&llama, "blk.1.attn_q.weight", 32, 31, GGML_F32, "shape (32,31,1), expected (32,32)");
    refuse(&llama, "blk.1.attn_q.weight", 64, 32, GGML_F32, "shape (64,32,1), expected (32,32)");
    refuse(&llama, "blk.0.attn_k.weight", 32, 32, GGML_F32, "shape (32,32,1), expected (32,16)");
    refuse(&llama, "blk.0.ffn_down.weight", 32, 64, GGML_F32, "shape (32,64,1), expected (64,32)");
    refuse(&llama, "output.weight", 32, 47, GGML_F32, "shape (32,47,1), expected (32,48)");
    refuse(&llama, "token_embd.weight", 64, 48, GGML_F32, "shape (64,48,1), expected (32,48)");
    refuse(&llama, "token_embd.weight", 1536, 0, GGML_F32, "expected (dim,tokens)");
    refuse(&llama, "blk.0.ffn_up.weight", 2048, 0, GGML_F32, "expected (32,64)");
    refuse(&llama, "blk.1.ffn_norm.weight", 31, 0, GGML_F32, "shape (31,1), expected (32)");
    refuse(&llama, "output_norm.weight", 32, 1, GGML_F32, "shape (32,1), expected (32)");
    refuse(&llama, "blk.1.attn_q.bias", 33, 0, GGML_F32, "shape (33,1), expected (32)");
    refuse(&llama, "blk.1.attn_k_norm.weight", 32, 0, GGML_F32, "shape (32,1), expected (8)");
    refuse(&llama, "rope_freqs.weight", 8, 0, GGML_F32, "8 numbers, expected F32 with 4");
}
END_TEST

START_TEST(test_types)
{
    refuse(&llama, "blk.0.attn_norm.weight", 32, 0, GGML_F16, "type F16, expected F32");
    refuse(&llama, "output_norm.weight", 32, 0, GGML_Q8_0, "type Q8_0, expected F32");
    refuse(&llama, "blk.0.attn_v.bias", 16, 0, GGML_F16, "type F16, expected F32");
}
END_TEST

/* Phi-3's matrices of several parts. */
START_TEST(test_fused)
{
    struct checkpoint checkpoint;
    struct model model;
    struct error err;
    ck_assert_msg(open_model(&model, &checkpoint, &phi3, NULL, &err) == 0, "%s", err.text);
    for (int l = 0; l < N_LAYERS; l++) {
        const struct layer *layer = &model.layers[l];
        const struct tensor *both =
            checkpoint_find(&checkpoint, l ? "blk.1.ffn_up.weight" : "blk.0.ffn_up.weight");
        const struct tensor *bias =
            checkpoint_find(&checkpoint, l ? "blk.1.ffn_up.bias" : "blk.0.ffn_up.bias");
        ck_assert_int_eq(layer->n_qkv, 1);
        ck_assert_int_eq(layer->qkv[0].w.rows, 64);
        ck_assert_int_eq(layer->gate.w.rows, 64);
        ck_assert_int_eq(layer->gate.w.cols, 32);
        ck_assert_int_eq(layer->gate.w.format, FORMAT_Q8_0);
        ck_assert_ptr_eq(layer->gate.w.data, both->data);
        ck_assert_ptr_eq(layer->gate.bias, bias->data);
        ck_assert_int_eq(layer->up.w.rows, 64);
        ck_assert_int_eq(layer->up.w.cols, 32);
        ck_assert_int_eq(layer->up.w.format, FORMAT_Q8_0);
        ck_assert_ptr_eq(layer->up.w.data,
                         (const uint8_t *)both->data + 64 * 34); /* a block a row */
        ck_assert_ptr_eq(layer->up.bias, (const float *)bias->data + 64);
    }
    model_close(&model);
    checkpoint_close(&checkpoint);
    refuse(&phi3, "blk.1.ffn_up.weight", 32, 64, GGML_F32, "shape (32,64,1), expected (32,128)");
    refuse(&phi3, "blk.0.ffn_up.bias", 64, 0, GGML_F32, "shape (64,1), expected (128)");
    refuse(&phi3, "blk.0.attn_qkv.weight", 32, 96, GGML_F32, "shape (32,96,1), expected (32,64)");
    refuse(&phi3, "blk.0.ffn_up.weight", 0, 0, ABSENT, "is missing");
    refuse(&phi3, "blk.1.attn_qkv.weight", 0, 0, ABSENT, "is missing");
}
END_TEST

START_TEST(test_post_norms)
{
    struct checkpoint checkpoint;
    struct model model;
    struct error err;
    ck_assert_msg(open_model(&model, &checkpoint, &gemma3, NULL, &err) == 0, "%s", err.text);
    const struct tensor *first = checkpoint_find(&checkpoint, "blk.1.post_attention_norm.weight");
    const struct tensor *second = checkpoint_find(&checkpoint, "blk.1.post_ffw_norm.weight");
    ck_assert_ptr_eq(model.layers[1].attention_post_norm.weight, first->data);
    ck_assert_ptr_eq(model.layers[1].ffn_post_norm.weight, second->data);
    model_close(&model);
    checkpoint_close(&checkpoint);
    refuse(&gemma3, "blk.0.post_attention_norm.weight", 0, 0, ABSENT, "is missing");
    refuse(&gemma3, "blk.1.post_ffw_norm.weight", 0, 0, ABSENT, "is missing");
    refuse(&gemma3, "blk.1.ffn_norm.weight", 0, 0, ABSENT, "is missing");
    refuse(&gemma3, "blk.1.post_ffw_norm.weight", 31, 0, GGML_F32, "shape (31,1), expected (32)");
    refuse(&gemma3, "blk.0.post_attention_norm.weight", 32, 0, GGML_F16, "type F16, expected F32");
}
END_TEST

/* One norm for both halves of a layer. */
START_TEST(test_shared_norm)
{
    struct checkpoint checkpoint;
    struct model model;
    struct error err;
    ck_assert_msg(open_model(&model, &checkpoint, &cohere2, NULL, &err) == 0, "%s", err.text);
    ck_assert_ptr_nonnull(model.layers[1].attention_norm.weight);
    ck_assert_ptr_null(model.layers[1].ffn_norm.weight);
    ck_assert_ptr_null(model.layers[1].ffn_post_norm.weight);
    model_close(&model);
    checkpoint_close(&checkpoint);
    refuse(&cohere2, "blk.1.attn_norm.weight", 0, 0, ABSENT, "is missing");
}
END_TEST

/* The message says at which byte the tensor is. */
START_TEST(test_place)
{
    struct checkpoint checkpoint;
    struct model model;
    struct error err;
    const struct part changed = {"blk.0.attn_norm.weight", {16, 0}, GGML_F32};
    ck_assert_int_eq(open_model(&model, &checkpoint, &llama, &changed, &err), -1);
    char place[64];
    snprintf(place, sizeof place,
             "at byte %zu:", checkpoint_find(&checkpoint, changed.name)->offset);
    ck_assert_msg(strstr(err.text, place) != NULL, "%s", err.text);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(test_vocabulary_only)
{
    struct gguf_image image;
    gguf_image_init(&image);
    add_metadata(&image, &llama);
    struct checkpoint checkpoint;
    struct model model;
    struct error err;
    ck_assert_int_eq(checkpoint_open(&checkpoint, gguf_image_write(&image, "m.gguf"), &err), 0);
    ck_assert_int_eq(model_open(&model, &checkpoint, NULL, &err), -1);
    ck_assert_msg(
        strstr(err.text, "token_embd.weight\" is missing; the file holds a vocabulary only") !=
            NULL,
        "%s", err.text);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(test_unknown_tier)
{
    struct checkpoint checkpoint;
    struct model model;
    struct error err;
    ck_assert_int_eq(checkpoint_open(&checkpoint, write_model(&llama, NULL), &err), 0);
    ck_assert_int_eq(model_open(&model, &checkpoint, &(struct model_options){.isa = "mmx"}, &err),
                     -1);
    ck_assert_msg(strstr(err.text, "\"mmx\"") && strstr(err.text, "scalar"), "%s", err.text);
    checkpoint_close(&checkpoint);
}
END_TEST

START_TEST(test_no_memory)
{
    struct checkpoint checkpoint;
    struct model model;
    struct error err;
    ck_assert_int_eq(checkpoint_open(&checkpoint, write_model(&llama, NULL), &err), 0);
    int failed = 0;
    for (int n = 1;; n++) {
        support_fail_memory(n, false);
        int result = model_open(&model, &checkpoint, NULL, &err);
        support_fail_memory(0, false);
        if (support_memory_failures() == 0) {
            ck_assert_int_eq(result, 0);
            break;
        }
        ck_assert_int_eq(result, -1);
        ck_assert_msg(strstr(err.text, "out of memory") != NULL, "%s", err.text);
        failed++;
    }
    ck_assert_int_ge(failed, 3); /* layers, scheme, frequencies */
    model_close(&model);
    checkpoint_close(&checkpoint);
}
END_TEST

Suite *weights_suite(void)
{
    Suite *suite = suite_create("weights");
    TCase *tcase = tcase_create("weights");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_add_test(tcase, test_good);
    tcase_add_test(tcase, test_tied);
    tcase_add_test(tcase, test_missing);
    tcase_add_test(tcase, test_shapes);
    tcase_add_test(tcase, test_types);
    tcase_add_test(tcase, test_fused);
    tcase_add_test(tcase, test_post_norms);
    tcase_add_test(tcase, test_shared_norm);
    tcase_add_test(tcase, test_place);
    tcase_add_test(tcase, test_vocabulary_only);
    tcase_add_test(tcase, test_unknown_tier);
    tcase_add_test(tcase, test_no_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
