/* huggingface_tokenizer: tokenizer.json, tokenizer_config.json and chat_template.jinja -> the keys
 * tokenizer.*. Two kinds of tokenizer.json become what the tokenizer does exactly: byte-level BPE
 * whose pre-tokenizer has a name there, and BPE over characters with byte fallback, which is
 * SentencePiece's. Any other is refused with the reason. (NFC, which some ask for, is left out: no
 * text is normalised.) */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"
#include "model/huggingface/huggingface_tokens.h"

enum { STEPS_MAX = 4 };

/* The parts of a pipeline: none, one, or a sequence. */
struct steps {
    const cJSON *items[STEPS_MAX];
    int n;
};

struct reader {
    struct huggingface *hf;
    struct json_object file;     /* tokenizer.json */
    struct json_object settings; /* tokenizer_config.json; its json is NULL without such a file */
    struct json_object model;    /* of tokenizer.json */
    struct huggingface_tokens tokens;
    struct key_writer writer;
    bool spm, prefix; /* which kind; whether it puts a space in front */
    const char *pre;  /* byte-level: the pre-tokenizer's name */
    bool strips;      /* a control token takes the white space beside it, too */
    int bos, eos;     /* -1: none */
    bool add_bos, add_eos;
};

static int refuse(struct reader *r, const char *what)
{
    r->file.failed = true;
    return error_set(r->hf->err, "%s: %s", r->file.place, what);
}

static bool is_text(const cJSON *item, const char *text)
{
    return cJSON_IsString(item) && strcmp(item->valuestring, text) == 0;
}

static bool has_type(const cJSON *item, const char *type)
{
    return is_text(json_find(item, "type"), type);
}

/* --- the pipeline ----------------------------------------------------------------------------- */

/* The parts under `key`, those of a Sequence by the name of its list. */
static void read_steps(struct reader *r, const char *key, const char *list, struct steps *steps)
{
    steps->n = 0;
    const cJSON *item = json_child(&r->file, key, OPTIONAL);
    if (!item)
        return;
    bool sequence = has_type(item, "Sequence");
    const cJSON *items = sequence ? json_find(item, list) : NULL;
    if (sequence)
        item = cJSON_IsArray(items) ? items->child : NULL;
    for (; item; item = sequence ? item->next : NULL) {
        if (steps->n == STEPS_MAX) {
            json_refuse(&r->file, key, items, "a shorter list");
            return;
        }
        steps->items[steps->n++] = item;
    }
}

/* The pre-tokenizers that are a pattern, as the files write it, and then bytes. */
static const struct {
    const char *pattern;
    bool ignore_merges;
    const char *name;
} patterns[] = {
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     true, "llama-bpe"},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     false, "dbrx"},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     false, "qwen2"},
};

static bool is_byte_level(const cJSON *item, bool regex)
{
    return has_type(item, "ByteLevel") && cJSON_IsFalse(json_find(item, "add_prefix_space")) &&
           cJSON_IsFalse(json_find(item, "use_regex")) == !regex;
}

static const char *find_pattern(const cJSON *split, bool ignore_merges)
{
    const cJSON *regex = json_find(json_find(split, "pattern"), "Regex");
    if (!is_text(json_find(split, "behavior"), "Isolated") ||
        !cJSON_IsFalse(json_find(split, "invert")))
        return NULL;
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
        if (is_text(regex, patterns[i].pattern) && patterns[i].ignore_merges == ignore_merges)
            return patterns[i].name;
    return NULL;
}

