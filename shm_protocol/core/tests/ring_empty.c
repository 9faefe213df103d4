/* An empty ring: reading gives nothing, and what is published comes out once, in order and unaltered. */
#include "rings.h"

static void ring_read_returns_nothing_when_empty(void)
{
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    CHECK_EQUAL(ring_peek_answer(&ring), 0);
    CHECK(!shm_ring_has_record(&ring.consumer));
    CHECK_EQUAL(ring_head(&ring), 0);
    CHECK_EQUAL(ring_tail(&ring), 0);
    ring_close(&ring);
}

static void ring_is_empty_again_when_all_is_released(void)
{
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    for (uint64_t i = 0; i < 3; i++)
        ring_put(&ring, 100, i);
    for (uint64_t i = 0; i < 3; i++)
        ring_take(&ring, 100, i);
    CHECK_EQUAL(ring_peek_answer(&ring), 0);
    CHECK(!shm_ring_has_record(&ring.consumer));
    CHECK_EQUAL(ring_head(&ring), ring_tail(&ring));
    ring_close(&ring);
}

static void ring_keeps_length_order_and_bytes(void)
{
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    for (uint32_t length = 0; length < 64; length++)
        ring_put(&ring, length, length);
    for (uint32_t length = 0; length < 64; length++)
        ring_take(&ring, length, length);
    ring_close(&ring);
}

static void ring_carries_the_flag_of_a_record(void)
{
    struct ring ring;
    void *claimed;
    const uint8_t *payload;
    uint32_t length, flags;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    CHECK_EQUAL(shm_ring_claim(&ring.producer, 5, &claimed), 1);
    pattern_fill(claimed, 5, 7);
    shm_ring_publish(&ring.producer, SHM_RECORD_MORE);
    ring_put(&ring, 6, 8);
    CHECK_EQUAL(shm_ring_peek(&ring.consumer, &payload, &length, &flags), 1);
    CHECK_EQUAL(flags, SHM_RECORD_MORE);
    CHECK_EQUAL(length, 5);
    CHECK_PATTERN(payload, 5, 7);
    shm_ring_release(&ring.consumer);
    ring_take(&ring, 6, 8);
    ring_close(&ring);
}

static void ring_shows_the_same_record_until_it_is_released(void)
{
    struct ring ring;
    const uint8_t *first, *second;
    uint32_t length, flags;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    ring_put(&ring, 10, 1);
    ring_put(&ring, 20, 2);
    CHECK_EQUAL(shm_ring_peek(&ring.consumer, &first, &length, &flags), 1);
    CHECK_EQUAL(shm_ring_peek(&ring.consumer, &second, &length, &flags), 1);
    CHECK(first == second);
    ring_take(&ring, 10, 1);
    ring_take(&ring, 20, 2);
    ring_close(&ring);
}

int main(void)
{
    RUN(ring_read_returns_nothing_when_empty);
    RUN(ring_is_empty_again_when_all_is_released);
    RUN(ring_keeps_length_order_and_bytes);
    RUN(ring_carries_the_flag_of_a_record);
    RUN(ring_shows_the_same_record_until_it_is_released);
    return 0;
}
