/* cores: how many threads are worth starting. */
#ifndef LONGHAND_KERNELS_CORES_H
#define LONGHAND_KERNELS_CORES_H

/* Physical cores that this process may really use, >= 1: its CPU affinity, one CPU per core, and no
 * more than the CPU quotas of its control group and of those above it allow (versions 1 and 2;
 * rounded up). `root` goes before the names of the system's files: "" outside tests. */
int cores_usable(const char *root);

#endif