static void read_byte_level(struct reader *r, const struct steps *normal, const struct steps *pre)
{
    bool ignore = cJSON_IsTrue(json_find(r->model.json, "ignore_merges"));
    const cJSON *first = pre->items[0], *last = pre->items[pre->n - 1];
    if (normal->n > 1 || (normal->n == 1 && !has_type(normal->items[0], "NFC")))
        refuse(r, "\"normalizer\" is not supported before bytes, expected none or NFC");
    else if (pre->n == 1 && is_byte_level(last, true) && !ignore)
        r->pre = "gpt-2";
    else if (pre->n == 2 && has_type(first, "Digits") && is_byte_level(last, true) && !ignore &&
             cJSON_IsTrue(json_find(first, "individual_digits")))
        r->pre = "starcoder";
    else if (pre->n == 2 && has_type(first, "Split") && is_byte_level(last, false))
        r->pre = find_pattern(first, ignore);
    if (!r->file.failed && !r->pre)
        refuse(r, "\"pre_tokenizer\" has a pattern that is not known, expected that of gpt-2, "
                  "starcoder, llama-bpe (which ignores merges), dbrx or qwen2");
}

static const char space_mark[] = "\xE2\x96\x81";

static bool replaces_spaces(const cJSON *item)
{
    return has_type(item, "Replace") &&
           is_text(json_find(json_find(item, "pattern"), "String"), " ") &&
           is_text(json_find(item, "content"), space_mark);
}

/* Spaces become marks, and one more may stand in front of every stretch of text; nothing is split
 * (Gemma splits at spaces, which no longer are). A mark that is left out where the text begins with
 * a space, or only written where the whole text begins, would be another thing. */
static void read_characters(struct reader *r, const struct steps *normal, const struct steps *pre)
{
    const cJSON *split = pre->n == 1 ? pre->items[0] : NULL;
    bool splits =
        pre->n > 1 || (split && !(has_type(split, "Split") &&
                                  is_text(json_find(json_find(split, "pattern"), "String"), " ")));
    bool prepends = normal->n == 2 && has_type(normal->items[0], "Prepend") &&
                    is_text(json_find(normal->items[0], "prepend"), space_mark);
    bool replaces = normal->n > 0 && replaces_spaces(normal->items[normal->n - 1]) &&
                    (normal->n == 1 || prepends);
    bool metaspace = split && normal->n == 0 && pre->n == 1 && has_type(split, "Metaspace") &&
                     is_text(json_find(split, "replacement"), space_mark) &&
                     is_text(json_find(split, "prepend_scheme"), "never") &&
                     cJSON_IsFalse(json_find(split, "split"));
    r->spm = true;
    r->prefix = prepends;
    if (!cJSON_IsTrue(json_find(r->model.json, "byte_fallback")))
        refuse(r, "a model without \"byte_fallback\" and ByteLevel is not supported");
    else if (cJSON_IsTrue(json_find(r->model.json, "ignore_merges")))
        refuse(r, "\"ignore_merges\" is not supported without ByteLevel");
    else if (!metaspace && (splits || !replaces))
        refuse(r, "\"normalizer\" and \"pre_tokenizer\" are not supported together, expected a "
                  "normalizer that replaces spaces, with or without one that prepends a mark, and "
                  "no Metaspace; or Metaspace that never prepends and does not split");
}

static void read_pipeline(struct reader *r)
{
    static const char *const changes[] = {"dropout", "continuing_subword_prefix",
                                          "end_of_word_suffix"};
    struct steps normal, pre;
    r->model.json = json_child(&r->file, "model", REQUIRED);
    const cJSON *type = json_find(r->model.json, "type");
    if (!r->file.failed && !is_text(type, "BPE"))
        json_refuse(&r->model, "type", type, "BPE");
    for (int i = 0; i < 3 && !r->model.failed; i++) {
        const cJSON *item = json_find(r->model.json, changes[i]);
        if (item && !is_text(item, "") && !(cJSON_IsNumber(item) && item->valuedouble == 0))
            json_refuse(&r->model, changes[i], item, "none");
    }
    r->file.failed = r->file.failed || r->model.failed;
    read_steps(r, "normalizer", "normalizers", &normal);
    read_steps(r, "pre_tokenizer", "pretokenizers", &pre);
    if (r->file.failed)
        return;
    if (pre.n > 0 && has_type(pre.items[pre.n - 1], "ByteLevel"))
        read_byte_level(r, &normal, &pre);
    else
        read_characters(r, &normal, &pre);
}

/* --- tokens that frame a text ----------------------------------------------------------------- */

