/* summarize_ask: one request, from the text to the answer. See summarize.h. */
#include <ctype.h>
#include <stdlib.h>

#include "base/size.h"
#include "commands/array.h"
#include "commands/interrupt.h"
#include "commands/stream.h"
#include "commands/summarize/summarize.h"
#include "tokenizer/utf8.h"

struct asking {
    struct summarizer *s;
    struct request *request;
    struct token_list ids;
    size_t head; /* tokens before the text */
    struct sampler sampler;
    struct lookup lookup;
    struct stream stream;
    struct generate run;
    struct error *err;
    bool failed;
};

static bool on_progress(void *context, int64_t done, int64_t total)
{
    struct asking *asking = context;
    struct summarizer *s = asking->s;
    if (s->strategy == STRATEGY_WHOLE)
        estimate_progress(&s->estimate, &s->output, done);
    else if (s->estimate.said == 0) /* of a large model even one chunk takes its time */
        output_progress(&s->output, "tokens of a chunk", done, total);
    return !interrupt_seen();
}

static bool on_token(void *context, int32_t id)
{
    struct asking *asking = context;
    struct summarizer *s = asking->s;
    struct request *request = asking->request;
    if (tokenizer_is_end(s->engine.tokenizer, id)) {
        request->end = "end of text";
        return false;
    }
    notices_watch(&s->notices, asking->run.prompt_tokens + asking->run.new_tokens,
                  request->last && arrlen(asking->stream.text) > 0);
    asking->failed = stream_token(&asking->stream, id, asking->err) != 0;
    if (asking->stream.stopped)
        request->end = "stop text";
    return !asking->failed && !asking->stream.stopped && !interrupt_seen();
}

/* What of the text was read, and what of it no later token sees. */
static int find_seen(struct asking *asking, struct error *err)
{
    struct request *request = asking->request;
    size_t n = asking->ids.n - asking->head;
    size_t *ends = size_alloc(n, sizeof *ends);
    if (!ends)
        return error_memory(err, "the ends of tokens", n * sizeof *ends);
    document_spell(asking->s->engine.tokenizer, asking->ids.ids + asking->head, n, request->text,
                   ends);
    int64_t range[3];
    range[2] = asking->run.prompt_tokens;
    notices_left(&asking->s->engine, range[2], &range[0], &range[1]);
    size_t bytes[3];
    for (int i = 0; i < 3; i++) {
        int64_t tokens = range[i] - (int64_t)asking->head;
        bytes[i] = tokens > 0 ? ends[(size_t)tokens > n ? n - 1 : (size_t)tokens - 1] : 0;
        while (bytes[i] < request->text.length && bytes[i] > 0 &&
               ((unsigned char)request->text.bytes[bytes[i]] & 0xC0) == 0x80)
            bytes[i]--; /* a character that is not complete */
    }
    free(ends);
    request->seen[0] = (struct passage){0, bytes[2]};
    request->seen[1] = (struct passage){bytes[0], bytes[1] > bytes[0] ? bytes[1] : bytes[0]};
    return 0;
}

static int open_all(struct asking *asking, struct error *err)
{
    struct summarizer *s = asking->s;
    struct request *request = asking->request;
    int vocab_size = s->engine.model.config.vocab_size;
    struct sampler_options sampling = s->options.sampler;
    sampling.seed += request->number; /* whatever was asked before */
    if (wording_render(&s->wording, &s->engine, request->text, &asking->ids, err) ||
        session_truncate(&s->session, 0, err) ||
        sampler_open(&asking->sampler, &sampling, vocab_size, err) ||
        (!s->options.no_lookup && lookup_open(&asking->lookup, vocab_size, err)) ||
        stream_open(&asking->stream, s->engine.tokenizer, &s->options, true, err))
        return -1;
    asking->stream.trimmed = true;
    asking->stream.silent = s->options.json || !request->last;
    while (asking->head < asking->ids.n && asking->head < s->empty.n &&
           asking->ids.ids[asking->head] == s->empty.ids[asking->head])
        asking->head++;
    if (asking->head == asking->ids.n) /* there is no text */
        asking->head--;
    return 0;
}

static int run(struct asking *asking, struct error *err)
{
    struct summarizer *s = asking->s;
    struct request *request = asking->request;
    int64_t n = (int64_t)asking->ids.n;
    int64_t room = request->most;
    int64_t left = (int64_t)s->limit - n; /* of what was trained, say */
    /* The text is cut by its own tokens; in the request they may be a few more. */
    if (s->strategy == STRATEGY_CHUNKS || left >= s->part_tokens)
        room = left < 1 ? 1 : left < room ? left : room;
    notices_watch(&s->notices, n, false);
    asking->run = (struct generate){.session = &s->session,
                                    .sampler = &asking->sampler,
                                    .lookup = s->options.no_lookup ? NULL : &asking->lookup,
                                    .max_tokens = room,
                                    .progress = on_progress,
                                    .emit = on_token,
                                    .context = asking};
    request->end = "length";
    if (s->strategy == STRATEGY_WHOLE)
        estimate_begin(&s->estimate, n, room);
    if (generate(&asking->run, asking->ids.ids, n, err))
        return -1;
    if (interrupt_seen() && !asking->failed)
        request->end = "interrupted";
    if (asking->failed)
        return -1;
    request->read = asking->run.prompt_tokens == n;
    return stream_end(&asking->stream, err) || find_seen(asking, err) ? -1 : 0;
}

int summarizer_ask(struct summarizer *s, struct request *request, struct error *err)
{
    struct asking asking = {.s = s, .request = request, .err = err};
    int result = open_all(&asking, err) || run(&asking, err) ? -1 : 0;
    s->n_requests++;
    s->prompt_tokens += asking.run.prompt_tokens;
    s->new_tokens += asking.run.new_tokens;
    s->read_seconds += asking.run.prompt_seconds;
    s->write_seconds += asking.run.new_seconds;
    size_t memory = session_bytes(&s->session);
    s->memory = memory > s->memory ? memory : s->memory;
    request->answer = asking.stream.text;
    asking.stream.text = NULL;
    while (arrlen(request->answer) > 0 && isspace((unsigned char)arrlast(request->answer)))
        (void)arrpop(request->answer);
    stream_close(&asking.stream);
    lookup_close(&asking.lookup);
    sampler_close(&asking.sampler);
    token_list_free(&asking.ids);
    return result;
}
