/* summarize_forecast: how much is left to read and to write of a document in passages. See
 * summarize.h. */
#include <math.h>

#include "commands/summarize/summarize.h"

struct load forecast_levels(const struct forecast *forecast, double passages)
{
    struct load load = {0};
    double text = passages * forecast->filled;
    while (passages > 1) {
        double next = passages * forecast->said;
        if (next > text * SHORTER / 100)
            break;
        passages = ceil(next / forecast->filled);
        load.read += next + passages * forecast->frame;
        load.written += passages > 1 ? passages * forecast->said : forecast->last;
        text = next;
    }
    return load;
}

double forecast_seconds(const struct summarizer *s, double now, struct load load)
{
    double writing = s->write_seconds - s->warm.write_seconds;
    double reading = now - s->warm.at - writing; /* what else is done goes with the texts */
    double read = (double)(s->prompt_tokens - s->warm.prompt_tokens);
    double written = (double)(s->new_tokens - s->warm.new_tokens);
    return (read > 0 ? load.read * reading / read : 0) +
           (written > 0 ? load.written * writing / written : 0);
}