static int find_token(const struct reader *r, const char *text)
{
    for (size_t i = 0; i < r->tokens.n; i++)
        if (text_equals(r->tokens.texts[i], text))
            return (int)i;
    return -1;
}

/* tokenizer_config.json names a token, or has an object about it; config.json has numbers. */
static int read_frame_token(struct reader *r, const char *name_key, const char *id_key)
{
    const cJSON *name = json_find(r->settings.json, name_key);
    const cJSON *id = json_find(r->hf->config, id_key);
    if (cJSON_IsObject(name))
        name = json_find(name, "content");
    int found = cJSON_IsString(name) ? find_token(r, name->valuestring) : -1;
    if (cJSON_IsArray(id))
        id = id->child;
    uint64_t number;
    if (found < 0 && r->tokens.n > 0 && json_is_count(id, (double)(r->tokens.n - 1), &number))
        found = (int)number;
    return found;
}

/* Other tokens that a model ends its turns with. */
static void write_ends(struct reader *r)
{
    static const char *const keys[] = {"eot_token_id", "eom_token_id"};
    const cJSON *ids = json_find(r->hf->config, "eos_token_id");
    int n = 0;
    for (const cJSON *id = cJSON_IsArray(ids) ? ids->child : NULL; id && n < 2; id = id->next) {
        uint64_t number;
        if (json_is_count(id, (double)(r->tokens.n - 1), &number) && (int)number != r->eos)
            key_writer_uint(&r->writer, keys[n++], number);
    }
}

/* "single": [BOS] TEXT [EOS] of a TemplateProcessing. */
static void read_template(struct reader *r, const cJSON *processor)
{
    const cJSON *single = json_find(processor, "single");
    bool after = false;
    for (const cJSON *item = cJSON_IsArray(single) ? single->child : NULL; item;
         item = item->next) {
        const cJSON *special = json_find(item, "SpecialToken"), *name = json_find(special, "id");
        int id = cJSON_IsString(name) ? find_token(r, name->valuestring) : -1;
        bool *rule = after ? &r->add_eos : &r->add_bos;
        int *frame = after ? &r->eos : &r->bos;
        if (!special) {
            after = true;
            continue;
        }
        if (id < 0 || *rule || (*frame >= 0 && *frame != id)) {
            refuse(r, "\"post_processor\" adds other tokens than BOS and EOS, which is not "
                      "supported");
            return;
        }
        *rule = true;
        *frame = id;
    }
}

static void read_frame(struct reader *r)
{
    struct steps steps;
    r->bos = read_frame_token(r, "bos_token", "bos_token_id");
    r->eos = read_frame_token(r, "eos_token", "eos_token_id");
    read_steps(r, "post_processor", "processors", &steps);
    for (int i = 0; i < steps.n && !r->file.failed; i++) {
        if (has_type(steps.items[i], "TemplateProcessing"))
            read_template(r, steps.items[i]);
        else if (!has_type(steps.items[i], "ByteLevel"))
            json_refuse(&r->file, "post_processor", json_find(steps.items[i], "type"),
                        "TemplateProcessing, ByteLevel or none");
    }
    json_bool(&r->settings, "add_bos_token", &r->add_bos);
    json_bool(&r->settings, "add_eos_token", &r->add_eos);
}

static void write_frame(struct reader *r)
{
    const char *unknown = NULL;
    json_text(&r->model, "unk_token", OPTIONAL, &unknown);
    int id = unknown ? find_token(r, unknown) : -1;
    if (id >= 0)
        key_writer_uint(&r->writer, "unknown_token_id", (uint64_t)id);
    if (id >= 0 && r->spm)
        r->tokens.types[id] = HUGGINGFACE_UNKNOWN;
    if (r->bos >= 0)
        key_writer_uint(&r->writer, "bos_token_id", (uint64_t)r->bos);
    if (r->eos >= 0)
        key_writer_uint(&r->writer, "eos_token_id", (uint64_t)r->eos);
    write_ends(r);
    key_writer_bool(&r->writer, "add_bos_token", r->add_bos);
    key_writer_bool(&r->writer, "add_eos_token", r->add_eos);
}

