/* parallel: see parallel.h. */
#include "kernels/parallel.h"

#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_CPUS = 1024 };

void parallel_for(int n, int grain, parallel_body *body, void *context)
{
    if (n <= grain || omp_get_max_threads() == 1) {
        if (n > 0)
            body(context, 0, n, 0);
        return;
    }
    atomic_int next = 0;
#pragma omp parallel default(none) shared(next, n, grain, body, context)
    {
        int thread = omp_get_thread_num();
        for (;;) {
            int begin = atomic_fetch_add_explicit(&next, grain, memory_order_relaxed);
            if (begin >= n)
                break;
            body(context, begin, n - begin < grain ? n : begin + grain, thread);
        }
    }
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
