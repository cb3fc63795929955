/* generate: see generate.h. */
#include "model/generate.h"

#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Returns 1 when progress says stop. */
static int feed_prompt(struct generate *run, const int32_t *prompt, int64_t n, struct error *err)
{
    for (int64_t i = 0; i < n; i++)
        sampler_accept(run->sampler, prompt[i]);
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

int generate(struct generate *run, const int32_t *prompt, int64_t n, struct error *err)
{
    run->prompt_tokens = 0;
    run->new_tokens = 0;
    run->new_seconds = 0;
    double start = now();
    int stopped = feed_prompt(run, prompt, n, err);
    double prompt_end = now();
    run->prompt_seconds = prompt_end - start;
    if (stopped)
        return stopped < 0 ? -1 : 0;
    int result = 0;
    while (run->max_tokens < 0 || run->new_tokens < run->max_tokens) {
        int32_t id = sampler_next(run->sampler, run->session->logits);
        sampler_accept(run->sampler, id);
        run->new_tokens++;
        if (!run->emit(run->context, id) || run->new_tokens == run->max_tokens)
            break;
        if (session_feed(run->session, &id, 1, NULL, err)) {
            result = -1;
            break;
        }
    }
    run->new_seconds = now() - prompt_end;
    return result;
}
