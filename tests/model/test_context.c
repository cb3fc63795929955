/* context: every policy against a matrix of distances that is made pair by pair from the formulas
 * of the papers, over random parameters, in layers with and without windows and chunks; the rows
 * that the papers print; what may be forgotten against what later queries are seen to read. */
#include "model/context.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suites.h"

/* --- the oracle ------------------------------------------------------------------------------- */

static bool layer_sees(const struct layer_config *layer, int64_t i, int64_t j)
{
    if (j > i || (layer->window && !(j > i - layer->window)))
        return false;
    return !layer->chunk || j >= i / layer->chunk * layer->chunk - layer->memory;
}

/* Streaming: places are slots of a cache with S sinks and then the last W keys; the query has the
 * last slot taken. */
static bool sinks_distance(const struct context *c, int64_t i, int64_t j, double *distance)
{
    int64_t slots = i + 1 < c->sinks + c->window ? i + 1 : c->sinks + c->window;
    int64_t query = slots - 1;
    if (i - j < c->window) {
        *distance = (double)(i - j);
        return true;
    }
    *distance = (double)(query - j);
    return j < c->sinks;
}

static double dual_chunk_distance(const struct context *c, int64_t i, int64_t j)
{
    int64_t key = j % c->chunk;
    int64_t query = i % c->chunk;
    int64_t chunks = i / c->chunk - j / c->chunk;
    if (chunks == 1)
        query = query + c->chunk < c->cap ? query + c->chunk : c->cap;
    else if (chunks > 1)
        query = c->cap;
    return (double)(query - key);
}

/* Whether the query at i sees the key at j <= i, how far back, and in which form: form 1 is that
 * of far keys where these are not in their own places. */
static bool oracle(const struct context *c, const struct layer_config *layer, int64_t i, int64_t j,
                   double *distance, int *form)
{
    int64_t back = i - j;
    bool far = back >= c->window;
    *form = 0;
    *distance = (double)back;
    if (!layer_sees(layer, i, j))
        return false;
    switch (c->kind) {
    case CONTEXT_WINDOW:
        return sinks_distance(c, i, j, distance);
    case CONTEXT_LM_INFINITE:
        *form = far;
        if (far)
            *distance = (double)c->cap;
        return !far || j < c->sinks;
    case CONTEXT_REROPE:
        *form = far;
        if (far)
            *distance =
                (double)c->window + (c->factor > 0 ? (double)(back - c->window) / c->factor : 0);
        return true;
    case CONTEXT_SELF_EXTEND:
        *form = far;
        if (far)
            *distance = (double)(i / c->group - j / c->group + c->window - c->window / c->group);
        return true;
    case CONTEXT_DUAL_CHUNK:
        *distance = dual_chunk_distance(c, i, j);
        return true;
    default:
        return true;
    }
}

/* Asserts in loops of millions, where libcheck's own, which leaves a mark at each, takes minutes.
 */
#define HOLDS(condition, ...)          \
    do {                               \
        if (!(condition))              \
            ck_abort_msg(__VA_ARGS__); \
    } while (0)

/* --- random policies and layers --------------------------------------------------------------- */

static uint64_t seed;

static int64_t draw(int64_t min, int64_t max)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return min + (int64_t)((seed >> 33) % (uint64_t)(max - min + 1));
}

/* The kind-th of these policies, 0 .. 7, with numbers up to about `size`. */
enum { POLICIES = 8 };

static struct context draw_context(int policy, int64_t size)
{
    struct context c = {0};
    c.window = draw(1, size);
    switch (policy) {
    case 0:
        return (struct context){0};
    case 1:
        c.kind = CONTEXT_WINDOW;
        break;
    case 2:
        c.kind = CONTEXT_WINDOW;
        c.sinks = draw(1, 9);
        break;
    case 3:
        c.kind = CONTEXT_LM_INFINITE;
        c.sinks = draw(0, 12);
        c.cap = draw(0, 1) ? c.window : draw(1, 2 * size);
        break;
    case 4:
        c.kind = CONTEXT_REROPE;
        break;
    case 5:
        c.kind = CONTEXT_REROPE;
        c.factor = 1 + (double)draw(1, 64) / 4;
        break;
    case 6:
        c.kind = CONTEXT_SELF_EXTEND;
        c.group = draw(1, 8);
        c.window = c.group * draw(1, size / c.group > 1 ? size / c.group : 1);
        break;
    default:
        c = (struct context){.kind = CONTEXT_DUAL_CHUNK, .chunk = draw(1, size)};
        c.cap = draw(c.chunk, 3 * c.chunk);
    }
    return c;
}

