/* architectures: the table against what is known of each; and LongRoPE's long factors, for which
 * the logits of a text depend on how it is fed, so that test_forward.c cannot have them. */
#include "model/architectures.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/fixture.h"
#include "tests/suites.h"

static const struct {
    const char *name;
    enum norm_kind norm;
    enum activation activation;
    enum position_kind position;
    enum rope_pairs pairs;
    const char *traits; /* one letter each */
} rows[] = {
    {"llama", NORM_RMS, ACTIVATION_SILU, POSITION_ROPE, ROPE_INTERLEAVED, "g"},
    {"qwen2", NORM_RMS, ACTIVATION_SILU, POSITION_ROPE, ROPE_HALVES, "g"},
    {"qwen3", NORM_RMS, ACTIVATION_SILU, POSITION_ROPE, ROPE_HALVES, "g"},
    {"smollm3", NORM_RMS, ACTIVATION_SILU, POSITION_ROPE, ROPE_INTERLEAVED, "gn"},
    {"phi3", NORM_RMS, ACTIVATION_SILU, POSITION_ROPE, ROPE_HALVES, "gGQ"},
    {"gemma3", NORM_RMS, ACTIVATION_GELU_TANH, POSITION_ROPE, ROPE_HALVES, "gEp"},
    {"cohere2", NORM_LAYER, ACTIVATION_SILU, POSITION_ROPE, ROPE_INTERLEAVED, "gnPsL"},
    {"gptneox", NORM_LAYER, ACTIVATION_GELU, POSITION_ROPE, ROPE_HALVES, "QP"},
    {"gpt2", NORM_LAYER, ACTIVATION_GELU_TANH, POSITION_LEARNED, ROPE_INTERLEAVED, "Q"},
    {"bloom", NORM_LAYER, ACTIVATION_GELU_TANH, POSITION_ALIBI, ROPE_INTERLEAVED, "Qe"},
    {"mpt", NORM_LAYER, ACTIVATION_GELU, POSITION_ALIBI, ROPE_INTERLEAVED, "Q"},
    {"longhand", NORM_RMS, ACTIVATION_SILU, POSITION_NONE, ROPE_INTERLEAVED, "g"},
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

START_TEST(test_rows)
{
    const char *name = rows[_i].name;
    const struct architecture *a = architectures_find((struct text){name, strlen(name)});
    ck_assert_ptr_nonnull(a);
    ck_assert_str_eq(a->name, name);
    ck_assert_int_eq(a->norm, rows[_i].norm);
    ck_assert_int_eq(a->activation, rows[_i].activation);
    ck_assert_int_eq(a->position, rows[_i].position);
    ck_assert_int_eq(a->rope_pairs, rows[_i].pairs);
    const struct {
        char letter;
        bool found;
    } traits[] = {{'g', a->gated},
                  {'G', a->fused_gate},
                  {'Q', a->fused_qkv},
                  {'e', a->embedding_norm},
                  {'E', a->embedding_scaled},
                  {'p', a->post_norms},
                  {'P', a->parallel_residual},
                  {'s', a->shared_norm},
                  {'L', a->logit_scale},
                  {'n', a->global_nope}};
    for (size_t i = 0; i < sizeof traits / sizeof traits[0]; i++)
        ck_assert_msg(traits[i].found == (strchr(rows[_i].traits, traits[i].letter) != NULL),
                      "%s: trait %c", name, traits[i].letter);
    ck_assert(a->gated || !a->fused_gate);
    ck_assert(a->parallel_residual || !a->shared_norm);
}
END_TEST

START_TEST(test_names)
{
    char all[512];
    size_t n = 0;
    for (int i = 0; i < N_ROWS; i++)
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i > 0 ? ", " : "", rows[i].name);
    ck_assert_str_eq(architectures_names(), all);
    static const char *const unknown[] = {"", "llam", "llamas", "Llama", "mamba"};
    for (int i = 0; i < 5; i++)
        ck_assert_ptr_null(architectures_find((struct text){unknown[i], strlen(unknown[i])}));
}
END_TEST

/* The text is twice as long as the length from which on the long factors hold: fed at once, or in
 * pieces of which the last begins behind that length, its end is what transformers computes. */
START_TEST(test_long_factors)
{
    static const int firsts[] = {64, 1, 20, 32, 33};
    for (int i = 0; kernels_available(i); i++) {
        struct fixture fixture;
        fixture_open(&fixture, "phi-long", "phi-long", kernels_available(i));
        size_t vocab_size = (size_t)fixture.model.config.vocab_size;
        float *logits = malloc(64 * vocab_size * sizeof *logits);
        ck_assert_ptr_nonnull(logits);
        ck_assert_int_eq(fixture.n, 64);
        ck_assert_int_eq(fixture.model.layers[0].position->switch_length, 32);
        for (size_t f = 0; f < sizeof firsts / sizeof firsts[0]; f++) {
            struct error err;
            struct session session;
            int first = firsts[f], rest = 64 - first;
            ck_assert_int_eq(session_open(&session, &fixture.model,
                                          &(struct session_options){.kv = FORMAT_F32}, &err),
                             0);
            ck_assert_int_eq(session_feed(&session, fixture.ids, first, logits, &err), 0);
            if (rest > 0)
                ck_assert_int_eq(session_feed(&session, fixture.ids + first, rest,
                                              logits + (size_t)first * vocab_size, &err),
                                 0);
            int from = rest > 0 ? first : 0;
            double difference = fixture_difference(&fixture, logits + (size_t)from * vocab_size,
                                                   fixture.expected + (size_t)from * vocab_size,
                                                   (size_t)(64 - from) * vocab_size);
            ck_assert_msg(difference <= 1e-4, "%s, %d tokens first: differs by %.1e",
                          kernels_available(i), first, difference);
            session_close(&session);
        }
        free(logits);
        fixture_close(&fixture);
    }
}
END_TEST

Suite *architectures_suite(void)
{
    Suite *suite = suite_create("architectures");
    TCase *tcase = tcase_create("architectures");
    tcase_add_loop_test(tcase, test_rows, 0, N_ROWS);
    tcase_add_test(tcase, test_names);
    tcase_add_test(tcase, test_long_factors);
    suite_add_tcase(suite, tcase);
    return suite;
}
