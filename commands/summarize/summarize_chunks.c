/* summarize_chunks: summaries of passages, and summaries of these. See summarize.h. */
#include <string.h>

#include "commands/array.h"
#include "commands/interrupt.h"
#include "commands/summarize/summarize.h"

enum {
    SAMPLE = 64,      /* passages from all over the text, which are read first */
    OVERLAP_PART = 8, /* of a passage that the next one may repeat */
    LEVEL_SHIFT = 32, /* of the numbers of requests */
};

/* A sample ends before its end after this time, when it has some passages; or after the other, with
 * any: large models are slow. */
enum { SOME = 16 };
static const double some_seconds = 3;
static const double most_seconds = 30;

/* One level: a text, its passages and what is said of them. */
struct level {
    int number;
    struct document document;
    struct passage *passages;   /* array of stb_ds */
    char **answers;             /* array of stb_ds of arrays of stb_ds; NULL: not read */
    struct passage *unseen;     /* array of stb_ds: bytes of each that its answer could not see */
    size_t tokens, tokens_left; /* of the passages: all of them, and those that are not read yet */
};

static void level_close(struct level *level)
{
    for (ptrdiff_t i = 0; i < arrlen(level->answers); i++)
        arrfree(level->answers[i]);
    arrfree(level->answers);
    arrfree(level->unseen);
    arrfree(level->passages);
    if (level->number > 0) /* the first is that of the whole command */
        document_close(&level->document);
}

/* ---- How long it will take ------------------------------------------------------------------- */

static struct load load_left(const struct summarizer *s, const struct level *level, ptrdiff_t done)
{
    double n = (double)arrlen(level->passages);
    double cut = (double)s->n_cut / s->n_requests;
    /* The token that ends an answer stands for the end of its line. */
    double said = (double)(s->new_tokens + s->n_cut) / s->n_requests;
    struct forecast forecast = {.frame = (double)s->empty.n,
                                .filled = (double)level->tokens / n,
                                .said = said,
                                .last = said + cut * (double)(s->summary_tokens - s->part_tokens)};
    struct load load = forecast_levels(&forecast, n);
    load.read += (double)level->tokens_left + (n - (double)done) * forecast.frame;
    load.written += (n - (double)done) * said;
    return load;
}

static void show_progress(struct summarizer *s, const struct level *level, ptrdiff_t done)
{
    double now = output_now();
    double passed = now - s->started;
    bool slow = passed >= most_seconds;
    if (s->n_requests == 0) /* white space */
        return;
    if (s->n_requests == 1 && !slow) {
        s->warm.at = now;
        s->warm.write_seconds = s->write_seconds;
        s->warm.prompt_tokens = s->prompt_tokens;
        s->warm.new_tokens = s->new_tokens;
        return;
    }
    double left = forecast_seconds(s, now, load_left(s, level, done));
    bool sampled = done == SAMPLE || done == arrlen(level->passages) || slow ||
                   (done >= SOME && passed >= some_seconds);
    if (s->estimate.said == 0 && sampled) {
        s->estimate.said = passed + left;
        output_note(&s->output, "this will take about %s", output_duration(passed + left).text);
    }
    output_share(&s->output, "summarizing", passed / (passed + left), left);
}

/* ---- A level --------------------------------------------------------------------------------- */

/* Where in the level's text a stretch of a request's text lies. */
static struct passage place_of(const struct level *level, const struct request *request,
                               struct passage stretch)
{
    size_t before = (size_t)(request->text.bytes - level->document.text.bytes);
    return (struct passage){before + stretch.begin, before + stretch.end};
}

static int ask_passage(struct summarizer *s, struct level *level, ptrdiff_t i, struct error *err)
{
    struct passage passage = level->passages[i];
    struct request request = {.text = passage_text(&level->document, passage),
                              .most = s->part_tokens,
                              .number = ((uint64_t)level->number << LEVEL_SHIFT) + (uint64_t)i};
    level->tokens_left -= document_tokens(&level->document, passage);
    if (request.text.length == 0) /* nothing but white space */
        return 0;
    int result = summarizer_ask(s, &request, err);
    if (result || interrupt_seen()) {
        arrfree(request.answer);
        return result;
    }
    s->n_parts++;
    s->n_cut += strcmp(request.end, "length") == 0;
    level->unseen[i] = place_of(level, &request, request.seen[1]);
    arrput(request.answer, '\n');
    level->answers[i] = request.answer;
    return 0;
}

/* The passage that is read as the i-th while the sample is taken. */
static ptrdiff_t sampled(ptrdiff_t i, ptrdiff_t n)
{
    return i * 27 % SAMPLE * n / SAMPLE; /* any number of them is from all over it */
}

