/* Parking and the doorbell: who is rung, how often, and what wakes a wait. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "channels.h"

#define CAPACITY SHM_RING_CAPACITY_MIN

static void opened(struct pair *pair)
{
    pair_open(pair, CAPACITY, TEST_MAX_MESSAGE, 0);
}

static void an_awake_consumer_gets_no_doorbell(void)
{
    struct pair pair;
    opened(&pair);
    for (uint64_t i = 0; i < 5; i++)
        CHECK_EQUAL(send_pattern(pair.dialer, 10, i), 0);
    shm_channel_set_busy(pair.acceptor, true);
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 5), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_ACCEPTOR), 0);
    CHECK_EQUAL(stats_of(pair.dialer).doorbells_rung, 0);
    pair_close(&pair);
}

static void one_park_costs_one_doorbell_however_many_records_follow(void)
{
    struct pair pair;
    opened(&pair);
    CHECK(shm_channel_park(pair.acceptor));
    CHECK_EQUAL(is_readable(pair.sockets[SHM_ACCEPTOR]), 0);
    for (uint64_t i = 0; i < 5; i++)
        CHECK_EQUAL(send_pattern(pair.dialer, 10, i), 0);
    /* Of several fragments, too. */
    CHECK_EQUAL(send_pattern(pair.dialer, CAPACITY / 2, 5), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_ACCEPTOR), 1);
    CHECK_EQUAL(stats_of(pair.dialer).doorbells_rung, 1);
    CHECK_EQUAL(stats_of(pair.acceptor).parks, 1);
    shm_channel_unpark(pair.acceptor);
    for (uint64_t i = 0; i < 5; i++)
        receive_pattern(pair.acceptor, 10, i);
    receive_pattern(pair.acceptor, CAPACITY / 2, 5);
    CHECK(shm_channel_park(pair.acceptor));
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 6), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_ACCEPTOR), 1);
    pair_close(&pair);
}

static void an_unparked_consumer_gets_no_doorbell(void)
{
    struct pair pair;
    opened(&pair);
    CHECK(shm_channel_park(pair.acceptor));
    shm_channel_unpark(pair.acceptor);
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 1), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_ACCEPTOR), 0);
    pair_close(&pair);
}

static void a_park_looks_again(void)
{
    struct pair pair;
    opened(&pair);
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 1), 0);
    CHECK(!shm_channel_park(pair.acceptor));
    CHECK_EQUAL(shm_channel_peer_state(pair.dialer), SHM_AWAKE);
    CHECK_EQUAL(stats_of(pair.acceptor).parks, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 2), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_ACCEPTOR), 0);
    pair_close(&pair);
}

static void a_parked_channel_that_finds_a_message_is_awake(void)
{
    struct pair pair;
    opened(&pair);
    CHECK_EQUAL(shm_channel_poll(pair.acceptor, 0), -EAGAIN);
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 1), 0);
    /* Parked twice, without unpark between: the second finds the message. */
    CHECK(!shm_channel_park(pair.acceptor));
    receive_pattern(pair.acceptor, 10, 1);
    CHECK_EQUAL(doorbells_for(&pair, SHM_ACCEPTOR), 1);
    /* Not parked any more, so that this parks anew, and is rung. */
    CHECK_EQUAL(shm_channel_poll(pair.acceptor, 0), -EAGAIN);
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 2), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_ACCEPTOR), 1);
    CHECK_EQUAL(shm_channel_poll(pair.acceptor, 0), 1);
    receive_pattern(pair.acceptor, 10, 2);
    CHECK_EQUAL(shm_channel_peer_state(pair.dialer), SHM_AWAKE);
    pair_close(&pair);
}

