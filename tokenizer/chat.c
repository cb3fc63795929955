/* chat: see chat.h. A family is a row: what stands before and after what each role says. */
#include "tokenizer/chat.h"

#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "tokenizer/internal.h"

/* In markup, \1 stands for the BOS token and \2 for EOS, by the model's names of them. */
struct chat_family {
    const char *name;
    const char *signs[2]; /* a template that contains these, tried in the table's order */
    bool bos;             /* in front of all, also where the tokenizer would not add one */
    bool trims;           /* white space around what a turn says goes */
    bool nests_system;    /* the system turn stands inside the first user turn */
    const char *before[3], *after[3]; /* by role */
    const char *reply;                /* the beginning of the assistant's turn */
};

static const struct chat_family families[] = {
    {.name = "chatml",
     .signs = {"<|im_start|>"},
     .before = {"<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n"},
     .after = {"<|im_end|>\n", "<|im_end|>\n", "<|im_end|>\n"},
     .reply = "<|im_start|>assistant\n"},
    {.name = "llama-3",
     .signs = {"<|start_header_id|>", "<|eot_id|>"},
     .bos = true,
     .trims = true,
     .before = {"<|start_header_id|>system<|end_header_id|>\n\n",
                "<|start_header_id|>user<|end_header_id|>\n\n",
                "<|start_header_id|>assistant<|end_header_id|>\n\n"},
     .after = {"<|eot_id|>", "<|eot_id|>", "<|eot_id|>"},
     .reply = "<|start_header_id|>assistant<|end_header_id|>\n\n"},
    {.name = "llama-2",
     .signs = {"[INST]", "<<SYS>>"},
     .trims = true,
     .nests_system = true,
     .before = {"<<SYS>>\n", "\1[INST] ", " "},
     .after = {"\n<</SYS>>\n\n", " [/INST]", " \2"},
     .reply = ""},
    {.name = "mistral (spaces inside)", /* [INST] hello [/INST] */
     .signs = {"[INST] ", " [/INST]"},
     .bos = true,
     .nests_system = true,
     .before = {"", "[INST] ", " "},
     .after = {"\n\n", " [/INST]", "\2"},
     .reply = ""},
    {.name = "mistral (space before)", /* [INST] hello[/INST] */
     .signs = {"[INST] "},
     .bos = true,
     .nests_system = true,
     .before = {"", "[INST] ", " "},
     .after = {"\n\n", "[/INST]", "\2"},
     .reply = ""},
    {.name = "mistral (no spaces)", /* [INST]hello[/INST] */
     .signs = {"[INST]"},
     .bos = true,
     .nests_system = true,
     .before = {"", "[INST]", ""},
     .after = {"\n\n", "[/INST]", "\2"},
     .reply = ""},
    {.name = "gemma",
     .signs = {"<start_of_turn>"},
     .bos = true,
     .trims = true,
     .nests_system = true,
     .before = {"", "<start_of_turn>user\n", "<start_of_turn>model\n"},
     .after = {"\n\n", "<end_of_turn>\n", "<end_of_turn>\n"},
     .reply = "<start_of_turn>model\n"},
    {.name = "phi-3",
     .signs = {"<|assistant|>", "<|end|>"},
     .before = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     .after = {"<|end|>\n", "<|end|>\n", "<|end|>\n"},
     .reply = "<|assistant|>\n"},
    {.name = "zephyr",
     .signs = {"<|assistant|>", "<|user|>"},
     .before = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     .after = {"\2\n", "\2\n", "\2\n"},
     .reply = "<|assistant|>\n"},
};
enum { N_FAMILIES = sizeof families / sizeof families[0] };

static bool contains(struct text text, const char *part)
{
    return !part || (text.length > 0 && memmem(text.bytes, text.length, part, strlen(part)));
}

int chat_recognise(const struct chat_family **family, struct text template, struct error *err)
{
    char known[200];
    size_t used = 0;
    for (size_t i = 0; i < N_FAMILIES; i++) {
        if (contains(template, families[i].signs[0]) && contains(template, families[i].signs[1])) {
            *family = &families[i];
            return 0;
        }
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 families[i].name);
    }
    return error_set(err, "the chat template \"%s\" is of no known form, expected one of: %s",
                     text_printable(template).chars, known);
}

