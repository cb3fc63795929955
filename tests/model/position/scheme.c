/* scheme: see scheme.h. */
#include "tests/model/position/scheme.h"

#include <check.h>
#include <string.h>

void scheme_init(struct scheme *scheme, enum position_kind kind, int n_heads)
{
    *scheme = (struct scheme){.architecture = {.name = "toy"},
                              .layers = {{.position = kind}, {.position = kind}},
                              .config = {.dim = n_heads * 4,
                                         .n_layers = 2,
                                         .n_heads = n_heads,
                                         .n_kv_heads = n_heads,
                                         .head_dim = 4}};
    scratch_make();
    gguf_image_init(&scheme->image);
    gguf_image_text(&scheme->image, "general.architecture", "toy");
}

void scheme_tensor(struct scheme *scheme, const char *name, int rows, int cols, const float *data)
{
    uint64_t shape[] = {(uint64_t)cols, (uint64_t)rows};
    size_t n = (size_t)cols * (size_t)(rows > 0 ? rows : 1);
    gguf_image_tensor(&scheme->image, name, GGML_F32, rows > 0 ? 2 : 1, shape, data,
                      n * sizeof *data);
}

static struct position_source load(struct scheme *scheme)
{
    scheme->config.architecture = &scheme->architecture;
    scheme->config.layers = scheme->layers;
    const char *path = gguf_image_write(&scheme->image, "m.gguf");
    ck_assert_msg(checkpoint_open(&scheme->checkpoint, path, &scheme->err) == 0, "%s",
                  scheme->err.text);
    return (struct position_source){
        .config = &scheme->config, .checkpoint = &scheme->checkpoint, .layer = scheme->layer};
}

void scheme_open(struct scheme *scheme)
{
    struct position_source source = load(scheme);
    ck_assert_msg(position_open(&scheme->position, &source, &scheme->err) == 0, "%s",
                  scheme->err.text);
}

void scheme_refuse(struct scheme *scheme, const char *text)
{
    struct position_source source = load(scheme);
    ck_assert_int_eq(position_open(&scheme->position, &source, &scheme->err), -1);
    ck_assert_msg(strstr(scheme->err.text, text) != NULL, "\"%s\" without \"%s\"", scheme->err.text,
                  text);
    ck_assert_msg(strstr(scheme->err.text, "m.gguf: ") != NULL, "%s", scheme->err.text);
    ck_assert_ptr_null(scheme->position.scheme);
    ck_assert_ptr_null(scheme->position.parameters);
    for (int i = 0; i < POSITION_TENSORS_MAX; i++)
        ck_assert_ptr_null(scheme->position.tensors[i]);
    scheme_close(scheme);
}

void scheme_open_starved(struct scheme *scheme)
{
    struct position_source source = load(scheme);
    int result = -1;
    for (long n = 1; result != 0; n++) {
        support_fail_memory(n, false);
        result = position_open(&scheme->position, &source, &scheme->err);
        bool failed = support_memory_failures() > 0;
        support_fail_memory(0, false);
        ck_assert_int_eq(result, failed ? -1 : 0);
        ck_assert(failed || n > 1); /* something was allocated */
        if (failed)
            ck_assert_msg(strstr(scheme->err.text, "out of memory") != NULL, "%s",
                          scheme->err.text);
    }
}

void scheme_close(struct scheme *scheme)
{
    position_close(&scheme->position);
    checkpoint_close(&scheme->checkpoint);
    scratch_remove();
}

void scheme_expect_text(const struct scheme *scheme, const char *text)
{
    char line[128];
    position_describe(&scheme->position, line, sizeof line);
    ck_assert_str_eq(line, text);
}

double scheme_bias(const struct scheme *scheme, int head, double place, double distance)
{
    const struct position *position = &scheme->position;
    if (position->scheme->bias)
        return position->scheme->bias(position, head, distance);
    float score = 0;
    position->scheme->add_bias(position, head, place, distance, 1, 1, &score);
    return (double)score;
}
