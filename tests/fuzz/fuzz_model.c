/* fuzz_model: any bytes as a model that is run. The last byte of the input chooses the context
 * policy and the type of the cache. What opens must take some tokens, give them in pieces or at
 * once, and go back. */
#include "model/session.h"
#include "tests/fuzz/input.h"

static void run(const struct model *model, unsigned choice)
{
    static const char *const policies[] = {"all",
                                           "window=2",
                                           "sinks=1,window=2",
                                           "lm-infinite,global=1,window=2",
                                           "rerope,window=2",
                                           "leaky-rerope,window=2,factor=2",
                                           "self-extend,group=2,window=2",
                                           "dual-chunk,chunk=3,cap=4"};
    static const enum format types[] = {FORMAT_F32, FORMAT_F16, FORMAT_BF16, FORMAT_Q8_0,
                                        FORMAT_Q4_0};
    enum { N = 5 };
    struct error err;
    struct session session;
    struct session_options options = {.kv = types[choice / 8 % 5], .max_bytes = 1 << 26};
    int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = i % model->config.vocab_size;
    require(context_parse(&options.context, policies[choice % 8], 0, &err) == 0);
    if (session_open(&session, model, &options, &err))
        return;
    if (session_feed(&session, ids, N - 1, NULL, &err) == 0 &&
        session_feed(&session, ids + N - 1, 1, NULL, &err) == 0) {
        require(session.position == N);
        if (session_truncate(&session, 1, &err) == 0)
            require(session.position == 1);
    }
    session_close(&session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct checkpoint checkpoint = input_open("/nonexistent/m.gguf", data, size);
    struct error err = {""};
    struct model model = {0};
    struct model_options options = {.isa = "scalar"};
    if (size > 0 && checkpoint_read(&checkpoint, &err) == 0) {
        if (model_open(&model, &checkpoint, &options, &err) == 0)
            run(&model, data[size - 1]);
        else
            require(err.text[0] != 0);
    }
    model_close(&model);
    input_close(&checkpoint);
    return 0;
}
