/* parallel: threads. The one place of the tree that uses OpenMP.
 *
 * Work is cut into items whose results do not depend on who computes them or when, so any number of
 * threads gives the same bits. */
#ifndef LONGHAND_KERNELS_PARALLEL_H
#define LONGHAND_KERNELS_PARALLEL_H

/* Computes items [begin, end); `thread` < parallel_threads() names the scratch memory to use. */
typedef void parallel_body(void *context, int begin, int end, int thread);

/* Runs body over [0, n) in pieces of `grain` items that threads take as they become free. Stays on
 * the calling thread when there is one piece only. */
void parallel_for(int n, int grain, parallel_body *body, void *context);

/* The same in pieces that begin large and shrink to `least` items: few of them, because memory is
 * read fastest in long stretches, and yet threads that finish together. */
void parallel_for_shrinking(int n, int least, parallel_body *body, void *context);

/* Threads that parallel_for uses at most, and setting them (>= 1) for the process. */
int parallel_threads(void);
void parallel_set_threads(int n);

/* Physical cores that this process may really use: its CPU affinity, one per core, and no more than
 * the cgroup's CPU quota allows. OMP_NUM_THREADS wins where it is set. */
int parallel_default_threads(void);

#endif
