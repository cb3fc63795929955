/* test_tokenizer: opening, from real vocabularies and from broken ones, and what a tokenizer says
 * of its tokens. Expected ids of real vocabularies come with them. */
#include "tokenizer/tokenizer.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/suites.h"
#include "tests/tokenizer/toy.h"

static const struct {
    const char *name;
    const char *description;
} real[] = {{"gpt-2", "bpe (gpt-2)"}, {"falcon", "bpe (falcon)"}, {"llama-spm", "spm"}};
enum { N_REAL = sizeof real / sizeof real[0] };

static bool open_real(struct toy *toy, int i)
{
    char name[64], path[512];
    snprintf(name, sizeof name, "data/vocab/%s.gguf", real[i].name);
    if (!support_shared(name, path, sizeof path))
        return false;
    toy_open_path(toy, path);
    return true;
}

START_TEST(real_vocabularies_give_their_ids)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    char name[64];
    struct toy toy;
    if (!open_real(&toy, _i))
        return;
    ck_assert_str_eq(tokenizer_description(toy.tokenizer), real[_i].description);
    snprintf(name, sizeof name, "data/vocab/%s.gguf.inp", real[_i].name);
    struct bytes inputs = toy_shared(name);
    snprintf(name, sizeof name, "data/vocab/%s.gguf.out", real[_i].name);
    struct bytes outputs = toy_shared(name);
    bytes_add(&inputs, "", 1);
    bytes_add(&outputs, "", 1);
    char *input = (char *)inputs.data, *output = (char *)outputs.data;
    int n = 0;
    for (char *end; (end = strstr(input, mark)); n++) {
        char *line_end = strchr(output, '\n');
        ck_assert_ptr_nonnull(line_end);
        *line_end = '\0';
        output += *output == ' ';
        for (size_t last = strlen(output); last > 0 && output[last - 1] == ' '; last--)
            output[last - 1] = '\0';
        toy_expect(toy.tokenizer, input, (size_t)(end - input), (struct encode_options){0}, output);
        input = end + strlen(mark);
        output = line_end + 1;
    }
    ck_assert_int_eq(n, 46);
    free(inputs.data);
    free(outputs.data);
    toy_close(&toy);
}
END_TEST

START_TEST(real_vocabularies_give_the_text_back)
{
    struct toy toy;
    if (!open_real(&toy, _i))
        return;
    struct bytes text = toy_random_text(toy.tokenizer, 1 << 20, 5);
    toy_round_trip(toy.tokenizer, (char *)text.data, text.size);
    free(text.data);
    text = toy_shared("data/novels/valid/Doyle_Micah_1889.txt");
    if (text.data)
        toy_round_trip(toy.tokenizer, (char *)text.data, text.size);
    free(text.data);
    toy_close(&toy);
}
END_TEST

/* A quarter of a megabyte that is one piece of one letter, which takes hours when done pair by
 * pair. Processor time: other work on the machine must not fail this. */
START_TEST(long_runs_take_linear_time)
{
    static const char *const units[] = {"a", " ",    "\n",           "=", "ab",
                                        "1", "a b ", "\xE2\x96\x81", "<"};
    enum { SIZE = 1 << 18 };
    struct toy toy;
    if (!open_real(&toy, _i))
        return;
    char *text = malloc(SIZE);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t n = strlen(units[u]), length = SIZE / n * n;
        for (size_t at = 0; at < length; at++)
            text[at] = units[u][at % n];
        clock_t start = clock();
        toy_round_trip(toy.tokenizer, text, length);
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        ck_assert_msg(seconds < 3, "%s: \"%s\": %f s", real[_i].name, units[u], seconds);
    }
    free(text);
    toy_close(&toy);
}
END_TEST

