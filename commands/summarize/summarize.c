/* summarize: reads all of a document, and says what it says. See summarize.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/array.h"
#include "commands/commands.h"
#include "commands/interrupt.h"
#include "commands/summarize/summarize.h"

enum {
    UNKNOWN_LENGTH = 2048, /* taken where the model does not say what it was trained on */
    PART_LEAST = 16,       /* tokens of the summary of a passage: a fifth of the length, from */
    PART_MOST = 256,       /* here to there; */
    SUMMARY_LEAST = 64,    /* of the last one: a half */
    SUMMARY_MOST = 512
};

static int64_t between(int64_t n, int64_t least, int64_t most)
{
    return n < least ? least : n > most ? most : n;
}

/* ---- The plan -------------------------------------------------------------------------------- */

static int parse_strategy(struct summarizer *s, bool *given, struct error *err)
{
    const char *name = s->options.strategy;
    *given = name != NULL;
    if (name && strcmp(name, "whole") != 0 && strcmp(name, "chunks") != 0)
        return error_set(err, "--strategy: \"%s\" found, expected whole or chunks", name);
    s->strategy = name && strcmp(name, "chunks") == 0 ? STRATEGY_CHUNKS : STRATEGY_WHOLE;
    if (name && s->strategy == STRATEGY_WHOLE && s->options.chunk > 0)
        return error_set(err, "--chunk: %d found, expected none with --strategy whole",
                         s->options.chunk);
    return 0;
}

/* Whole where that is asked for, or the document fits what the model was trained on. */
static int choose_strategy(struct summarizer *s, struct error *err)
{
    bool given;
    if (parse_strategy(s, &given, err))
        return EXIT_USAGE;
    int64_t n = s->options.n_tokens;
    int length = s->engine.train_length > 0 ? s->engine.train_length : UNKNOWN_LENGTH;
    s->limit = (size_t)(s->options.chunk > 0 ? s->options.chunk : length);
    s->part_tokens = n > 0 ? n : between((int64_t)s->limit / 5, PART_LEAST, PART_MOST);
    s->summary_tokens = n > 0 ? n : between((int64_t)s->limit / 2, SUMMARY_LEAST, SUMMARY_MOST);
    int64_t most = (int64_t)s->limit - (int64_t)s->empty.n - s->part_tokens;
    s->most = (size_t)(most > 0 ? most : 0);
    if (!given && (s->options.chunk > 0 || (!s->options.context && s->document.ids.n > s->most)))
        s->strategy = STRATEGY_CHUNKS;
    if (s->strategy == STRATEGY_WHOLE || most >= PASSAGE_LEAST)
        return 0;
    return error_set(err,
                     "--chunk: %zu tokens, of which the request takes %zu and the answer %lld "
                     "(-n): expected %d or more for the text, so %lld or more in all",
                     s->limit, s->empty.n, (long long)s->part_tokens, PASSAGE_LEAST,
                     (long long)s->empty.n + s->part_tokens + PASSAGE_LEAST),
           EXIT_USAGE;
}

static int announce(struct summarizer *s, struct error *err)
{
    int64_t n = (int64_t)s->document.ids.n;
    bool whole = s->strategy == STRATEGY_WHOLE;
    int64_t together = whole ? n + (int64_t)s->empty.n + s->summary_tokens : (int64_t)s->limit;
    if (notices_plan(&s->notices, together, 0, err))
        return -1;
    if (whole)
        output_note(&s->output, "%zu bytes, %lld tokens, read as a whole", s->document.text.length,
                    (long long)n);
    else
        output_note(&s->output,
                    "%zu bytes, %lld tokens, read in chunks of up to %zu tokens, and summaries of "
                    "them likewise",
                    s->document.text.length, (long long)n, s->most);
    return 0;
}

/* ---- Reading --------------------------------------------------------------------------------- */

