/* How the core loads and stores words that another side or another thread loads and stores as well.
 *
 * relaxed: nothing depends on when. acquire, release: what was stored before the release is seen after the acquire.
 * seq_cst: where a side may go to sleep on what it read. Each side stores its own word and then loads the other's, and in
 * a single total order one of the two must see the other's store. Plain C11 fences would do as well, but ThreadSanitizer
 * does not know them.
 *
 * Which store pairs with which load is told by the SYNC labels; the same label stands at both ends. */
#ifndef SHM_BARRIER_H
#define SHM_BARRIER_H

#include <stdatomic.h>
#include <string.h>

#define shm_load_relaxed(word) atomic_load_explicit(word, memory_order_relaxed)
#define shm_load_acquire(word) atomic_load_explicit(word, memory_order_acquire)
#define shm_load_seq_cst(word) atomic_load_explicit(word, memory_order_seq_cst)

#define shm_store_relaxed(word, value) atomic_store_explicit(word, value, memory_order_relaxed)
#define shm_store_release(word, value) atomic_store_explicit(word, value, memory_order_release)
#define shm_store_seq_cst(word, value) atomic_store_explicit(word, value, memory_order_seq_cst)

#define shm_exchange_seq_cst(word, value) atomic_exchange_explicit(word, value, memory_order_seq_cst)

/* Copy what is not atomic and the peer may alter, once: between a check and a use it must not be read again. The empty asm
 * keeps the compiler from doing so. */
static inline void shm_read_once(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
    __asm__ volatile("" : : : "memory");
}

#endif