START_TEST(real_ids_and_names)
{
    static const struct {
        int32_t size, bos, eos;
        bool adds_bos;
        const char *eos_name;
    } expected[] = {{50257, 50256, 50256, false, "<|endoftext|>"},
                    {65024, 11, 11, false, "<|endoftext|>"},
                    {32000, 1, 2, true, "</s>"}};
    struct toy toy;
    if (!open_real(&toy, _i))
        return;
    const struct tokenizer *tokenizer = toy.tokenizer;
    ck_assert_int_eq(tokenizer_size(tokenizer), expected[_i].size);
    ck_assert_int_eq(tokenizer_bos(tokenizer), expected[_i].bos);
    ck_assert_int_eq(tokenizer_eos(tokenizer), expected[_i].eos);
    ck_assert_int_eq(tokenizer_adds_bos(tokenizer), expected[_i].adds_bos);
    const char *name = expected[_i].eos_name;
    ck_assert_int_eq(tokenizer_find(tokenizer, name, strlen(name)), expected[_i].eos);
    ck_assert(tokenizer_is_end(tokenizer, expected[_i].eos));
    ck_assert(!tokenizer_is_end(tokenizer, 1000));
    ck_assert(!tokenizer_is_end(tokenizer, -1));
    ck_assert(!tokenizer_is_end(tokenizer, expected[_i].size));
    ck_assert_uint_eq(tokenizer_piece(tokenizer, expected[_i].eos, false).length, 0);
    ck_assert(text_equals(tokenizer_piece(tokenizer, expected[_i].eos, true), name));
    ck_assert_uint_eq(tokenizer_piece(tokenizer, -1, true).length, 0);
    ck_assert_uint_eq(tokenizer_piece(tokenizer, expected[_i].size, true).length, 0);
    int32_t the = tokenizer_find(tokenizer, " the", 4);
    ck_assert_int_ge(the, 0);
    ck_assert(text_equals(tokenizer_piece(tokenizer, the, false), " the"));
    toy_close(&toy);
}
END_TEST

/* ---- broken files ---- */

static const struct toy_token three[] = {
    {"<unk>", UNKNOWN, 0}, {"<s>", CONTROL, 0}, {"</s>", CONTROL, 0}, {"a", NORMAL, -1}};

enum fault {
    MODEL_MISSING,
    MODEL_UNKNOWN,
    MODEL_NO_TEXT,
    PRE_UNKNOWN,
    TOKENS_MISSING,
    TOKENS_EMPTY,
    TOKENS_NUMBERS,
    TYPES_FEW,
    TYPES_FLOATS,
    TYPE_HUGE,
    TYPE_NEGATIVE,
    SCORES_MISSING,
    SCORES_MANY,
    SCORE_NAN,
    BYTE_SIGNED,
    MERGES_MISSING,
    MERGE_ONE_PART,
    MERGE_EMPTY_PART,
    BOS_OUTSIDE,
    EOS_HUGE,
    EOT_NEGATIVE,
    UNKNOWN_OUTSIDE,
    ADD_BOS_WITHOUT,
    ADD_EOS_WITHOUT,
    ADD_BOS_NUMBER,
    N_FAULTS
};

