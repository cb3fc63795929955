/* summarize_wording: the words that ask for a summary or an answer. See summarize.h. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"
#include "commands/commands.h"
#include "commands/summarize/summarize.h"

#define TEXT_MARK "{text}"
#define QUESTION_MARK "{question}"

/* The key of a model's file that names the wording it was trained on. */
#define WORDING_KEY "longhand.summarize.wording"

/* "report" is how scripts/documents.py ends a report or a log; a model that has not been told to
 * do what a user asks goes on from it as from the beginning of a summary. */
static const struct {
    const char *name;
    bool chat;
    const char *summary, *summary_stop;
    const char *question, *question_stop;
} wordings[] = {
    {"report", false, TEXT_MARK "\n\nSummary:", "\n\n",
     TEXT_MARK "\n\nQuestion: " QUESTION_MARK "\nAnswer:", "\n"},
    {"chat", true, TEXT_MARK "\n\nSummarize this text.", NULL, TEXT_MARK "\n\n" QUESTION_MARK,
     NULL},
};
enum { REPORT, CHAT, N_WORDINGS };

static int find_row(const char *place, struct text name, int *row, struct error *err)
{
    for (int i = 0; i < N_WORDINGS; i++)
        if (text_equals(name, wordings[i].name)) {
            *row = i;
            return 0;
        }
    return error_set(err, "%s: \"%s\" found, expected report or chat", place,
                     text_printable(name).chars);
}

/* What --wording names, or else a --template means, or the model's file says; N_WORDINGS: none. */
static int named_row(const struct engine *engine, const struct options *options, int *row,
                     struct error *err)
{
    *row = options->template ? CHAT : N_WORDINGS;
    if (options->wording) {
        struct text name = {options->wording, strlen(options->wording)};
        return find_row("--wording", name, row, err) ? EXIT_USAGE : 0;
    }
    struct text name = {0};
    if (options->template)
        return 0;
    if (metadata_text(&engine->checkpoint.metadata, WORDING_KEY, OPTIONAL, &name, err))
        return -1;
    if (!name.bytes || find_row(WORDING_KEY, name, row, err) == 0)
        return 0;
    return error_prefix(err, "%s", engine->checkpoint.path);
}

/* ... or else chat where there is a template, which is opened with it. */
static int choose_row(struct wording *wording, struct engine *engine, const struct options *options,
                      int *row, struct error *err)
{
    int result = named_row(engine, options, row, err);
    if (result)
        return result;
    if (*row == REPORT && options->template)
        return error_set(err, "--template and --wording report exclude each other"), EXIT_USAGE;
    if (*row != REPORT && engine_open_template(engine, options, &wording->template, err))
        return -1;
    bool template = wording->template.family != NULL;
    if (*row == N_WORDINGS)
        *row = template ? CHAT : REPORT;
    if (*row == REPORT || template)
        return 0;
    error_set(err, "%s chat: %s has no chat template, expected report",
              options->wording ? "--wording" : WORDING_KEY, engine->checkpoint.path);
    return options->wording ? EXIT_USAGE : -1;
}

/* What --prompt gives: words with {text} in them, or the name of a file of such; free it. */
static char *read_words(const char *prompt, struct error *err)
{
    char *words = NULL;
    if (strstr(prompt, TEXT_MARK)) {
        words = strdup(prompt);
        if (!words)
            error_memory(err, "the prompt", strlen(prompt));
        return words;
    }
    struct file file;
    if (access(prompt, F_OK) != 0) {
        error_set(err,
                  "--prompt: \"%s\" found, expected words with " TEXT_MARK
                  " in them, or a file that holds such",
                  prompt);
        return NULL;
    }
    if (file_open(&file, prompt, err))
        return NULL;
    const char *bytes = (const char *)file.data;
    size_t length = file.size;
    while (length > 0 && bytes[length - 1] == '\n')
        length--; /* that of the last line */
    if (engine_check_text(prompt, bytes, length, err) == 0) {
        words = strndup(bytes, length);
        if (!words)
            error_memory(err, "the prompt", length);
    }
    file_close(&file);
    return words;
}

static size_t count(const char *words, const char *mark)
{
    size_t n = 0;
    while ((words = strstr(words, mark)) != NULL) {
        words += strlen(mark);
        n++;
    }
    return n;
}

/* Puts the question in its place and parts the words at the text's. */
static int fill(struct wording *wording, const char *words, const char *question, struct error *err)
{
    size_t questions = count(words, QUESTION_MARK);
    if (count(words, TEXT_MARK) != 1)
        return error_set(err, "--prompt: " TEXT_MARK " found %zu times, expected once",
                         count(words, TEXT_MARK));
    if ((questions == 1) != (question != NULL) || questions > 1)
        return error_set(err, "--prompt: " QUESTION_MARK " found %zu times, expected %s --question",
                         questions, question ? "once with" : "none without");
    size_t room = strlen(words) + (question ? strlen(question) : 0) + 1;
    char *memory = size_alloc(room, 1);
    if (!memory)
        return error_memory(err, "the prompt", room);
    wording->memory = memory;
    const char *asked = strstr(words, QUESTION_MARK);
    const char *text = strstr(words, TEXT_MARK);
    size_t at = 0;
    size_t parted = 0;
    for (const char *c = words; *c;) {
        if (c == asked) {
            memcpy(memory + at, question, strlen(question));
            at += strlen(question);
            c += strlen(QUESTION_MARK);
        } else if (c == text) {
            parted = at;
            c += strlen(TEXT_MARK);
        } else {
            memory[at++] = *c++;
        }
    }
    wording->before = (struct text){memory, parted};
    wording->after = (struct text){memory + parted, at - parted};
    return 0;
}

int wording_choose(struct wording *wording, struct engine *engine, const struct options *options,
                   struct error *err)
{
    *wording = (struct wording){0};
    const char *question = options->question;
    if (question && engine_check_text("--question", question, strlen(question), err))
        return EXIT_USAGE;
    int row;
    int result = choose_row(wording, engine, options, &row, err);
    if (result)
        return result;
    wording->name = options->prompt ? "own" : wordings[row].name;
    wording->chat = wordings[row].chat;
    if (!options->prompt)
        wording->stop = question ? wordings[row].question_stop : wordings[row].summary_stop;
    char *own = options->prompt ? read_words(options->prompt, err) : NULL;
    if (options->prompt && !own)
        return EXIT_USAGE;
    const char *words = own ? own : question ? wordings[row].question : wordings[row].summary;
    result = fill(wording, words, question, err) ? EXIT_USAGE : 0;
    free(own);
    return result;
}

void wording_free(struct wording *wording)
{
    chat_template_free(&wording->template);
    free(wording->memory);
    *wording = (struct wording){0};
}

int wording_render(const struct wording *wording, const struct engine *engine, struct text text,
                   struct token_list *ids, struct error *err)
{
    size_t length = wording->before.length + text.length + wording->after.length;
    char *words = size_alloc(length, 1);
    if (!words)
        return error_memory(err, "the request", length);
    memcpy(words, wording->before.bytes, wording->before.length);
    memcpy(words + wording->before.length, text.bytes, text.length);
    memcpy(words + wording->before.length + text.length, wording->after.bytes,
           wording->after.length);
    struct chat_turn turn = {CHAT_USER, {words, length}};
    struct encode_options plain = {.add_special = true};
    int result = wording->chat
                     ? chat_render(&wording->template, engine->tokenizer, &turn, 1, ids, err)
                     : tokenizer_encode(engine->tokenizer, words, length, plain, ids, err);
    free(words);
    return result;
}
