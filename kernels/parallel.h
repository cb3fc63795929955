/* parallel: threads. The one place of the tree that uses OpenMP.
 *
 * Work is cut into items whose results do not depend on who computes them or when, so any number of
 * threads gives the same bits.
 *
 * Threads form a team for as long as a function runs, and its loops are shared out within the team:
 * a loop that is posted costs a fraction of a microsecond, and nobody waits for a thread that the
 * system gives no CPU, unless it has taken items. Threads that wait do so actively for some
 * microseconds only, and then sleep. */
#ifndef LONGHAND_KERNELS_PARALLEL_H
#define LONGHAND_KERNELS_PARALLEL_H

/* Computes items [begin, end); `thread` < parallel_threads() names the scratch memory to use. A
 * loop inside it stays on its thread. */
typedef void parallel_body(void *context, int begin, int end, int thread);

/* Runs body over [0, n) in pieces of `grain` items that threads take as they become free. Stays on
 * the calling thread when there is one piece only. Outside a team it makes one for itself. */
void parallel_for(int n, int grain, parallel_body *body, void *context);

/* The same in pieces that begin large and shrink to `least` items: few of them, because memory is
 * read fastest in long stretches, and yet threads that finish together. */
void parallel_for_shrinking(int n, int least, parallel_body *body, void *context);

/* Runs work on the calling thread while the others stand by for its loops: worth it around many
 * short ones. Inside a team it just runs work. */
void parallel_team(void (*work)(void *context), void *context);

/* Threads that parallel_for uses at most, and setting them (>= 1) for the process; not inside a
 * team. Unset, OpenMP decides. */
int parallel_threads(void);
void parallel_set_threads(int n);

/* The cores that this process may use (kernels/cores.h); OMP_NUM_THREADS wins where it is set. */
int parallel_default_threads(void);

#endif
