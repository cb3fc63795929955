/* endurance: whether a session with sinks goes on for ever: the same memory, speed, loss and keys
 * after a million tokens as after a thousand.
 *
 * usage: endurance MODEL N_GENERATE N_SCORE [--csv FILE]
 * Generates, then scores novels (data/novels/test under LONGHAND_SHARED), then starts afresh near
 * their end, which must give what the long run gave there. Ends with 1 where a bound is broken;
 * time is only shown. Rows are added to the CSV file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/endurance_input.h"
#include "tests/endurance_keys.h"

enum { TENTHS = 10, SINKS = 4 };

/* What is said of every tenth of a phase. */
struct tenth {
    int64_t tokens;
    double seconds;
    double loss;  /* sum over the tokens */
    size_t bytes; /* most that the session held after a feed */
};

struct endurance {
    struct input input;
    struct session_options options;
    int64_t window;
    int64_t n_score; /* < input.text.n */
    float *losses;   /* (n_score): of token t + 1 after token t */
    float *logits;   /* (SESSION_BATCH, vocab_size) scratch */
    FILE *csv;
    size_t n_keys; /* numbers of cached keys that were read twice */
    size_t n_changed;
    bool broken;
};

static void bound(struct endurance *run, bool kept, const char *what)
{
    if (!kept)
        printf("  BROKEN: %s\n", what);
    run->broken = run->broken || !kept;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static const char *kv_name(const struct endurance *run)
{
    return format_info[run->options.kv].name;
}

/* --- rows ------------------------------------------------------------------------------------- */

static void print_head(const struct endurance *run, const char *phase)
{
    printf("%s, %s cache, sinks=%d,window=%lld: %s\n", run->input.name, kv_name(run), SINKS,
           (long long)run->window, phase);
    printf("  tenth    tokens  tokens/s      bytes    loss  key norm\n");
}

static void print_tenth(struct endurance *run, const struct session *session, const char *phase,
                        int i, const struct tenth *tenth)
{
    int n_layers = run->input.model.config.n_layers;
    double *norms = endurance_alloc((size_t)n_layers, sizeof *norms);
    double norm = 0;
    endurance_keys_norms(session, norms);
    for (int layer = 0; layer < n_layers; layer++)
        norm += norms[layer] / n_layers;
    free(norms);
    double speed = (double)tenth->tokens / tenth->seconds;
    double loss = tenth->loss / (double)tenth->tokens;
    printf("  %5d %9lld %9.0f %10zu %7.4f %9.4f\n", i + 1, (long long)session->position, speed,
           tenth->bytes, loss, norm);
    fflush(stdout);
    if (run->csv)
        fprintf(run->csv, "%s,%s,%s,%d,%lld,%.1f,%zu,%.6f,%.6f\n", run->input.name, kv_name(run),
                phase, i + 1, (long long)session->position, speed, tenth->bytes, loss, norm);
}

/* Nothing grows once the first tenth has filled the window. */
static void check_bytes(struct endurance *run, const struct tenth *tenths)
{
    for (int i = 2; i < TENTHS; i++)
        bound(run, tenths[i].bytes == tenths[1].bytes, "memory is not constant");
}

/* Keys are the ones that were stored, bit for bit. */
static void check_keys(struct endurance *run, const struct session *session, int64_t begin,
                       int64_t n, const float *stored)
{
    size_t size = (size_t)n * endurance_keys_size(&run->input.model);
    size_t before = run->n_changed;
    float *keys = endurance_alloc(size, sizeof *keys);
    endurance_keys_read(session, begin, n, keys);
    for (size_t i = 0; i < size; i++)
        run->n_changed += memcmp(&keys[i], &stored[i], sizeof *keys) != 0;
    run->n_keys += size;
    bound(run, run->n_changed == before, "stored keys have changed");
    free(keys);
}

/* --- phases ----------------------------------------------------------------------------------- */

/* -ln p(id); the logits are lost. */
static double loss_of(const struct endurance *run, float *logits, int32_t id)
{
    const struct kernels *k = &run->input.model.kernels;
    size_t n = (size_t)run->input.model.config.vocab_size;
    float max = k->max(logits, n);
    float logit = logits[id];
    return log((double)k->exp_sum(logits, n, max)) + (double)max - (double)logit;
}

static void generate_text(struct endurance *run, int64_t n)
{
    struct error err;
    struct session session;
    struct sampler sampler;
    struct tenth tenths[TENTHS] = {0};
    size_t vocab_size = (size_t)run->input.model.config.vocab_size;
    float *sinks = endurance_alloc(SINKS * endurance_keys_size(&run->input.model), sizeof *sinks);
    endurance_demand(session_open(&session, &run->input.model, &run->options, &err), &err);
    endurance_demand(sampler_open(&sampler, &sampler_defaults, (int)vocab_size, &err), &err);
    int32_t id = tokenizer_bos(run->input.tokenizer);
    id = id < 0 ? 0 : id;
    print_head(run, "generate");
    for (int64_t i = 0; i < n; i++) {
        struct tenth *tenth = &tenths[i / (n / TENTHS)];
        double start = now();
        endurance_demand(session_feed(&session, &id, 1, NULL, &err), &err);
        id = sampler_next(&sampler, session.logits);
        tenth->seconds += now() - start;
        memcpy(run->logits, session.logits, vocab_size * sizeof *session.logits);
        tenth->loss += loss_of(run, run->logits, id);
        tenth->tokens++;
        size_t bytes = session_bytes(&session);
        tenth->bytes = bytes > tenth->bytes ? bytes : tenth->bytes;
        if (i + 1 == SINKS)
            endurance_keys_read(&session, 0, SINKS, sinks);
        if ((i + 1) % (n / TENTHS) == 0)
            print_tenth(run, &session, "generate", (int)(tenth - tenths), tenth);
    }
    check_bytes(run, tenths);
    check_keys(run, &session, 0, SINKS, sinks);
    sampler_close(&sampler);
    session_close(&session);
    free(sinks);
}

/* Feeds ids[n], in batches, and says what each says of the one after it. */
static void score(struct endurance *run, struct session *session, const int32_t *ids, int64_t n,
                  float *losses, struct tenth *tenth)
{
    struct error err;
    size_t vocab_size = (size_t)run->input.model.config.vocab_size;
    for (int64_t done = 0; done < n;) {
        int64_t batch = n - done < SESSION_BATCH ? n - done : SESSION_BATCH;
        double start = now();
        endurance_demand(session_feed(session, ids + done, batch, run->logits, &err), &err);
        tenth->seconds += now() - start;
        size_t bytes = session_bytes(session);
        tenth->bytes = bytes > tenth->bytes ? bytes : tenth->bytes;
        for (int64_t t = done; t < done + batch; t++) {
            float *logits = run->logits + (size_t)(t - done) * vocab_size;
            losses[t] = (float)loss_of(run, logits, ids[t + 1]);
            tenth->loss += (double)losses[t];
        }
        tenth->tokens += batch;
        done += batch;
    }
}

/* The end of a text: what each of its last tokens cost, and its keys. */
struct ending {
    int64_t position; /* of its end */
    float *losses;    /* (4 * window) */
    double *norms;    /* (n_layers) */
};

static struct ending ending_new(const struct endurance *run)
{
    return (struct ending){
        .losses = endurance_alloc(4 * (size_t)run->window, sizeof(float)),
        .norms = endurance_alloc((size_t)run->input.model.config.n_layers, sizeof(double)),
    };
}

static void ending_free(struct ending *ending)
{
    free(ending->losses);
    free(ending->norms);
}

/* A text that has the sinks of the long run and then only its last tokens: `lead`, which see others
 * than they did there, and those of `ending`, which do not. */
static void start_afresh(struct endurance *run, int64_t lead, struct ending *ending)
{
    struct error err;
    struct session session;
    struct tenth ignored = {0};
    int64_t n = SINKS + lead + 4 * run->window;
    int64_t oldest = n - run->window + 1; /* that the window has at the end */
    const int32_t *ids = run->input.text.ids + run->n_score - n; /* but for the sinks */
    float *losses = endurance_alloc((size_t)n, sizeof *losses);
    float *stored = endurance_alloc(endurance_keys_size(&run->input.model), sizeof *stored);
    endurance_demand(session_open(&session, &run->input.model, &run->options, &err), &err);
    score(run, &session, run->input.text.ids, SINKS, losses, &ignored);
    score(run, &session, ids + SINKS, oldest + 1 - SINKS, losses + SINKS, &ignored);
    endurance_keys_read(&session, oldest, 1, stored);
    score(run, &session, ids + oldest + 1, n - oldest - 1, losses + oldest + 1, &ignored);
    check_keys(run, &session, oldest, 1, stored);
    memcpy(ending->losses, losses + SINKS + lead, 4 * (size_t)run->window * sizeof *losses);
    endurance_keys_norms(&session, ending->norms);
    ending->position = n;
    session_close(&session);
    free(losses);
    free(stored);
}

/* How far two endings are from each other. */
struct distance {
    double largest; /* losses */
    double mean;
    double norms; /* relative, of the worst layer */
};

static struct distance measure(const struct endurance *run, const struct ending *a,
                               const struct ending *b)
{
    struct distance distance = {0};
    int64_t n = 4 * run->window;
    for (int64_t t = 0; t < n; t++) {
        double off = fabs((double)a->losses[t] - (double)b->losses[t]);
        distance.largest = fmax(distance.largest, off);
        distance.mean += off / (double)n;
    }
    for (int layer = 0; layer < run->input.model.config.n_layers; layer++)
        distance.norms = fmax(distance.norms, fabs(a->norms[layer] / b->norms[layer] - 1));
    return distance;
}

/* The end of the long run is as near to a fresh start as two fresh starts at other places are to
 * each other: keys of other places are rounded otherwise in the cache, and so are the activations
 * that integer kernels round to 8 bits, but no more so after a million tokens. */
static void compare_afresh(struct endurance *run, const struct session *session)
{
    /* A token hears of no more than n_layers windows; twice that leaves no doubt. */
    int64_t lead = 2 * run->input.model.config.n_layers * run->window;
    int64_t longer = lead + CACHE_BLOCK / 2 + 1;
    int64_t first = run->n_score - 4 * run->window;
    if (first < SINKS + longer) {
        printf("  too short to start afresh\n");
        return;
    }
    struct ending long_run = ending_new(run), fresh = ending_new(run), other = ending_new(run);
    memcpy(long_run.losses, run->losses + first, 4 * (size_t)run->window * sizeof(float));
    endurance_keys_norms(session, long_run.norms);
    start_afresh(run, lead, &fresh);
    start_afresh(run, longer, &other);
    struct distance found = measure(run, &long_run, &fresh);
    struct distance usual = measure(run, &other, &fresh);
    printf("  last %lld tokens, against a fresh start of %lld: losses off by %.1e (at most %.1e), "
           "norms by %.1e\n",
           (long long)(4 * run->window), (long long)fresh.position, found.mean, found.largest,
           found.norms);
    printf("  one of %lld against the same:  losses off by %.1e (at most %.1e), norms by %.1e\n",
           (long long)other.position, usual.mean, usual.largest, usual.norms);
    bound(run, found.mean <= 1.5 * usual.mean, "losses drift");
    bound(run, found.norms <= (run->options.kv == FORMAT_Q8_0 ? 1e-2 : 1e-3),
          "norms of keys drift");
    ending_free(&long_run);
    ending_free(&fresh);
    ending_free(&other);
}

static void score_text(struct endurance *run)
{
    struct error err;
    struct session session;
    struct tenth tenths[TENTHS] = {0};
    int64_t each = run->n_score / TENTHS;
    float *sinks = endurance_alloc(SINKS * endurance_keys_size(&run->input.model), sizeof *sinks);
    endurance_demand(session_open(&session, &run->input.model, &run->options, &err), &err);
    print_head(run, "score");
    for (int i = 0; i < TENTHS; i++) {
        for (int64_t t = i * each; t < (i + 1) * each; t += SESSION_BATCH) {
            score(run, &session, run->input.text.ids + t, SESSION_BATCH, run->losses + t,
                  &tenths[i]);
            if (t == 0)
                endurance_keys_read(&session, 0, SINKS, sinks);
        }
        print_tenth(run, &session, "score", i, &tenths[i]);
    }
    check_bytes(run, tenths);
    check_keys(run, &session, 0, SINKS, sinks);
    compare_afresh(run, &session);
    session_close(&session);
    free(sinks);
}

/* --- the run ---------------------------------------------------------------------------------- */

/* Tenths are whole batches, so that all end alike. */
static int64_t read_count(const char *text)
{
    const int64_t unit = TENTHS * SESSION_BATCH;
    int64_t n = strtoll(text, NULL, 10);
    return n <= unit ? unit : (n + unit - 1) / unit * unit;
}

static void set_policy(struct endurance *run)
{
    struct error err;
    const struct config *c = &run->input.model.config;
    char policy[64];
    run->window = c->train_length - SINKS;
    snprintf(policy, sizeof policy, "sinks=%d,window=%lld", SINKS, (long long)run->window);
    endurance_demand(context_parse(&run->options.context, policy, c->train_length, &err), &err);
    run->logits = endurance_alloc(SESSION_BATCH * (size_t)c->vocab_size, sizeof *run->logits);
    run->losses = endurance_alloc((size_t)run->n_score, sizeof *run->losses);
}

int main(int argc, char **argv)
{
    struct endurance run = {0};
    const enum format types[] = {FORMAT_F32, FORMAT_F16, FORMAT_Q8_0};
    bool has_csv = argc == 6 && strcmp(argv[4], "--csv") == 0;
    if (argc != 4 && !has_csv) {
        fprintf(stderr, "usage: endurance MODEL N_GENERATE N_SCORE [--csv FILE]\n");
        return 2;
    }
    if (access(argv[1], R_OK) != 0) {
        printf("skipped: %s is absent\n", argv[1]);
        return 0;
    }
    parallel_set_threads(parallel_default_threads());
    if (has_csv && !(run.csv = fopen(argv[5], "a")))
        endurance_demand(-1, &(struct error){"cannot write the CSV file"});
    if (run.csv && ftell(run.csv) == 0)
        fprintf(run.csv, "model,cache,phase,tenth,tokens,tokens_per_second,bytes,loss,key_norm\n");
    run.n_score = read_count(argv[3]);
    input_open(&run.input, argv[1]);
    bool has_text = input_read_text(&run.input, (size_t)run.n_score + 1);
    set_policy(&run);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        run.options.kv = types[i];
        if (types[i] != FORMAT_F32)
            generate_text(&run, read_count(argv[2]));
        if (has_text)
            score_text(&run);
    }
    printf("%s, keys as long as they are cached: %zu of %zu numbers that were read again had "
           "changed\n",
           run.input.name, run.n_changed, run.n_keys);
    if (has_text)
        endurance_keys_print_shifts(&run.input.model, run.input.text.ids, SINKS, (int)run.window);
    free(run.losses);
    free(run.logits);
    input_close(&run.input);
    if (run.csv && fclose(run.csv))
        endurance_demand(-1, &(struct error){"cannot write the CSV file"});
    return run.broken;
}
