/* fire: published ratios, and the net evaluated unit by unit. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "tests/model/position/scheme.h"
#include "tests/suites.h"

enum { HEADS = 3, HIDDEN = 32 };

struct net {
    float c, length;
    float in[HIDDEN], in_bias[HIDDEN];
    float out[HEADS * HIDDEN], out_bias[HEADS];
};

static void with(struct scheme *scheme, const struct net *net, int hidden)
{
    scheme_init(scheme, POSITION_FIRE, HEADS);
    scheme_tensor(scheme, "attn_rel_c.weight", 0, 1, &net->c);
    scheme_tensor(scheme, "attn_rel_length.weight", 0, 1, &net->length);
    scheme_tensor(scheme, "blk.0.attn_rel_in.weight", 0, hidden, net->in);
    scheme_tensor(scheme, "blk.0.attn_rel_in.bias", 0, hidden, net->in_bias);
    scheme_tensor(scheme, "blk.0.attn_rel_out.weight", HEADS, hidden, net->out);
    scheme_tensor(scheme, "blk.0.attn_rel_out.bias", 0, HEADS, net->out_bias);
}

/* One unit that passes u on; the heads multiply it by 1, 2 and -1 and add 0, 0 and 5. */
static const struct net passing = {
    .c = 0.1F, .length = 512, .in = {1}, .out = {1, 2, -1}, .out_bias = {0, 0, 5}};

START_TEST(test_vectors)
{
    static const struct {
        int i, j;
        double ratio;
    } rows[] = {{10, 0, 0.175255}, {511, 0, 0.999515}, {1023, 0, 1}, {1023, 512, 0.852409}};
    for (int sign = -1; sign < 2; sign += 2) {
        struct net net = passing;
        struct scheme scheme;
        net.c *= (float)sign; /* only the sizes of c and of the length matter */
        net.length *= (float)sign;
        with(&scheme, &net, 1);
        scheme_open(&scheme);
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
            int i = rows[r].i, distance = i - rows[r].j;
            ck_assert_double_eq_tol(scheme_bias(&scheme, 0, i, distance), rows[r].ratio, 1e-6);
            ck_assert_double_eq_tol(scheme_bias(&scheme, 1, i, distance), 2 * rows[r].ratio, 2e-6);
            ck_assert_double_eq_tol(scheme_bias(&scheme, 2, i, distance), 5 - rows[r].ratio, 1e-6);
        }
        scheme_close(&scheme);
    }
}
END_TEST

static double brute(const struct net *net, int head, double i, double distance)
{
    double c = fabs((double)net->c), length = fabs((double)net->length);
    double u = log(c * distance + 1) / (log(c * fmax(length, i) + 1) + 1e-6);
    double sum = (double)net->out_bias[head];
    for (int k = 0; k < HIDDEN; k++) {
        double unit = (double)net->in[k] * u + (double)net->in_bias[k];
        if (unit > 0)
            sum += (double)net->out[head * HIDDEN + k] * unit;
    }
    return sum;
}

static float uniform(void)
{
    return (float)rand() / (float)RAND_MAX * 2 - 1;
}

/* Units that are always on or off, that share their border, that turn on as others turn off. */
static struct net random_net(void)
{
    struct net net = {.c = uniform() + 1.5F, .length = 300};
    for (int k = 0; k < HIDDEN; k++) {
        net.in[k] = k % 8 == 0 ? 0 : uniform();
        net.in_bias[k] = k % 8 == 1 ? -net.in[k] / 2 : k % 8 == 2 ? 0 : uniform() / 2;
    }
    for (int i = 0; i < HEADS * HIDDEN; i++)
        net.out[i] = 4 * uniform();
    for (int head = 0; head < HEADS; head++)
        net.out_bias[head] = uniform();
    return net;
}

