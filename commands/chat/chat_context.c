/* chat_context: see chat_context.h. */
#include "commands/chat/chat_context.h"

/* What a model needs of its first tokens as a place for attention to rest (Xiao et al. 2023). */
enum { FEWEST_SINKS = 4 };

/* Whether some layer meets rotations that it was not trained on, and nobody has said what to do
 * about it. */
static bool outgrows(const struct engine *engine, const struct options *options)
{
    const struct model *model = &engine->model;
    const struct context all = {.kind = CONTEXT_ALL};
    if (engine->train_length == 0 || options->rope.kind >= 0 || options->rope.factor > 0)
        return false;
    for (int l = 0; l < model->config.n_layers; l++) {
        const struct position *position = model->layers[l].position;
        const struct layer_config *layer = &model->config.layers[l];
        if (layer->position == POSITION_ROPE && !position->follows_length &&
            position->switch_length == 0 &&
            context_max_distance(&all, layer, INT64_C(1) << 40) >= engine->train_length)
            return true;
    }
    return false;
}

int chat_context(const struct engine *engine, const struct options *options,
                 const struct context *asked, int64_t lead, struct context *context,
                 struct error *err)
{
    struct error ignored;
    int64_t length = engine->train_length;
    *context = asked ? *asked : (struct context){.kind = CONTEXT_ALL};
    if (!asked) {
        int64_t sinks = lead > FEWEST_SINKS ? lead : FEWEST_SINKS;
        const struct context window = {
            .kind = CONTEXT_WINDOW, .sinks = sinks, .window = length - sinks};
        if (sinks <= length / 2 && outgrows(engine, options) &&
            session_allows(&engine->model, &window, &ignored) == 0)
            *context = window;
        return 0;
    }
    if (context->sinks == 0 || context->sinks >= lead)
        return 0;
    int64_t more = lead - context->sinks;
    context->sinks = lead;
    if (context->kind != CONTEXT_WINDOW)
        return 0;
    context->window -= more;
    if (context->window >= lead)
        return 0;
    char policy[CONTEXT_TEXT_BYTES];
    context_text(asked, policy, sizeof policy);
    return error_set(
        err,
        "--context %s: the conversation begins with %lld tokens that are to stay, more "
        "than half of the %lld: shorten the system message, or name as many sinks and "
        "a window",
        policy, (long long)lead, (long long)(asked->sinks + asked->window));
}
