/* architectures: see architectures.h. What llama.cpp's converters and the model classes of
 * transformers agree on for each name. */
#include "model/architectures.h"

#include <stddef.h>

static const struct architecture architectures[] = {
    {.name = "llama",
     .norm = NORM_RMS,
     .activation = ACTIVATION_SILU,
     .gated = true,
     .position = POSITION_ROPE,
     .rope_pairs = ROPE_INTERLEAVED},
    {.name = "qwen2",
     .norm = NORM_RMS,
     .activation = ACTIVATION_SILU,
     .gated = true,
     .position = POSITION_ROPE,
     .rope_pairs = ROPE_HALVES},
    {.name = "qwen3",
     .norm = NORM_RMS,
     .activation = ACTIVATION_SILU,
     .gated = true,
     .position = POSITION_ROPE,
     .rope_pairs = ROPE_HALVES},
    {.name = "smollm3",
     .norm = NORM_RMS,
     .activation = ACTIVATION_SILU,
     .gated = true,
     .position = POSITION_ROPE,
     .rope_pairs = ROPE_INTERLEAVED,
     .global_interval = 4,
     .global_nope = true},
    /* llama.cpp leaves out Phi-3's windows; its code for transformers has them. Files from before
     * the key are of the models for 4096 tokens, or of some whose windows reach over everything. */
    {.name = "phi3",
     .norm = NORM_RMS,
     .activation = ACTIVATION_SILU,
     .gated = true,
     .fused_gate = true,
     .fused_qkv = true,
     .position = POSITION_ROPE,
     .rope_pairs = ROPE_HALVES,
     .unsaid_window = 2047,
     .unsaid_window_length = 4096},
    {.name = "gemma3",
     .norm = NORM_RMS,
     .activation = ACTIVATION_GELU_TANH,
     .gated = true,
     .embedding_scaled = true,
     .post_norms = true,
     .position = POSITION_ROPE,
     .rope_pairs = ROPE_HALVES,
     .global_interval = 6,
     .local_rope_base = 10000,
     .wide_layers = 62}, /* Gemma 3 27B, which no key tells from the others */
    {.name = "cohere2",
     .norm = NORM_LAYER,
     .activation = ACTIVATION_SILU,
     .gated = true,
     .parallel_residual = true,
     .shared_norm = true,
     .logit_scale = true,
     .position = POSITION_ROPE,
     .rope_pairs = ROPE_INTERLEAVED,
     .global_interval = 4,
     .global_nope = true},
    {.name = "gptneox",
     .norm = NORM_LAYER,
     .activation = ACTIVATION_GELU,
     .fused_qkv = true,
     .parallel_residual = true,
     .position = POSITION_ROPE,
     .rope_pairs = ROPE_HALVES},
    {.name = "gpt2",
     .norm = NORM_LAYER,
     .activation = ACTIVATION_GELU_TANH,
     .fused_qkv = true,
     .position = POSITION_LEARNED},
    {.name = "bloom",
     .norm = NORM_LAYER,
     .activation = ACTIVATION_GELU_TANH,
     .fused_qkv = true,
     .embedding_norm = true,
     .position = POSITION_ALIBI,
     .alibi_max_bias = 8},
    {.name = "mpt",
     .norm = NORM_LAYER,
     .activation = ACTIVATION_GELU,
     .fused_qkv = true,
     .position = POSITION_ALIBI},
    /* Ours, for the schemes that no other architecture has: docs/positions.md. */
    {.name = "longhand",
     .norm = NORM_RMS,
     .activation = ACTIVATION_SILU,
     .gated = true,
     .alibi_max_bias = 8},
};

const char *architectures_names(void)
{
    return "llama, qwen2, qwen3, smollm3, phi3, gemma3, cohere2, gptneox, gpt2, bloom, mpt, "
           "longhand";
}

const struct architecture *architectures_find(struct text name)
{
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++)
        if (text_equals(name, architectures[i].name))
            return &architectures[i];
    return NULL;
}
