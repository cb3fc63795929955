/* parallel: every item once, by a thread that exists, in pieces of the size asked for; loop after
 * loop in one team. */
#include "kernels/parallel.h"

#include <check.h>
#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <time.h>

#include "tests/suites.h"

enum { ITEMS_MAX = 10000 };

struct count {
    atomic_int times[ITEMS_MAX];
    atomic_int calls;
    atomic_int wrong; /* thread numbers or pieces that must not be */
    int n;
    int grain;
    bool whole; /* one piece is right */
};

static void body(void *context, int begin, int end, int thread)
{
    struct count *count = context;
    atomic_fetch_add(&count->calls, 1);
    if (thread < 0 || thread >= parallel_threads() || begin < 0 || end <= begin || end > count->n)
        atomic_fetch_add(&count->wrong, 1);
    bool piece = begin % count->grain == 0 && (end == count->n || end - begin == count->grain);
    if (!piece && !(count->whole && begin == 0 && end == count->n))
        atomic_fetch_add(&count->wrong, 1);
    for (int i = begin; i < end; i++)
        atomic_fetch_add(&count->times[i], 1);
}

static void check_loop(int n, int grain)
{
    static struct count count;
    for (int i = 0; i < ITEMS_MAX; i++)
        atomic_store(&count.times[i], 0);
    atomic_store(&count.calls, 0);
    atomic_store(&count.wrong, 0);
    count.n = n;
    count.grain = grain;
    count.whole = n <= grain || parallel_threads() == 1;
    parallel_for(n, grain, body, &count);
    ck_assert_int_eq(atomic_load(&count.wrong), 0);
    for (int i = 0; i < ITEMS_MAX; i++)
        if (atomic_load(&count.times[i]) != (i < n))
            ck_abort_msg("item %d of %d: %d times", i, n, atomic_load(&count.times[i]));
    if (n == 0)
        ck_assert_int_eq(atomic_load(&count.calls), 0);
    else if (count.whole)
        ck_assert_int_eq(atomic_load(&count.calls), 1);
    else
        ck_assert_int_eq(atomic_load(&count.calls), (n + grain - 1) / grain);
}

START_TEST(test_every_item_once)
{
    static const int ns[] = {0, 1, 2, 3, 7, 64, 1000, ITEMS_MAX},
                     grains[] = {1, 2, 3, 10, 999, 1000, 20000};
    parallel_set_threads(_i);
    ck_assert_int_eq(parallel_threads(), _i);
    for (size_t n = 0; n < sizeof ns / sizeof ns[0]; n++)
        for (size_t g = 0; g < sizeof grains / sizeof grains[0]; g++)
            check_loop(ns[n], grains[g]);
}
END_TEST

/* Pieces shrink, none below `least` items but the last. */
struct shrinking {
    atomic_int times[1000], calls, wrong;
    int n, least;
};

static void shrinking_body(void *context, int begin, int end, int thread)
{
    struct shrinking *s = context;
    atomic_fetch_add(&s->calls, 1);
    bool good = thread >= 0 && thread < parallel_threads() && begin >= 0 && end <= s->n &&
                (end - begin >= s->least || end == s->n);
    atomic_fetch_add(&s->wrong, !good);
    for (int i = begin; i < end; i++)
        atomic_fetch_add(&s->times[i], 1);
}

START_TEST(test_shrinking_pieces)
{
    static struct shrinking s;
    parallel_set_threads(_i);
    for (s.n = 0; s.n <= 1000; s.n += 111)
        for (s.least = 1; s.least <= 100; s.least *= 10) {
            for (int i = 0; i < s.n; i++)
                atomic_store(&s.times[i], 0);
            atomic_store(&s.calls, 0);
            parallel_for_shrinking(s.n, s.least, shrinking_body, &s);
            ck_assert_int_eq(atomic_load(&s.wrong), 0);
            for (int i = 0; i < s.n; i++)
                ck_assert_int_eq(atomic_load(&s.times[i]), 1);
            if (_i == 1)
                ck_assert_int_eq(atomic_load(&s.calls), s.n > 0);
            else if (s.n == 999 && s.least == 10) /* shares of what is left, not 100 pieces */
                ck_assert_int_lt(atomic_load(&s.calls), 50);
        }
}
END_TEST

static void sum_thread(void *context, int begin, int end, int thread)
{
    int *scratch = context;
    for (int i = begin; i < end; i++)
        scratch[thread]++; /* no other thread has this number now */
}

/* Scratch memory named by the thread's number is never shared. */
START_TEST(test_scratch)
{
    int scratch[8] = {0};
    parallel_set_threads(8);
    for (int i = 0; i < 20; i++)
        parallel_for(5000, 7, sum_thread, scratch);
    int sum = 0;
    for (int i = 0; i < 8; i++)
        sum += scratch[i];
    ck_assert_int_eq(sum, 20 * 5000);
}
END_TEST

