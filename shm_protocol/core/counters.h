/* Counting in the segment (layout.h, struct shm_counters), so that whoever watches need not ask the one who counts. Each
 * counter has one writer, and nothing is decided by any: a load and a store do, both relaxed. */
#ifndef SHM_COUNTERS_H
#define SHM_COUNTERS_H

#include "barrier.h"
#include "layout.h"

/* Octave of the first bucket's end: 2^8 ns. */
#define SHM_LATENCY_FIRST_OCTAVE 8

/* The bucket of a latency. Bucket 0 holds what is below 256 ns; bucket 1 + 4 * (o - 8) + q the quarter q (0 to 3) of the
 * octave from 2^o to 2^(o+1) ns; the last also all that is longer. So its ends are at most a quarter apart. */
static inline unsigned shm_latency_bucket(uint64_t latency_ns)
{
    if (latency_ns >> SHM_LATENCY_FIRST_OCTAVE == 0)
        return 0;
    unsigned octave = 63u - (unsigned)__builtin_clzll(latency_ns);
    unsigned quarter = (unsigned)(latency_ns >> (octave - 2)) & 3u;
    unsigned bucket = 1 + 4 * (octave - SHM_LATENCY_FIRST_OCTAVE) + quarter;
    return bucket < SHM_LATENCY_BUCKETS ? bucket : SHM_LATENCY_BUCKETS - 1;
}

static inline void shm_count(_Atomic uint64_t *counter, uint64_t more)
{
    uint64_t so_far = shm_load_relaxed(counter);
    shm_store_relaxed(counter, so_far + more);
}

#endif
