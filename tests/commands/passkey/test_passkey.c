/* passkey: prompts as others write them, of exactly as many tokens as asked for; what counts as an
 * answer, with models that can say one number only; and what is kept of an interrupted run. */
#include "commands/passkey/passkey.h"

#include <check.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/pictures/heatmap.h"
#include "tests/program.h"
#include "tests/suites.h"
#include "tests/support.h"
#include "tests/tokenizer/toy.h"

/* ---- Prompts --------------------------------------------------------------------------------- */

/* Bytes are tokens here, so that lengths can be counted. */
static struct toy bytes_toy;

static void open_toy(void)
{
    static struct toy_token tokens[256];
    struct gguf_image image;
    scratch_make();
    toy_image(&image, "gpt2", tokens, toy_add_bytes(tokens));
    gguf_image_array(&image, "tokenizer.ggml.merges", GGUF_STRING, 0);
    toy_open(&bytes_toy, &image);
}

static void close_toy(void)
{
    toy_close(&bytes_toy);
    scratch_remove();
}

static void open_wording(struct wording *wording, const struct options *options)
{
    struct error err;
    *wording = (struct wording){0};
    ck_assert_msg(wording_open(wording, options, &err) == 0, "%s", err.text);
}

static void make_prompt(struct prompt *prompt, const struct wording *wording, size_t length,
                        double depth)
{
    struct error err;
    ck_assert_msg(prompt_make(prompt, wording, bytes_toy.tokenizer, "12345", (int64_t)length, depth,
                              &err) == 0,
                  "%s", err.text);
}

static void expect_prompt(const char *name, const char *expected, double depth)
{
    struct wording wording;
    struct prompt prompt = {0};
    open_wording(&wording, &(struct options){.wording = name});
    make_prompt(&prompt, &wording, strlen(expected), depth);
    ck_assert_uint_eq(prompt.n_bytes, strlen(expected));
    ck_assert_int_eq(strncmp(prompt.text, expected, prompt.n_bytes), 0);
    prompt_free(&prompt);
    wording_close(&wording);
}

#define JUNK \
    "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
#define NEEDLE "The pass key is 12345. Remember it. 12345 is the pass key."

/* examples/passkey of llama.cpp with --junk 4 --pos 1 */
START_TEST(the_prompt_of_llama_cpp)
{
    expect_prompt("llama.cpp",
                  "There is an important info hidden inside a lot of irrelevant text. Find it and "
                  "memorize them. I will quiz you about the important information there. " JUNK
                  " " NEEDLE " " JUNK " " JUNK " " JUNK " What is the pass key? The pass key is",
                  25);
}
END_TEST

/* A line of passkey_examples.jsonl with example.py's question, but shorter. */
START_TEST(the_prompt_of_longlm)
{
    expect_prompt("longlm",
                  "There is an important info hidden inside a lot of irrelevant text. Find it and "
                  "memorize it. I will quiz you about the important information there.\n" JUNK
                  "\n" JUNK "\n" NEEDLE "\n" JUNK "What is the pass key? The pass key is ",
                  66);
}
END_TEST

static const double depths[] = {0, 10, 50, 99, 100};

START_TEST(prompts_have_as_many_tokens_as_asked_for)
{
    static const char *const names[] = {"llama.cpp", "longlm"};
    for (size_t i = 0; i < 2; i++) {
        struct wording wording;
        struct prompt prompt = {0};
        open_wording(&wording, &(struct options){.wording = names[i]});
        for (size_t length = 270; length < 420; length++) {
            for (size_t d = 0; d < sizeof depths / sizeof depths[0]; d++) {
                make_prompt(&prompt, &wording, length, depths[d]);
                ck_assert_uint_eq(prompt.ids.n, length);
                ck_assert_uint_eq(prompt.n_bytes, length);
                ck_assert_ptr_nonnull(memmem(prompt.text, length, NEEDLE, strlen(NEEDLE)));
            }
        }
        prompt_free(&prompt);
        wording_close(&wording);
    }
}
END_TEST

