/* parallel: see parallel.h.
 *
 * A team is one OpenMP region: thread 0 works, the others serve. Thread 0 posts a loop by writing
 * its job and then the ticket; whoever is there takes pieces from the ticket:
 *
 *   ticket   | sequence number of the job : 32 | items that nobody has taken : 32 |
 *
 * A piece is taken by exchanging the ticket against one with fewer items left. Nothing left means
 * that the job may be overwritten. A thread that has read an older ticket, or a job half
 * overwritten, cannot exchange it any more: the sequence number or the items left have changed
 * before. Thread 0 then waits for pieces that were taken, not for threads. */
#include "kernels/parallel.h"

#include <limits.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/cores.h"

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <sched.h>
#endif

enum {
    LINE_BYTES = 64,
    SPIN_NANOSECONDS = 32000, /* that a thread waits actively */
    CALM_NANOSECONDS = 64,    /* how much longer again after each wait that went well */
    AWAY_NANOSECONDS = 50000, /* between two looks: the CPU was somebody else's */
    SPINS_PER_LOOK = 32       /* at the clock: one or two microseconds */
};

/* Where threads sleep until it rings. */
struct bell {
    atomic_uint rings;
    atomic_bool awaited; /* somebody sleeps or is about to, and has not been rung for */
};

struct team {
    _Alignas(LINE_BYTES) _Atomic uint64_t ticket;
    struct bell posted; /* a job, or the end */
    /* The job. */
    _Atomic(parallel_body *) body;
    _Atomic(void *) context;
    atomic_int n;
    atomic_int least;
    atomic_bool shrinking;
    atomic_bool ended;
    int n_threads;
    _Alignas(LINE_BYTES)
        atomic_uint finished; /* items that others than thread 0 did, of all jobs */
    unsigned awaited;         /* thread 0's: what `finished` will be */
    struct bell done;
};

/* What this thread is. */
static _Thread_local struct {
    struct team *team; /* that it leads; NULL while it works on a piece */
    bool at_piece;
    int number;
    int haste; /* nanoseconds that it waits less, a multiple of CALM_NANOSECONDS */
} self;

static atomic_int n_threads; /* 0: not set */

/* --- waiting ------------------------------------------------------------------------------- */

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Sleeps unless the bell has rung since `rings` was read; may wake for no reason. */
static void sleep_at(struct bell *bell, unsigned rings)
{
#ifdef __linux__
    syscall(SYS_futex, &bell->rings, FUTEX_WAIT_PRIVATE, rings, NULL);
#else
    (void)bell, (void)rings;
    sched_yield();
#endif
}

/* After something that a sleeper waits for has been stored: either the sleeper, which says so
 * before it looks, still sees it, or the sleeper is seen here, whichever fence comes first. */
static void ring(struct bell *bell)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load(&bell->awaited) || !atomic_exchange(&bell->awaited, false))
        return;
    atomic_fetch_add(&bell->rings, 1);
#ifdef __linux__
    syscall(SYS_futex, &bell->rings, FUTEX_WAKE_PRIVATE, INT_MAX);
#endif
}

/* Waits actively, for a while; returns whether that was enough. A thread that finds itself off its
 * CPU meanwhile has to share it, and soon would be off it at work: it goes to sleep early for the
 * next waits, which the system thanks with a CPU at once when there is work. */
static bool spin(bool (*ready)(struct team *), struct team *team)
{
    int64_t start = 0;
    int64_t last = 0;
    for (;;) {
        bool is_ready = ready(team);
        for (int i = 0; i < SPINS_PER_LOOK && !is_ready; i++) {
            relax();
            is_ready = ready(team);
        }
        if (is_ready && self.haste > 0)
            self.haste -= CALM_NANOSECONDS;
        if (is_ready && start == 0)
            return true;
        int64_t time = now();
        if (start == 0)
            start = time;
        else if (time - last > AWAY_NANOSECONDS)
            self.haste = SPIN_NANOSECONDS;
        last = time;
        if (is_ready || time - start >= SPIN_NANOSECONDS - self.haste)
            return is_ready;
    }
}

static void wait_for(struct bell *bell, bool (*ready)(struct team *), struct team *team)
{
    if (spin(ready, team))
        return;
    while (!ready(team)) {
        unsigned rings = atomic_load(&bell->rings);
        atomic_store(&bell->awaited, true);
        atomic_thread_fence(memory_order_seq_cst);
        if (!ready(team))
            sleep_at(bell, rings);
    }
}

/* --- a team ---------------------------------------------------------------------------------- */

static int items_left(uint64_t ticket)
{
    return (int)(uint32_t)ticket;
}