static const char *const fault_messages[N_FAULTS] = {
    [MODEL_MISSING] = "\"tokenizer.ggml.model\" is missing",
    [MODEL_UNKNOWN] =
        "\"tokenizer.ggml.model\" is \"bert\", which is not supported, expected llama "
        "(SentencePiece-style BPE) or gpt2 (byte-level BPE)",
    [MODEL_NO_TEXT] = "\"tokenizer.ggml.model\" has type u32, expected string",
    [PRE_UNKNOWN] =
        "\"tokenizer.ggml.pre\" is \"klingon\", which is not supported, expected one of",
    [TOKENS_MISSING] = "\"tokenizer.ggml.tokens\" is missing",
    [TOKENS_EMPTY] = "\"tokenizer.ggml.tokens\" has 0 tokens",
    [TOKENS_NUMBERS] = "\"tokenizer.ggml.tokens\" has type array of i32, expected array of string",
    [TYPES_FEW] = "\"tokenizer.ggml.token_type\" has 2 items, expected one for each of 4 tokens",
    [TYPES_FLOATS] = "\"tokenizer.ggml.token_type\" has type array of f32",
    [TYPE_HUGE] = "token 1 has type 7, expected 0 to 6",
    [TYPE_NEGATIVE] = "token 1 has type 4294967295, expected 0 to 6",
    [SCORES_MISSING] = "\"tokenizer.ggml.scores\" is missing",
    [SCORES_MANY] = "\"tokenizer.ggml.scores\" has 5 items, expected one for each of 4 tokens",
    [SCORE_NAN] = "the score of token 2 is not a number",
    [BYTE_SIGNED] = "token 3 is a byte token \"<0x-1>\", expected <0x00> to <0xFF>",
    [MERGES_MISSING] = "\"tokenizer.ggml.merges\" is missing",
    [MERGE_ONE_PART] = "item 1 is \"ab\", expected two tokens with a space between",
    [MERGE_EMPTY_PART] = "item 1 is \"a \", expected two tokens with a space between",
    [BOS_OUTSIDE] = "\"tokenizer.ggml.bos_token_id\" is 4, expected 0 to 3",
    [EOS_HUGE] = "\"tokenizer.ggml.eos_token_id\" is 4294967295, expected 0 to 3",
    [EOT_NEGATIVE] = "\"tokenizer.ggml.eot_token_id\" is -1, expected 0 to 3",
    [UNKNOWN_OUTSIDE] = "\"tokenizer.ggml.unknown_token_id\" is 9, expected 0 to 3",
    [ADD_BOS_WITHOUT] = "\"tokenizer.ggml.add_bos_token\" is true but "
                        "\"tokenizer.ggml.bos_token_id\" is missing",
    [ADD_EOS_WITHOUT] = "\"tokenizer.ggml.add_eos_token\" is true but "
                        "\"tokenizer.ggml.eos_token_id\" is missing",
    [ADD_BOS_NUMBER] = "\"tokenizer.ggml.add_bos_token\" has type u32, expected bool",
};

static void add_model(struct gguf_image *image, enum fault fault)
{
    bool bpe = fault == PRE_UNKNOWN || fault == MERGES_MISSING || fault == MERGE_ONE_PART ||
               fault == MERGE_EMPTY_PART || fault == ADD_BOS_WITHOUT || fault == ADD_EOS_WITHOUT;
    if (fault == MODEL_NO_TEXT)
        gguf_image_u32(image, "tokenizer.ggml.model", 3);
    else if (fault != MODEL_MISSING)
        gguf_image_text(image, "tokenizer.ggml.model",
                        fault == MODEL_UNKNOWN ? "bert"
                        : bpe                  ? "gpt2"
                                               : "llama");
    if (bpe)
        gguf_image_text(image, "tokenizer.ggml.pre", fault == PRE_UNKNOWN ? "klingon" : "gpt-2");
    const char *merges[] = {"a a", fault == MERGE_ONE_PART ? "ab" : "a "};
    if (fault == MERGE_ONE_PART || fault == MERGE_EMPTY_PART)
        gguf_image_texts(image, "tokenizer.ggml.merges", merges, 2);
    else if (bpe && fault != MERGES_MISSING)
        gguf_image_texts(image, "tokenizer.ggml.merges", NULL, 0);
}

