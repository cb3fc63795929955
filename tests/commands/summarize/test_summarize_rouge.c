/* test_summarize_rouge: scores against those counted by hand and those of rouge-score 0.1.2
 * (use_stemmer=False). */
#include <check.h>
#include <string.h>

#include "commands/summarize/summarize.h"
#include "tests/suites.h"

struct pair {
    const char *candidate, *reference;
    double scores[3][3]; /* ROUGE-1, -2, -L: precision, recall, F1 */
};

static const struct pair pairs[] = {
    /* By hand: 5 of 6 words, 3 of 5 pairs, "the cat on the mat" */
    {"the cat sat on the mat",
     "the cat is on the mat",
     {{5.0 / 6, 5.0 / 6, 5.0 / 6}, {0.6, 0.6, 0.6}, {5.0 / 6, 5.0 / 6, 5.0 / 6}}},
    {"one", "two three", {{0}}},
    {"", "word", {{0}}},
    {"word", "", {{0}}},
    {".,;", "!?", {{0}}},
    {"one one one one", "one one", {{0.5, 1, 2.0 / 3}, {1.0 / 3, 1, 0.5}, {0.5, 1, 2.0 / 3}}},
    /* By rouge-score */
    {"- Juno: from Bergen, 34 tons of rum.\n- Fire in the barn at Hull on Monday.",
     "- Fire in the barn at Hull on Monday.\n- Juno: from Bergen, 43 tons of rum.\n- Anna goes to "
     "Rome on Friday.",
     {{0.933333, 0.666667, 0.777778},
      {0.785714, 0.550000, 0.647059},
      {0.533333, 0.380952, 0.444444}}},
    {"A b a B, a-b a_b: a's b; (a) b!",
     "b a b a b a 1a2 b",
     {{0.538462, 0.875000, 0.666667},
      {0.416667, 0.714286, 0.526316},
      {0.538462, 0.875000, 0.666667}}},
    {"The quick brown fox jumps over the lazy dog while the cat, who had been asleep, opens one "
     "eye.",
     "While the cat opens one eye, the quick dog jumps over the brown fox who had been lazy.",
     {{0.947368, 1.000000, 0.972973},
      {0.555556, 0.588235, 0.571429},
      {0.421053, 0.444444, 0.432432}}},
    {"z y x w v u t s r q p",
     "a z b y c x d w e v f u g",
     {{0.545455, 0.461538, 0.500000}, {0, 0, 0}, {0.545455, 0.461538, 0.500000}}},
    /* By hand, beyond ASCII: letters are letters, quotation marks are not, Han stand alone */
    {"“Über” UNS", "uns Über uns", {{1, 2.0 / 3, 0.8}, {1, 0.5, 2.0 / 3}, {1, 2.0 / 3, 0.8}}},
    {"我爱你。", "我你", {{2.0 / 3, 1, 0.8}, {0, 0, 0}, {2.0 / 3, 1, 0.8}}},
};

static void score(const struct pair *pair, struct rouge scores[3])
{
    struct error err;
    struct text candidate = {pair->candidate, strlen(pair->candidate)};
    struct text reference = {pair->reference, strlen(pair->reference)};
    ck_assert_int_eq(rouge_score(candidate, reference, scores, &err), 0);
}

START_TEST(scores_are_those_known)
{
    struct rouge scores[3];
    score(&pairs[_i], scores);
    for (int i = 0; i < 3; i++) {
        ck_assert_double_eq_tol(scores[i].precision, pairs[_i].scores[i][0], 1e-6);
        ck_assert_double_eq_tol(scores[i].recall, pairs[_i].scores[i][1], 1e-6);
        ck_assert_double_eq_tol(scores[i].f1, pairs[_i].scores[i][2], 1e-6);
    }
}
END_TEST

Suite *summarize_rouge_suite(void)
{
    Suite *suite = suite_create("summarize_rouge");
    TCase *tcase = tcase_create("rouge");
    tcase_add_loop_test(tcase, scores_are_those_known, 0, sizeof pairs / sizeof pairs[0]);
    suite_add_tcase(suite, tcase);
    return suite;
}
