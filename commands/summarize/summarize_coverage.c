/* summarize_coverage: which bytes of a document were read. See summarize.h. */
#include "commands/array.h"
#include "commands/summarize/summarize.h"

void coverage_add(struct coverage *coverage, struct passage passage)
{
    if (passage.begin >= passage.end)
        return;
    if (arrlen(coverage->read) > 0 && passage.begin <= arrlast(coverage->read).end) {
        struct passage *last = &arrlast(coverage->read);
        size_t common = passage.end < last->end ? passage.end : last->end;
        coverage->twice += common - passage.begin;
        last->end = passage.end > last->end ? passage.end : last->end;
        return;
    }
    arrput(coverage->read, passage);
}

void coverage_hide(struct coverage *coverage, struct passage passage)
{
    if (arrlen(coverage->unseen) > 0 && passage.begin < arrlast(coverage->unseen).end)
        passage.begin = arrlast(coverage->unseen).end;
    if (passage.begin < passage.end)
        arrput(coverage->unseen, passage);
}

void coverage_finish(struct coverage *coverage, size_t length)
{
    size_t at = 0;
    for (ptrdiff_t i = 0; i < arrlen(coverage->read); i++) {
        struct passage gap = {at, coverage->read[i].begin};
        if (gap.begin < gap.end)
            arrput(coverage->skipped, gap);
        at = coverage->read[i].end;
    }
    struct passage rest = {at, length};
    if (at < length)
        arrput(coverage->skipped, rest);
}

void coverage_free(struct coverage *coverage)
{
    arrfree(coverage->read);
    arrfree(coverage->skipped);
    arrfree(coverage->unseen);
    *coverage = (struct coverage){0};
}

size_t coverage_bytes(const struct passage *passages)
{
    size_t bytes = 0;
    for (ptrdiff_t i = 0; i < arrlen(passages); i++)
        bytes += passages[i].end - passages[i].begin;
    return bytes;
}
