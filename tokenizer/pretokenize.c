/* pretokenize: see pretokenize.h. A rule is a list of patterns: the first splits the text into its
 * matches and what lies between them, each later one splits every piece so far. The rules are those
 * of the tokenizer.json files that the names stand for, as llama.cpp's llama-vocab.cpp lists them;
 * the notation differs where Perl's \s and backtracking would. */
#include "tokenizer/pretokenize.h"

#include <stdio.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Inside brackets: Unicode's White_Space. PCRE2's \s would add U+180E. */
#define SPACE "\\t-\\r\\x{85}\\p{Z}"
/* What follows the last word before a word: all spaces but one. */
#define SPACES "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"
#define SUFFIXES_ANY_CASE "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"

#define WORDS "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|" SPACES
#define WORDS_DIGITS(digits)                                                 \
    SUFFIXES_ANY_CASE "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^" SPACE \
                      "\\p{L}\\p{N}]+[\\r\\n]*|[" SPACE "]*[\\r\\n]+|" SPACES

#define CJK "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"

/* The cased letters of the alphabets that DeepSeek's rule knows. */
#define DEEPSEEK_LETTERS                                                                    \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}"          \
    "\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}"  \
    "\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}"           \
    "\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}"                \
    "\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"          \
    "\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}"          \
    "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}" \
    "\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}"  \
    "\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}"          \
    "\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}"           \
    "\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}"            \
    "\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}" \
    "\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}"  \
    "\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}"           \
    "\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}"          \
    "\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}"        \
    "\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}"  \
    "\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"

struct pretokenizer_rule {
    const char *names; /* separated by a space; the first is the rule's own */
    bool add_bos;
    bool ignore_merges;
    const char *patterns[PRETOKENIZER_STEPS];
};

static const struct pretokenizer_rule rules[] = {
    {"gpt-2 mpt olmo phi-2", false, false, {WORDS}},
    {"llama-bpe llama3 llama-v3 falcon3 pixtral", true, true, {WORDS_DIGITS("\\p{N}{1,3}")}},
    {"dbrx smaug-bpe", false, false, {WORDS_DIGITS("\\p{N}{1,3}")}},
    {"qwen2 deepseek-r1-qwen stablelm2 megrez", false, false, {WORDS_DIGITS("\\p{N}")}},
    {"falcon", false, false, {"[\\p{P}$+<=>^~|`]+", WORDS, "[0-9][0-9][0-9]"}},
    {"starcoder refact smollm command-r codeshell minerva-7b", false, false, {"\\p{N}", WORDS}},
    {"deepseek-llm",
     false,
     false,
     {"[\\r\\n]", "[" SPACE "]?[" DEEPSEEK_LETTERS "]+",
      /* From ':' to '~' there are letters too: the rule's own doing. */
      "[" SPACE
      "]?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+",
      /* \s+$, without trying every space of a run that does not end the text. */
      "(?<![" SPACE "])[" SPACE "]++\\z", CJK, "\\p{N}+"}},
    {"deepseek-coder",
     false,
     false,
     {"[\\r\\n]", "[" SPACE "]?\\p{L}+", "[" SPACE "]?\\p{P}+", CJK, "\\p{N}"}},
    {"bloom gpt3-finnish",
     false,
     false,
     {" ?[^(" SPACE "|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"}},
    {"default", false, false, {"[\\p{P}$+<=>^~|]+", WORDS, "\\p{N}+", "[0-9][0-9][0-9]"}},
};
enum { N_RULES = sizeof rules / sizeof rules[0] };

/* Whether `names` has the word `name`. */
static bool has_name(const char *names, struct text name)
{
    for (const char *at = names; *at;) {
        size_t length = strcspn(at, " ");
        if (length == name.length && memcmp(at, name.bytes, length) == 0)
            return true;
        at += length + (at[length] == ' ');
    }
    return false;
}

static int refuse_name(struct text name, struct error *err)
{
    char known[400];
    size_t used = 0;
    for (size_t i = 0; i < N_RULES; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? " " : "",
                                 rules[i].names);
    return error_set(
        err, "\"tokenizer.ggml.pre\" is \"%s\", which is not supported, expected one of: %s",
        text_printable(name).chars, known);
}

