/* cores: see cores.h. */
#include "kernels/cores.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CPUS = 1024, PATH_BYTES = 4096 };

/* Opens root + place; NULL where there is no such file. */
static FILE *open_system_file(const char *root, const char *place)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s%s", root, place);
    return n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
}

/* The first CPU that shares `cpu`'s core: one of a core's hyper-threads stands for all. */
static int first_sibling(const char *root, int cpu)
{
    char place[96];
    snprintf(place, sizeof place, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
             cpu);
    FILE *f = open_system_file(root, place);
    int first = cpu;
    if (f) {
        if (fscanf(f, "%d", &first) != 1 || first < 0 || first >= MAX_CPUS)
            first = cpu;
        fclose(f);
    }
    return first;
}

static int affinity_cores(const char *root)
{
    cpu_set_t *set = CPU_ALLOC(MAX_CPUS);
    if (!set)
        return 1;
    size_t bytes = CPU_ALLOC_SIZE(MAX_CPUS);
    int cores = 0;
    if (sched_getaffinity(0, bytes, set) == 0) {
        bool taken[MAX_CPUS] = {false};
        for (int cpu = 0; cpu < MAX_CPUS; cpu++) {
            if (!CPU_ISSET_S((size_t)cpu, bytes, set))
                continue;
            int first = first_sibling(root, cpu);
            cores += !taken[first];
            taken[first] = true;
        }
    }
    CPU_FREE(set);
    return cores > 0 ? cores : 1;
}

/* CPUs' worth of time that one control group grants, rounded up; MAX_CPUS when it sets no limit.
 * Version 2 has "max 100000" or "200000 100000" in one file, version 1 two files. */
static int group_cores(const char *root, const char *group, bool version_2)
{
    static const char *const names[2][2] = {{"cpu.cfs_quota_us", "cpu.cfs_period_us"},
                                            {"cpu.max", "cpu.max"}};
    long long values[2] = {-1, -1}; /* quota, period */
    for (int i = 0; i < 2; i++) {
        char place[PATH_BYTES];
        int n = snprintf(place, sizeof place, "%s/%s", group, names[version_2][i]);
        FILE *f = n > 0 && (size_t)n < sizeof place ? open_system_file(root, place) : NULL;
        if (!f)
            return MAX_CPUS;
        if (fscanf(f, version_2 && i == 1 ? "%*s %lld" : "%lld", &values[i]) != 1)
            values[i] = -1;
        fclose(f);
    }
    long long quota = values[0];
    long long period = values[1];
    if (quota <= 0 || period <= 0 || quota / period >= MAX_CPUS)
        return MAX_CPUS;
    return (int)(quota / period + (quota % period > 0));
}

/* The least that the group `group` (from `mount` on) and those above it grant. */
static int hierarchy_cores(const char *root, const char *mount, char *group, bool version_2)
{
    int least = MAX_CPUS;
    for (;;) {
        char place[PATH_BYTES];
        int n = snprintf(place, sizeof place, "%s%s", mount, group);
        int cores =
            n > 0 && (size_t)n < sizeof place ? group_cores(root, place, version_2) : MAX_CPUS;
        least = cores < least ? cores : least;
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* Whether `cpu` is one of the names in "cpu,cpuacct". */
static bool names_cpu(const char *controllers)
{
    for (const char *name = controllers; name; name = strchr(name, ',')) {
        name += *name == ',';
        if (strcspn(name, ",") == 3 && strncmp(name, "cpu", 3) == 0)
            return true;
    }
    return false;
}

/* Lines of /proc/self/cgroup are number:controllers:/group; version 2's has number 0 and no
 * controllers. A container may see a group that it has no files of: then those above count. */
static int quota_cores(const char *root)
{
    FILE *f = open_system_file(root, "/proc/self/cgroup");
    int least = MAX_CPUS;
    char line[PATH_BYTES];
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = '\0';
        controllers++;
        bool version_2 = *controllers == '\0';
        if (!version_2 && !names_cpu(controllers))
            continue;
        int cores = hierarchy_cores(root, version_2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu",
                                    group, version_2);
        least = cores < least ? cores : least;
    }
    if (f)
        fclose(f);
    return least;
}

int cores_usable(const char *root)
{
    int cores = affinity_cores(root);
    int quota = quota_cores(root);
    return quota < cores ? quota : cores;
}
