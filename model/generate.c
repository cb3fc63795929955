/* generate: see generate.h. */
#include "model/generate.h"

#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Tells all who watch the text of its next token. */
static void accept(struct generate *run, int32_t id)
{
    sampler_accept(run->sampler, id);
    if (run->lookup)
        lookup_add(run->lookup, id);
}

/* Returns 1 when progress says stop. */
static int feed_prompt(struct generate *run, const int32_t *prompt, int64_t n, struct error *err)
{
    for (int64_t i = 0; i < n; i++)
        accept(run, prompt[i]);
    session_expect(run->session, n);
    while (run->prompt_tokens < n) {
        int64_t left = n - run->prompt_tokens;
        int64_t batch = left < SESSION_BATCH ? left : SESSION_BATCH;
        if (session_feed(run->session, prompt + run->prompt_tokens, batch, NULL, err))
            return -1;
        run->prompt_tokens += batch;
        if (run->progress && !run->progress(run->context, run->prompt_tokens, n))
            return 1;
    }
    return 0;
}

/* Guesses that the session holds already, not drawn yet. */
struct ahead {
    int32_t ids[LOOKUP_DRAFT];
    int begin;
    int end;
};

/* Feeds `id`, and behind it what may come next where that can be taken back. *logits are those that
 * the next token is drawn from; those of every guess follow. */
static int feed(struct generate *run, int32_t id, struct ahead *ahead, const float **logits,
                struct error *err)
{
    struct session *session = run->session;
    int64_t left = run->max_tokens < 0 ? INT64_MAX : run->max_tokens - run->new_tokens;
    ahead->begin = 0;
    ahead->end = run->lookup ? lookup_draft(run->lookup, left - 1, ahead->ids) : 0;
    if (ahead->end > 0 && session_can_return(session, 1 + ahead->end)) {
        int32_t batch[1 + LOOKUP_DRAFT] = {id};
        struct error ignored;
        memcpy(batch + 1, ahead->ids, (size_t)ahead->end * sizeof *batch);
        *logits = run->lookup->logits;
        if (session_feed(session, batch, 1 + ahead->end, run->lookup->logits, &ignored) == 0) {
            run->guessed_tokens += ahead->end;
            return 0;
        }
        /* Memory, or the end of a table of positions: perhaps there is room for one. */
    }
    ahead->end = 0;
    *logits = session->logits;
    return session_feed(session, &id, 1, NULL, err);
}

/* Takes the guesses back that have not been drawn; the logits of the last token are `logits`. */
static int take_back(struct session *session, struct ahead *ahead, const float *logits,
                     struct error *err)
{
    int64_t n = session->position - (ahead->end - ahead->begin);
    ahead->begin = ahead->end;
    if (logits != session->logits)
        memcpy(session->logits, logits, (size_t)session->model->config.vocab_size * sizeof *logits);
    return n < session->position ? session_truncate(session, n, err) : 0;
}

static int continue_text(struct generate *run, struct error *err)
{
    size_t vocab_size = (size_t)run->session->model->config.vocab_size;
    const float *logits = run->session->logits;
    struct ahead ahead = {.end = 0};
    while (run->max_tokens < 0 || run->new_tokens < run->max_tokens) {
        int32_t id = sampler_next(run->sampler, logits);
        accept(run, id);
        run->new_tokens++;
        bool guessed = ahead.begin < ahead.end && ahead.ids[ahead.begin] == id;
        run->accepted_tokens += guessed;
        bool more = run->emit(run->context, id) && run->new_tokens != run->max_tokens;
        if (more && guessed) {
            ahead.begin++;
            logits += vocab_size;
            continue;
        }
        if (take_back(run->session, &ahead, logits, err))
            return -1;
        if (!more)
            break;
        if (feed(run, id, &ahead, &logits, err))
            return -1;
    }
    return 0;
}

int generate(struct generate *run, const int32_t *prompt, int64_t n, struct error *err)
{
    run->prompt_tokens = 0;
    run->new_tokens = 0;
    run->guessed_tokens = 0;
    run->accepted_tokens = 0;
    run->new_seconds = 0;
    double start = now();
    int stopped = feed_prompt(run, prompt, n, err);
    double prompt_end = now();
    run->prompt_seconds = prompt_end - start;
    if (stopped)
        return stopped < 0 ? -1 : 0;
    int result = continue_text(run, err);
    run->new_seconds = now() - prompt_end;
    return result;
}