const char *chat_family_name(const struct chat_family *family)
{
    return family->name;
}

static struct text trim(struct text text)
{
    static const char spaces[] = " \t\n\v\f\r";
    while (text.length > 0 && memchr(spaces, text.bytes[0], sizeof spaces - 1)) {
        text.bytes++;
        text.length--;
    }
    while (text.length > 0 && memchr(spaces, text.bytes[text.length - 1], sizeof spaces - 1))
        text.length--;
    return text;
}

struct script {
    const struct tokenizer *tokenizer;
    struct segment *segments;
    size_t n;
};

/* A turn takes at most this many segments: three for the markup on each side, nested once, and two
 * texts. */
enum { TURN_SEGMENTS = 16 };

static void add_segment(struct script *script, const char *bytes, size_t length, bool markup)
{
    script->segments[script->n++] = (struct segment){.text = {bytes, length}, .markup = markup};
}

static void add_markup(struct script *script, const char *markup)
{
    while (*markup) {
        size_t plain = strcspn(markup, "\1\2");
        if (plain > 0)
            add_segment(script, markup, plain, true);
        markup += plain;
        if (!*markup)
            break;
        int32_t id =
            *markup++ == '\1' ? tokenizer_bos(script->tokenizer) : tokenizer_eos(script->tokenizer);
        struct text name = tokenizer_piece(script->tokenizer, id, true);
        add_segment(script, name.bytes, name.length, true);
    }
}

static void add_content(struct script *script, const struct chat_family *family,
                        struct text content)
{
    if (family->trims)
        content = trim(content);
    add_segment(script, content.bytes, content.length, false);
}

static void add_turns(struct script *script, const struct chat_family *family,
                      const struct chat_turn *turns, size_t n)
{
    const struct chat_turn *system = n > 0 && turns[0].role == CHAT_SYSTEM ? &turns[0] : NULL;
    const struct chat_turn *nested = family->nests_system ? system : NULL;
    for (size_t i = nested ? 1 : 0; i < n; i++) {
        enum chat_role role = turns[i].role;
        add_markup(script, family->before[role]);
        if (nested && role == CHAT_USER) {
            add_markup(script, family->before[CHAT_SYSTEM]);
            add_content(script, family, nested->content);
            add_markup(script, family->after[CHAT_SYSTEM]);
            nested = NULL;
        }
        add_content(script, family, turns[i].content);
        add_markup(script, family->after[role]);
    }
    add_markup(script, family->reply);
}

static int check_turns(const struct chat_family *family, const struct chat_turn *turns, size_t n,
                       struct error *err)
{
    for (size_t i = 1; i < n; i++) {
        if (turns[i].role == CHAT_SYSTEM)
            return error_set(err, "chat: turn %zu is a system turn, expected only as the first",
                             i + 1);
    }
    if (n > 0 && family->nests_system && turns[0].role == CHAT_SYSTEM &&
        (n == 1 || turns[1].role != CHAT_USER))
        return error_set(err, "chat: a system turn of the form %s needs a user turn behind it",
                         family->name);
    return 0;
}

int chat_render(const struct chat_family *family, const struct tokenizer *tokenizer,
                const struct chat_turn *turns, size_t n_turns, struct token_list *ids,
                struct error *err)
{
    if (check_turns(family, turns, n_turns, err) != 0)
        return -1;
    size_t n_segments;
    if (!size_add(n_turns, 1, &n_segments) || !size_mul(n_segments, TURN_SEGMENTS, &n_segments))
        return error_memory(err, "the conversation", SIZE_MAX);
    struct script script = {.tokenizer = tokenizer,
                            .segments = size_alloc(n_segments, sizeof *script.segments)};
    if (!script.segments)
        return error_memory(err, "the conversation", n_segments * sizeof *script.segments);
    /* A form that writes BOS itself writes the first one too. */
    bool writes_bos = strchr(family->before[CHAT_USER], '\1') != NULL;
    if (!writes_bos && (family->bos || tokenizer_adds_bos(tokenizer)))
        add_markup(&script, "\1");
    add_turns(&script, family, turns, n_turns);
    int result = tokenizer_encode_segments(tokenizer, script.segments, script.n, false, ids, err);
    free(script.segments);
    return result;
}
