/* summarize_report: what was read, and what it took; for people and as JSON. See summarize.h. */
#include <stdio.h>

#include "commands/array.h"
#include "commands/summarize/summarize.h"

static size_t tokens(const struct summarizer *s, const struct passage *passages)
{
    size_t n = 0;
    for (ptrdiff_t i = 0; i < arrlen(passages); i++)
        n += document_tokens(&s->document, passages[i]);
    return n;
}

/* ---- Notes ----------------------------------------------------------------------------------- */

static void note_passages(struct summarizer *s, const char *what, const struct passage *passages)
{
    enum { SHOWN = 8 };
    if (arrlen(passages) == 0)
        return;
    char list[SHOWN * 48] = "";
    size_t used = 0;
    for (ptrdiff_t i = 0; i < arrlen(passages) && i < SHOWN; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%zu to %zu", i > 0 ? ", " : "",
                                 passages[i].begin, passages[i].end);
    output_note(&s->output, "%s %zu bytes, %zu tokens: bytes %s%s", what, coverage_bytes(passages),
                tokens(s, passages), list, arrlen(passages) > SHOWN ? ", ..." : "");
}

static void note_rouge(struct summarizer *s, const struct rouge scores[3])
{
    static const char *const names[] = {"ROUGE-1", "ROUGE-2", "ROUGE-L"};
    for (int i = 0; i < 3; i++)
        output_note(&s->output, "%s: precision %.4f, recall %.4f, F1 %.4f%s", names[i],
                    scores[i].precision, scores[i].recall, scores[i].f1,
                    i == 0 ? " (lower case, no stemming)" : "");
}

