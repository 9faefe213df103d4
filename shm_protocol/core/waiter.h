/* How long to poll before parking: the adaptive spin budget (PROTOCOL.md section 5). Pure code over times. */
#ifndef SHM_WAITER_H
#define SHM_WAITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest adaptive budget, about a round trip between parked sides on a busy machine (twice the eventfd row of `make
 * bench`): polling for as long as parking would cost is at most twice as bad as the best choice in hindsight (the
 * ski-rental argument). Shorter than a wake-up, it would never catch a peer that parks too: both sides would go on
 * parking for good. */
#define SHM_SPIN_MAX_NS UINT64_C(100000)

/* One wait in this many polls for the maximum although the budget is lower, to find out whether polling pays again. */
#define SHM_SPIN_PROBE_EVERY 16

/* So many misses in a row halve the budget, and so does each further one. A single one, when the peer collected its
 * garbage or was interrupted, says nothing about the next wait. */
#define SHM_SPIN_PATIENCE 4

/* Large messages take the peer time before it can answer, which is no sign that polling does not pay: a wait after one polls
 * a nanosecond longer for each byte, up to this. Beyond it the wake-up saved is little beside the rest. */
#define SHM_SPIN_LARGE_MAX_NS UINT64_C(300000)

/* In the middle of a message, for its next fragment or for room for that. A peer that is at work on it takes a few microseconds;
 * one that takes longer has lost its core, and that may take milliseconds. */
#define SHM_SPIN_WITHIN_NS UINT64_C(50000)

struct shm_waiter {
    uint64_t budget_ns;
    uint64_t began_ns;  /* when the current wait began; 0 when none is under way */
    uint64_t polls_ns;  /* how long the current wait polls */
    uint32_t unprobed;  /* waits since one polled for the maximum */
    uint32_t missed;    /* waits in a row that polling did not catch */
    bool within;        /* the current wait is in the middle of a message */
    bool fixed;         /* the budget never changes */
};

/* `spin_us` < 0: adapt, beginning at the maximum; else the fixed budget in microseconds. `cores` is the number of cores
 * of the machine: with one, the budget is 0, because the peer cannot run while we poll. */
void shm_waiter_init(struct shm_waiter *waiter, int64_t spin_us, int cores);

/* A wait begins at `now_ns` (any clock that does not go back; not 0), unless one is under way. `sent_bytes`: of the last
 * message that the peer may have to read first. */
void shm_waiter_begin(struct shm_waiter *waiter, uint64_t now_ns, size_t sent_bytes);

/* The same in the middle of a message: polls for SHM_SPIN_WITHIN_NS, whatever polling has brought between messages, and changes
 * nothing about that. */
void shm_waiter_begin_within(struct shm_waiter *waiter, uint64_t now_ns);

/* Is polling still within the budget of the current wait? */
bool shm_waiter_polls(const struct shm_waiter *waiter, uint64_t now_ns);

/* What was waited for has come. `caught`: polling saw it; else it took a wake-up. */
void shm_waiter_end(struct shm_waiter *waiter, bool caught);

#endif
