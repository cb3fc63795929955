/* huggingface_tokenizer: ids are those of the tokenizers library; what would not be exact is
 * refused. Covers huggingface_tokens.c and huggingface_merges.c, too. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint.h"
#include "tests/model/huggingface/hub.h"
#include "tests/suites.h"
#include "tests/support.h"
#include "tokenizer/tokenizer.h"

static struct checkpoint checkpoint;
static struct tokenizer *tokenizer;
static struct error err;

/* "llama" is SentencePiece-like, "llama3" byte-level. */
static void copy_directory(const char *name)
{
    hub_copy(name, "config.json");
    hub_copy(name, "tokenizer.json");
    hub_copy(name, "tokenizer_config.json");
    hub_write_weights(name, FORMAT_F32, FORMAT_F32);
}

static void open_directory(void)
{
    ck_assert_msg(checkpoint_open(&checkpoint, hub_path(), &err) == 0, "%s", err.text);
    ck_assert_msg(tokenizer_open(&tokenizer, &checkpoint.metadata, &err) == 0, "%s", err.text);
}

static void close_directory(void)
{
    tokenizer_close(tokenizer);
    checkpoint_close(&checkpoint);
}

static void check_texts(const char *name)
{
    cJSON *expected = hub_json(name, "tokens.expected.json");
    const cJSON *line;
    int n_texts = 0;
    cJSON_ArrayForEach(line, cJSON_GetObjectItem(expected, "texts"))
    {
        const char *text = cJSON_GetObjectItem(line, "text")->valuestring;
        const cJSON *id = cJSON_GetObjectItem(line, "ids")->child;
        struct token_list ids = {0};
        ck_assert_int_eq(
            tokenizer_encode(tokenizer, text, strlen(text), (struct encode_options){0}, &ids, &err),
            0);
        for (size_t i = 0; i < ids.n; i++, id = id->next) {
            ck_assert_msg(id != NULL, "%s: too many tokens", text);
            ck_assert_msg(ids.ids[i] == id->valueint, "%s: token %zu is %d, expected %d", text, i,
                          ids.ids[i], id->valueint);
        }
        ck_assert_msg(id == NULL, "%s: too few tokens", text);
        token_list_free(&ids);
        n_texts++;
    }
    ck_assert_int_eq(n_texts, 10);
    cJSON_Delete(expected);
}

START_TEST(ids_are_those_of_tokenizers)
{
    const char *name = _i == 0 ? "llama" : "llama3";
    copy_directory(name);
    open_directory();
    check_texts(name);
    ck_assert_str_eq(tokenizer_description(tokenizer), _i == 0 ? "spm" : "bpe (llama-bpe)");
    ck_assert_int_eq(tokenizer_bos(tokenizer), _i == 0 ? 1 : 270);
    ck_assert_int_eq(tokenizer_eos(tokenizer), _i == 0 ? 2 : 271);
    ck_assert(tokenizer_adds_bos(tokenizer));
    close_directory();
}
END_TEST

static struct text template(void)
{
    struct text text = {"", 0};
    metadata_text(&checkpoint.metadata, "tokenizer.chat_template", OPTIONAL, &text, &err);
    return text;
}

START_TEST(templates_are_found)
{
    copy_directory("llama");
    open_directory();
    ck_assert(text_equals(template(), "[INST] <<SYS>>"));
    close_directory();
    scratch_write("chat_template.jinja", "{{ the file }}", 14);
    open_directory();
    ck_assert(text_equals(template(), "{{ the file }}"));
    close_directory();
    remove(scratch_path("chat_template.jinja"));
    copy_directory("llama3");
    open_directory();
    ck_assert(text_equals(template(), "<|start_header_id|>, <|eot_id|>"));
    close_directory();
}
END_TEST

START_TEST(files_beside_it_may_be_missing)
{
    copy_directory("llama");
    remove(scratch_path("tokenizer_config.json"));
    open_directory();
    ck_assert_int_eq(tokenizer_bos(tokenizer), 1); /* config.json's */
    ck_assert_int_eq(tokenizer_eos(tokenizer), 2);
    ck_assert(tokenizer_adds_bos(tokenizer));
    close_directory();
    remove(scratch_path("tokenizer.json"));
    ck_assert_int_eq(checkpoint_open(&checkpoint, hub_path(), &err), 0);
    ck_assert_ptr_null(metadata_find(&checkpoint.metadata, "tokenizer.ggml.model"));
    checkpoint_close(&checkpoint);
}
END_TEST

