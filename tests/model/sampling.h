/* sampling: what the sampler's suites share. */
#ifndef LONGHAND_TESTS_MODEL_SAMPLING_H
#define LONGHAND_TESTS_MODEL_SAMPLING_H

#include <check.h>

#include "model/sampler.h"

/* Nothing but the draw. */
static const struct sampler_options plain = {
    .temperature = 1, .top_p = 1, .repeat_penalty = 1, .repeat_last = 64, .seed = 1};

static inline void open_sampler(struct sampler *sampler, const struct sampler_options *options,
                                int vocab_size)
{
    struct error err;
    ck_assert_msg(sampler_open(sampler, options, vocab_size, &err) == 0, "%s", err.text);
}

static inline int32_t next_once(const struct sampler_options *options, const float *logits,
                                int vocab_size)
{
    struct sampler sampler;
    open_sampler(&sampler, options, vocab_size);
    int32_t id = sampler_next(&sampler, logits);
    sampler_close(&sampler);
    return id;
}

#endif
