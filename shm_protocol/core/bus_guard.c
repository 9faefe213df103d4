#define _GNU_SOURCE
#include "bus_guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "barrier.h"

#define UNUSED ((uintptr_t)0)
#define CLAIMED ((uintptr_t)1)

struct shm_bus_guard {
    _Atomic uintptr_t memory; /* or UNUSED or CLAIMED */
    _Atomic size_t bytes;
    atomic_bool lost;
    struct shm_bus_guard *next;
};

/* Nodes are used again and never freed: a handler may be on its way through them. Without a lock, because a fork may
 * find one held by a thread that the child has not. */
static _Atomic(struct shm_bus_guard *) guards;

static struct sigaction before;
static pthread_once_t installed = PTHREAD_ONCE_INIT;
static bool is_installed;

/* Put empty memory in the place of every guarded memory that `address` is in. False: it is in none. */
static bool replace(uintptr_t address)
{
    bool replaced = false;
    /* SYNC: guard in the list. */
    for (struct shm_bus_guard *guard = shm_load_acquire(&guards); guard != NULL; guard = guard->next) {
        /* SYNC: guard filled in. */
        uintptr_t memory = shm_load_acquire(&guard->memory);
        size_t bytes = shm_load_acquire(&guard->bytes);
        /* Another thread may be using the node for something else. The one looked for is not: this thread is in it. */
        if (memory <= CLAIMED || memory != shm_load_relaxed(&guard->memory) ||
            address - memory >= bytes)
            continue;
        /* Not on the list of async-signal-safe functions, but a bare system call, and nothing else can help. */
        if (mmap((void *)memory, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            MAP_FAILED)
            continue;
        shm_store_relaxed(&guard->lost, true);
        replaced = true;
    }
    return replaced;
}

static void pass_on(int number, siginfo_t *info, void *context)
{
    if ((before.sa_flags & SA_SIGINFO) != 0) {
        before.sa_sigaction(number, info, context);
        return;
    }
    if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
        return;
    }
    /* A signal that somebody sent may be ignored, a fault may not. */
    if (before.sa_handler == SIG_IGN && info->si_code <= 0)
        return;
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    (void)sigaction(number, &standard, NULL);
    (void)raise(number);
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    if (info->si_code != BUS_ADRERR || !replace((uintptr_t)info->si_addr))
        pass_on(number, info, context);
    errno = saved;
}

static void install(void)
{
    struct sigaction handler = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART, .sa_sigaction = on_bus_error};
    sigemptyset(&handler.sa_mask);
    is_installed = sigaction(SIGBUS, &handler, &before) == 0;
}

/* Node unloads an addon at the end of a worker thread. */
__attribute__((destructor)) static void uninstall(void)
{
    struct sigaction now;
    if (is_installed && sigaction(SIGBUS, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 &&
        now.sa_sigaction == on_bus_error)
        (void)sigaction(SIGBUS, &before, NULL);
}

static struct shm_bus_guard *claim(void)
{
    for (struct shm_bus_guard *guard = shm_load_acquire(&guards); guard != NULL; guard = guard->next) {
        uintptr_t expected = UNUSED;
        if (atomic_compare_exchange_strong(&guard->memory, &expected, CLAIMED))
            return guard;
    }
    struct shm_bus_guard *guard = calloc(1, sizeof *guard);
    if (guard == NULL)
        return NULL;
    shm_store_relaxed(&guard->memory, CLAIMED);
    guard->next = shm_load_relaxed(&guards);
    /* SYNC: guard in the list. */
    while (!atomic_compare_exchange_weak_explicit(&guards, &guard->next, guard, memory_order_release,
                                                  memory_order_relaxed))
        ;
    return guard;
}

struct shm_bus_guard *shm_bus_guard_begin(void *memory, size_t bytes)
{
    (void)pthread_once(&installed, install);
    struct shm_bus_guard *guard = claim();
    if (guard == NULL)
        return NULL;
    shm_store_relaxed(&guard->lost, false);
    shm_store_relaxed(&guard->bytes, bytes);
    /* SYNC: guard filled in. */
    shm_store_release(&guard->memory, (uintptr_t)memory);
    return guard;
}

void shm_bus_guard_end(struct shm_bus_guard *guard)
{
    if (guard != NULL)
        shm_store_release(&guard->memory, UNUSED);
}

const atomic_bool *shm_bus_guard_lost(const struct shm_bus_guard *guard)
{
    return &guard->lost;
}