static void note_all(struct summarizer *s)
{
    note_passages(s, "read", s->coverage.read);
    note_passages(s, "skipped", s->coverage.skipped);
    note_passages(s, "out of sight when the answer was written:", s->coverage.unseen);
    if (s->n_cut > 0)
        output_note(&s->output, "%d of %d summaries of chunks end at %lld tokens (-n)", s->n_cut,
                    s->n_parts, (long long)s->part_tokens);
    output_note(&s->output,
                "ended: %s; %d chunks, %d levels; prompt %lld tokens, %.1f tokens/s; new %lld "
                "tokens, %.1f tokens/s; %s; %s beyond the weights",
                s->end, (int)arrlen(s->chunks), s->levels, (long long)s->prompt_tokens,
                output_speed(s->prompt_tokens, s->read_seconds), (long long)s->new_tokens,
                output_speed(s->new_tokens, s->write_seconds), output_duration(s->seconds).text,
                output_size((double)s->memory).text);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void add_text(cJSON *object, const char *name, const char *bytes, size_t n)
{
    char *text = NULL;
    if (n > 0)
        memcpy(arraddnptr(text, n), bytes, n);
    arrput(text, '\0');
    cJSON_AddStringToObject(object, name, text);
    arrfree(text);
}

static void add_passages(const struct summarizer *s, cJSON *object, const char *name,
                         const struct passage *passages)
{
    cJSON *item = cJSON_AddObjectToObject(object, name);
    cJSON_AddNumberToObject(item, "bytes", (double)coverage_bytes(passages));
    cJSON_AddNumberToObject(item, "tokens", (double)tokens(s, passages));
    cJSON *ranges = cJSON_AddArrayToObject(item, "ranges");
    for (ptrdiff_t i = 0; i < arrlen(passages); i++) {
        double range[] = {(double)passages[i].begin, (double)passages[i].end};
        cJSON_AddItemToArray(ranges, cJSON_CreateDoubleArray(range, 2));
    }
}

static void add_parts(const struct summarizer *s, cJSON *object)
{
    cJSON *parts = cJSON_AddArrayToObject(object, "parts");
    for (ptrdiff_t i = 0; i < arrlen(s->answers); i++) {
        if (!s->answers[i])
            continue;
        cJSON *part = cJSON_CreateObject();
        cJSON_AddNumberToObject(part, "from", (double)s->chunks[i].begin);
        cJSON_AddNumberToObject(part, "to", (double)s->chunks[i].end);
        add_text(part, "summary", s->answers[i], arrlenu(s->answers[i]) - 1);
        cJSON_AddItemToArray(parts, part);
    }
}

static void add_rouge(cJSON *object, const struct rouge scores[3])
{
    static const char *const names[] = {"rouge1", "rouge2", "rougeL"};
    cJSON *rouge = cJSON_AddObjectToObject(object, "rouge");
    for (int i = 0; i < 3; i++) {
        cJSON *item = cJSON_AddObjectToObject(rouge, names[i]);
        cJSON_AddNumberToObject(item, "precision", scores[i].precision);
        cJSON_AddNumberToObject(item, "recall", scores[i].recall);
        cJSON_AddNumberToObject(item, "f1", scores[i].f1);
    }
}

static void add_work(const struct summarizer *s, cJSON *object)
{
    bool whole = s->strategy == STRATEGY_WHOLE;
    cJSON_AddStringToObject(object, "strategy", whole ? "whole" : "chunks");
    cJSON_AddStringToObject(object, "wording", s->wording.name);
    if (s->options.question)
        cJSON_AddStringToObject(object, "question", s->options.question);
    cJSON_AddNumberToObject(object, "bytes", (double)s->document.text.length);
    cJSON_AddNumberToObject(object, "tokens", (double)s->document.ids.n);
    add_passages(s, object, "read", s->coverage.read);
    add_passages(s, object, "skipped", s->coverage.skipped);
    add_passages(s, object, "unseen", s->coverage.unseen);
    cJSON_AddNumberToObject(object, "bytes_read_twice", (double)s->coverage.twice);
    cJSON_AddNumberToObject(object, "levels", s->levels);
    cJSON_AddNumberToObject(object, "requests", s->n_requests);
    cJSON_AddNumberToObject(object, "cut_parts", s->n_cut);
    if (!whole) {
        cJSON_AddNumberToObject(object, "chunk_tokens", (double)s->limit);
        add_parts(s, object);
    }
    cJSON_AddNumberToObject(object, "prompt_tokens", (double)s->prompt_tokens);
    cJSON_AddNumberToObject(object, "new_tokens", (double)s->new_tokens);
    if (s->estimate.said > 0)
        cJSON_AddNumberToObject(object, "estimated_seconds", s->estimate.said);
    cJSON_AddNumberToObject(object, "seconds", s->seconds);
    cJSON_AddNumberToObject(object, "prompt_seconds", s->read_seconds);
    cJSON_AddNumberToObject(object, "new_seconds", s->write_seconds);
    cJSON_AddNumberToObject(object, "memory_bytes", (double)s->memory);
}

static int write_json(const struct summarizer *s, const struct rouge *scores, struct error *err)
{
    cJSON *object = cJSON_CreateObject();
    add_text(object, "summary", s->summary, arrlenu(s->summary));
    cJSON_AddStringToObject(object, "end", s->end);
    add_work(s, object);
    if (scores)
        add_rouge(object, scores);
    char seed[32]; /* a JSON number would lose the low bits */
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)s->options.sampler.seed);
    cJSON_AddStringToObject(object, "seed", seed);
    notices_json(&s->notices, object);
    return output_json(object, err);
}

int summarize_report(struct summarizer *s, struct error *err)
{
    struct rouge scores[3];
    struct text summary = {s->summary ? s->summary : "", arrlenu(s->summary)};
    struct text reference = {s->reference, s->reference_length};
    if (s->reference && rouge_score(summary, reference, scores, err))
        return -1;
    note_all(s);
    if (s->reference)
        note_rouge(s, scores);
    return s->options.json ? write_json(s, s->reference ? scores : NULL, err) : 0;
}
