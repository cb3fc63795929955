/* scalar: every operation in plain C, the reference for the other tiers.
 *
 * It multiplies dequantised weights in f32 (`integer` is false), row by row, and has neither rows[]
 * nor panels; quantize_q8 and dot_q8 are here as the reference that integer tiers are tested
 * against. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/half.h"
#include "kernels/kernels.h"

/* Independent partial sums: shorter chains of additions, so less rounding, and room for SIMD. */
enum { LANES = 8 };

static void f32_from_f16(const uint16_t *h, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = f16_to_f32(h[i]);
}

static void f32_from_bf16(const uint16_t *h, size_t n, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = bf16_to_f32(h[i]);
}

static void f16_rows_from_f32(const float *x, size_t n, uint16_t *h)
{
    for (size_t i = 0; i < n; i++)
        h[i] = f16_from_f32(x[i]);
}

static float sum_lanes(const float *lanes)
{
    return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) +
           ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

static float dot_f32(const float *w, const float *x, size_t n)
{
    float lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            lanes[k] += w[i + (size_t)k] * x[i + (size_t)k];
    float sum = sum_lanes(lanes);
    for (; i < n; i++)
        sum += w[i] * x[i];
    return sum;
}

static void quantize_group(const float *x, int group, int8_t *q, float *scale, int32_t *sum)
{
    uint32_t bits = 0;
    for (int i = 0; i < group; i++) {
        uint32_t magnitude = float_bits(x[i]) & 0x7FFFFFFF; /* ordered like |x|, a NaN on top */
        bits = magnitude > bits ? magnitude : bits;
    }
    float max = float_from_bits(bits);
    bool zero = bits < float_bits(Q8_TINY);
    bool finite = max <= FLT_MAX;
    float inverse = 127.0F / max;
    *scale = zero ? 0.0F : max / 127.0F;
    *sum = 0;
    for (int i = 0; i < group; i++) {
        q[i] = (int8_t)(zero || !finite ? 0 : (int)rintf(x[i] * inverse));
        *sum += q[i];
    }
}

static void quantize_q8(const float *x, size_t n, int group, int8_t *q, float *scale, int32_t *sum)
{
    for (size_t i = 0; i < n; i += (size_t)group)
        quantize_group(x + i, group, q + i, scale++, sum++);
}

static float dot_q8(const int8_t *q, const float *scale, const float *min, size_t n, int group,
                    struct q8_row x)
{
    float total = 0;
    for (size_t g = 0; g < n / (size_t)group; g++) {
        int32_t dot = 0;
        for (int i = 0; i < group; i++)
            dot += *q++ * *x.q++;
        total += x.scale[g] * (scale[g] * (float)dot + (min ? min[g] * (float)x.sum[g] : 0.0F));
    }
    return total;
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void rms_norm(float *y, const float *x, const float *weight, size_t n, float epsilon)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * x[i];
    float factor = (float)(1.0 / sqrt(squares / (double)n + epsilon));
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * factor * weight[i];
}

static void layer_norm(float *y, const float *x, const float *weight, const float *bias, size_t n,
                       float epsilon)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    double mean = sum / (double)n;
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    float factor = (float)(1.0 / sqrt(squares / (double)n + epsilon));
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] - (float)mean) * factor * weight[i] + (bias ? bias[i] : 0.0F);
}

static float times(float x, const float *up, size_t i)
{
    return up ? x * up[i] : x;
}

static void silu(float *x, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = times(x[i] / (1.0F + expf(-x[i])), up, i);
}

static void gelu(float *x, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float phi_2 = erfcf(x[i] * -0x1.6a09e6p-1F); /* erfc(-x / sqrt(2)) = 2 Phi(x) */
        x[i] = times(0.5F * x[i] * phi_2, up, i);
    }
}

static void gelu_tanh(float *x, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float inner = 0.79788456F * (x[i] + 0.044715F * x[i] * x[i] * x[i]); /* sqrt(2 / pi) */
        x[i] = times(0.5F * x[i] * (1.0F + tanhf(inner)), up, i);
    }
}

static void rotate_interleaved(float *x, const float *cos, const float *sin, size_t pairs)
{
    for (size_t t = 0; t < pairs; t++) {
        float a = x[2 * t], b = x[2 * t + 1];
        x[2 * t] = a * cos[t] - b * sin[t];
        x[2 * t + 1] = a * sin[t] + b * cos[t];
    }
}

