/* A dead peer: the end of the socket tells it, after everything that it had published has been read. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "channels.h"

#define CAPACITY SHM_RING_CAPACITY_MIN

static const int64_t spins_us[] = {0, -1, 3600000000};
#define EACH_SPIN(i) for (size_t i = 0; i < sizeof spins_us / sizeof spins_us[0]; i++)

static void wait_tells_that_the_peer_is_gone(void)
{
    EACH_SPIN(i) {
        struct pair pair;
        pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, spins_us[i]);
        pair_close_dialer(&pair);
        CHECK_EQUAL(wait_through_signals(pair.acceptor), -EPIPE);
        CHECK_EQUAL(wait_through_signals(pair.acceptor), -EPIPE);
        CHECK_EQUAL(shm_channel_drain_doorbell(pair.acceptor), -EPIPE);
        pair_close(&pair);
    }
}

static void what_the_ring_still_holds_is_delivered_first(void)
{
    EACH_SPIN(i) {
        struct pair pair;
        pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, spins_us[i]);
        CHECK_EQUAL(send_pattern(pair.dialer, 10, 1), 0);
        CHECK_EQUAL(send_pattern(pair.dialer, CAPACITY / 2, 2), 0);
        pair_close_dialer(&pair);
        CHECK_EQUAL(wait_through_signals(pair.acceptor), 1);
        receive_pattern(pair.acceptor, 10, 1);
        CHECK_EQUAL(wait_through_signals(pair.acceptor), 1);
        receive_pattern(pair.acceptor, CAPACITY / 2, 2);
        CHECK_EQUAL(wait_through_signals(pair.acceptor), -EPIPE);
        pair_close(&pair);
    }
}

static void *publish_unheard_and_go_when_parked(void *argument)
{
    struct pair *pair = argument;
    while (shm_channel_peer_state(pair->dialer) != SHM_PARKED)
        sched_yield();
    pair_forge_record(pair, 8, 0);
    CHECK_EQUAL(shutdown(pair->sockets[SHM_DIALER], SHUT_RDWR), 0);
    return NULL;
}

static void a_peer_that_died_between_publishing_and_ringing_is_still_heard(void)
{
    struct pair pair;
    pthread_t thread;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, publish_unheard_and_go_when_parked, &pair), 0);
    CHECK_EQUAL(wait_through_signals(pair.acceptor), 1);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_EQUAL(peek_answer(pair.acceptor), 1);
    shm_channel_consume(pair.acceptor);
    CHECK_EQUAL(wait_through_signals(pair.acceptor), -EPIPE);
    pair_close(&pair);
}

static void half_a_message_of_a_dead_peer_is_no_message(void)
{
    EACH_SPIN(i) {
        struct pair pair;
        pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, spins_us[i]);
        CHECK_EQUAL(send_pattern(pair.dialer, 4 * CAPACITY, 1), -EAGAIN);
        pair_close_dialer(&pair);
        int rc;
        while ((rc = wait_through_signals(pair.acceptor)) == 1)
            CHECK_EQUAL(peek_answer(pair.acceptor), 0);
        CHECK_EQUAL(rc, -EPIPE);
        pair_close(&pair);
    }
}

static void who_waits_for_room_hears_it_too(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK_EQUAL(send_pattern(pair.acceptor, 4 * CAPACITY, 1), -EAGAIN);
    pair_close_dialer(&pair);
    CHECK_EQUAL(wait_through_signals(pair.acceptor), -EPIPE);
    pair_close(&pair);
}

static void sending_to_a_dead_peer_harms_nobody(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK(shm_channel_park(pair.dialer));
    pair_close_dialer(&pair);
    /* No SIGPIPE, though it rings. */
    CHECK_EQUAL(send_pattern(pair.acceptor, 10, 1), 0);
    CHECK_EQUAL(stats_of(pair.acceptor).doorbells_rung, 1);
    int rc;
    while ((rc = send_pattern(pair.acceptor, 100, 1)) == 0)
        ;
    CHECK_EQUAL(rc, -EAGAIN);
    CHECK_EQUAL(wait_through_signals(pair.acceptor), -EPIPE);
    pair_close(&pair);
}

static void a_peer_that_dies_with_doorbells_unread_is_gone_all_the_same(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    CHECK(shm_channel_park(pair.dialer));
    CHECK_EQUAL(send_pattern(pair.acceptor, 10, 1), 0);
    /* The kernel answers ECONNRESET, not the end of file. */
    pair_close_dialer(&pair);
    CHECK_EQUAL(wait_through_signals(pair.acceptor), -EPIPE);
    CHECK_EQUAL(wait_through_signals(pair.acceptor), -EPIPE);
    pair_close(&pair);
}

/* Waits until the other side sleeps, leaves three messages, or none, and is killed. */
static void check_killed_peer(bool sends)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair.sockets[SHM_ACCEPTOR]);
        shm_channel_close(pair.acceptor);
        while (shm_channel_peer_state(pair.dialer) != SHM_PARKED)
            sched_yield();
        for (uint64_t i = 0; sends && i < 3; i++)
            CHECK_EQUAL(send_pattern(pair.dialer, 100, i), 0);
        raise(SIGKILL);
    }
    pair_close_dialer(&pair);
    for (uint64_t i = 0; sends && i < 3; i++) {
        CHECK_EQUAL(wait_through_signals(pair.acceptor), 1);
        receive_pattern(pair.acceptor, 100, i);
    }
    CHECK_EQUAL(wait_through_signals(pair.acceptor), -EPIPE);
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    pair_close(&pair);
}

static void a_killed_peer_wakes_who_sleeps(void)
{
    check_killed_peer(false);
}

static void a_killed_peer_leaves_what_it_had_published(void)
{
    check_killed_peer(true);
}

/* A forked child closes its copy; the connection of its parent goes on. */
static void closing_a_forked_copy_does_not_end_the_connection(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pair_close(&pair);
        _exit(0);
    }
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(shm_channel_wait(pair.acceptor, 0), 0);
    CHECK_EQUAL(shm_channel_drain_doorbell(pair.acceptor), 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 1), 0);
    receive_pattern(pair.acceptor, 10, 1);
    pair_close(&pair);
}

static void closing_a_channel_leaves_the_callers_socket_open(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 0);
    shm_channel_close(pair.dialer);
    pair.dialer = NULL;
    CHECK_EQUAL(shm_channel_drain_doorbell(pair.acceptor), 0);
    CHECK_EQUAL(send(pair.sockets[SHM_DIALER], "\1", 1, 0), 1);
    CHECK_EQUAL(doorbells_for(&pair, SHM_ACCEPTOR), 1);
    pair_close(&pair);
}

int main(void)
{
    RUN(wait_tells_that_the_peer_is_gone);
    RUN(what_the_ring_still_holds_is_delivered_first);
    RUN(a_peer_that_died_between_publishing_and_ringing_is_still_heard);
    RUN(half_a_message_of_a_dead_peer_is_no_message);
    RUN(who_waits_for_room_hears_it_too);
    RUN(sending_to_a_dead_peer_harms_nobody);
    RUN(a_peer_that_dies_with_doorbells_unread_is_gone_all_the_same);
    RUN(a_killed_peer_wakes_who_sleeps);
    RUN(a_killed_peer_leaves_what_it_had_published);
    RUN(closing_a_forked_copy_does_not_end_the_connection);
    RUN(closing_a_channel_leaves_the_callers_socket_open);
    return 0;
}