static void a_wait_in_a_parked_channel_leaves_it_awake(void)
{
    struct pair pair;
    opened(&pair);
    CHECK(shm_channel_park(pair.acceptor));
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 1), 0);
    CHECK_EQUAL(shm_channel_wait(pair.acceptor, -1), 1);
    receive_pattern(pair.acceptor, 10, 1);
    CHECK_EQUAL(doorbells_for(&pair, SHM_ACCEPTOR), 1);
    CHECK_EQUAL(shm_channel_poll(pair.acceptor, 0), -EAGAIN);
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 2), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_ACCEPTOR), 1);
    pair_close(&pair);
}

static void sending_ends_a_park(void)
{
    struct pair pair;
    opened(&pair);
    CHECK(shm_channel_park(pair.dialer));
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 1), 0);
    CHECK_EQUAL(shm_channel_peer_state(pair.acceptor), SHM_AWAKE);
    CHECK_EQUAL(send_pattern(pair.acceptor, 10, 2), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_DIALER), 0);
    CHECK_EQUAL(shm_channel_poll(pair.dialer, 0), 1);
    pair_close(&pair);
}

static void a_producer_that_waits_for_room_is_rung(void)
{
    struct pair pair;
    opened(&pair);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY, 1), -EAGAIN);
    CHECK_EQUAL(shm_channel_poll(pair.dialer, 0), -EAGAIN);
    CHECK_EQUAL(doorbells_for(&pair, SHM_DIALER), 0);
    CHECK_EQUAL(peek_answer(pair.acceptor), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_DIALER), 1);
    shm_channel_unpark(pair.dialer);
    CHECK_EQUAL(shm_channel_poll(pair.dialer, 0), 1);
    pair_close(&pair);
}

static void a_producer_that_does_not_wait_is_not_rung(void)
{
    struct pair pair;
    opened(&pair);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY, 1), -EAGAIN);
    CHECK_EQUAL(peek_answer(pair.acceptor), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_DIALER), 0);
    pair_close(&pair);
}

/* It parked for a message, before the ring was full: that park did not ask for room. */
static void a_parked_side_whose_message_does_not_fit_is_rung_when_there_is_room(void)
{
    struct pair pair;
    opened(&pair);
    CHECK_EQUAL(shm_channel_poll(pair.dialer, 0), -EAGAIN);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY, 1), -EAGAIN);
    CHECK_EQUAL(shm_channel_poll(pair.dialer, 0), -EAGAIN);
    CHECK_EQUAL(peek_answer(pair.acceptor), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_DIALER), 1);
    CHECK_EQUAL(shm_channel_poll(pair.dialer, 0), 1);
    pair_close(&pair);
}

/* An event loop may try its message again at every turn: the park that asked for room stays one. */
static void trying_again_in_vain_keeps_the_park(void)
{
    struct pair pair;
    opened(&pair);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY, 1), -EAGAIN);
    CHECK_EQUAL(shm_channel_poll(pair.dialer, 0), -EAGAIN);
    for (int turn = 0; turn < 3; turn++) {
        CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY, 1), -EAGAIN);
        CHECK_EQUAL(shm_channel_poll(pair.dialer, 0), -EAGAIN);
    }
    CHECK_EQUAL(stats_of(pair.dialer).parks, 1);
    CHECK_EQUAL(peek_answer(pair.acceptor), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_DIALER), 1);
    pair_close(&pair);
}

static void a_message_wakes_who_waits_for_room(void)
{
    struct pair pair;
    opened(&pair);
    CHECK_EQUAL(send_pattern(pair.dialer, 2 * CAPACITY, 1), -EAGAIN);
    CHECK(shm_channel_park(pair.dialer));
    CHECK_EQUAL(send_pattern(pair.acceptor, 10, 2), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_DIALER), 1);
    shm_channel_unpark(pair.dialer);
    CHECK_EQUAL(shm_channel_wait(pair.dialer, -1), 1);
    receive_pattern(pair.dialer, 10, 2);
    pair_close(&pair);
}