static void rotate_halves(float *x, const float *cos, const float *sin, size_t pairs)
{
    for (size_t t = 0; t < pairs; t++) {
        float a = x[t], b = x[t + pairs];
        x[t] = a * cos[t] - b * sin[t];
        x[t + pairs] = a * sin[t] + b * cos[t];
    }
}

/* n elements from the i-th on as floats, not yet times their scale; of 4 bits those that are
 * `shift` bits up in n bytes. */
static void load_elements(const struct stored *from, size_t i, size_t n, int shift, float *x)
{
    for (size_t k = 0; k < n; k++)
        switch (from->format) {
        case FORMAT_F32:
            x[k] = ((const float *)from->elements)[i + k];
            break;
        case FORMAT_F16:
            x[k] = f16_to_f32(((const uint16_t *)from->elements)[i + k]);
            break;
        case FORMAT_BF16:
            x[k] = bf16_to_f32(((const uint16_t *)from->elements)[i + k]);
            break;
        case FORMAT_Q8_0:
            x[k] = ((const int8_t *)from->elements)[i + k];
            break;
        default:
            x[k] = (float)((((const uint8_t *)from->elements)[i + k] >> shift & 15) - 8);
        }
}

/* Dimension d of n keys from the j-th on. */
static void load_keys(const struct stored *keys, size_t d, size_t j, size_t n, float *x)
{
    bool pairs = keys->format == FORMAT_Q4_0;
    size_t row = pairs ? d / 2 : d;
    load_elements(keys, row * keys->stride + j, n, d % 2 != 0 ? 4 : 0, x);
    if (stored_is_grouped(keys->format))
        for (size_t k = 0; k < n; k++)
            x[k] *= f16_to_f32(keys->scales[d / CACHE_GROUP * keys->stride + j + k]);
}

static void attend_scores(float *scores, size_t lds, const float *const *q, int m,
                          const struct stored *keys, size_t n, size_t dim)
{
    float x[CACHE_BLOCK];
    for (int i = 0; i < m; i++)
        memset(scores + (size_t)i * lds, 0, n * sizeof *scores);
    for (size_t j = 0; j < n; j += CACHE_BLOCK) {
        size_t lanes = n - j < CACHE_BLOCK ? n - j : CACHE_BLOCK;
        for (size_t d = 0; d < dim; d++) {
            load_keys(keys, d, j, lanes, x);
            for (int i = 0; i < m; i++)
                for (size_t k = 0; k < lanes; k++)
                    scores[(size_t)i * lds + j + k] += q[i][d] * x[k];
        }
    }
}

/* Elements d .. d + n - 1 of the j-th value, of one group. */
static void load_value(const struct stored *values, size_t j, size_t d, size_t n, size_t dim,
                       float *x)
{
    if (values->format == FORMAT_Q4_0) {
        const size_t row = j * stored_row_bytes(FORMAT_Q4_0, dim);
        for (size_t k = 0; k < n; k++)
            load_elements(values, row + (d + k) / 2, 1, (d + k) % 2 != 0 ? 4 : 0, x + k);
    } else {
        load_elements(values, j * dim + d, n, 0, x);
    }
    if (stored_is_grouped(values->format))
        for (size_t k = 0; k < n; k++)
            x[k] *= f16_to_f32(values->scales[j * stored_groups(dim) + d / CACHE_GROUP]);
}

static void attend_values(float *const *out, const float *p, size_t ldp, int m,
                          const struct stored *values, size_t n, size_t dim)
{
    float x[CACHE_GROUP];
    for (size_t j = 0; j < n; j++)
        for (size_t d = 0; d < dim; d += CACHE_GROUP) {
            size_t elements = dim - d < CACHE_GROUP ? dim - d : CACHE_GROUP;
            load_value(values, j, d, elements, dim, x);
            for (int i = 0; i < m; i++)
                for (size_t k = 0; k < elements; k++)
                    out[i][d + k] += p[(size_t)i * ldp + j] * x[k];
        }
}