static int compile_pattern(void **code, const char *pattern, struct error *err)
{
    int number;
    size_t offset;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF | PCRE2_UCP, &number, &offset, NULL);
    if (!compiled) {
        char message[128];
        pcre2_get_error_message(number, (PCRE2_UCHAR *)message, sizeof message);
        return error_set(err, "pre-tokenizer pattern: %s at %zu", message, offset);
    }
    /* Where code cannot be generated, pcre2_match interprets. */
    (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
    *code = compiled;
    return 0;
}

int pretokenizer_open(struct pretokenizer *pretokenizer, struct text name, struct error *err)
{
    *pretokenizer = (struct pretokenizer){0};
    for (size_t i = 0; i < N_RULES && !pretokenizer->rule; i++) {
        if (has_name(rules[i].names, name))
            pretokenizer->rule = &rules[i];
    }
    if (!pretokenizer->rule)
        return refuse_name(name, err);
    for (int i = 0; i < PRETOKENIZER_STEPS && pretokenizer->rule->patterns[i]; i++) {
        if (compile_pattern(&pretokenizer->codes[i], pretokenizer->rule->patterns[i], err) != 0) {
            pretokenizer_close(pretokenizer);
            return -1;
        }
        pretokenizer->n_codes++;
    }
    return 0;
}

void pretokenizer_close(struct pretokenizer *pretokenizer)
{
    for (int i = 0; i < pretokenizer->n_codes; i++)
        pcre2_code_free(pretokenizer->codes[i]);
    *pretokenizer = (struct pretokenizer){0};
}

void pretokenizer_scratch_free(struct pretokenizer_scratch *scratch)
{
    pcre2_match_data_free(scratch->match);
    pcre2_match_context_free(scratch->context);
    *scratch = (struct pretokenizer_scratch){0};
}

bool pretokenizer_adds_bos(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->rule->add_bos;
}

bool pretokenizer_ignores_merges(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->rule->ignore_merges;
}

struct splitter {
    const struct pretokenizer *pretokenizer;
    struct pretokenizer_scratch *scratch;
    int (*piece)(void *context, const char *bytes, size_t n);
    void *context;
    struct error *err;
};

/* The next match in text[length] from `at`: 1 and its range, 0 for none, -1 on an error. */
static int find_match(const struct splitter *splitter, int step, const char *text, size_t length,
                      size_t at, size_t *start, size_t *end)
{
    const pcre2_code *code = splitter->pretokenizer->codes[step];
    pcre2_match_data *match = splitter->scratch->match;
    pcre2_match_context *context = splitter->scratch->context;
    int found = pcre2_match(code, (PCRE2_SPTR)text, length, at, PCRE2_NO_UTF_CHECK, match, context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(code, (PCRE2_SPTR)text, length, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                            match, context);
    if (found == PCRE2_ERROR_NOMATCH)
        return 0;
    if (found < 0) {
        char message[128];
        pcre2_get_error_message(found, (PCRE2_UCHAR *)message, sizeof message);
        return error_set(splitter->err, "pre-tokenizer, in a text of %zu bytes: %s", length,
                         message);
    }
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match);
    *start = range[0];
    *end = range[1];
    return 1;
}

static int split(const struct splitter *splitter, int step, const char *text, size_t length)
{
    if (length == 0)
        return 0;
    if (step == splitter->pretokenizer->n_codes)
        return splitter->piece(splitter->context, text, length);
    for (size_t at = 0; at < length;) {
        size_t start = length, end = length;
        if (find_match(splitter, step, text, length, at, &start, &end) < 0)
            return -1;
        if (split(splitter, step + 1, text + at, start - at) != 0 ||
            split(splitter, step + 1, text + start, end - start) != 0)
            return -1;
        at = end;
    }
    return 0;
}

int pretokenizer_split(const struct pretokenizer *pretokenizer,
                       struct pretokenizer_scratch *scratch, const char *text, size_t length,
                       int (*piece)(void *context, const char *bytes, size_t n), void *context,
                       struct error *err)
{
    if (!scratch->match)
        scratch->match = pcre2_match_data_create(1, NULL);
    if (!scratch->context)
        scratch->context = pcre2_match_context_create(NULL);
    if (!scratch->match || !scratch->context)
        return error_memory(err, "the pre-tokenizer", sizeof(void *));
    /* Every pattern is linear in the text, so only the text's length could reach the limit. */
    pcre2_set_match_limit(scratch->context, UINT32_MAX);
    struct splitter splitter = {pretokenizer, scratch, piece, context, err};
    return split(&splitter, 0, text, length);
}