static void a_full_socket_is_no_error_and_still_wakes(void)
{
    struct pair pair;
    opened(&pair);
    const uint8_t doorbell = SHM_DOORBELL_BYTE;
    while (send(pair.sockets[SHM_DIALER], &doorbell, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
        ;
    CHECK_EQUAL(errno, EAGAIN);
    CHECK(shm_channel_park(pair.acceptor));
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 1), 0);
    CHECK_EQUAL(is_readable(pair.sockets[SHM_ACCEPTOR]), 1);
    shm_channel_unpark(pair.acceptor);
    CHECK_EQUAL(shm_channel_wait(pair.acceptor, -1), 1);
    receive_pattern(pair.acceptor, 10, 1);
    /* Read piece by piece, and nothing but doorbells. */
    while (is_readable(pair.sockets[SHM_ACCEPTOR]))
        CHECK_EQUAL(shm_channel_drain_doorbell(pair.acceptor), 0);
    CHECK(shm_channel_park(pair.acceptor));
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 2), 0);
    CHECK_EQUAL(doorbells_for(&pair, SHM_ACCEPTOR), 1);
    pair_close(&pair);
}

static void draining_reads_doorbells_and_nothing_else(void)
{
    struct pair pair;
    opened(&pair);
    CHECK_EQUAL(shm_channel_drain_doorbell(pair.acceptor), 0);
    CHECK_EQUAL(send(pair.sockets[SHM_DIALER], "\1\1\1", 3, 0), 3);
    CHECK_EQUAL(shm_channel_drain_doorbell(pair.acceptor), 0);
    CHECK_EQUAL(is_readable(pair.sockets[SHM_ACCEPTOR]), 0);
    static const uint8_t wrong[] = {0x00, 0x02, 0x7f, 0x81, 0xff, 'G'};
    for (size_t i = 0; i < sizeof wrong; i++) {
        const uint8_t bytes[3] = {SHM_DOORBELL_BYTE, wrong[i], SHM_DOORBELL_BYTE};
        CHECK_EQUAL(send(pair.sockets[SHM_DIALER], bytes, sizeof bytes, 0), sizeof bytes);
        CHECK_EQUAL(shm_channel_drain_doorbell(pair.acceptor), -EPROTO);
        CHECK_EQUAL(send(pair.sockets[SHM_DIALER], bytes, sizeof bytes, 0), sizeof bytes);
        CHECK_EQUAL(wait_through_signals(pair.acceptor), -EPROTO);
    }
    pair_close(&pair);
}

/* Runs in a thread of its own: does nothing before the acceptor sleeps. */
static void await_parked(struct pair *pair)
{
    while (shm_channel_peer_state(pair->dialer) != SHM_PARKED)
        sched_yield();
}

static void *send_when_parked(void *argument)
{
    struct pair *pair = argument;
    await_parked(pair);
    CHECK_EQUAL(send_pattern(pair->dialer, 10, 1), 0);
    return NULL;
}

static void a_message_wakes_a_sleeping_wait(void)
{
    struct pair pair;
    pthread_t thread;
    opened(&pair);
    CHECK_EQUAL(pthread_create(&thread, NULL, send_when_parked, &pair), 0);
    CHECK_EQUAL(wait_through_signals(pair.acceptor), 1);
    receive_pattern(pair.acceptor, 10, 1);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_EQUAL(is_readable(pair.sockets[SHM_ACCEPTOR]), 0);
    pair_close(&pair);
}

/* The record comes without a doorbell, the wrong byte wakes: what comes from such a peer is not delivered any more. */
static void *forge_and_send_wrong_byte_when_parked(void *argument)
{
    struct pair *pair = argument;
    await_parked(pair);
    pair_forge_record(pair, 8, 0);
    CHECK_EQUAL(send(pair->sockets[SHM_DIALER], "x", 1, 0), 1);
    return NULL;
}

static void a_wrong_byte_is_not_forgotten_over_a_message(void)
{
    struct pair pair;
    pthread_t thread;
    opened(&pair);
    CHECK_EQUAL(pthread_create(&thread, NULL, forge_and_send_wrong_byte_when_parked, &pair), 0);
    CHECK_EQUAL(wait_through_signals(pair.acceptor), -EPROTO);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    pair_close(&pair);
}