/* Loops of random sizes, one after the other, in one team of more threads than there may be CPUs:
 * each loop reads what the one before wrote. */
enum { STRESS_LOOPS = 3000, STRESS_ITEMS = 300 };

struct stress {
    unsigned seed;
    int n;
    uint64_t now[STRESS_ITEMS], next[STRESS_ITEMS], expected[STRESS_ITEMS];
};

static uint64_t mixed(uint64_t a, uint64_t b)
{
    return (a ^ (b + 0x9E3779B97F4A7C15U)) * 0xBF58476D1CE4E5B9U;
}

static void stress_body(void *context, int begin, int end, int thread)
{
    (void)thread;
    struct stress *s = context;
    for (int i = begin; i < end; i++)
        s->next[i] = mixed(s->now[i], s->now[s->n - 1 - i]);
}

static void stress_loops(void *context)
{
    struct stress *s = context;
    for (int loop = 0; loop < STRESS_LOOPS; loop++) {
        s->seed = s->seed * 1664525U + 1013904223U;
        s->n = 1 + (int)(s->seed >> 8) % STRESS_ITEMS;
        int least = 1 + (int)(s->seed >> 20) % 7;
        for (int i = 0; i < s->n; i++)
            s->expected[i] = mixed(s->now[i], s->now[s->n - 1 - i]);
        (s->seed >> 30 & 1 ? parallel_for : parallel_for_shrinking)(s->n, least, stress_body, s);
        ck_assert_mem_eq(s->next, s->expected, (size_t)s->n * sizeof *s->next);
        memcpy(s->now, s->next, (size_t)s->n * sizeof *s->now);
        if ((s->seed >> 12) % 256 == 0) /* long enough for the others to go to sleep */
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
}

START_TEST(test_stress)
{
    static struct stress s;
    s.seed = (unsigned)_i;
    parallel_set_threads(_i);
    parallel_team(stress_loops, &s);
}
END_TEST

static void nested_body(void *context, int begin, int end, int thread)
{
    (void)thread;
    for (int i = begin; i < end; i++)
        parallel_for(10, 1, body, context);
}

/* A loop in a piece of a loop stays on its thread, in one piece; a team in a team is the same. */
static void nested_loops(void *context)
{
    parallel_for(100, 1, nested_body, context);
}

static void nested_team(void *context)
{
    parallel_team(nested_loops, context);
}

START_TEST(test_nested)
{
    static struct count count;
    count.n = 10;
    count.grain = 1;
    count.whole = true;
    parallel_set_threads(3);
    parallel_team(nested_team, &count);
    ck_assert_int_eq(atomic_load(&count.wrong), 0);
    ck_assert_int_eq(atomic_load(&count.calls), 100);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(atomic_load(&count.times[i]), 100);
}
END_TEST

/* Two threads of somebody else's, each with loops of its own. */
static int lone_loops(void *context)
{
    parallel_team(stress_loops, context);
    return 0;
}

START_TEST(test_two_teams)
{
    static struct stress s[2];
    parallel_set_threads(2);
    thrd_t thread;
    ck_assert_int_eq(thrd_create(&thread, lone_loops, &s[0]), thrd_success);
    lone_loops(&s[1]);
    ck_assert_int_eq(thrd_join(thread, NULL), thrd_success);
    ck_assert_mem_eq(s[0].now, s[1].now, sizeof s[0].now);
}
END_TEST

START_TEST(test_default_threads)
{
    unsetenv("OMP_NUM_THREADS");
    int n = parallel_default_threads();
    ck_assert_int_ge(n, 1);
    cpu_set_t old, one;
    ck_assert_int_eq(sched_getaffinity(0, sizeof old, &old), 0);
    ck_assert_int_le(n, CPU_COUNT(&old));
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &old))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_int_eq(parallel_default_threads(), 1);
    omp_set_num_threads(3);
    setenv("OMP_NUM_THREADS", "3", 1); /* wins */
    ck_assert_int_eq(parallel_default_threads(), 3);
}
END_TEST

Suite *parallel_suite(void)
{
    Suite *suite = suite_create("parallel");
    TCase *tcase = tcase_create("parallel");
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, test_every_item_once, 1, 5);
    tcase_add_loop_test(tcase, test_shrinking_pieces, 1, 5);
    tcase_add_test(tcase, test_scratch);
    tcase_add_loop_test(tcase, test_stress, 1, 9);
    tcase_add_test(tcase, test_nested);
    tcase_add_test(tcase, test_two_teams);
    tcase_add_test(tcase, test_default_threads);
    suite_add_tcase(suite, tcase);
    return suite;
}