/* The needle's place among the bytes of filler is that of the depth, to a sentence. */
START_TEST(the_needle_stands_at_its_depth)
{
    struct wording wording;
    struct prompt prompt = {0};
    const size_t length = 5000;
    open_wording(&wording, &(struct options){0});
    for (size_t d = 0; d < sizeof depths / sizeof depths[0]; d++) {
        make_prompt(&prompt, &wording, length, depths[d]);
        char *needle = memmem(prompt.text, length, " " NEEDLE, strlen(NEEDLE) + 1);
        ck_assert_ptr_nonnull(needle);
        double before = (double)(needle - prompt.text) - (double)wording.head.length;
        double filler = (double)(length - wording.head.length - wording.tail.length) -
                        (double)strlen(" " NEEDLE);
        ck_assert_double_le(abs((int)(before - filler * depths[d] / 100)), 30);
        ck_assert(needle[-1] == '.');
    }
    prompt_free(&prompt);
    wording_close(&wording);
}
END_TEST

START_TEST(a_prompt_too_short_for_its_wording_says_so)
{
    struct wording wording;
    struct prompt prompt = {0};
    struct error err;
    open_wording(&wording, &(struct options){0});
    ck_assert_int_eq(prompt_make(&prompt, &wording, bytes_toy.tokenizer, "1", 50, 0, &err), -1);
    ck_assert_msg(strstr(err.text, "50 tokens") && strstr(err.text, "llama.cpp takes 23"), "%s",
                  err.text);
    prompt_free(&prompt);
    wording_close(&wording);
}
END_TEST

START_TEST(prompts_and_fillers_come_from_files)
{
    struct wording wording;
    struct prompt prompt = {0};
    const char *form = "Q{filler} <{key}> {key}!{filler} A:\n";
    const char *text = "Aa bb. \xc3\xa4\xc3\xb6 \xe2\x82\xac.\n";
    const char *path = scratch_write("form.txt", form, strlen(form));
    struct options options = {.key_prompt = path};
    options.file = scratch_write("filler.txt", text, strlen(text));
    open_wording(&wording, &options);
    const char *expected = "Q Aa bb. \xc3\xa4\xc3\xb6 \xe2\x82\xac. <12345> 12345! "
                           "\xc3\xa4\xc3\xb6 \xe2\x82\xac. A:";
    make_prompt(&prompt, &wording, strlen(expected), 60);
    ck_assert_int_eq(strncmp(prompt.text, expected, strlen(expected)), 0);
    for (size_t length = 40; length < 60; length++) {
        make_prompt(&prompt, &wording, length, 60);
        ck_assert_uint_le(prompt.ids.n, length);
        ck_assert_uint_ge(prompt.ids.n + 3, length); /* characters are whole, a word has a space */
    }
    prompt_free(&prompt);
    wording_close(&wording);
}
END_TEST

static const struct {
    const char *form, *found;
} forms[] = {
    {"Q {filler} {key} A", "{filler} twice"},
    {"Q {filler} {key} {filler} {filler} A", "{filler} twice"},
    {"Q {filler} key {filler} A", "{key} between"},
    {"Q {filler} {key} {filler} {key} A", "only there"},
    {"{key} {filler} {key} {filler} A", "only there"},
};

START_TEST(a_prompt_without_its_places_is_refused)
{
    struct wording wording = {0};
    struct error err;
    const char *path = scratch_write("form.txt", forms[_i].form, strlen(forms[_i].form));
    ck_assert_int_eq(wording_open(&wording, &(struct options){.key_prompt = path}, &err), -1);
    ck_assert_msg(strstr(err.text, forms[_i].found) && strstr(err.text, path), "%s", err.text);
    wording_close(&wording);
}
END_TEST

START_TEST(memory_that_runs_out_is_an_error)
{
    for (long n = 1; n < 40; n++) {
        struct wording wording = {0};
        struct prompt prompt = {0};
        struct error err;
        support_fail_memory(n, true);
        int result = wording_open(&wording, &(struct options){0}, &err);
        if (result == 0)
            result = prompt_make(&prompt, &wording, bytes_toy.tokenizer, "1", 400, 50, &err);
        bool failed = support_memory_failures() > 0;
        support_fail_memory(0, false);
        prompt_free(&prompt);
        wording_close(&wording);
        ck_assert_int_eq(result, failed ? -1 : 0);
        if (!failed)
            return;
        ck_assert_msg(strstr(err.text, "memory") != NULL, "%s", err.text);
    }
    ck_abort_msg("40 allocations for a prompt");
}
END_TEST

