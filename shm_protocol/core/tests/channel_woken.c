/* A wait that may be ended by a descriptor: what has come counts first, then the descriptor, then the peer's end. */
#include <pthread.h>
#include <sched.h>

#include "channels.h"

#define CAPACITY SHM_RING_CAPACITY_MIN

static const int64_t spins_us[] = {0, -1, 3600000000};
#define EACH_SPIN(i) for (size_t i = 0; i < sizeof spins_us / sizeof spins_us[0]; i++)

struct woken {
    struct pair pair;
    int fds[2];
};

static void open_woken(struct woken *woken, int64_t spin_us)
{
    pair_open(&woken->pair, CAPACITY, TEST_MAX_MESSAGE, spin_us);
    CHECK_EQUAL(pipe(woken->fds), 0);
}

static void close_woken(struct woken *woken)
{
    CHECK_EQUAL(close(woken->fds[0]), 0);
    CHECK_EQUAL(close(woken->fds[1]), 0);
    pair_close(&woken->pair);
}

static void wake(const struct woken *woken)
{
    CHECK_EQUAL(write(woken->fds[1], "", 1), 1);
}

/* -EINTR means look after signals and go on. */
static int wait_or_wake(const struct woken *woken)
{
    for (;;) {
        int rc = shm_channel_wait_or_wake(woken->pair.acceptor, -1, woken->fds[0]);
        if (rc != -EINTR)
            return rc;
    }
}

static void a_readable_descriptor_ends_a_wait_as_often_as_it_is_readable(void)
{
    EACH_SPIN(i) {
        struct woken woken;
        open_woken(&woken, spins_us[i]);
        wake(&woken);
        CHECK_EQUAL(wait_or_wake(&woken), -ECANCELED);
        CHECK_EQUAL(wait_or_wake(&woken), -ECANCELED);
        close_woken(&woken);
    }
}

static void what_has_come_is_told_first(void)
{
    EACH_SPIN(i) {
        struct woken woken;
        open_woken(&woken, spins_us[i]);
        wake(&woken);
        CHECK_EQUAL(send_pattern(woken.pair.dialer, 10, 1), 0);
        CHECK_EQUAL(wait_or_wake(&woken), 1);
        receive_pattern(woken.pair.acceptor, 10, 1);
        CHECK_EQUAL(wait_or_wake(&woken), -ECANCELED);
        close_woken(&woken);
    }
}

static void the_end_of_the_peer_is_told_before_the_descriptor(void)
{
    struct woken woken;
    open_woken(&woken, 0);
    wake(&woken);
    pair_close_dialer(&woken.pair);
    CHECK_EQUAL(wait_or_wake(&woken), -EPIPE);
    close_woken(&woken);
}

static void *wake_when_parked(void *argument)
{
    const struct woken *woken = argument;
    while (shm_channel_peer_state(woken->pair.dialer) != SHM_PARKED)
        sched_yield();
    wake(woken);
    return NULL;
}

static void *send_when_parked(void *argument)
{
    const struct woken *woken = argument;
    while (shm_channel_peer_state(woken->pair.dialer) != SHM_PARKED)
        sched_yield();
    CHECK_EQUAL(send_pattern(woken->pair.dialer, 10, 1), 0);
    return NULL;
}

static int wait_while(struct woken *woken, void *(*other)(void *))
{
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, other, woken), 0);
    int rc = wait_or_wake(woken);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    return rc;
}

static void a_sleeper_is_woken_by_the_descriptor_and_by_a_message(void)
{
    struct woken woken;
    open_woken(&woken, 0);
    CHECK_EQUAL(wait_while(&woken, send_when_parked), 1);
    receive_pattern(woken.pair.acceptor, 10, 1);
    CHECK_EQUAL(wait_while(&woken, wake_when_parked), -ECANCELED);
    close_woken(&woken);
}

static void a_wait_that_nothing_ends_is_timed_out(void)
{
    struct woken woken;
    open_woken(&woken, 0);
    CHECK_EQUAL(shm_channel_wait_or_wake(woken.pair.acceptor, 1000, woken.fds[0]), 0);
    close_woken(&woken);
}

static void a_wait_without_a_descriptor_is_ended_by_none(void)
{
    struct woken woken;
    open_woken(&woken, 0);
    wake(&woken);
    CHECK_EQUAL(shm_channel_wait(woken.pair.acceptor, 1000), 0);
    CHECK_EQUAL(shm_channel_wait_or_wake(woken.pair.acceptor, 1000, -1), 0);
    close_woken(&woken);
}

int main(void)
{
    RUN(a_readable_descriptor_ends_a_wait_as_often_as_it_is_readable);
    RUN(what_has_come_is_told_first);
    RUN(the_end_of_the_peer_is_told_before_the_descriptor);
    RUN(a_sleeper_is_woken_by_the_descriptor_and_by_a_message);
    RUN(a_wait_that_nothing_ends_is_timed_out);
    RUN(a_wait_without_a_descriptor_is_ended_by_none);
    return 0;
}
