/* quantize: writes a model in another format.
 *
 * Matrices take the format asked for; vectors and position tables stay as they are. With a 4-bit
 * format the output matrix (the embedding when it is tied) is kept in Q6_K, and rows that a
 * format's blocks do not divide in Q8_0 or F16: that costs little and saves most of what such
 * formats lose. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/size.h"
#include "commands/commands.h"
#include "commands/engine.h"
#include "commands/output.h"
#include "model/gguf_write.h"

/* Formats that can be asked for, and their number in general.file_type (llama.cpp's ftype). */
static const struct {
    enum format format;
    int file_type;
} targets[] = {
    {FORMAT_F16, 1},   {FORMAT_Q4_0, 2},  {FORMAT_Q8_0, 7},
    {FORMAT_Q4_K, 14}, {FORMAT_Q6_K, 18}, {FORMAT_BF16, 32},
};

struct quantize {
    struct checkpoint in;
    struct gguf_write out;
    struct output output;
    struct gguf_tensor *tensors;
    enum format format;
    int file_type;
    double error; /* sum of squares, over the sum of squares of the weights below */
    double power;
};

/* One piece of a tensor on its way: rows are independent. */
struct piece {
    const struct gguf_tensor *tensor;
    size_t cols;
    size_t row0;
    uint8_t *blocks; /* result */
    float *rows;     /* (threads, 2 * cols) scratch */
    double *error;   /* (rows of the piece) */
    double *power;
};

enum { PIECE_WEIGHTS = 1 << 22 };

static void quantize_rows(void *context, int begin, int end, int thread)
{
    const struct piece *piece = context;
    const struct tensor *source = piece->tensor->source;
    size_t cols = piece->cols;
    float *x = piece->rows + (size_t)thread * 2 * cols;
    float *back = x + cols;
    for (int r = begin; r < end; r++) {
        const uint8_t *in = (const uint8_t *)source->data +
                            (piece->row0 + (size_t)r) * format_row_bytes(source->format, cols);
        uint8_t *out = piece->blocks + (size_t)r * format_row_bytes(piece->tensor->format, cols);
        format_dequantize(source->format, in, cols, x);
        format_info[piece->tensor->format].quantize(x, cols, out);
        format_dequantize(piece->tensor->format, out, cols, back);
        double error = 0;
        double power = 0;
        for (size_t i = 0; i < cols; i++) {
            double d = (double)x[i] - (double)back[i];
            error += d * d;
            power += (double)x[i] * (double)x[i];
        }
        piece->error[r] = error;
        piece->power[r] = power;
    }
}

static int write_converted(struct quantize *q, const struct gguf_tensor *tensor, struct error *err)
{
    const struct tensor *source = tensor->source;
    size_t cols = (size_t)source->shape[0];
    size_t rows = (size_t)(source->shape[1] * source->shape[2] * source->shape[3]);
    size_t step = PIECE_WEIGHTS / cols + 1;
    step = step < rows ? step : rows;
    size_t row_bytes = format_row_bytes(tensor->format, cols);
    struct piece piece = {
        .tensor = tensor,
        .cols = cols,
        .blocks = size_alloc(step, row_bytes),
        .rows = size_alloc((size_t)parallel_threads() * 2 * cols, sizeof(float)),
        .error = size_alloc(step, sizeof(double)),
        .power = size_alloc(step, sizeof(double)),
    };
    int result = piece.blocks && piece.rows && piece.error && piece.power
                     ? 0
                     : error_memory(err, "rows to quantise", step * row_bytes);
    for (; result == 0 && piece.row0 < rows; piece.row0 += step) {
        size_t n = rows - piece.row0 < step ? rows - piece.row0 : step;
        parallel_for((int)n, 1, quantize_rows, &piece);
        for (size_t r = 0; r < n && result == 0; r++) {
            q->error += piece.error[r];
            q->power += piece.power[r];
            if (!isfinite(piece.power[r]))
                result = error_set(
                    err, "%s: tensor \"%s\": row %zu holds a weight that is not a finite number",
                    source->place, text_printable(source->name).chars, piece.row0 + r);
        }
        if (result == 0)
            result =
                gguf_write_data(&q->out, piece.blocks, n * row_bytes, piece.row0 + n == rows, err);
    }
    free(piece.blocks);
    free(piece.rows);
    free(piece.error);
    free(piece.power);
    return result;
}