/* --- the template of conversations ------------------------------------------------------------ */

static int write_template_file(struct reader *r, struct key_writer *writer, const char *path)
{
    struct file file;
    if (file_open(&file, path, r->hf->err) != 0)
        return -1;
    key_writer_text(writer, "chat_template", (struct text){(const char *)file.data, file.size});
    file_close(&file);
    return 0;
}

/* A file of its own, a text among the settings, or the one named default of a list of them. None
 * where control tokens take white space with them, which the conversation's markup would lack. */
static int write_chat_template(struct reader *r)
{
    struct key_writer writer = r->writer;
    writer.prefix = "tokenizer";
    const cJSON *template = json_find(r->settings.json, "chat_template");
    char *path = huggingface_path(r->hf, "chat_template.jinja");
    if (!path)
        return -1;
    if (r->strips)
        return 0;
    if (access(path, F_OK) == 0)
        return write_template_file(r, &writer, path) || writer.failed ? -1 : 0;
    for (const cJSON *item = cJSON_IsArray(template) ? template->child : NULL; item;
         item = item->next)
        if (is_text(json_find(item, "name"), "default"))
            template = json_find(item, "template");
    if (cJSON_IsString(template))
        key_writer_text(&writer, "chat_template",
                        (struct text){template->valuestring, strlen(template->valuestring)});
    return writer.failed ? -1 : 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

static void write_tokens(struct reader *r)
{
    const struct huggingface_tokens *tokens = &r->tokens;
    key_writer_text(&r->writer, "model",
                    r->spm ? (struct text){"llama", 5} : (struct text){"gpt2", 4});
    if (r->spm)
        key_writer_bool(&r->writer, "add_space_prefix", r->prefix);
    else
        key_writer_text(&r->writer, "pre", (struct text){r->pre, strlen(r->pre)});
    key_writer_texts(&r->writer, "tokens", tokens->texts, tokens->n);
    key_writer_ints(&r->writer, "token_type", tokens->types, tokens->n);
}

static int read_tokenizer(struct reader *r)
{
    read_pipeline(r);
    if (r->file.failed ||
        huggingface_tokens_read(&r->tokens, r->hf, &r->file, r->model.json, r->spm, &r->strips))
        return -1;
    read_frame(r);
    if (r->file.failed || r->settings.failed)
        return -1;
    write_frame(r);
    write_tokens(r);
    const cJSON *merges = json_array(&r->model, "merges", REQUIRED);
    if (r->model.failed || r->writer.failed)
        return -1;
    int result = r->spm ? huggingface_merges_score(&r->tokens, &r->model, merges, &r->writer)
                        : huggingface_merges_write(&r->model, merges, &r->writer);
    return result != 0 || r->writer.failed ? -1 : write_chat_template(r);
}

int huggingface_tokenizer_read(struct huggingface *hf)
{
    char *path = huggingface_path(hf, "tokenizer.json");
    char *settings_path = huggingface_path(hf, "tokenizer_config.json");
    if (!path || !settings_path)
        return -1;
    if (access(path, F_OK) != 0)
        return 0;
    cJSON *file = NULL, *settings = NULL;
    int result = json_open(&file, path, hf->err);
    if (result == 0 && access(settings_path, F_OK) == 0)
        result = json_open(&settings, settings_path, hf->err);
    if (result == 0) {
        struct reader reader = {
            .hf = hf,
            .file = {.json = file, .place = path, .err = hf->err},
            .settings = {.json = settings, .place = settings_path, .err = hf->err},
            .model = {.place = path, .within = "model.", .err = hf->err},
            .writer = {.checkpoint = hf->checkpoint, .prefix = "tokenizer.ggml", .err = hf->err}};
        result = read_tokenizer(&reader);
        huggingface_tokens_free(&reader.tokens);
    }
    cJSON_Delete(file);
    cJSON_Delete(settings);
    return result;
}
