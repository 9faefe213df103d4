#include "waiter.h"

#define NS_PER_US 1000

/* A budget shorter than the quickest answer (2 to 3 us) catches nothing. */
#define SPIN_MIN_NS UINT64_C(3000)

void shm_waiter_init(struct shm_waiter *waiter, int64_t spin_us, int cores)
{
    *waiter = (struct shm_waiter){.budget_ns = SHM_SPIN_MAX_NS};
    waiter->fixed = spin_us >= 0 || cores < 2;
    if (cores < 2)
        waiter->budget_ns = 0;
    else if (spin_us >= 0)
        waiter->budget_ns = (uint64_t)spin_us * NS_PER_US;
}

void shm_waiter_begin(struct shm_waiter *waiter, uint64_t now_ns, size_t sent_bytes)
{
    if (waiter->began_ns != 0)
        return;
    waiter->began_ns = now_ns;
    waiter->within = false;
    waiter->polls_ns = waiter->budget_ns;
    if (!waiter->fixed && ++waiter->unprobed >= SHM_SPIN_PROBE_EVERY)
        waiter->polls_ns = SHM_SPIN_MAX_NS;
    if (waiter->polls_ns >= SHM_SPIN_MAX_NS)
        waiter->unprobed = 0;
    if (!waiter->fixed && waiter->polls_ns > 0)
        waiter->polls_ns += sent_bytes < SHM_SPIN_LARGE_MAX_NS ? sent_bytes : SHM_SPIN_LARGE_MAX_NS;
}

void shm_waiter_begin_within(struct shm_waiter *waiter, uint64_t now_ns)
{
    if (waiter->began_ns != 0)
        return;
    waiter->began_ns = now_ns;
    waiter->within = true;
    waiter->polls_ns = waiter->fixed ? waiter->budget_ns : SHM_SPIN_WITHIN_NS;
}

bool shm_waiter_polls(const struct shm_waiter *waiter, uint64_t now_ns)
{
    return now_ns - waiter->began_ns < waiter->polls_ns;
}

void shm_waiter_end(struct shm_waiter *waiter, bool caught)
{
    waiter->began_ns = 0;
    if (waiter->fixed || waiter->within || waiter->polls_ns == 0)
        return;
    if (caught) {
        waiter->budget_ns = SHM_SPIN_MAX_NS;
        waiter->missed = 0;
    } else if (++waiter->missed >= SHM_SPIN_PATIENCE) {
        waiter->budget_ns /= 2;
        if (waiter->budget_ns < SPIN_MIN_NS)
            waiter->budget_ns = 0;
    }
}
