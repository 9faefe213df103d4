/* A full ring: claiming says so, loses nothing, and works again once there is room. */
#include <errno.h>

#include "rings.h"

static void ring_takes_exactly_its_capacity(void)
{
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    /* Empty records: nothing but headers. */
    for (uint32_t i = 0; i < SHM_RING_CAPACITY_MIN / SHM_RECORD_HEADER_BYTES; i++)
        ring_put(&ring, 0, i);
    CHECK_EQUAL(shm_ring_has_room(&ring.producer, 0), 0);
    CHECK_EQUAL(ring_try_put(&ring, 0, 0), 0);
    for (uint32_t i = 0; i < SHM_RING_CAPACITY_MIN / SHM_RECORD_HEADER_BYTES; i++)
        ring_take(&ring, 0, i);
    CHECK_EQUAL(ring_peek_answer(&ring), 0);
    ring_close(&ring);
}

static void ring_says_full_and_keeps_what_it_holds(void)
{
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    const uint32_t quarter = SHM_RING_CAPACITY_MIN / 4 - SHM_RECORD_HEADER_BYTES;
    for (uint64_t i = 0; i < 4; i++)
        ring_put(&ring, quarter, i);
    for (int again = 0; again < 3; again++) {
        CHECK_EQUAL(ring_try_put(&ring, quarter, 99), 0);
        CHECK_EQUAL(ring_try_put(&ring, 0, 99), 0);
        CHECK_EQUAL(ring_tail(&ring), SHM_RING_CAPACITY_MIN);
    }
    for (uint64_t i = 0; i < 4; i++)
        ring_take(&ring, quarter, i);
    ring_close(&ring);
}

static void ring_has_room_again_when_a_record_is_released(void)
{
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    const uint32_t quarter = SHM_RING_CAPACITY_MIN / 4 - SHM_RECORD_HEADER_BYTES;
    for (uint64_t i = 0; i < 4; i++)
        ring_put(&ring, quarter, i);
    for (uint64_t i = 4; i < 100; i++) {
        CHECK_EQUAL(shm_ring_has_room(&ring.producer, quarter), 0);
        ring_take(&ring, quarter, i - 4);
        /* The record of `quarter` + 1 bytes is 8 bytes larger than what was released. */
        CHECK_EQUAL(shm_ring_has_room(&ring.producer, quarter + 1), 0);
        CHECK_EQUAL(shm_ring_has_room(&ring.producer, quarter), 1);
        ring_put(&ring, quarter, i);
    }
    ring_close(&ring);
}

static void ring_counts_padding_as_used(void)
{
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    ring_start_at(&ring, SHM_RING_CAPACITY_MIN - 1024);
    ring_put(&ring, 512 - SHM_RECORD_HEADER_BYTES, 1);
    /* 512 bytes to the end, 3072 at the start: a record of 1024 costs 512 more. */
    ring_put(&ring, 1024 - SHM_RECORD_HEADER_BYTES, 2);
    ring_put(&ring, 2048 - SHM_RECORD_HEADER_BYTES, 3);
    CHECK_EQUAL(ring_try_put(&ring, 0, 4), 0);
    ring_take(&ring, 512 - SHM_RECORD_HEADER_BYTES, 1);
    ring_put(&ring, 512 - SHM_RECORD_HEADER_BYTES, 4);
    /* The padding is released together with the record behind it. */
    CHECK_EQUAL(ring_try_put(&ring, 0, 5), 0);
    ring_take(&ring, 1024 - SHM_RECORD_HEADER_BYTES, 2);
    ring_put(&ring, 512 - SHM_RECORD_HEADER_BYTES, 5);
    ring_put(&ring, 1024 - SHM_RECORD_HEADER_BYTES, 6);
    CHECK_EQUAL(ring_try_put(&ring, 0, 7), 0);
    ring_take(&ring, 2048 - SHM_RECORD_HEADER_BYTES, 3);
    ring_take(&ring, 512 - SHM_RECORD_HEADER_BYTES, 4);
    ring_take(&ring, 512 - SHM_RECORD_HEADER_BYTES, 5);
    ring_take(&ring, 1024 - SHM_RECORD_HEADER_BYTES, 6);
    CHECK_EQUAL(ring_peek_answer(&ring), 0);
    ring_close(&ring);
}

static void ring_refuses_a_second_claim_before_the_first_is_published(void)
{
    struct ring ring;
    void *payload;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    CHECK_EQUAL(shm_ring_claim(&ring.producer, 8, &payload), 1);
    CHECK_EQUAL(shm_ring_claim(&ring.producer, 8, &payload), -EINVAL);
    pattern_fill(payload, 8, 1);
    shm_ring_publish(&ring.producer, 0);
    ring_take(&ring, 8, 1);
    ring_close(&ring);
}

static void awaiting_room_tells_of_room_or_asks_for_the_doorbell(void)
{
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    CHECK_EQUAL(shm_ring_await_room(&ring.producer, 8), 1);
    CHECK_EQUAL(atomic_load(&ring.shared->producer_waiting), 0);
    for (uint64_t i = 0; i < 2; i++)
        ring_put(&ring, SHM_RING_CAPACITY_MIN / 2 - SHM_RECORD_HEADER_BYTES, i);
    CHECK_EQUAL(shm_ring_await_room(&ring.producer, 8), 0);
    CHECK_EQUAL(atomic_load(&ring.shared->producer_waiting), 1);
    CHECK_EQUAL(ring_peek_answer(&ring), 1);
    CHECK(shm_ring_release(&ring.consumer));
    CHECK_EQUAL(atomic_load(&ring.shared->producer_waiting), 0);
    CHECK_EQUAL(ring_peek_answer(&ring), 1);
    CHECK(!shm_ring_release(&ring.consumer));
    CHECK_EQUAL(shm_ring_await_room(&ring.producer, 8), 1);
    ring_close(&ring);
}

int main(void)
{
    RUN(ring_takes_exactly_its_capacity);
    RUN(ring_says_full_and_keeps_what_it_holds);
    RUN(ring_has_room_again_when_a_record_is_released);
    RUN(ring_counts_padding_as_used);
    RUN(ring_refuses_a_second_claim_before_the_first_is_published);
    RUN(awaiting_room_tells_of_room_or_asks_for_the_doorbell);
    return 0;
}
