/* stories: the whole way from file to text, with a checkpoint that was trained: what its authors'
 * program says greedily is what we say, on every tier, with any number of threads and either cache.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "kernels/parallel.h"
#include "model/generate.h"
#include "tests/suites.h"
#include "tests/support.h"
#include "tokenizer/tokenizer.h"

enum { TOKENS = 256, BOS = 1 };

struct story {
    struct detokenizer stream;
    char *text;
    size_t length;
};

static bool emit(void *context, int32_t id)
{
    struct story *story = context;
    story->length += detokenizer_feed(&story->stream, id, story->text + story->length);
    return true;
}

static void check_story(const struct checkpoint *checkpoint, const struct tokenizer *tokenizer,
                        const char *isa, int threads, enum format kv, const struct file *expected)
{
    struct error err;
    struct model model;
    struct session session;
    struct sampler sampler;
    struct sampler_options options = sampler_defaults;
    options.temperature = 0;
    parallel_set_threads(threads);
    ck_assert_msg(model_open(&model, checkpoint, &(struct model_options){.isa = isa}, &err) == 0,
                  "%s", err.text);
    ck_assert_msg(session_open(&session, &model, &(struct session_options){.kv = kv}, &err) == 0,
                  "%s", err.text);
    ck_assert_msg(sampler_open(&sampler, &options, model.config.vocab_size, &err) == 0, "%s",
                  err.text);
    struct story story = {.stream = {.tokenizer = tokenizer},
                          .text = malloc((TOKENS + 1) * detokenizer_bound(tokenizer) + 1)};
    ck_assert_ptr_nonnull(story.text);
    struct generate run = {.session = &session,
                           .sampler = &sampler,
                           .max_tokens = TOKENS,
                           .emit = emit,
                           .context = &story};
    const int32_t bos = BOS;
    ck_assert_msg(generate(&run, &bos, 1, &err) == 0, "%s", err.text);
    story.length += detokenizer_end(&story.stream, story.text + story.length);
    story.text[story.length] = 0;
    ck_assert_msg(story.length == expected->size &&
                      memcmp(story.text, expected->data, story.length) == 0,
                  "%s, %d threads, cache %s:\n%s", isa, threads, format_info[kv].name, story.text);
    free(story.text);
    sampler_close(&sampler);
    session_close(&session);
    model_close(&model);
}

START_TEST(test_greedy_256)
{
    char model[512], vocabulary[512], text[512];
    if (!support_shared("data/stories260K/stories260K.bin", model, sizeof model) ||
        !support_shared("data/stories260K/tok512.bin", vocabulary, sizeof vocabulary) ||
        !support_shared("data/stories260K/greedy-256.txt", text, sizeof text))
        return;
    struct error err;
    struct checkpoint checkpoint;
    struct tokenizer *tokenizer;
    struct file expected;
    ck_assert_msg(checkpoint_open(&checkpoint, model, &err) == 0, "%s", err.text);
    ck_assert_msg(tokenizer_open_llama2c(&tokenizer, vocabulary, 512, &err) == 0, "%s", err.text);
    ck_assert_msg(file_open(&expected, text, &err) == 0, "%s", err.text);
    ck_assert_int_eq(tokenizer_bos(tokenizer), BOS);
    for (int i = 0; kernels_available(i); i++)
        for (int threads = 1; threads <= 3; threads++)
            for (int kv = 0; kv < 2; kv++)
                check_story(&checkpoint, tokenizer, kernels_available(i), threads,
                            kv ? FORMAT_F16 : FORMAT_F32, &expected);
    file_close(&expected);
    tokenizer_close(tokenizer);
    checkpoint_close(&checkpoint);
}
END_TEST

Suite *stories_suite(void)
{
    Suite *suite = suite_create("stories");
    TCase *tcase = tcase_create("stories");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, test_greedy_256);
    suite_add_tcase(suite, tcase);
    return suite;
}