/* The item at a path like "model/merges/0". */
static void change(cJSON *root, const char *path, const char *json)
{
    char parts[128];
    snprintf(parts, sizeof parts, "%s", path);
    cJSON *parent = root, *value = cJSON_Parse(json);
    char *name = parts;
    ck_assert_msg(value != NULL, "%s", json);
    for (char *slash; (slash = strchr(name, '/')); name = slash + 1) {
        *slash = '\0';
        parent = cJSON_IsArray(parent) ? cJSON_GetArrayItem(parent, (int)strtol(name, NULL, 10))
                                       : cJSON_GetObjectItemCaseSensitive(parent, name);
        ck_assert_msg(parent != NULL, "%s", path);
    }
    if (cJSON_IsArray(parent)) {
        ck_assert(cJSON_ReplaceItemInArray(parent, (int)strtol(name, NULL, 10), value));
    } else {
        cJSON_DeleteItemFromObjectCaseSensitive(parent, name);
        cJSON_AddItemToObject(parent, name, value);
    }
}

#define SPLIT(regex)                                                                        \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":" \
    "\"" regex                                                                              \
    "\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix"  \
    "_space\":false,\"use_regex\":false}]}"
#define METASPACE(scheme)                                                                   \
    "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"" scheme \
    "\",\"split\":false}"

static const struct {
    const char *name, *path, *json, *message;
} refused[] = {
    {"llama", "model/type", "\"Unigram\"", "\"model.type\" is \"Unigram\", expected BPE"},
    {"llama", "model", "7", "\"model\" is 7, expected an object"},
    {"llama", "model/dropout", "0.1", "\"model.dropout\" is 0.1, expected none"},
    {"llama", "model/end_of_word_suffix", "\"</w>\"", "\"model.end_of_word_suffix\""},
    {"llama", "model/byte_fallback", "false", "a model without \"byte_fallback\" and ByteLevel"},
    {"llama", "model/ignore_merges", "true", "\"ignore_merges\" is not supported without"},
    {"llama", "normalizer", "{\"type\":\"NFKC\"}", "are not supported together"},
    {"llama", "normalizer", "null", "are not supported together"},
    {"llama", "pre_tokenizer", METASPACE("first"), "are not supported together"},
    {"llama", "post_processor", "{\"type\":\"BertProcessing\"}", "\"post_processor\""},
    {"llama", "post_processor",
     "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<unk>\"}}]}",
     "\"post_processor\" adds other tokens than BOS and EOS"},
    {"llama", "model/vocab", "{}", "\"model.vocab\" has 0 tokens of bytes, expected 256"},
    {"llama", "model/vocab/he", "288", "token \"he\": its id is no row of the embedding"},
    {"llama", "model/vocab/he", "-1", "token \"he\": its id is no row of the embedding"},
    {"llama", "model/vocab/he", "1e99", "token \"he\": its id is no row of the embedding"},
    {"llama", "model/vocab/he", "3", "another token has its id"},
    {"llama", "model/vocab/<0x41>", "\"A\"", "token \"<0x41>\": its id is no row"},
    {"llama", "added_tokens/0/id", "\"0\"", "\"added_tokens\""},
    {"llama", "added_tokens/0/content", "\"<s>\"", "another token has its id"},
    {"llama", "added_tokens",
     "[{\"id\":5,\"content\":\"<0x02>\",\"rstrip\":true,\"special\":false}]",
     "token \"<0x02>\": single_word, lstrip, rstrip and normalized are not supported"},
    {"llama", "added_tokens", "[{\"id\":288,\"content\":\"x\",\"special\":false}]",
     "token \"x\": its id is no row"},
    {"llama", "added_tokens", "[{\"id\":5,\"content\":\"<0x02>\",\"special\":true}]",
     "has 255 tokens of bytes, expected 256"},
    {"llama", "model/merges", "null", "\"model.merges\" is missing"},
    {"llama", "model/merges/0", "\"he\"", "number 0 is not two tokens without spaces"},
    {"llama", "model/merges/0", "\"h e \"", "number 0 is not two tokens without spaces"},
    {"llama", "model/merges/0", "[\"h\"]", "number 0 is not two tokens without spaces"},
    {"llama", "model/merges/0", "[\"h\",5]", "number 0 is not two tokens without spaces"},
    {"llama", "model/merges/0", "[\"h\",\"x\"]", "number 0 is of texts that are no tokens"},
    {"llama", "model/merges/0", "[\"<0x41>\",\"e\"]", "number 0 is of texts that are no tokens"},
    {"llama", "model/merges/1", "[\"h\",\"e\"]", "make token \"he\" twice from the same parts"},
    {"llama", "model/merges/2", "[\"h\",\"e\"]", "number 0 makes a token that later ones make"},
    {"llama", "model/merges", "[]", "make token \"he\" in 0 ways, but by its parts there are 1"},
    {"llama3", "normalizer", "{\"type\":\"NFKC\"}", "\"normalizer\" is not supported before bytes"},
    {"llama3", "pre_tokenizer", SPLIT("\\\\p{L}+|.*"), "\"pre_tokenizer\" has a pattern that is"},
    {"llama3", "pre_tokenizer", "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}",
     "\"pre_tokenizer\" has a pattern that is not known"},
    {"llama3", "pre_tokenizer/pretokenizers/0/behavior", "\"Removed\"",
     "\"pre_tokenizer\" has a pattern that is not known"},
    {"llama3", "model/merges/0", "\"\xC4\xA0\"", "number 0 is not two tokens without spaces"},
};
enum { N_REFUSED = sizeof refused / sizeof refused[0] };

