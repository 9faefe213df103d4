/* Going to sleep: of two sides that each store and then look, one always sees the other, and a park ends exactly once.
 *
 * These are races on purpose, repeated many times with both sides let go at the same moment. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "rings.h"

#define ROUNDS 40000

static struct ring ring;

/* Both sides meet here; the last to come opens the gate of the next round. */
static struct {
    _Atomic uint32_t arrived, opened;
} gate;

static void meet(uint64_t *seed)
{
    uint32_t opened = atomic_load(&gate.opened);
    if (atomic_fetch_add(&gate.arrived, 1) == 1) {
        atomic_store(&gate.arrived, 0);
        atomic_store(&gate.opened, opened + 1);
    } else {
        for (uint32_t turns = 1; atomic_load(&gate.opened) == opened; turns++)
            if (turns % 256 == 0)
                sched_yield();
    }
    /* A little ahead or behind, so that every order comes up. */
    for (volatile uint32_t i = random_below(seed, 40); i > 0; i--)
        ;
}

static void in_two_threads(void *(*one)(void *), void *(*other)(void *))
{
    pthread_t thread;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    CHECK_EQUAL(pthread_create(&thread, NULL, one, NULL), 0);
    other(NULL);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    ring_close(&ring);
}

static bool rang; /* by one side before meeting, read by the other after */

static void *publish_while_the_other_parks(void *unused)
{
    uint64_t seed = 1;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        void *payload;
        CHECK_EQUAL(shm_ring_claim(&ring.producer, 8, &payload), 1);
        pattern_fill(payload, 8, i);
        meet(&seed);
        rang = shm_ring_publish(&ring.producer, 0);
        meet(&seed);
        meet(&seed);
    }
    return unused;
}

static void *park_while_the_other_publishes(void *unused)
{
    uint64_t seed = 2;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        meet(&seed);
        bool came = !shm_ring_park(&ring.consumer, SHM_AWAKE);
        meet(&seed);
        /* Neither: this side would sleep, and nobody would wake it. */
        CHECK(came || rang);
        if (!came)
            CHECK_EQUAL(atomic_load(&ring.shared->consumer_state), SHM_AWAKE);
        ring_take(&ring, 8, i);
        meet(&seed);
    }
    return unused;
}

static void a_parking_consumer_sees_the_record_or_is_rung(void)
{
    in_two_threads(publish_while_the_other_parks, park_while_the_other_publishes);
}

static const uint32_t half = SHM_RING_CAPACITY_MIN / 2 - SHM_RECORD_HEADER_BYTES;

static void *release_while_the_other_awaits_room(void *unused)
{
    uint64_t seed = 3;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        meet(&seed);
        CHECK_EQUAL(ring_peek_answer(&ring), 1);
        meet(&seed);
        rang = shm_ring_release(&ring.consumer);
        meet(&seed);
    }
    return unused;
}

static void *await_room_while_the_other_releases(void *unused)
{
    uint64_t seed = 4;
    ring_put(&ring, half, 0);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        ring_put(&ring, half, i);
        meet(&seed);
        meet(&seed);
        int room = shm_ring_await_room(&ring.producer, half);
        meet(&seed);
        CHECK(room == 1 || rang);
    }
    return unused;
}

static void a_producer_that_awaits_room_sees_it_or_is_rung(void)
{
    in_two_threads(release_while_the_other_awaits_room, await_room_while_the_other_releases);
}

static _Atomic uint64_t rung;

static void *publish_all_the_time(void *unused)
{
    uint32_t turns = 0;
    for (uint64_t i = 0; i < 10 * ROUNDS; i++) {
        void *payload;
        while (shm_ring_claim(&ring.producer, 0, &payload) == 0)
            if (++turns % 256 == 0)
                sched_yield();
        if (shm_ring_publish(&ring.producer, 0))
            atomic_fetch_add(&rung, 1);
    }
    return unused;
}

/* Ends its own parks with an exchange, to know whether it was the one that ended them. */
static uint64_t park_and_unpark_all_the_time(void)
{
    uint64_t parks = 0, taken_back = 0;
    for (uint64_t received = 0; received < 10 * ROUNDS; parks++) {
        atomic_store(&ring.shared->consumer_state, SHM_PARKED);
        while (parks % 8 == 0 && ring_peek_answer(&ring) == 1) {
            shm_ring_release(&ring.consumer);
            received++;
        }
        if (parks % 64 == 0)
            sched_yield();
        if (atomic_exchange(&ring.shared->consumer_state, SHM_AWAKE) == SHM_PARKED)
            taken_back++;
    }
    return parks - taken_back;
}

/* A park costs one doorbell at the most, and none if the consumer was first. */
static void a_park_is_ended_by_exactly_one_side(void)
{
    pthread_t producer;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    CHECK_EQUAL(pthread_create(&producer, NULL, publish_all_the_time, NULL), 0);
    uint64_t ended_by_producer = park_and_unpark_all_the_time();
    CHECK_EQUAL(pthread_join(producer, NULL), 0);
    CHECK_EQUAL(atomic_load(&rung), ended_by_producer);
    CHECK(ended_by_producer > 0);
    ring_close(&ring);
}

int main(void)
{
    RUN(a_parking_consumer_sees_the_record_or_is_rung);
    RUN(a_producer_that_awaits_room_sees_it_or_is_rung);
    RUN(a_park_is_ended_by_exactly_one_side);
    return 0;
}