static struct layer_config draw_layer(int64_t size)
{
    struct layer_config layer = {0};
    if (draw(0, 1))
        layer.window = draw(1, 2 * size);
    if (draw(0, 2) == 0) {
        layer.chunk = draw(1, 2 * size);
        layer.memory = draw(0, 1) * draw(0, 2 * size);
    }
    return layer;
}

/* For messages of failed tests. */
static const char *describe(const struct context *c, const struct layer_config *layer)
{
    static char text[256];
    snprintf(text, sizeof text,
             "kind %d window %lld sinks %lld group %lld chunk %lld cap %lld factor %g, "
             "layer window %lld chunk %lld memory %lld",
             (int)c->kind, (long long)c->window, (long long)c->sinks, (long long)c->group,
             (long long)c->chunk, (long long)c->cap, c->factor, (long long)layer->window,
             (long long)layer->chunk, (long long)layer->memory);
    return text;
}

/* --- segments --------------------------------------------------------------------------------- */

static void check_query(const struct context *c, const struct layer_config *layer, int64_t i)
{
    struct segment segments[SEGMENTS_MAX];
    int n = context_n_segments(c);
    context_segments(c, layer, i, segments);
    for (int s = 0; s < n; s++) {
        ck_assert_int_ge(segments[s].begin, 0);
        ck_assert_int_le(segments[s].end, i + 1);
        ck_assert(segments[s].form >= 0 && segments[s].form < context_n_forms(c));
    }
    for (int64_t j = 0; j <= i; j++) {
        double expected = 0;
        int form = 0;
        int seen = 0;
        bool visible = oracle(c, layer, i, j, &expected, &form);
        for (int s = 0; s < n; s++) {
            if (j < segments[s].begin || j >= segments[s].end)
                continue;
            double distance = segments[s].place - context_key_place(c, segments[s].form, j);
            seen++;
            HOLDS(!visible || fabs(distance - expected) < 1e-9,
                  "i %lld j %lld: distance %g, expected %g (%s)", (long long)i, (long long)j,
                  distance, expected, describe(c, layer));
            HOLDS(!visible || segments[s].form == form, "i %lld j %lld: form %d (%s)", (long long)i,
                  (long long)j, segments[s].form, describe(c, layer));
            for (int older = 0; older < s; older++)
                HOLDS(segments[older].begin >= segments[older].end ||
                          segments[older].end <= segments[s].begin,
                      "i %lld: segments overlap (%s)", (long long)i, describe(c, layer));
        }
        HOLDS(seen == visible, "i %lld j %lld: seen by %d segments (%s)", (long long)i,
              (long long)j, seen, describe(c, layer));
    }
}

START_TEST(every_distance_is_that_of_the_papers)
{
    struct layer_config all = {0};
    seed = 1;
    for (int round = 0; round < 40; round++) {
        struct context c = draw_context(_i, 40);
        struct layer_config layer = draw_layer(40);
        for (int64_t i = 0; i < 260; i++) {
            check_query(&c, &all, i);
            check_query(&c, &layer, i);
        }
    }
}
END_TEST

/* Positions far out, where a product or a sum in fewer bits would show. */
START_TEST(distances_hold_at_ten_million)
{
    struct layer_config all = {0};
    struct segment segments[SEGMENTS_MAX];
    const int64_t base = 10000019;
    seed = 2;
    for (int round = 0; round < 200; round++) {
        struct context c = draw_context(_i, 3000);
        int64_t i = base + draw(0, 5000);
        context_segments(&c, &all, i, segments);
        for (int s = 0; s < context_n_segments(&c); s++) {
            for (int k = 0; k < 20 && segments[s].begin < segments[s].end; k++) {
                int64_t j = draw(segments[s].begin, segments[s].end - 1);
                double expected;
                int form;
                ck_assert(oracle(&c, &all, i, j, &expected, &form));
                ck_assert_double_eq_tol(segments[s].place - context_key_place(&c, form, j),
                                        expected, 1e-8);
            }
        }
    }
}
END_TEST

