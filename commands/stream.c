/* stream: see stream.h. */
#include "commands/stream.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "commands/array.h"
#include "commands/output.h"

int stream_open(struct stream *stream, const struct tokenizer *tokenizer,
                const struct options *options, bool continues, struct error *err)
{
    *stream = (struct stream){.detokenizer = {.tokenizer = tokenizer, .started = continues},
                              .options = options,
                              .silent = options->json};
    for (int i = 0; i < options->stops.n; i++)
        if (strlen(options->stops.items[i]) > stream->longest_stop)
            stream->longest_stop = strlen(options->stops.items[i]);
    stream->capacity = stream->longest_stop + detokenizer_bound(tokenizer);
    stream->held = malloc(stream->capacity);
    return stream->held ? 0 : error_memory(err, "the output buffer", stream->capacity);
}

void stream_close(struct stream *stream)
{
    free(stream->held);
    arrfree(stream->text);
    *stream = (struct stream){0};
}

/* Lets the first n held bytes go. */
static int release(struct stream *stream, size_t n, struct error *err)
{
    if (n == 0)
        return 0;
    memcpy(arraddnptr(stream->text, n), stream->held, n);
    if (!stream->silent && output_text(stream->held, n, err))
        return -1;
    memmove(stream->held, stream->held + n, stream->n_held - n);
    stream->n_held -= n;
    return 0;
}

/* Where the earliest complete stop text begins in what is held, or n_held. */
static size_t find_stop(const struct stream *stream)
{
    for (size_t at = 0; at < stream->n_held; at++)
        for (int i = 0; i < stream->options->stops.n; i++) {
            size_t length = strlen(stream->options->stops.items[i]);
            if (length <= stream->n_held - at &&
                memcmp(stream->held + at, stream->options->stops.items[i], length) == 0)
                return at;
        }
    return stream->n_held;
}

/* How many bytes at the end of what is held may be the beginning of a stop text. */
static size_t possible_stop(const struct stream *stream)
{
    size_t longest = stream->longest_stop < stream->n_held ? stream->longest_stop : stream->n_held;
    for (size_t length = longest; length > 0; length--)
        for (int i = 0; i < stream->options->stops.n; i++)
            if (length < strlen(stream->options->stops.items[i]) &&
                memcmp(stream->held + stream->n_held - length, stream->options->stops.items[i],
                       length) == 0)
                return length;
    return 0;
}

static void trim(struct stream *stream)
{
    size_t n = 0;
    while (n < stream->n_held && isspace((unsigned char)stream->held[n]))
        n++;
    stream->n_held -= n;
    memmove(stream->held, stream->held + n, stream->n_held);
}

static int flush(struct stream *stream, struct error *err)
{
    if (stream->trimmed && arrlen(stream->text) == 0)
        trim(stream);
    size_t stop = find_stop(stream);
    if (stop < stream->n_held) {
        stream->stopped = true;
        int result = release(stream, stop, err);
        stream->n_held = 0;
        return result;
    }
    return release(stream, stream->n_held - possible_stop(stream), err);
}

int stream_token(struct stream *stream, int32_t id, struct error *err)
{
    stream->n_held += detokenizer_feed(&stream->detokenizer, id, stream->held + stream->n_held);
    return flush(stream, err);
}

int stream_end(struct stream *stream, struct error *err)
{
    if (stream->stopped)
        return 0;
    stream->n_held += detokenizer_end(&stream->detokenizer, stream->held + stream->n_held);
    if (flush(stream, err))
        return -1;
    return release(stream, stream->n_held, err);
}