START_TEST(test_net)
{
    static const int places[] = {0, 5, 127, 299, 300, 301, 5000, 1000000};
    enum { RUN = 200 };
    srand(3);
    for (int trial = 0; trial < 20; trial++) {
        struct net net = random_net();
        struct scheme scheme;
        with(&scheme, &net, HIDDEN);
        scheme_open(&scheme);
        for (size_t p = 0; p < sizeof places / sizeof places[0]; p++)
            for (int head = 0; head < HEADS; head++) {
                float scores[RUN + 1] = {[7] = 3, [RUN] = 9};
                int i = places[p], n = i + 1 < RUN ? i + 1 : RUN;
                for (int distance = i; distance >= n - 1; distance -= 1 + distance / 2) {
                    float row[RUN + 1];
                    for (int j = 0; j <= RUN; j++)
                        row[j] = scores[j];
                    scheme.position.scheme->add_bias(&scheme.position, head, i, distance, 1, n,
                                                     row);
                    for (int j = 0; j < n; j++)
                        ck_assert_double_eq_tol(
                            (double)row[j], (j == 7 ? 3 : 0) + brute(&net, head, i, distance - j),
                            1e-5);
                    for (int j = n; j <= RUN; j++)
                        ck_assert_float_eq(row[j], scores[j]);
                }
            }
        scheme_close(&scheme);
    }
}
END_TEST

START_TEST(test_opened)
{
    struct scheme scheme;
    with(&scheme, &passing, 1);
    scheme_open_starved(&scheme);
    ck_assert(scheme.position.scheme->nature == POSITION_ABSOLUTE);
    ck_assert(scheme.position.scheme->layered);
    ck_assert(scheme.position.limit == INT64_MAX);
    scheme_expect_text(&scheme, "fire, 1 hidden units, c 0.1, length 512");
    scheme_close(&scheme);
}
END_TEST

START_TEST(test_refused)
{
    struct scheme scheme;
    static const float numbers[HIDDEN + 1];
    scheme_init(&scheme, POSITION_FIRE, HEADS);
    scheme_refuse(&scheme, "is missing");
    scheme_init(&scheme, POSITION_FIRE, HEADS);
    scheme_tensor(&scheme, "attn_rel_c.weight", 0, 1, numbers);
    scheme_tensor(&scheme, "attn_rel_length.weight", 0, 1, numbers);
    scheme_tensor(&scheme, "attn_rel_in.bias", 0, 5, numbers);
    scheme_tensor(&scheme, "attn_rel_in.weight", 0, 4, numbers);
    scheme_refuse(&scheme, "shape (4,1,1), expected (5,1)");
    scheme_init(&scheme, POSITION_FIRE, HEADS);
    scheme_tensor(&scheme, "attn_rel_c.weight", 0, 1, numbers);
    scheme_tensor(&scheme, "attn_rel_length.weight", 0, 1, numbers);
    scheme_tensor(&scheme, "attn_rel_in.weight", 0, 4, numbers);
    scheme_refuse(&scheme, "attn_rel_in.bias\" is missing");
    struct net net = passing;
    net.c = NAN;
    with(&scheme, &net, 1);
    scheme_refuse(&scheme, "\"attn_rel_c.weight\" of layer 0: number 0 is nan");
    net = passing;
    net.length = INFINITY;
    with(&scheme, &net, 1);
    scheme_refuse(&scheme, "number 0 is inf");
    net = passing;
    net.out[2] = NAN;
    with(&scheme, &net, 1);
    scheme_refuse(&scheme, "number 2 is nan");
    float *many = calloc((1 << 16) + 1, sizeof *many);
    ck_assert_ptr_nonnull(many);
    scheme_init(&scheme, POSITION_FIRE, HEADS);
    scheme_tensor(&scheme, "attn_rel_in.bias", 0, (1 << 16) + 1, many);
    scheme_refuse(&scheme, "\"attn_rel_in.bias\" has 65537 numbers, allowed: 1 to 65536");
    free(many);
}
END_TEST

/* A net of nothing, and a text of nothing: no number is divided by zero. */
START_TEST(test_zeros)
{
    struct net net = {.out_bias = {0, 0.5F, 0}};
    struct scheme scheme;
    with(&scheme, &net, HIDDEN);
    scheme_open(&scheme);
    ck_assert_double_eq(scheme_bias(&scheme, 1, 0, 0), 0.5);
    ck_assert_double_eq(scheme_bias(&scheme, 1, 1000, 1000), 0.5);
    scheme_close(&scheme);
}
END_TEST

Suite *fire_suite(void)
{
    Suite *suite = suite_create("fire");
    TCase *tcase = tcase_create("fire");
    tcase_add_test(tcase, test_vectors);
    tcase_add_test(tcase, test_net);
    tcase_add_test(tcase, test_opened);
    tcase_add_test(tcase, test_refused);
    tcase_add_test(tcase, test_zeros);
    suite_add_tcase(suite, tcase);
    return suite;
}