/* The distances of keys 0 .. i as text, "-" for a key that is not seen. */
static void row_text(const struct context *c, const struct layer_config *layer, int64_t i,
                     char text[256])
{
    struct segment segments[SEGMENTS_MAX];
    size_t used = 0;
    context_segments(c, layer, i, segments);
    for (int64_t j = 0; j <= i; j++) {
        const struct segment *of = NULL;
        for (int s = 0; s < context_n_segments(c); s++)
            if (j >= segments[s].begin && j < segments[s].end)
                of = &segments[s];
        used += (size_t)snprintf(text + used, 256 - used, j ? " " : "");
        if (of)
            used += (size_t)snprintf(text + used, 256 - used, "%g",
                                     of->place - context_key_place(c, of->form, j));
        else
            used += (size_t)snprintf(text + used, 256 - used, "-");
    }
}

static const struct {
    struct context context;
    struct layer_config layer;
    int64_t i;
    const char *row;
} rows[] = {
#define SELF_EXTEND                                          \
    {                                                        \
        .kind = CONTEXT_SELF_EXTEND, .group = 2, .window = 4 \
    }
    {SELF_EXTEND, {0}, 3, "3 2 1 0"},
    {SELF_EXTEND, {0}, 4, "4 3 2 1 0"},
    {SELF_EXTEND, {0}, 5, "4 4 3 2 1 0"},
    {SELF_EXTEND, {0}, 6, "5 5 4 3 2 1 0"},
    {SELF_EXTEND, {0}, 7, "5 5 4 4 3 2 1 0"},
    {SELF_EXTEND, {0}, 8, "6 6 5 5 4 3 2 1 0"},
    {SELF_EXTEND, {0}, 9, "6 6 5 5 4 4 3 2 1 0"},
#define DUAL_CHUNK                                       \
    {                                                    \
        .kind = CONTEXT_DUAL_CHUNK, .chunk = 6, .cap = 9 \
    }
    {DUAL_CHUNK, {0}, 9, "9 8 7 6 5 4 3 2 1 0"},
    {DUAL_CHUNK, {0}, 11, "9 8 7 6 5 4 5 4 3 2 1 0"},
    {DUAL_CHUNK, {0}, 12, "9 8 7 6 5 4 6 5 4 3 2 1 0"},
    {{.kind = CONTEXT_REROPE, .window = 3}, {0}, 7, "3 3 3 3 3 2 1 0"},
    {{.kind = CONTEXT_REROPE, .window = 3, .factor = 2}, {0}, 7, "5 4.5 4 3.5 3 2 1 0"},
#define STREAMING                                       \
    {                                                   \
        .kind = CONTEXT_WINDOW, .sinks = 2, .window = 3 \
    }
    {STREAMING, {0}, 3, "3 2 1 0"},
    {STREAMING, {0}, 4, "4 3 2 1 0"},
    {STREAMING, {0}, 6, "4 3 - - 2 1 0"},
    {{.kind = CONTEXT_LM_INFINITE, .sinks = 2, .window = 3, .cap = 3}, {0}, 6, "3 3 - - 2 1 0"},
    {{.kind = CONTEXT_LM_INFINITE, .sinks = 4, .window = 3, .cap = 8}, {0}, 4, "8 8 2 1 0"},
    {{.kind = CONTEXT_WINDOW, .window = 3}, {0}, 5, "- - - 2 1 0"},
    {{.kind = CONTEXT_ALL}, {.window = 3}, 5, "- - - 2 1 0"},
    {{.kind = CONTEXT_ALL}, {.chunk = 4}, 3, "3 2 1 0"},
    {{.kind = CONTEXT_ALL}, {.chunk = 4}, 4, "- - - - 0"},
    {{.kind = CONTEXT_ALL}, {.chunk = 4, .memory = 3}, 5, "- 4 3 2 1 0"},
    {STREAMING, {.window = 6}, 6, "- 3 - - 2 1 0"},
    {STREAMING, {.window = 2}, 6, "- - - - - 1 0"},
};

START_TEST(rows_are_as_the_papers_print_them)
{
    char text[256];
    row_text(&rows[_i].context, &rows[_i].layer, rows[_i].i, text);
    ck_assert_str_eq(text, rows[_i].row);
}
END_TEST

/* --- runs ------------------------------------------------------------------------------------- */