/* The first of the wished-for formats whose blocks divide the rows and that is no wider than need
 * be. */
static enum format fitting(enum format wanted, int64_t cols)
{
    const enum format order[] = {wanted, FORMAT_Q8_0, FORMAT_F16};
    for (int i = 0; i < 2; i++)
        if (cols % format_info[order[i]].block_len == 0)
            return order[i];
    return order[2];
}

static enum format target_format(const struct quantize *q, const struct tensor *tensor)
{
    bool is_matrix = tensor->n_dims >= 2;
    if (!is_matrix || text_equals(tensor->name, "position_embd.weight"))
        return tensor->format;
    const char *output =
        checkpoint_find(&q->in, "output.weight") ? "output.weight" : "token_embd.weight";
    bool four_bits = q->format == FORMAT_Q4_0 || q->format == FORMAT_Q4_K;
    enum format wanted = four_bits && text_equals(tensor->name, output) ? FORMAT_Q6_K : q->format;
    return fitting(wanted, tensor->shape[0]);
}

static int find_target(struct quantize *q, const char *name, struct error *err)
{
    int format = format_from_name(name);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        if ((int)targets[i].format == format) {
            q->format = targets[i].format;
            q->file_type = targets[i].file_type;
            return 0;
        }
    return error_set(err, "type \"%s\" found, expected f16, bf16, q8_0, q4_0, q4_k or q6_k",
                     text_printable((struct text){name, strlen(name)}).chars);
}

/* Writing over the file that is mapped would pull the weights from under our feet. */
static int refuse_same_file(const struct quantize *q, const char *out, struct error *err)
{
    struct stat a;
    struct stat b;
    for (int i = 0; i < q->in.n_files; i++)
        if (stat(q->in.paths[i], &a) == 0 && stat(out, &b) == 0 && a.st_dev == b.st_dev &&
            a.st_ino == b.st_ino)
            return error_set(err, "%s: is the model to read, too; name another file", out);
    return 0;
}

static int quantize(struct quantize *q, const struct options *options, struct error *err)
{
    const char *out = options->arguments[1];
    if (find_target(q, options->arguments[2], err) ||
        checkpoint_open(&q->in, options->arguments[0], err) || refuse_same_file(q, out, err))
        return -1;
    size_t n = q->in.n_tensors;
    size_t bytes_in = 0;
    q->tensors = size_alloc(n, sizeof *q->tensors);
    if (!q->tensors)
        return error_memory(err, "the directory of tensors", n * sizeof *q->tensors);
    for (size_t i = 0; i < n; i++) {
        q->tensors[i] =
            (struct gguf_tensor){&q->in.tensors[i], target_format(q, &q->in.tensors[i])};
        bytes_in += q->in.tensors[i].bytes;
    }
    if (gguf_write_open(&q->out, out, &q->in.metadata, q->file_type, q->tensors, n, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct tensor *source = q->tensors[i].source;
        int result = q->tensors[i].format == source->format
                         ? gguf_write_data(&q->out, source->data, source->bytes, true, err)
                         : write_converted(q, &q->tensors[i], err);
        if (result)
            return -1;
        output_progress(&q->output, "tensors", (int64_t)i + 1, (int64_t)n);
    }
    size_t bytes_out = q->out.written;
    if (gguf_write_finish(&q->out, err))
        return -1;
    double relative = q->power > 0 ? q->error / q->power : 0;
    if (options->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "file", out);
        cJSON_AddStringToObject(object, "type", format_info[q->format].name);
        cJSON_AddNumberToObject(object, "bytes_in", (double)bytes_in);
        cJSON_AddNumberToObject(object, "bytes_out", (double)bytes_out);
        cJSON_AddNumberToObject(object, "relative_squared_error", relative);
        return output_json(object, err);
    }
    output_note(&q->output, "%s: %.1f MB, was %.1f MB; squared error %.3g of the weights'", out,
                (double)bytes_out / 1e6, (double)bytes_in / 1e6, relative);
    return 0;
}

int command_quantize(const struct options *options, struct error *err)
{
    struct quantize q = {0};
    output_open(&q.output, options);
    int result = quantize(&q, options, err);
    gguf_write_close(&q.out);
    free(q.tensors);
    checkpoint_close(&q.in);
    return result ? -1 : EXIT_OK;
}
