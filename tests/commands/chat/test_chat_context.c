/* test_chat_context: which policy a conversation gets, by hand-made numbers. */
#include "commands/chat/chat_context.h"

#include <check.h>
#include <string.h>

#include "tests/suites.h"

/* The tiny models are trained on 128 tokens. `asked` NULL: no --context. */
static const struct {
    const char *model;
    const char *asked;
    int64_t lead;
    const char *policy; /* NULL: refused */
} cases[] = {
    /* RoPE breaks past what it was trained on; ALiBi was made to go on; learned places end anyhow;
       a scaling that follows the length, or that the file's own factors are for, is left alone */
    {"llama", NULL, 30, "sinks=30,window=98"},
    {"llama", NULL, 64, "sinks=64,window=64"},
    {"llama", NULL, 65, "all"},
    {"llama", NULL, 0, "sinks=4,window=124"},
    {"mistral", NULL, 30, "all"}, /* all its layers have windows of 24 */
    {"bloom", NULL, 30, "all"},
    {"gpt2", NULL, 30, "all"},
    {"phi-long", NULL, 30, "all"},
    {"llama", "all", 30, "all"},
    {"llama", "window=50", 30, "window=50"},
    {"llama", "sinks=30,window=50", 30, "sinks=30,window=50"},
    {"llama", "sinks=40,window=10", 30, "sinks=40,window=10"},
    {"llama", "sinks=4,window=56", 30, "sinks=30,window=30"},
    {"llama", "sinks=4,window=55", 30, NULL},
    {"llama", "sinks=4", 30, "sinks=30,window=98"},
    {"llama", "lm-infinite,window=50", 30, "lm-infinite,global=30,window=50,cap=50"},
    {"llama", "self-extend,group=4", 30, "self-extend,group=4,window=32"},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

START_TEST(the_first_tokens_stay)
{
    char model[64], text[CONTEXT_TEXT_BYTES];
    snprintf(model, sizeof model, "tests/data/%s.gguf", cases[_i].model);
    struct options options = {.model = model, .context = cases[_i].asked, .rope = {.kind = -1}};
    struct engine engine = {0};
    struct context context;
    struct error err = {""};
    ck_assert_msg(engine_open_checkpoint(&engine, &options, &err) == 0 &&
                      engine_open_model(&engine, &options, &err) == 0,
                  "%s", err.text);
    struct context asked = engine.context;
    int result = chat_context(&engine, &options, cases[_i].asked ? &asked : NULL, cases[_i].lead,
                              &context, &err);
    if (cases[_i].policy) {
        ck_assert_msg(result == 0, "%s", err.text);
        context_text(&context, text, sizeof text);
        ck_assert_str_eq(text, cases[_i].policy);
    } else {
        ck_assert_int_eq(result, -1);
        ck_assert_ptr_nonnull(strstr(err.text, "30 tokens that are to stay, more than half of "
                                               "the 59"));
    }
    engine_close(&engine);
}
END_TEST

/* Who says how rotations are to be stretched has chosen. */
START_TEST(a_scaling_by_hand_is_a_choice)
{
    struct options options = {.model = "tests/data/llama.gguf",
                              .rope = {.kind = ROPE_SCALING_YARN, .factor = 4}};
    struct engine engine = {0};
    struct context context;
    struct error err = {""};
    ck_assert_msg(engine_open_checkpoint(&engine, &options, &err) == 0 &&
                      engine_open_model(&engine, &options, &err) == 0,
                  "%s", err.text);
    ck_assert_int_eq(chat_context(&engine, &options, NULL, 30, &context, &err), 0);
    ck_assert_int_eq(context.kind, CONTEXT_ALL);
    engine_close(&engine);
}
END_TEST

Suite *chat_context_suite(void)
{
    Suite *suite = suite_create("chat_context");
    TCase *tcase = tcase_create("chat_context");
    tcase_add_loop_test(tcase, the_first_tokens_stay, 0, N_CASES);
    tcase_add_test(tcase, a_scaling_by_hand_is_a_choice);
    suite_add_tcase(suite, tcase);
    return suite;
}