START_TEST(runs_are_the_places_of_their_keys)
{
    seed = 3;
    for (int round = 0; round < 3000; round++) {
        struct context c = draw_context(_i, 40);
        int form = (int)draw(0, context_n_forms(&c) - 1);
        int64_t j = draw(0, 300);
        int64_t most = draw(1, 50);
        double step;
        int64_t n;
        context_run(&c, form, j, most, &step, &n);
        HOLDS(n >= 1 && n <= most, "%lld keys", (long long)n);
        double place = context_key_place(&c, form, j);
        for (int64_t k = 0; k < n; k++)
            HOLDS(fabs(context_key_place(&c, form, j + k) - place - (double)k * step) < 1e-9,
                  "key %lld + %lld (%s)", (long long)j, (long long)k,
                  describe(&c, &(struct layer_config){0}));
        /* and none of them ends early */
        bool goes_on = fabs(context_key_place(&c, form, j + n) - place - (double)n * step) < 1e-9;
        HOLDS(n == most || !goes_on, "key %lld: only %lld (%s)", (long long)j, (long long)n,
              describe(&c, &(struct layer_config){0}));
    }
}
END_TEST

/* --- what is kept ----------------------------------------------------------------------------- */

/* Whether a query at `next` or later sees the key at j in a form (-1: in any). Nothing becomes
 * visible later than `horizon` after that. */
static bool seen_later(const struct context *c, const struct layer_config *layer, int form,
                       int64_t next, int64_t j, int64_t horizon)
{
    for (int64_t i = next; i < next + horizon; i++) {
        double distance;
        int as;
        if (oracle(c, layer, i, j, &distance, &as) && (form < 0 || form == as))
            return true;
    }
    return false;
}

static void check_kept(const struct context *c, const struct layer_config *layer, int form,
                       int64_t next, int64_t horizon)
{
    int64_t sinks;
    int64_t first;
    if (form < 0)
        context_kept_any(c, layer, next, &sinks, &first);
    else
        context_kept(c, layer, form, next, &sinks, &first);
    HOLDS(sinks >= 0 && first >= 0 && first <= next && (!sinks || sinks < first),
          "next %lld: [0, %lld) and [%lld (%s)", (long long)next, (long long)sinks,
          (long long)first, describe(c, layer));

    bool *seen = calloc((size_t)next + 1, 1);
    for (int64_t j = 0; j < next; j++)
        seen[j] = seen_later(c, layer, form, next, j, horizon);
    for (int64_t j = sinks; j < first; j++)
        HOLDS(!seen[j], "form %d next %lld: dropped %lld, which is seen (%s)", form,
              (long long)next, (long long)j, describe(c, layer));

    /* Nothing shorter of the same shape would do, but for keys among the sinks themselves. */
    int64_t least = INT64_MAX;
    for (int64_t s = 0; s <= c->sinks && s <= next; s++) {
        int64_t from = s;
        while (from < next && !seen[from])
            from++;
        least = s + next - from < least ? s + next - from : least;
    }
    bool any_sink = false;
    for (int64_t j = 0; j < sinks; j++)
        any_sink = any_sink || seen[j];
    HOLDS(sinks + next - first <= least + c->sinks && (!sinks || any_sink) &&
              (first == next || seen[first]) && sinks <= c->sinks,
          "form %d next %lld: kept [0, %lld) and [%lld, at least %lld (%s)", form, (long long)next,
          (long long)sinks, (long long)first, (long long)least, describe(c, layer));
    free(seen);
}

START_TEST(what_is_kept_is_what_later_queries_see)
{
    seed = 4;
    for (int round = 0; round < 150; round++) {
        struct context c = draw_context(_i, 30);
        struct layer_config layer = round % 4 ? draw_layer(30) : (struct layer_config){0};
        for (int k = 0; k < 8; k++) {
            int64_t next = draw(0, 130);
            for (int form = -1; form < context_n_forms(&c); form++)
                check_kept(&c, &layer, form, next, 150);
        }
    }
    struct context c = draw_context(_i, 700);
    struct layer_config layer = draw_layer(700);
    for (int form = -1; form < context_n_forms(&c); form++)
        check_kept(&c, &layer, form, 2000 + draw(0, 200), 2200);
}
END_TEST