static void add_tokens(struct gguf_image *image, enum fault fault)
{
    const char *texts[4];
    int32_t types[4];
    float scores[5] = {0};
    for (int i = 0; i < 4; i++) {
        texts[i] = three[i].text;
        types[i] = three[i].type;
    }
    if (fault == BYTE_SIGNED) {
        texts[3] = "<0x-1>";
        types[3] = BYTE;
    }
    types[1] = fault == TYPE_HUGE ? 7 : fault == TYPE_NEGATIVE ? -1 : CONTROL;
    if (fault == ADD_BOS_WITHOUT || fault == ADD_EOS_WITHOUT)
        types[1] = types[2] = NORMAL;
    if (fault == SCORE_NAN)
        memset(&scores[2], 0xFF, sizeof scores[2]);
    if (fault == TOKENS_NUMBERS)
        gguf_image_i32s(image, "tokenizer.ggml.tokens", types, 4);
    else if (fault != TOKENS_MISSING)
        gguf_image_texts(image, "tokenizer.ggml.tokens", texts, fault == TOKENS_EMPTY ? 0 : 4);
    if (fault == TYPES_FLOATS)
        gguf_image_f32s(image, "tokenizer.ggml.token_type", scores, 4);
    else
        gguf_image_i32s(image, "tokenizer.ggml.token_type", types, fault == TYPES_FEW ? 2 : 4);
    if (fault != SCORES_MISSING)
        gguf_image_f32s(image, "tokenizer.ggml.scores", scores, fault == SCORES_MANY ? 5 : 4);
}

static void add_ids(struct gguf_image *image, enum fault fault)
{
    if (fault == BOS_OUTSIDE)
        gguf_image_u32(image, "tokenizer.ggml.bos_token_id", 4);
    if (fault == EOS_HUGE)
        gguf_image_u32(image, "tokenizer.ggml.eos_token_id", UINT32_MAX);
    if (fault == EOT_NEGATIVE)
        gguf_image_number(image, "tokenizer.ggml.eot_token_id", GGUF_I32, UINT32_MAX, 4);
    if (fault == UNKNOWN_OUTSIDE)
        gguf_image_u32(image, "tokenizer.ggml.unknown_token_id", 9);
    if (fault == ADD_BOS_WITHOUT)
        gguf_image_bool(image, "tokenizer.ggml.add_bos_token", true);
    if (fault == ADD_EOS_WITHOUT)
        gguf_image_bool(image, "tokenizer.ggml.add_eos_token", true);
    if (fault == ADD_BOS_NUMBER)
        gguf_image_u32(image, "tokenizer.ggml.add_bos_token", 1);
}

START_TEST(faults_are_named)
{
    struct gguf_image image;
    scratch_make();
    gguf_image_init(&image);
    add_model(&image, (enum fault)_i);
    add_tokens(&image, (enum fault)_i);
    add_ids(&image, (enum fault)_i);
    toy_refuse(&image, fault_messages[_i]);
    scratch_remove();
}
END_TEST