START_TEST(what_would_not_be_exact_is_refused)
{
    copy_directory(refused[_i].name);
    cJSON *file = hub_json(refused[_i].name, "tokenizer.json");
    change(file, refused[_i].path, refused[_i].json);
    hub_write("tokenizer.json", file);
    ck_assert_msg(checkpoint_open(&checkpoint, hub_path(), &err) == -1, "%s opened",
                  refused[_i].message);
    ck_assert_msg(strstr(err.text, refused[_i].message), "%s", err.text);
    ck_assert_msg(strstr(err.text, "tokenizer.json: "), "%s", err.text);
}
END_TEST

/* A piece with a character that is no token: the tokenizer would join it, the merges never do. */
START_TEST(characters_must_be_tokens)
{
    copy_directory("llama");
    cJSON *file = hub_json("llama", "tokenizer.json");
    cJSON *vocabulary = cJSON_GetObjectItem(cJSON_GetObjectItem(file, "model"), "vocab");
    int id = cJSON_GetObjectItem(vocabulary, "g")->valueint;
    cJSON_DeleteItemFromObject(vocabulary, "g");
    cJSON_AddNumberToObject(vocabulary, "ing", id);
    hub_write("tokenizer.json", file);
    ck_assert_int_eq(checkpoint_open(&checkpoint, hub_path(), &err), -1);
    ck_assert_msg(strstr(err.text, "make token \"ing\" in 0 ways, but by its parts there are 1"),
                  "%s", err.text);
}
END_TEST

/* Llama's runs of spaces share a score: their merges stand in any order, those of two spaces last.
 */
START_TEST(runs_may_share_a_score)
{
    static const char *const orders[] = {
        "[[\"aa\",\"aa\"],[\"a\",\"aa\"],[\"aa\",\"a\"],[\"aaa\",\"a\"],[\"a\",\"aaa\"],"
        "[\"a\",\"a\"]]",
        "[[\"aaa\",\"a\"],[\"a\",\"aa\"],[\"a\",\"aaa\"],[\"aa\",\"a\"],[\"a\",\"a\"],"
        "[\"aa\",\"aa\"]]",
    };
    copy_directory("llama");
    cJSON *file = hub_json("llama", "tokenizer.json"), *vocabulary = cJSON_CreateObject();
    char name[16];
    for (int i = 0; i < 256; i++) {
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        cJSON_AddNumberToObject(vocabulary, name, 3 + i);
    }
    for (int i = 1; i <= 4; i++)
        cJSON_AddNumberToObject(vocabulary, &"aaaa"[4 - i], 258 + i);
    cJSON_AddNumberToObject(vocabulary, "<unk>", 0);
    change(file, "model/merges", orders[_i]);
    cJSON_ReplaceItemInObject(cJSON_GetObjectItem(file, "model"), "vocab", vocabulary);
    change(file, "normalizer/normalizers/0",
           "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
           "\"content\":\"\xE2\x96\x81\"}");
    cJSON_DeleteItemFromArray(
        cJSON_GetObjectItem(cJSON_GetObjectItem(file, "normalizer"), "normalizers"), 1);
    hub_write("tokenizer.json", file);
    if (_i == 1) {
        ck_assert_int_eq(checkpoint_open(&checkpoint, hub_path(), &err), -1);
        ck_assert_msg(strstr(err.text, "makes a token that later ones make, too"), "%s", err.text);
        return;
    }
    open_directory();
    struct token_list ids = {0};
    ck_assert_int_eq(
        tokenizer_encode(tokenizer, "aaaaaaa", 7, (struct encode_options){0}, &ids, &err), 0);
    ck_assert_uint_eq(ids.n, 2);
    ck_assert_int_eq(ids.ids[0], 262);
    ck_assert_int_eq(ids.ids[1], 261);
    token_list_free(&ids);
    close_directory();
}
END_TEST

Suite *huggingface_tokenizer_suite(void)
{
    Suite *suite = suite_create("huggingface_tokenizer");
    TCase *tcase = tcase_create("huggingface_tokenizer");
    tcase_add_checked_fixture(tcase, scratch_make, scratch_remove);
    tcase_add_loop_test(tcase, ids_are_those_of_tokenizers, 0, 2);
    tcase_add_test(tcase, templates_are_found);
    tcase_add_test(tcase, files_beside_it_may_be_missing);
    tcase_add_loop_test(tcase, what_would_not_be_exact_is_refused, 0, N_REFUSED);
    tcase_add_test(tcase, characters_must_be_tokens);
    tcase_add_loop_test(tcase, runs_may_share_a_score, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