static const struct {
    struct context context;
    struct layer_config layer;
    int form;
    int64_t next, sinks, first;
} kept_rows[] = {
    {{.kind = CONTEXT_ALL}, {0}, 0, 100, 0, 0},
    {{.kind = CONTEXT_ALL}, {.window = 16}, 0, 100, 0, 85},
    {{.kind = CONTEXT_ALL}, {.chunk = 30, .memory = 10}, 0, 100, 0, 80},
    {{.kind = CONTEXT_WINDOW, .window = 16}, {0}, 0, 100, 0, 85},
    {{.kind = CONTEXT_WINDOW, .sinks = 4, .window = 16}, {0}, 0, 100, 4, 85},
    {{.kind = CONTEXT_WINDOW, .sinks = 4, .window = 16}, {0}, 0, 19, 0, 0},
    {{.kind = CONTEXT_WINDOW, .sinks = 4, .window = 16}, {0}, 0, 20, 4, 5},
    {{.kind = CONTEXT_WINDOW, .sinks = 4, .window = 16}, {.window = 50}, 0, 52, 4, 37},
    {{.kind = CONTEXT_WINDOW, .sinks = 4, .window = 16}, {.window = 50}, 0, 53, 0, 38},
    {{.kind = CONTEXT_LM_INFINITE, .sinks = 9, .window = 16, .cap = 16}, {0}, 0, 100, 0, 85},
    {{.kind = CONTEXT_LM_INFINITE, .sinks = 9, .window = 16, .cap = 16}, {0}, 1, 100, 9, 100},
    {{.kind = CONTEXT_LM_INFINITE, .sinks = 9, .window = 16, .cap = 16}, {0}, -1, 100, 9, 85},
    {{.kind = CONTEXT_LM_INFINITE, .sinks = 9, .window = 16, .cap = 16},
     {.window = 16},
     1,
     100,
     0,
     100},
    {{.kind = CONTEXT_REROPE, .window = 16}, {0}, 0, 100, 0, 85},
    {{.kind = CONTEXT_REROPE, .window = 16}, {0}, 1, 100, 0, 0},
    {{.kind = CONTEXT_REROPE, .window = 16}, {.window = 16}, 1, 100, 0, 100},
    {{.kind = CONTEXT_REROPE, .window = 16}, {.window = 40}, 1, 100, 0, 61},
    {{.kind = CONTEXT_REROPE, .window = 12}, {.chunk = 10, .memory = 2}, 1, 29, 0, 29},
    {{.kind = CONTEXT_REROPE, .window = 12}, {.chunk = 10, .memory = 3}, 1, 25, 0, 17},
    {{.kind = CONTEXT_DUAL_CHUNK, .chunk = 6, .cap = 9}, {0}, 0, 100, 0, 0},
};

START_TEST(known_keys_are_kept)
{
    const struct context *c = &kept_rows[_i].context;
    const struct layer_config *layer = &kept_rows[_i].layer;
    int64_t sinks;
    int64_t first;
    if (kept_rows[_i].form < 0)
        context_kept_any(c, layer, kept_rows[_i].next, &sinks, &first);
    else
        context_kept(c, layer, kept_rows[_i].form, kept_rows[_i].next, &sinks, &first);
    ck_assert_int_eq(sinks, kept_rows[_i].sinks);
    ck_assert_int_eq(first, kept_rows[_i].first);
}
END_TEST

/* --- the largest distance --------------------------------------------------------------------- */

static double row_maximum(const struct context *c, const struct layer_config *layer, int64_t i)
{
    double most = 0;
    for (int64_t j = 0; j <= i; j++) {
        double distance;
        int form;
        if (oracle(c, layer, i, j, &distance, &form) && distance > most)
            most = distance;
    }
    return most;
}

START_TEST(the_largest_distance_is_met_and_never_passed)
{
    seed = 5;
    for (int round = 0; round < 150; round++) {
        struct context c = draw_context(_i, 30);
        struct layer_config layer = round % 4 ? draw_layer(30) : (struct layer_config){0};
        bool two_cuts = layer.chunk > 0;
        double most = 0;
        for (int64_t n = 1; n < 160; n++) {
            double last = row_maximum(&c, &layer, n - 1);
            most = last > most ? last : most;
            int64_t expected = (int64_t)ceil(most - 1e-9);
            int64_t found = context_max_distance(&c, &layer, n);
            int64_t slack = 0;
            if (two_cuts && c.kind == CONTEXT_SELF_EXTEND)
                slack = 1;
            if (two_cuts && c.kind == CONTEXT_DUAL_CHUNK)
                slack = c.cap - expected;
            HOLDS(found >= expected && found <= expected + slack,
                  "n %lld: %lld, expected %lld (%s)", (long long)n, (long long)found,
                  (long long)expected, describe(&c, &layer));
        }
    }
    struct context all = {0};
    struct layer_config layer = {0};
    ck_assert_int_eq(context_max_distance(&all, &layer, 0), 0);
}
END_TEST