static _Atomic bool flooding;

static void *flood(void *argument)
{
    struct pair *pair = argument;
    uint8_t doorbells[4096];
    memset(doorbells, SHM_DOORBELL_BYTE, sizeof doorbells);
    while (atomic_load(&flooding))
        if (send(pair->sockets[SHM_DIALER], doorbells, sizeof doorbells, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            sched_yield();
    return NULL;
}

static void a_flood_of_doorbells_keeps_out_neither_deadline_nor_signals(void)
{
    struct pair pair;
    pthread_t thread;
    opened(&pair);
    atomic_store(&flooding, true);
    CHECK_EQUAL(pthread_create(&thread, NULL, flood, &pair), 0);
    /* Without a deadline it comes up, for signals; with one it ends. */
    CHECK_EQUAL(shm_channel_wait(pair.acceptor, -1), -EINTR);
    CHECK_EQUAL(shm_channel_wait(pair.acceptor, 0), 0);
    atomic_store(&flooding, false);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    pair_close(&pair);
}

static void a_wait_ends_at_its_deadline(void)
{
    static const int64_t spins_us[] = {0, -1, 10, 1000000};
    for (size_t i = 0; i < sizeof spins_us / sizeof spins_us[0]; i++) {
        struct pair pair;
        pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, spins_us[i]);
        CHECK_EQUAL(shm_channel_wait(pair.acceptor, 0), 0);
        CHECK_EQUAL(shm_channel_wait(pair.acceptor, 1), 0);
        CHECK_EQUAL(shm_channel_wait(pair.acceptor, 100000), 0);
        CHECK_EQUAL(send_pattern(pair.dialer, 10, 1), 0);
        CHECK_EQUAL(doorbells_for(&pair, SHM_ACCEPTOR), 0);
        CHECK_EQUAL(shm_channel_wait(pair.acceptor, 0), 1);
        pair_close(&pair);
    }
}

/* A look in passing, a wait of no time, must not teach the waiter that polling does not pay. */
static void a_wait_cut_short_leaves_the_spin_budget(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, -1);
    const uint64_t budget_ns = stats_of(pair.acceptor).spin_budget_ns;
    /* It polls for at least its first looks; only a wait that lost its core for the whole budget parks. */
    for (int i = 0; i < 50; i++) {
        CHECK_EQUAL(shm_channel_wait(pair.acceptor, 0), 0);
        if (stats_of(pair.acceptor).parks == 0)
            CHECK_EQUAL(stats_of(pair.acceptor).spin_budget_ns, budget_ns);
    }
    pair_close(&pair);
}

/* An event loop that parks without polling at all learns nothing from it. */
static void a_park_without_a_wait_leaves_the_spin_budget(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, -1);
    const uint64_t budget_ns = stats_of(pair.acceptor).spin_budget_ns;
    CHECK(shm_channel_park(pair.acceptor));
    shm_channel_unpark(pair.acceptor);
    /* -EAGAIN where this lost its core for the whole budget, or has but one: then it did park. */
    const int rc = shm_channel_poll(pair.acceptor, 0);
    CHECK_EQUAL(send_pattern(pair.dialer, 10, 1), 0);
    CHECK_EQUAL(shm_channel_poll(pair.acceptor, 0), 1);
    if (rc == 0)
        CHECK_EQUAL(stats_of(pair.acceptor).spin_budget_ns, budget_ns);
    pair_close(&pair);
}

static _Atomic bool signalled;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&signalled, true);
}