static int ask_all(struct summarizer *s, struct level *level, struct error *err)
{
    ptrdiff_t n = arrlen(level->passages);
    ptrdiff_t done = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        level->tokens += document_tokens(&level->document, level->passages[i]);
    level->tokens_left = level->tokens;
    memset(arraddnptr(level->unseen, (size_t)n), 0, (size_t)n * sizeof *level->unseen);
    memset(arraddnptr(level->answers, (size_t)n), 0, (size_t)n * sizeof *level->answers);
    bool sample = level->number == 0 && n >= 2 * SAMPLE;
    for (ptrdiff_t i = 0; sample && i < SAMPLE && !interrupt_seen(); i++) {
        if (s->estimate.said > 0)
            break;
        if (ask_passage(s, level, sampled(i, n), err))
            return -1;
        show_progress(s, level, ++done);
    }
    for (ptrdiff_t i = 0; i < n && !interrupt_seen(); i++) {
        if (level->answers[i])
            continue;
        if (ask_passage(s, level, i, err))
            return -1;
        show_progress(s, level, ++done);
    }
    output_clear(&s->output);
    return 0;
}

/* What was said of the passages, one after the other; an array of stb_ds. */
static char *join(const struct level *level)
{
    char *text = NULL;
    for (ptrdiff_t i = 0; i < arrlen(level->answers); i++)
        if (arrlen(level->answers[i]) > 1) /* the end of its line */
            memcpy(arraddnptr(text, arrlenu(level->answers[i])), level->answers[i],
                   arrlenu(level->answers[i]));
    while (arrlen(text) > 0 && arrlast(text) == '\n')
        (void)arrpop(text);
    return text;
}

/* ---- All levels ------------------------------------------------------------------------------ */

/* The last request, or the only one. */
static int ask_last(struct summarizer *s, struct level *level, char **text, struct error *err)
{
    struct request request = {.text = passage_text(&level->document, level->passages[0]),
                              .most = s->summary_tokens,
                              .number = (uint64_t)level->number << LEVEL_SHIFT,
                              .last = true};
    int result = summarizer_ask(s, &request, err);
    s->summary = request.answer;
    s->end = request.end;
    s->streamed = arrlen(s->summary) > 0;
    if (interrupt_seen() && !s->streamed) { /* rather what it is a summary of */
        s->summary = *text;
        *text = NULL;
    }
    if (level->number == 0 && request.read) {
        coverage_add(&s->coverage, level->passages[0]);
        coverage_hide(&s->coverage, place_of(level, &request, request.seen[1]));
    }
    return result;
}

/* What the first level read: kept for the report. */
static void keep_chunks(struct summarizer *s, struct level *level)
{
    for (ptrdiff_t i = 0; i < arrlen(level->passages); i++)
        if (level->answers[i]) {
            coverage_add(&s->coverage, level->passages[i]);
            coverage_hide(&s->coverage, level->unseen[i]);
        }
    s->chunks = level->passages;
    s->answers = level->answers;
    level->passages = NULL;
    level->answers = NULL;
}

/* One level; 1: another one follows, whose text is *text. */
static int run_level(struct summarizer *s, struct level *level, char **text, struct error *err)
{
    level->passages =
        passages_cut(&level->document, s->most, level->number == 0 ? s->most / OVERLAP_PART : 0);
    s->levels = level->number + 1;
    if (arrlen(level->passages) == 1)
        return ask_last(s, level, text, err);
    int result = ask_all(s, level, err);
    char *said = join(level);
    if (level->number == 0)
        keep_chunks(s, level);
    struct document next;
    struct text words = {said, arrlenu(said)};
    s->summary = said;
    if (result || interrupt_seen()) { /* what is done is not lost */
        s->end = "interrupted";
        if (arrlen(said) == 0 && *text) { /* nothing of this level yet: all of the one before */
            arrfree(said);
            s->summary = *text;
            *text = NULL;
        }
        return result;
    }
    s->end = "end of text";
    if (words.length == 0)
        return 0;
    if (document_open(&next, s->engine.tokenizer, words, err))
        return -1;
    bool shorter =
        next.ids.n <= level->document.ids.n * SHORTER / 100; /* or there is no end to levels */
    if (!shorter) {
        s->end = "not shorter";
        document_close(&next);
        return 0;
    }
    s->summary = NULL;
    arrfree(*text);
    *text = said;
    struct level following = {.number = level->number + 1, .document = next};
    level_close(level);
    *level = following;
    return 1;
}

int summarize_chunks(struct summarizer *s, struct error *err)
{
    struct level level = {.document = s->document};
    char *text = NULL;
    int result;
    s->started = output_now();
    s->warm.at = s->started;
    do
        result = run_level(s, &level, &text, err);
    while (result == 1);
    level_close(&level);
    arrfree(text);
    return result;
}
