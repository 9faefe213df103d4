/* The largest record: half the capacity, header included, always fits into an empty ring; one byte more never. */
#include <errno.h>

#include "rings.h"

static void half_the_capacity_fits_at_every_position_of_an_empty_ring(void)
{
    const uint32_t largest = SHM_RING_CAPACITY_MIN / 2 - SHM_RECORD_HEADER_BYTES;
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    for (uint64_t start = 0; start < SHM_RING_CAPACITY_MIN; start += SHM_RECORD_ALIGN) {
        ring_start_at(&ring, start);
        CHECK_EQUAL(shm_ring_has_room(&ring.producer, largest), 1);
        ring_put(&ring, largest, start);
        ring_take(&ring, largest, start);
    }
    ring_close(&ring);
}

static void two_records_of_half_the_capacity_fill_the_ring(void)
{
    const uint32_t largest = SHM_RING_CAPACITY_MIN / 2 - SHM_RECORD_HEADER_BYTES;
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    ring_put(&ring, largest, 1);
    ring_put(&ring, largest, 2);
    CHECK_EQUAL(ring_try_put(&ring, 0, 3), 0);
    ring_take(&ring, largest, 1);
    ring_take(&ring, largest, 2);
    ring_close(&ring);
}

static void a_longer_record_is_misuse(void)
{
    static const uint32_t too_long[] = {SHM_RING_CAPACITY_MIN / 2 - SHM_RECORD_HEADER_BYTES + 1,
                                        SHM_RING_CAPACITY_MIN,
                                        UINT32_C(0x7fffffff),
                                        UINT32_MAX - 8,
                                        UINT32_MAX - 7,
                                        UINT32_MAX};
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    for (size_t i = 0; i < sizeof too_long / sizeof too_long[0]; i++) {
        void *payload;
        CHECK_EQUAL(shm_ring_claim(&ring.producer, too_long[i], &payload), -EINVAL);
        CHECK_EQUAL(shm_ring_has_room(&ring.producer, too_long[i]), -EINVAL);
        CHECK_EQUAL(shm_ring_await_room(&ring.producer, too_long[i]), -EINVAL);
        CHECK_EQUAL(ring_tail(&ring), 0);
    }
    ring_put(&ring, 1, 1);
    ring_take(&ring, 1, 1);
    ring_close(&ring);
}

int main(void)
{
    RUN(half_the_capacity_fits_at_every_position_of_an_empty_ring);
    RUN(two_records_of_half_the_capacity_fill_the_ring);
    RUN(a_longer_record_is_misuse);
    return 0;
}