static void a_signal_interrupts_a_wait(void)
{
    static const int64_t spins_us[] = {0, 3600000000};
    struct sigaction action = {.sa_handler = on_signal}, before;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    /* Again and again: the first may come before the wait sleeps. */
    const struct itimerspec often = {{0, 1000000}, {0, 1000000}}, never = {{0, 0}, {0, 0}};
    timer_t timer;
    CHECK_EQUAL(sigaction(SIGUSR1, &action, &before), 0);
    CHECK_EQUAL(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    for (size_t i = 0; i < sizeof spins_us / sizeof spins_us[0]; i++) {
        struct pair pair;
        pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, spins_us[i]);
        atomic_store(&signalled, false);
        CHECK_EQUAL(timer_settime(timer, 0, &often, NULL), 0);
        do
            CHECK_EQUAL(shm_channel_wait(pair.acceptor, -1), -EINTR);
        while (!atomic_load(&signalled));
        CHECK_EQUAL(timer_settime(timer, 0, &never, NULL), 0);
        /* Nothing is lost by it. */
        CHECK_EQUAL(send_pattern(pair.dialer, 10, 1), 0);
        CHECK_EQUAL(wait_through_signals(pair.acceptor), 1);
        receive_pattern(pair.acceptor, 10, 1);
        pair_close(&pair);
    }
    CHECK_EQUAL(timer_delete(timer), 0);
    CHECK_EQUAL(sigaction(SIGUSR1, &before, NULL), 0);
}

static void polling_goes_on_within_the_budget_and_then_parks(void)
{
    struct pair pair;
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 3600000000);
    if (stats_of(pair.acceptor).spin_budget_ns == 0) {
        /* One core: it never polls. */
        pair_close(&pair);
        return;
    }
    CHECK_EQUAL(shm_channel_poll(pair.acceptor, 1000), 0);
    CHECK_EQUAL(shm_channel_poll(pair.acceptor, 0), 0);
    CHECK_EQUAL(shm_channel_peer_state(pair.dialer), SHM_AWAKE);
    CHECK(shm_channel_park(pair.acceptor));
    CHECK_EQUAL(shm_channel_poll(pair.acceptor, 1000), -EAGAIN);
    CHECK_EQUAL(shm_channel_peer_state(pair.dialer), SHM_PARKED);
    pair_close(&pair);
    pair_open(&pair, CAPACITY, TEST_MAX_MESSAGE, 20);
    int rc;
    while ((rc = shm_channel_poll(pair.acceptor, 1000)) == 0)
        ;
    CHECK_EQUAL(rc, -EAGAIN);
    CHECK_EQUAL(shm_channel_peer_state(pair.dialer), SHM_PARKED);
    pair_close(&pair);
}

int main(void)
{
    RUN(an_awake_consumer_gets_no_doorbell);
    RUN(one_park_costs_one_doorbell_however_many_records_follow);
    RUN(an_unparked_consumer_gets_no_doorbell);
    RUN(a_park_looks_again);
    RUN(a_parked_channel_that_finds_a_message_is_awake);
    RUN(a_wait_in_a_parked_channel_leaves_it_awake);
    RUN(sending_ends_a_park);
    RUN(a_producer_that_waits_for_room_is_rung);
    RUN(a_producer_that_does_not_wait_is_not_rung);
    RUN(a_parked_side_whose_message_does_not_fit_is_rung_when_there_is_room);
    RUN(trying_again_in_vain_keeps_the_park);
    RUN(a_message_wakes_who_waits_for_room);
    RUN(a_full_socket_is_no_error_and_still_wakes);
    RUN(draining_reads_doorbells_and_nothing_else);
    RUN(a_message_wakes_a_sleeping_wait);
    RUN(a_wrong_byte_is_not_forgotten_over_a_message);
    RUN(a_flood_of_doorbells_keeps_out_neither_deadline_nor_signals);
    RUN(a_wait_ends_at_its_deadline);
    RUN(a_wait_cut_short_leaves_the_spin_budget);
    RUN(a_park_without_a_wait_leaves_the_spin_budget);
    RUN(a_signal_interrupts_a_wait);
    RUN(polling_goes_on_within_the_budget_and_then_parks);
    return 0;
}