/* ---- The command ----------------------------------------------------------------------------- */

enum { DIM = 32, N_TOKENS = 256 };

static void add_tensor(struct gguf_image *image, const char *name, uint64_t columns, uint64_t rows,
                       const float *data)
{
    uint64_t shape[] = {columns, rows};
    gguf_image_tensor(image, name, GGML_F32, rows > 0 ? 2 : 1, shape, data,
                      columns * (rows > 0 ? rows : 1) * sizeof *data);
}

/* A model whose token follows from the one before alone: after the last of the question, says the
 * text, whose characters must differ. Bytes are tokens; a layer adds nothing. */
static const char *write_parrot(const char *text)
{
    static struct toy_token tokens[N_TOKENS];
    static float embedding[N_TOKENS][DIM], output[N_TOKENS][DIM], ones[DIM];
    struct gguf_image image;
    memset(embedding, 0, sizeof embedding);
    memset(output, 0, sizeof output);
    for (int i = 0; i < N_TOKENS; i++)
        embedding[i][0] = 1;
    for (int i = 0; i < DIM; i++)
        ones[i] = 1;
    int before = 's'; /* of "The pass key is" */
    for (int i = 0; text[i]; i++) {
        embedding[before][i + 1] = 1;
        output[(unsigned char)text[i]][i + 1] = 1;
        before = (unsigned char)text[i];
    }
    toy_image(&image, "gpt2", tokens, toy_add_bytes(tokens));
    gguf_image_array(&image, "tokenizer.ggml.merges", GGUF_STRING, 0);
    gguf_image_u32(&image, "llama.block_count", 1);
    gguf_image_u32(&image, "llama.context_length", 400);
    gguf_image_u32(&image, "llama.embedding_length", DIM);
    gguf_image_u32(&image, "llama.feed_forward_length", DIM);
    gguf_image_u32(&image, "llama.attention.head_count", 1);
    gguf_image_f32(&image, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
    add_tensor(&image, "token_embd.weight", DIM, N_TOKENS, &embedding[0][0]);
    add_tensor(&image, "output.weight", DIM, N_TOKENS, &output[0][0]);
    static const char *const norms[] = {"output_norm.weight", "blk.0.attn_norm.weight",
                                        "blk.0.ffn_norm.weight"};
    static const char *const maps[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                       "ffn_gate", "ffn_up", "ffn_down"};
    for (size_t i = 0; i < 3; i++)
        add_tensor(&image, norms[i], DIM, 0, ones);
    for (size_t i = 0; i < 7; i++) {
        char name[40];
        snprintf(name, sizeof name, "blk.0.%s.weight", maps[i]);
        add_tensor(&image, name, DIM, DIM, NULL);
    }
    return gguf_image_write(&image, "parrot.gguf");
}

#define SMALL "--lengths", "300", "--depths", "50", "--keys", "20"

/* The first line of JSON of a run; delete it. */
static cJSON *run_json(const char *model)
{
    const char *arguments[] = {"passkey", "-m", model, SMALL, "--json", NULL};
    char *out = program_output(arguments, NULL);
    cJSON *object = cJSON_Parse(out);
    ck_assert_msg(object != NULL, "%s", out);
    free(out);
    return object;
}

static double number(const cJSON *object, const char *name)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItem(object, name));
}

/* A key of the cell whose digits differ, so that a parrot can say it. */
static void choose_key(char *key)
{
    cJSON *object = run_json(write_parrot("x"));
    cJSON *answer;
    ck_assert_double_eq(number(object, "right"), 0);
    ck_assert_double_eq(number(object, "tokens"), 300);
    key[0] = '\0';
    cJSON_ArrayForEach(answer, cJSON_GetObjectItem(object, "answers"))
    {
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(answer, "key"));
        bool differ = true;
        for (size_t i = 0; text[i]; i++)
            differ = differ && !strchr(text + i + 1, text[i]);
        if (differ)
            snprintf(key, KEY_BYTES, "%s", text);
    }
    ck_assert_uint_ge(strlen(key), 3);
    cJSON_Delete(object);
}

static const struct {
    const char *form; /* what the model says, with the key for %s */
    int right;
} answers[] = {
    {"%s.", 1}, {" %s,", 1}, {"\n%s\n.", 1}, {"x%s", 0}, {"%.2s", 0}, {"%sx", 1},
};