int summarize_whole(struct summarizer *s, struct error *err)
{
    struct passage all = {0, s->document.text.length};
    struct request request = {
        .text = passage_text(&s->document, all), .most = s->summary_tokens, .last = true};
    s->started = output_now();
    int result = summarizer_ask(s, &request, err);
    size_t before = (size_t)(request.text.bytes - s->document.text.bytes);
    s->summary = request.answer;
    s->end = request.end;
    s->streamed = true;
    s->levels = 1;
    struct passage read = {0, before + request.seen[0].end};
    struct passage unseen = {before + request.seen[1].begin, before + request.seen[1].end};
    if (request.read)
        read = all;
    else if (request.seen[0].end == 0)
        read.end = 0;
    coverage_add(&s->coverage, read);
    coverage_hide(&s->coverage, unseen);
    return result;
}

/* The text of a file, or of standard input; *text is as it was on failure. */
static int read_file(const char *path, char **text, size_t *length, struct error *err)
{
    struct options from = {.file = path};
    char *read;
    if (engine_read_text(&from, &read, length, err))
        return -1;
    *text = read;
    return 0;
}

static int open_document(struct summarizer *s, struct error *err)
{
    size_t length;
    const char *reference = s->options.reference;
    if ((reference && read_file(reference, &s->reference, &s->reference_length, err)) ||
        read_file(s->options.file, &s->text, &length, err))
        return -1;
    struct text text = {s->text, length};
    if (document_open(&s->document, s->engine.tokenizer, text, err))
        return -1;
    if (passage_text(&s->document, (struct passage){0, length}).length == 0)
        return error_set(err, "%s: holds nothing but white space, expected a text",
                         s->options.file ? s->options.file : "standard input");
    return 0;
}

static int open_all(struct summarizer *s, struct error *err)
{
    if (engine_open(&s->engine, &s->options, err))
        return -1;
    int result = wording_choose(&s->wording, &s->engine, &s->options, err);
    if (result)
        return result;
    if (s->wording.stop)
        s->options.stops.items[s->options.stops.n++] = s->wording.stop;
    if (open_document(s, err) ||
        wording_render(&s->wording, &s->engine, (struct text){"", 0}, &s->empty, err) ||
        engine_open_session(&s->engine, &s->options, &s->session, err))
        return -1;
    result = choose_strategy(s, err);
    return result ? result : announce(s, err);
}

/* What was not written as it came. */
static int write_summary(struct summarizer *s, struct error *err)
{
    if (s->options.json)
        return 0;
    size_t n = arrlenu(s->summary);
    if (!s->streamed && n > 0 && output_text(s->summary, n, err))
        return -1;
    return n > 0 ? output_write("\n", 1, err) : 0;
}

static int run_all(struct summarizer *s, struct error *err)
{
    int result = open_all(s, err);
    if (result)
        return result;
    result = s->strategy == STRATEGY_WHOLE ? summarize_whole(s, err) : summarize_chunks(s, err);
    output_clear(&s->output);
    struct error ignored;
    if (write_summary(s, result ? &ignored : err) || result)
        return -1;
    s->seconds = output_now() - s->started;
    coverage_finish(&s->coverage, s->document.text.length);
    if (summarize_report(s, err))
        return -1;
    return interrupt_seen() ? EXIT_INTERRUPTED : EXIT_OK;
}

static void close_all(struct summarizer *s)
{
    for (ptrdiff_t i = 0; i < arrlen(s->answers); i++)
        arrfree(s->answers[i]);
    arrfree(s->answers);
    arrfree(s->chunks);
    arrfree(s->summary);
    coverage_free(&s->coverage);
    document_close(&s->document);
    free(s->text);
    free(s->reference);
    token_list_free(&s->empty);
    wording_free(&s->wording);
    session_close(&s->session);
    engine_close(&s->engine);
}

int command_summarize(const struct options *options, struct error *err)
{
    struct summarizer s = {.options = *options, .end = ""};
    output_open(&s.output, options);
    s.options.verbose = true; /* the memory of a document is always worth a note */
    s.notices = (struct notices){
        .engine = &s.engine, .session = &s.session, .options = &s.options, .output = &s.output};
    s.estimate.session = &s.session;
    interrupt_watch();
    int code = engine_exit_code(&s.engine, run_all(&s, err));
    close_all(&s);
    return code;
}