static float max(const float *x, size_t n)
{
    float largest = x[0];
    for (size_t i = 1; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    return largest;
}

static float exp_sum(float *x, size_t n, float shift)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - shift);
        sum += x[i];
    }
    return (float)sum;
}

static float softmax(float *x, const struct bias *bias, size_t n, float *top, float *sum)
{
    if (bias && bias->row)
        add(x, bias->row, n);
    for (size_t j = 0; bias && !bias->row && j < n; j++)
        x[j] -= bias->slope * (bias->distance - (float)j);
    float largest = max(x, n);
    float shrink = 1;
    if (largest > *top) {
        shrink = expf(*top - largest);
        *top = largest;
    }
    *sum = *sum * shrink + exp_sum(x, n, *top);
    return shrink;
}

static void scale(float *x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

static double peak_f32(size_t rounds)
{
    enum { CHAINS = 16 };
    float sum[CHAINS] = {0};
    volatile float half = 0.5F;
    float factor = half;
    for (size_t r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = sum[i] * factor + factor;
    for (int i = 0; i < CHAINS; i++)
        half = sum[i];
    return (double)rounds * CHAINS;
}

/* --- attention over packed blocks: as it is stored, in f32 --------------------------------------
 */

/* y = the n elements that start at index `first` of an F32 or F16 array. */
static void copy_f32(float *y, const void *x, size_t first, size_t n, enum format format)
{
    if (format == FORMAT_F16)
        f32_from_f16((const uint16_t *)x + first, n, y);
    else
        memcpy(y, (const float *)x + first, n * sizeof *y);
}

static void pack_queries(const float *const *q, int m, size_t dim, void *packed)
{
    for (int i = 0; i < m; i++)
        memcpy((float *)packed + (size_t)i * dim, q[i], dim * sizeof(float));
}

static void pack_keys(const void *keys, size_t ldk, enum format format, size_t n, size_t dim,
                      void *packed)
{
    for (size_t d = 0; d < dim; d++)
        copy_f32((float *)packed + d * PACKED_POSITIONS, keys, d * ldk, n, format);
}

static void pack_values(const void *values, enum format format, size_t n, size_t dim, void *packed)
{
    copy_f32(packed, values, 0, n * dim, format);
}

static void packed_scores(float *scores, size_t lds, const void *q, int m, const void *keys,
                          size_t n, size_t dim)
{
    const float *row[PACKED_QUERIES];
    for (int i = 0; i < m; i++)
        row[i] = (const float *)q + (size_t)i * dim;
    struct stored stored = {.format = FORMAT_F32, .elements = keys, .stride = PACKED_POSITIONS};
    attend_scores(scores, lds, row, m, &stored, n, dim);
}

static void packed_values(float *out, size_t ldo, const float *p, size_t ldp, int m,
                          const void *values, size_t n, size_t dim)
{
    float *row[PACKED_QUERIES];
    for (int i = 0; i < m; i++)
        row[i] = out + (size_t)i * ldo;
    struct stored stored = {.format = FORMAT_F32, .elements = values};
    attend_values(row, p, ldp, m, &stored, n, dim);
}

void kernels_scalar(struct kernels *kernels)
{
    *kernels = (struct kernels){
        .name = "scalar",
        .f32_from_f16 = f32_from_f16,
        .f32_from_bf16 = f32_from_bf16,
        .f16_from_f32 = f16_rows_from_f32,
        .dot_f32 = dot_f32,
        .quantize_q8 = quantize_q8,
        .dot_q8 = dot_q8,
        .add = add,
        .rms_norm = rms_norm,
        .layer_norm = layer_norm,
        .silu = silu,
        .gelu = gelu,
        .gelu_tanh = gelu_tanh,
        .rotate_interleaved = rotate_interleaved,
        .rotate_halves = rotate_halves,
        .attend_scores = attend_scores,
        .attend_values = attend_values,
        .max = max,
        .exp_sum = exp_sum,
        .softmax = softmax,
        .scale = scale,
        .peak_f32 = peak_f32,
        .pack_queries = pack_queries,
        .pack_keys = pack_keys,
        .pack_values = pack_values,
        .packed_scores = packed_scores,
        .packed_values = packed_values,
    };
    for (int f = 0; f < FORMAT_COUNT; f++)
        kernels->unpack[f] = format_info[f].unpack;
}