/* Of a text of a million tokens. */
static const struct {
    struct context context;
    struct layer_config layer;
    int64_t most;
} longest[] = {
    {{.kind = CONTEXT_ALL}, {0}, 999999},
    {{.kind = CONTEXT_ALL}, {.window = 512}, 511},
    {{.kind = CONTEXT_ALL}, {.chunk = 512}, 511},
    {{.kind = CONTEXT_ALL}, {.chunk = 512, .memory = 100}, 611},
    {{.kind = CONTEXT_WINDOW, .window = 512}, {0}, 511},
    {{.kind = CONTEXT_WINDOW, .sinks = 4, .window = 508}, {0}, 511},
    {{.kind = CONTEXT_LM_INFINITE, .sinks = 10, .window = 512, .cap = 512}, {0}, 512},
    {{.kind = CONTEXT_LM_INFINITE, .sinks = 0, .window = 512, .cap = 512}, {0}, 511},
    {{.kind = CONTEXT_REROPE, .window = 256}, {0}, 256},
    {{.kind = CONTEXT_REROPE, .window = 256, .factor = 16}, {0}, 62740},
    {{.kind = CONTEXT_SELF_EXTEND, .group = 4, .window = 128}, {0}, 250095},
    {{.kind = CONTEXT_DUAL_CHUNK, .chunk = 2560, .cap = 3072}, {0}, 3072},
};

START_TEST(a_million_tokens_reach_so_far)
{
    ck_assert_int_eq(context_max_distance(&longest[_i].context, &longest[_i].layer, 1000000),
                     longest[_i].most);
}
END_TEST

/* --- factors ---------------------------------------------------------------------------------- */

START_TEST(queries_grow_as_published)
{
    struct context all = {0};
    struct context logarithmic = {.log_length = 4096};
    struct layer_config plain = {0};
    struct layer_config warm = {.temperature_scale = 0.1, .temperature_floor = 8192};
    ck_assert_double_eq(context_query_factor(&all, &plain, 1000000), 1);
    ck_assert_double_eq(context_query_factor(&all, &warm, 0), 1);
    ck_assert_double_eq(context_query_factor(&all, &warm, 8190), 1);
    ck_assert_double_eq_tol(context_query_factor(&all, &warm, 8191), 1.0693147, 5e-8);
    ck_assert_double_eq_tol(context_query_factor(&all, &warm, 16383), 1.1098612, 5e-8);
    ck_assert_double_eq_tol(context_query_factor(&all, &warm, 100000), 1.2564949, 5e-8);
    ck_assert_double_eq(context_query_factor(&logarithmic, &plain, 0), 1);
    ck_assert_double_eq(context_query_factor(&logarithmic, &plain, 4095), 1);
    ck_assert_double_eq_tol(context_query_factor(&logarithmic, &plain, 8191), 1.0833333, 5e-8);
    ck_assert_double_eq_tol(context_query_factor(&logarithmic, &plain, 32767), 1.25, 1e-12);
    ck_assert_double_eq_tol(context_query_factor(&logarithmic, &warm, 8191), 1.0693147 * 1.0833333,
                            1e-7);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

Suite *context_suite(void)
{
    Suite *suite = suite_create("context");
    TCase *tc = tcase_create("context");
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, every_distance_is_that_of_the_papers, 0, POLICIES);
    tcase_add_loop_test(tc, distances_hold_at_ten_million, 0, POLICIES);
    tcase_add_loop_test(tc, rows_are_as_the_papers_print_them, 0, COUNT(rows));
    tcase_add_loop_test(tc, runs_are_the_places_of_their_keys, 0, POLICIES);
    tcase_add_loop_test(tc, what_is_kept_is_what_later_queries_see, 0, POLICIES);
    tcase_add_loop_test(tc, known_keys_are_kept, 0, COUNT(kept_rows));
    tcase_add_loop_test(tc, the_largest_distance_is_met_and_never_passed, 0, POLICIES);
    tcase_add_loop_test(tc, a_million_tokens_reach_so_far, 0, COUNT(longest));
    tcase_add_test(tc, queries_grow_as_published);
    suite_add_tcase(suite, tc);
    return suite;
}
