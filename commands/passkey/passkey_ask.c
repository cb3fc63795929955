/* passkey_ask: puts a prompt to the model and judges its answer. See passkey.h.
 *
 * Lengths and depths rise, so that a prompt begins like the one before it up to the needle, and
 * that part stays in the cache. */
#include <string.h>

#include "base/size.h"
#include "commands/interrupt.h"
#include "commands/passkey/passkey.h"

int asker_open(struct asker *asker, const struct engine *engine, const struct options *options,
               struct error *err)
{
    size_t bytes = detokenizer_bound(engine->tokenizer);
    *asker = (struct asker){.engine = engine, .options = options, .piece = size_alloc(bytes, 1)};
    return asker->piece ? 0 : error_memory(err, "answers", bytes);
}

void asker_close(struct asker *asker)
{
    session_close(&asker->session);
    token_list_free(&asker->fed);
    free(asker->piece);
    *asker = (struct asker){0};
}

static int32_t likeliest(const struct session *session)
{
    int best = 0;
    for (int i = 1; i < session->model->config.vocab_size; i++)
        if (session->logits[i] > session->logits[best])
            best = i;
    return best;
}

static int feed(struct asker *asker, const int32_t *ids, int64_t n, struct error *err)
{
    for (int64_t i = 0; i < n; i++)
        if (token_list_add(&asker->fed, ids[i], err))
            return -1;
    if (session_feed(&asker->session, ids, n, NULL, err) == 0)
        return 0;
    asker->fed.n = 0; /* what it holds is no longer certain */
    return -1;
}

/* Takes the session back to what it has in common with the prompt, or to a new one where the policy
 * has let go of keys since. Returns the tokens in common, or -1. */
static int64_t go_back(struct asker *asker, const struct token_list *ids, struct error *err)
{
    size_t common = 0;
    while (common + 1 < ids->n && common < asker->fed.n &&
           ids->ids[common] == asker->fed.ids[common])
        common++;
    struct error ignored;
    if (asker->session.model && common > 0 &&
        session_truncate(&asker->session, (int64_t)common, &ignored) == 0) {
        asker->fed.n = common;
        return (int64_t)common;
    }
    session_close(&asker->session);
    asker->fed.n = 0;
    return engine_open_session(asker->engine, asker->options, &asker->session, err);
}

static int feed_prompt(struct asker *asker, const struct token_list *ids, struct error *err)
{
    int64_t done = go_back(asker, ids, err);
    if (done < 0)
        return -1;
    int64_t n = (int64_t)ids->n;
    session_expect(&asker->session, n - done);
    while (done < n && !interrupt_seen()) {
        int64_t batch = n - done < SESSION_BATCH ? n - done : SESSION_BATCH;
        if (feed(asker, ids->ids + done, batch, err))
            return -1;
        done += batch;
    }
    return 0;
}

/* Whether the answer is decided: 1 right, 0 wrong, -1 not yet. White space before it is allowed,
 * and a longer number is another. */
static int judge(const char *answer, const char *key, bool ended)
{
    answer += strspn(answer, " \t\r\n");
    size_t n = strlen(answer);
    size_t wanted = strlen(key);
    if (strncmp(answer, key, n < wanted ? n : wanted) != 0)
        return 0;
    if (n > wanted)
        return answer[wanted] < '0' || answer[wanted] > '9';
    return ended ? n == wanted : -1;
}

static int take_answer(struct asker *asker, const char *key, struct answer *answer,
                       struct error *err)
{
    const struct tokenizer *tokenizer = asker->engine->tokenizer;
    struct detokenizer stream = {.tokenizer = tokenizer, .started = true};
    size_t length = 0;
    int decided = -1;
    for (int i = 0; decided < 0 && !interrupt_seen(); i++) {
        int32_t id = likeliest(&asker->session);
        bool ended = tokenizer_is_end(tokenizer, id);
        size_t n = ended ? 0 : detokenizer_feed(&stream, id, asker->piece);
        if (n < sizeof answer->text - length) {
            memcpy(answer->text + length, asker->piece, n);
            length += n;
        } else {
            ended = true;
        }
        answer->text[length] = '\0';
        ended = ended || i + 1 == ANSWER_TOKENS;
        decided = judge(answer->text, key, ended);
        if (decided < 0 && feed(asker, &id, 1, err))
            return -1;
    }
    answer->right = decided == 1;
    return 0;
}

int asker_ask(struct asker *asker, const struct token_list *ids, const char *key,
              struct answer *answer, struct error *err)
{
    *answer = (struct answer){0};
    return feed_prompt(asker, ids, err) || take_answer(asker, key, answer, err) ? -1 : 0;
}