static bool anything_to_do(struct team *team)
{
    return items_left(atomic_load(&team->ticket)) > 0 || atomic_load(&team->ended);
}

static bool all_done(struct team *team)
{
    return atomic_load(&team->finished) == team->awaited;
}

/* The size of the next piece: `least` items or, shrinking, half of a fair share of what is left. */
static int piece_size(struct team *team, int left)
{
    int least = atomic_load_explicit(&team->least, memory_order_acquire);
    bool shrinking = atomic_load_explicit(&team->shrinking, memory_order_acquire);
    int share = shrinking ? left / (2 * team->n_threads) : 0;
    return share > least ? share : least < left ? least : left;
}

/* Takes pieces until none is left; returns the items done. What is read of the job is used only
 * after the exchange has shown that it was this ticket's: reading with `acquire` what was written
 * with `release` makes the ticket seen there at least as new as the job. */
static int take_pieces(struct team *team)
{
    int items = 0;
    uint64_t ticket = atomic_load_explicit(&team->ticket, memory_order_acquire);
    while (items_left(ticket) > 0) {
        int left = items_left(ticket);
        int size = piece_size(team, left);
        int begin = atomic_load_explicit(&team->n, memory_order_acquire) - left;
        parallel_body *body = atomic_load_explicit(&team->body, memory_order_acquire);
        void *context = atomic_load_explicit(&team->context, memory_order_acquire);
        if (!atomic_compare_exchange_weak_explicit(&team->ticket, &ticket, ticket - (uint64_t)size,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        body(context, begin, begin + size, self.number);
        items += size;
        ticket = atomic_load_explicit(&team->ticket, memory_order_acquire);
    }
    return items;
}

static void serve(struct team *team, int number)
{
    self.at_piece = true;
    self.number = number;
    while (!atomic_load(&team->ended)) {
        int items = take_pieces(team);
        if (items > 0) {
            atomic_fetch_add(&team->finished, (unsigned)items);
            ring(&team->done);
        }
        wait_for(&team->posted, anything_to_do, team);
    }
    self.at_piece = false;
    self.number = 0;
}

static void lead(struct team *team, void (*work)(void *), void *context)
{
    self.team = team;
    work(context);
    self.team = NULL;
    atomic_store(&team->ended, true);
    ring(&team->posted);
}

static void post(struct team *team, int n, int least, bool shrinking, parallel_body *body,
                 void *context)
{
    atomic_store_explicit(&team->body, body, memory_order_release);
    atomic_store_explicit(&team->context, context, memory_order_release);
    atomic_store_explicit(&team->n, n, memory_order_release);
    atomic_store_explicit(&team->least, least, memory_order_release);
    atomic_store_explicit(&team->shrinking, shrinking, memory_order_release);
    uint64_t sequence = (atomic_load_explicit(&team->ticket, memory_order_relaxed) >> 32) + 1;
    atomic_store(&team->ticket, sequence << 32 | (uint32_t)n);
    ring(&team->posted);
    self.team = NULL;
    self.at_piece = true;
    team->awaited += (unsigned)(n - take_pieces(team));
    self.at_piece = false;
    self.team = team;
    wait_for(&team->done, all_done, team);
}

void parallel_team(void (*work)(void *context), void *context)
{
    int threads = parallel_threads();
    if (threads == 1 || self.team || self.at_piece) {
        work(context);
        return;
    }
    struct team team = {.n_threads = threads};
#pragma omp parallel num_threads(threads) default(none) shared(team, work, context)
    {
        int number = omp_get_thread_num();
        if (number == 0)
            lead(&team, work, context);
        else
            serve(&team, number);
    }
}

/* --- loops ----------------------------------------------------------------------------------- */

struct loop {
    int n;
    int least;
    bool shrinking;
    parallel_body *body;
    void *context;
};

static void run_loop(void *context)
{
    const struct loop *loop = context;
    post(self.team, loop->n, loop->least, loop->shrinking, loop->body, loop->context);
}

static void run(int n, int least, bool shrinking, parallel_body *body, void *context)
{
    if (n <= least || self.at_piece || parallel_threads() == 1) {
        if (n > 0)
            body(context, 0, n, self.number);
    } else if (self.team) {
        post(self.team, n, least, shrinking, body, context);
    } else {
        struct loop loop = {n, least, shrinking, body, context};
        parallel_team(run_loop, &loop);
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
    int n = atomic_load_explicit(&n_threads, memory_order_relaxed);
    return n > 0 ? n : omp_get_max_threads();
}

void parallel_set_threads(int n)
{
    atomic_store_explicit(&n_threads, n, memory_order_relaxed);
}

int parallel_default_threads(void)
{
    return getenv("OMP_NUM_THREADS") ? omp_get_max_threads() : cores_usable("");
}
