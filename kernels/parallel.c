/* parallel: see parallel.h. */
#include "kernels/parallel.h"

#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_CPUS = 1024 };

/* Takes the next piece: `least` items or, shrinking, half of a fair share of what is left. */
static int take_piece(atomic_int *next, int n, int least, bool shrinking, int *size)
{
    int begin = atomic_load_explicit(next, memory_order_relaxed);
    do {
        int left = n - begin;
        int share = shrinking ? left / (2 * omp_get_num_threads()) : 0;
        *size = share > least ? share : least < left ? least : left;
    } while (*size > 0 &&
             !atomic_compare_exchange_weak_explicit(next, &begin, begin + *size,
                                                    memory_order_relaxed, memory_order_relaxed));
    return begin;
}

static void run(int n, int least, bool shrinking, parallel_body *body, void *context)
{
    if (n <= least || omp_get_max_threads() == 1) {
        if (n > 0)
            body(context, 0, n, 0);
        return;
    }
    atomic_int next = 0;
#pragma omp parallel default(none) shared(next, n, least, shrinking, body, context)
    {
        int thread = omp_get_thread_num();
        int size;
        for (;;) {
            int begin = take_piece(&next, n, least, shrinking, &size);
            if (size <= 0)
                break;
            body(context, begin, begin + size, thread);
        }
    }
}

void parallel_for(int n, int grain, parallel_body *body, void *context)
{
    run(n, grain, false, body, context);
}

void parallel_for_shrinking(int n, int least, parallel_body *body, void *context)
{
    run(n, least, true, body, context);
}

int parallel_threads(void)
{
    return omp_get_max_threads();
}

void parallel_set_threads(int n)
{
    omp_set_num_threads(n);
}

/* The first CPU that shares `cpu`'s core: one of a core's hyper-threads stands for all. */
static int first_sibling(int cpu)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *f = fopen(path, "re");
    int first = cpu;
    if (f) {
        if (fscanf(f, "%d", &first) != 1)
            first = cpu;
        fclose(f);
    }
    return first;
}

static int affinity_cores(void)
{
    cpu_set_t *set = CPU_ALLOC(MAX_CPUS);
    if (!set)
        return 1;
    size_t bytes = CPU_ALLOC_SIZE(MAX_CPUS);
    int cores = 0;
    if (sched_getaffinity(0, bytes, set) == 0) {
        unsigned char taken[MAX_CPUS] = {0};
        for (size_t cpu = 0; cpu < MAX_CPUS; cpu++) {
            if (!CPU_ISSET_S(cpu, bytes, set))
                continue;
            int first = first_sibling((int)cpu);
            if (first < 0 || first >= MAX_CPUS)
                first = (int)cpu;
            cores += !taken[first];
            taken[first] = 1;
        }
    }
    CPU_FREE(set);
    return cores > 0 ? cores : 1;
}

/* CPUs' worth of time that the cgroup grants, rounded up; 0 when it sets no limit. */
static int quota_cores(void)
{
    long long quota = -1;
    long long period = 0;
    FILE *f =
        fopen("/sys/fs/cgroup/cpu.max", "re"); /* version 2: "max 100000" or "200000 100000" */
    if (f) {
        if (fscanf(f, "%lld %lld", &quota, &period) != 2)
            quota = -1;
        fclose(f);
    } else if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re"))) { /* version 1 */
        if (fscanf(f, "%lld", &quota) != 1)
            quota = -1;
        fclose(f);
        f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re");
        if (f) {
            if (fscanf(f, "%lld", &period) != 1)
                period = 0;
            fclose(f);
        }
    }
    if (quota <= 0 || period <= 0)
        return 0;
    long long cores = (quota + period - 1) / period;
    return cores < MAX_CPUS ? (int)cores : MAX_CPUS;
}

int parallel_default_threads(void)
{
    if (getenv("OMP_NUM_THREADS"))
        return omp_get_max_threads();
    int cores = affinity_cores();
    int quota = quota_cores();
    return quota > 0 && quota < cores ? quota : cores;
}
