/* A peer that truncates a segment must not take this process with it.
 *
 * POSIX shared memory cannot be sealed against it (memfd's F_SEAL_SHRINK knows no names). Touching a page beyond the
 * end of the file raises SIGBUS; for guarded memory the handler puts empty private memory in its place, so that the
 * touch succeeds, and notes the loss. Every other SIGBUS goes to the handler that was there before.
 *
 * The handler is installed with the first guarded memory and taken away when the library is unloaded. A program that
 * installs its own afterwards has to call the one it replaces, as Python's faulthandler does. */
#ifndef SHM_BUS_GUARD_H
#define SHM_BUS_GUARD_H

#include <stdatomic.h>
#include <stddef.h>

struct shm_bus_guard;

/* Guard `bytes` of mapped memory, until shm_bus_guard_end. NULL where there is no memory for the note. */
struct shm_bus_guard *shm_bus_guard_begin(void *memory, size_t bytes);

/* Call it before the memory is unmapped. NULL is fine. */
void shm_bus_guard_end(struct shm_bus_guard *guard);

/* True once the file has become shorter than what was guarded and this process has met it: what it writes reaches
 * nobody since, and what it reads is zero. A place to look at rather than a function, because polling looks often. */
const atomic_bool *shm_bus_guard_lost(const struct shm_bus_guard *guard);

#endif