/* A vocabulary that says nothing of types and ids is read by the names that such files have. */
START_TEST(old_files_say_less)
{
    static const char *const texts[] = {"<unk>", "<s>", "</s>", "<0x41>", "b", "\xE2\x96\x81"};
    static const float scores[6] = {0};
    struct gguf_image image;
    struct toy toy;
    scratch_make();
    gguf_image_init(&image);
    gguf_image_text(&image, "tokenizer.ggml.model", "llama");
    gguf_image_texts(&image, "tokenizer.ggml.tokens", texts, 6);
    gguf_image_f32s(&image, "tokenizer.ggml.scores", scores, 6);
    toy_open(&toy, &image);
    ck_assert_int_eq(tokenizer_bos(toy.tokenizer), 1);
    ck_assert_int_eq(tokenizer_eos(toy.tokenizer), 2);
    ck_assert(tokenizer_adds_bos(toy.tokenizer));
    toy_expect(toy.tokenizer, "bAc", 3, (struct encode_options){.add_special = true}, "1 5 4 3 0");
    toy_expect(toy.tokenizer, "<s>", 3, (struct encode_options){.parse_special = true}, "1");
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(ends_are_known_by_id_and_name)
{
    struct toy_token tokens[270];
    struct gguf_image image;
    struct toy toy;
    scratch_make();
    size_t n = toy_add_bytes(tokens);
    static const char *const names[] = {"<|im_start|>", "<|im_end|>", "<|eot_id|>",
                                        "stop",         "bye",        "plain"};
    for (int i = 0; i < 6; i++)
        tokens[n++] = (struct toy_token){names[i], i == 1 ? USER_DEFINED : NORMAL, 0};
    toy_image(&image, "gpt2", tokens, n);
    gguf_image_text(&image, "tokenizer.ggml.pre", "qwen2");
    gguf_image_texts(&image, "tokenizer.ggml.merges", NULL, 0);
    gguf_image_u32(&image, "tokenizer.ggml.eos_token_id", 259);
    gguf_image_number(&image, "tokenizer.ggml.eot_token_id", GGUF_U64, 260, 8);
    toy_open(&toy, &image);
    static const bool ends[] = {false, true, true, true, true, false};
    for (int32_t i = 0; i < 6; i++)
        ck_assert_int_eq(tokenizer_is_end(toy.tokenizer, 256 + i), ends[i]);
    /* What ends or begins a turn is markup, however the file types it. */
    toy_expect(toy.tokenizer, "<|im_end|>", 10, (struct encode_options){0},
               "60 124 105 109 95 101 110 100 124 62");
    toy_expect(toy.tokenizer, "<|im_end|>", 10, (struct encode_options){.parse_special = true},
               "257");
    toy_close(&toy);
    scratch_remove();
}
END_TEST

START_TEST(no_memory_is_an_error)
{
    struct toy_token tokens[300];
    struct gguf_image image;
    struct checkpoint checkpoint;
    struct error err;
    scratch_make();
    bool bpe = _i == 1;
    size_t n = bpe ? toy_add_bytes(tokens) : toy_add_spm(tokens);
    tokens[n++] = (struct toy_token){"aa", USER_DEFINED, 0};
    toy_image(&image, bpe ? "gpt2" : "llama", tokens, n);
    gguf_image_text(&image, "tokenizer.ggml.pre", "falcon");
    gguf_image_texts(&image, "tokenizer.ggml.merges", (const char *const[]){"a a"}, 1);
    const char *path = gguf_image_write(&image, "toy.gguf");
    ck_assert_int_eq(checkpoint_open(&checkpoint, path, &err), 0);
    int result = -1;
    long failures = 1;
    for (long call = 1; failures > 0; call++) {
        struct tokenizer *tokenizer = NULL;
        struct token_list ids = {0};
        support_fail_memory(call, true);
        result = tokenizer_open(&tokenizer, &checkpoint.metadata, &err);
        if (result == 0)
            result = tokenizer_encode(tokenizer, "xaay", 4, (struct encode_options){0}, &ids, &err);
        failures = support_memory_failures();
        support_fail_memory(0, false);
        ck_assert(result == 0 || strstr(err.text, "out of memory") != NULL);
        ck_assert(result == 0 || ids.n == 0);
        ck_assert_int_eq(result == 0, failures == 0);
        ck_assert_int_lt(call, 100);
        ck_assert(call > 5 || failures > 0);
        token_list_free(&ids);
        tokenizer_close(tokenizer);
    }
    checkpoint_close(&checkpoint);
    scratch_remove();
}
END_TEST

Suite *tokenizer_suite(void)
{
    Suite *suite = suite_create("tokenizer");
    TCase *tcase = tcase_create("tokenizer");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, real_vocabularies_give_their_ids, 0, N_REAL);
    tcase_add_loop_test(tcase, real_vocabularies_give_the_text_back, 0, N_REAL);
    tcase_add_loop_test(tcase, long_runs_take_linear_time, 0, N_REAL);
    tcase_add_loop_test(tcase, real_ids_and_names, 0, N_REAL);
    tcase_add_loop_test(tcase, faults_are_named, 0, N_FAULTS);
    tcase_add_test(tcase, old_files_say_less);
    tcase_add_test(tcase, ends_are_known_by_id_and_name);
    tcase_add_loop_test(tcase, no_memory_is_an_error, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
