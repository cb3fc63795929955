/* cores: counted from system files that the test writes. */
#include "kernels/cores.h"

#include <check.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/suites.h"

static char root[64];

static void make_root(void)
{
    snprintf(root, sizeof root, "/tmp/longhand-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static void remove_root(void)
{
    ck_assert_int_eq(nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void write_file(const char *place, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, place);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

/* Cores without quotas: what the others may only lower. */
static int cpus(void)
{
    cpu_set_t set;
    ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
    return CPU_COUNT(&set);
}

START_TEST(test_no_files)
{
    ck_assert_int_eq(cores_usable(root), cpus());
}
END_TEST

/* All CPUs on the core of CPU 0: one is worth using. */
START_TEST(test_siblings)
{
    for (int cpu = 0; cpu < 256; cpu++) {
        char place[128];
        snprintf(place, sizeof place, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
                 cpu);
        write_file(place, _i ? "0-255\n" : "0,64\n");
    }
    ck_assert_int_eq(cores_usable(root), 1);
}
END_TEST

static const char quota_1[] = "100000 100000\n", quota_half[] = "50000 100000\n",
                  quota_many[] = "90000000000 1000\n", unlimited[] = "max 100000\n";

static const struct {
    const char *cgroup; /* /proc/self/cgroup */
    struct {
        const char *place, *text;
    } files[4];
    int cores; /* 0: all */
} cases[] = {
    /* version 2: the group's own file, those above, one of another group */
    {"0::/\n", {{"/sys/fs/cgroup/cpu.max", quota_1}}, 1},
    {"0::/\n", {{"/sys/fs/cgroup/cpu.max", unlimited}}, 0},
    {"0::/\n", {{"/sys/fs/cgroup/cpu.max", quota_many}}, 0},
    {"0::/a/b.scope\n", {{"/sys/fs/cgroup/a/b.scope/cpu.max", quota_half}}, 1},
    {"0::/a/b.scope\n",
     {{"/sys/fs/cgroup/a/b.scope/cpu.max", unlimited}, {"/sys/fs/cgroup/a/cpu.max", quota_1}},
     1},
    {"0::/a/b.scope\n",
     {{"/sys/fs/cgroup/a/b.scope/cpu.max", unlimited}, {"/sys/fs/cgroup/c/cpu.max", quota_1}},
     0},
    {"0::/not/seen/here\n", {{"/sys/fs/cgroup/cpu.max", quota_1}}, 1},
    {"0::/a\n", {{"/sys/fs/cgroup/a/cpu.max", "rubbish"}}, 0},
    {"0::/a\n", {{"/sys/fs/cgroup/a/cpu.max", "100000 0\n"}}, 0},
    /* version 1, and both at once */
    {"4:memory:/m\n3:cpu,cpuacct:/d/e\n",
     {{"/sys/fs/cgroup/cpu/d/e/cpu.cfs_quota_us", "150000\n"},
      {"/sys/fs/cgroup/cpu/d/e/cpu.cfs_period_us", "200000\n"}},
     1},
    {"3:cpuacct,cpu:/d\n0::/\n",
     {{"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n"},
      {"/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"},
      {"/sys/fs/cgroup/cpu/d/cpu.cfs_quota_us", "-1\n"},
      {"/sys/fs/cgroup/cpu/d/cpu.cfs_period_us", "100000\n"}},
     1},
    {"3:cpuset:/d\n",
     {{"/sys/fs/cgroup/cpu/d/cpu.cfs_quota_us", "1000\n"},
      {"/sys/fs/cgroup/cpu/d/cpu.cfs_period_us", "1000\n"}},
     0},
    {"3:cpu:/d\n",
     {{"/sys/fs/cgroup/cpu/d/cpu.cfs_quota_us", "-1\n"},
      {"/sys/fs/cgroup/cpu/d/cpu.cfs_period_us", "100000\n"}},
     0},
    {"rubbish\n:\n::\n", {{"/sys/fs/cgroup/cpu.max", unlimited}}, 0},
};

START_TEST(test_quota)
{
    write_file("/proc/self/cgroup", cases[_i].cgroup);
    for (int f = 0; f < 4 && cases[_i].files[f].place; f++)
        write_file(cases[_i].files[f].place, cases[_i].files[f].text);
    ck_assert_int_eq(cores_usable(root), cases[_i].cores ? cases[_i].cores : cpus());
}
END_TEST

/* Two and a half CPUs' worth keep three threads busy. */
START_TEST(test_rounding)
{
    write_file("/proc/self/cgroup", "0::/\n");
    write_file("/sys/fs/cgroup/cpu.max", "250000 100000\n");
    ck_assert_int_eq(cores_usable(root), cpus() < 3 ? cpus() : 3);
}
END_TEST

Suite *cores_suite(void)
{
    Suite *suite = suite_create("cores");
    TCase *tcase = tcase_create("cores");
    tcase_add_checked_fixture(tcase, make_root, remove_root);
    tcase_add_test(tcase, test_no_files);
    tcase_add_loop_test(tcase, test_siblings, 0, 2);
    tcase_add_loop_test(tcase, test_quota, 0, sizeof cases / sizeof cases[0]);
    tcase_add_test(tcase, test_rounding);
    suite_add_tcase(suite, tcase);
    return suite;
}