START_TEST(an_answer_that_begins_with_the_key_is_right)
{
    char key[KEY_BYTES], text[2 * KEY_BYTES];
    choose_key(key);
    /* White space after which the digits come differs from that which follows them. */
    snprintf(text, sizeof text, answers[_i].form, key);
    char *twice = strrchr(text, '\n');
    if (twice && twice != text)
        *twice = ' ';
    cJSON *object = run_json(write_parrot(text));
    ck_assert_double_eq(number(object, "right"), answers[_i].right);
    ck_assert_double_eq(number(object, "share"), answers[_i].right / 20.0);
    cJSON_Delete(object);
}
END_TEST

START_TEST(a_longer_number_is_another)
{
    char key[KEY_BYTES], text[2 * KEY_BYTES];
    choose_key(key);
    char digit = '0';
    while (strchr(key, digit))
        digit++;
    snprintf(text, sizeof text, "%s%c", key, digit);
    cJSON *object = run_json(write_parrot(text));
    ck_assert_double_eq(number(object, "right"), 0);
    cJSON_Delete(object);
}
END_TEST

static char *read_text(const char *path)
{
    static char text[4096];
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

START_TEST(a_second_run_takes_what_the_first_measured)
{
    const char *model = write_parrot("x");
    const char *csv = scratch_path("results.csv");
    const char *arguments[] = {"passkey", "-m",     model, "--lengths", "300,450", "--depths",
                               "0,100",   "--keys", "2",   "--csv",     csv,       NULL};
    free(program_output(arguments, NULL));
    char cut[4096];
    /* The last line lost its end, and counts for nothing; the others are not measured again. */
    snprintf(cut, sizeof cut, "%s", read_text(csv));
    cut[strlen(cut) - 9] = '\0';
    char *first = strstr(cut, ",300,0,300,0,");
    ck_assert_ptr_nonnull(first);
    first[11] = '2';
    scratch_write("results.csv", cut, strlen(cut));
    char *out = program_output(arguments, NULL);
    ck_assert_msg(strstr(out, "     0 %    100 |      0") != NULL, "%s", out);
    ck_assert_msg(strstr(out, "   100 %      0 |      0") != NULL, "%s", out);
    free(out);
    const char *after = read_text(csv);
    ck_assert_int_eq(strncmp(after, cut, strlen(cut)), 0);
    int lines = 0;
    for (const char *c = after; *c; c++)
        lines += *c == '\n';
    ck_assert_int_eq(lines, 6); /* the head, four cells and the one that was cut off */
}
END_TEST

/* ---- Maps ------------------------------------------------------------------------------------ */

static const int64_t map_columns[] = {256, 1024};
static const double map_rows[] = {0, 50};
static const double map_shares[] = {1, 0.5, 0, NAN};

static struct heatmap small_map(void)
{
    return (struct heatmap){.title = "a < b",
                            .column_label = "tokens",
                            .row_label = "depth",
                            .columns = map_columns,
                            .rows = map_rows,
                            .shares = map_shares,
                            .n_columns = 2,
                            .n_rows = 2,
                            .boundary = 1,
                            .boundary_label = "longer"};
}

START_TEST(a_map_as_text)
{
    struct heatmap map = small_map();
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    heatmap_write_text(&map, false, out);
    fclose(out);
    ck_assert_str_eq(text, "a < b\n"
                           "            256 |   1024  tokens\n"
                           "     0 %    100 |     50  depth\n"
                           "    50 %      0 |      -\n"
                           "                | longer\n");
    free(text);
}
END_TEST

START_TEST(a_map_as_svg)
{
    struct heatmap map = small_map();
    char *text;
    size_t size;
    int cells = 0;
    FILE *out = open_memstream(&text, &size);
    heatmap_write_svg(&map, out);
    fclose(out);
    for (const char *at = text; (at = strstr(at, "stroke=\"#ffffff\"")); at++)
        cells++;
    ck_assert_int_eq(cells, 4);
    static const char *const parts[] = {
        "a &lt; b",         ">256<",   ">1024<",  ">100<",
        "#006837",          "#a50026", ">50<",    "fill=\"#e0e0e0\"",
        "stroke-dasharray", "longer",  "</svg>\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        ck_assert_msg(strstr(text, parts[i]) != NULL, "%s is not in %s", parts[i], text);
    free(text);
}
END_TEST

/* ---- What is refused ------------------------------------------------------------------------- */

static const struct refusal misuses[] = {
    {{"passkey", "--lengths", "512,256"}, NULL, "512,256", "rising"},
    {{"passkey", "--lengths", "512,,"}, NULL, "512,,", "rising"},
    {{"passkey", "--lengths", "1.5"}, NULL, "1.5", "rising"},
    {{"passkey", "--depths", "0,101"}, NULL, "0,101", "0 to 100"},
    {{"passkey", "--depths", "nan"}, NULL, "nan", "0 to 100"},
    {{"passkey", "--keys", "0"}, NULL, "\"0\"", "from 1"},
    {{"passkey", "--wording", "mine"}, NULL, "mine", "longlm"},
    {{"passkey", "--wording", "longlm", "--prompt", "x"}, NULL, "--wording", "--prompt"},
};

START_TEST(misuse_is_code_2)
{
    program_check_refusal(&misuses[_i], 2);
}
END_TEST

#define SHIPPED "models/longhand.gguf"

static const struct refusal failures[] = {
    {{"passkey", "-m", SHIPPED, "--lengths", "20"}, NULL, "20 tokens", "llama.cpp takes"},
    {{"passkey", "-m", SHIPPED, "--prompt", "no/such.txt"}, NULL, "no/such.txt", "No such file"},
    {{"passkey", "-m", SHIPPED, "-f", "no/such.txt"}, NULL, "no/such.txt", "No such file"},
    {{"passkey", "-m", SHIPPED, "-f", "/dev/null"}, NULL, "/dev/null: is empty", NULL},
    {{"passkey", "-m", SHIPPED, "--prompt", "/dev/null"}, NULL, "/dev/null: is empty", NULL},
    {{"passkey", "-m", SHIPPED, "--plot", "no/such.svg"}, NULL, "no/such.svg", "No such file"},
    {{"passkey", "-m", SHIPPED, "--csv", "no/such.csv"}, NULL, "no/such.csv", "No such file"},
    {{"passkey", "-m", SHIPPED, "--csv", "/dev/full"}, NULL, "/dev/full", NULL},
};

START_TEST(what_cannot_work_is_said)
{
    program_check_refusal(&failures[_i], 1);
}
END_TEST

Suite *passkey_suite(void)
{
    Suite *suite = suite_create("passkey");
    TCase *prompts = tcase_create("prompts");
    tcase_add_checked_fixture(prompts, open_toy, close_toy);
    tcase_add_test(prompts, the_prompt_of_llama_cpp);
    tcase_add_test(prompts, the_prompt_of_longlm);
    tcase_add_test(prompts, prompts_have_as_many_tokens_as_asked_for);
    tcase_add_test(prompts, the_needle_stands_at_its_depth);
    tcase_add_test(prompts, a_prompt_too_short_for_its_wording_says_so);
    tcase_add_test(prompts, prompts_and_fillers_come_from_files);
    tcase_add_loop_test(prompts, a_prompt_without_its_places_is_refused, 0,
                        sizeof forms / sizeof forms[0]);
    tcase_add_test(prompts, memory_that_runs_out_is_an_error);
    suite_add_tcase(suite, prompts);
    TCase *command = tcase_create("command");
    tcase_add_checked_fixture(command, scratch_make, scratch_remove);
    tcase_add_loop_test(command, an_answer_that_begins_with_the_key_is_right, 0,
                        sizeof answers / sizeof answers[0]);
    tcase_add_test(command, a_longer_number_is_another);
    tcase_add_test(command, a_second_run_takes_what_the_first_measured);
    tcase_add_loop_test(command, misuse_is_code_2, 0, sizeof misuses / sizeof misuses[0]);
    tcase_add_loop_test(command, what_cannot_work_is_said, 0, sizeof failures / sizeof failures[0]);
    suite_add_tcase(suite, command);
    TCase *maps = tcase_create("maps");
    tcase_add_test(maps, a_map_as_text);
    tcase_add_test(maps, a_map_as_svg);
    suite_add_tcase(suite, maps);
    return suite;
}
