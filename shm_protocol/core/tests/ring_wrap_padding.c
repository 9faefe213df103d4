/* The end of the data: a record never wraps round it; padding fills what is left, and only what is left. */
#include "rings.h"

#define CAPACITY SHM_RING_CAPACITY_MIN

static void record_that_ends_at_the_end_needs_no_padding(void)
{
    struct ring ring;
    ring_open(&ring, CAPACITY);
    ring_start_at(&ring, CAPACITY - 64);
    ring_put(&ring, 64 - SHM_RECORD_HEADER_BYTES, 1);
    CHECK_EQUAL(ring_tail(&ring), CAPACITY);
    struct shm_record_header header = ring_header_at(&ring, CAPACITY - 64);
    CHECK_EQUAL(header.flags, 0);
    CHECK_EQUAL(header.length, 64 - SHM_RECORD_HEADER_BYTES);
    ring_take(&ring, 64 - SHM_RECORD_HEADER_BYTES, 1);
    CHECK_EQUAL(ring_head(&ring), CAPACITY);
    ring_close(&ring);
}

static void wrap_inserts_padding_to_the_end(void)
{
    struct ring ring;
    ring_open(&ring, CAPACITY);
    ring_start_at(&ring, CAPACITY - 64);
    ring_put(&ring, 64, 1);
    struct shm_record_header padding = ring_header_at(&ring, CAPACITY - 64);
    CHECK_EQUAL(padding.flags, SHM_RECORD_PADDING);
    CHECK_EQUAL(padding.length, 64 - SHM_RECORD_HEADER_BYTES);
    struct shm_record_header record = ring_header_at(&ring, 0);
    CHECK_EQUAL(record.flags, 0);
    CHECK_EQUAL(record.length, 64);
    CHECK_EQUAL(ring_tail(&ring), CAPACITY + SHM_RECORD_HEADER_BYTES + 64);
    ring_take(&ring, 64, 1);
    CHECK_EQUAL(ring_head(&ring), ring_tail(&ring));
    CHECK_EQUAL(ring_peek_answer(&ring), 0);
    ring_close(&ring);
}

static void padding_may_be_nothing_but_a_header(void)
{
    struct ring ring;
    ring_open(&ring, CAPACITY);
    ring_start_at(&ring, CAPACITY - SHM_RECORD_HEADER_BYTES);
    ring_put(&ring, 1, 1);
    struct shm_record_header padding = ring_header_at(&ring, CAPACITY - SHM_RECORD_HEADER_BYTES);
    CHECK_EQUAL(padding.flags, SHM_RECORD_PADDING);
    CHECK_EQUAL(padding.length, 0);
    ring_take(&ring, 1, 1);
    ring_close(&ring);
}

static void an_empty_record_fits_into_the_last_eight_bytes(void)
{
    struct ring ring;
    ring_open(&ring, CAPACITY);
    ring_start_at(&ring, CAPACITY - SHM_RECORD_HEADER_BYTES);
    ring_put(&ring, 0, 1);
    CHECK_EQUAL(ring_tail(&ring), CAPACITY);
    ring_take(&ring, 0, 1);
    ring_close(&ring);
}

static void every_position_and_length_round_trips(void)
{
    static const uint32_t lengths[] = {0, 1, 7, 8, 9, 15, 16, 100, 1000, 1024, 2033, 2040};
    struct ring ring;
    ring_open(&ring, CAPACITY);
    for (uint64_t start = 0; start < CAPACITY; start += SHM_RECORD_ALIGN)
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            ring_start_at(&ring, start);
            ring_put(&ring, lengths[i], start);
            const uint64_t record = SHM_RECORD_HEADER_BYTES + ((lengths[i] + 7u) & ~UINT64_C(7));
            const uint64_t padding = start + record <= CAPACITY ? 0 : CAPACITY - start;
            CHECK_EQUAL(ring_tail(&ring), start + padding + record);
            ring_take(&ring, lengths[i], start);
            CHECK_EQUAL(ring_head(&ring), start + padding + record);
            CHECK_EQUAL(ring_peek_answer(&ring), 0);
        }
    ring_close(&ring);
}

/* Lockstep of random puts and takes against a plain queue, across the places where a count of 32 bits, and one of 64,
 * would wrap. */
static void counts_go_on_past_every_power_of_two(void)
{
    static const uint64_t starts[] = {0, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 63, 0};
    uint64_t seed = random_seed();
    struct ring ring;
    ring_open(&ring, CAPACITY);
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        uint32_t queue[CAPACITY / SHM_RECORD_HEADER_BYTES];
        uint64_t put = 0, taken = 0;
        ring_start_at(&ring, starts[i] - 10 * CAPACITY);
        while (put < 2000) {
            const uint32_t length = random_below(&seed, random_below(&seed, 4) == 0 ? 2041 : 200);
            if (random_below(&seed, 2) == 0) {
                if (ring_try_put(&ring, length, put) == 1)
                    queue[put++ % (sizeof queue / sizeof queue[0])] = length;
            } else if (taken < put) {
                ring_take(&ring, queue[taken % (sizeof queue / sizeof queue[0])], taken);
                taken++;
            } else {
                CHECK_EQUAL(ring_peek_answer(&ring), 0);
            }
        }
        CHECK(ring_tail(&ring) - (starts[i] - 10 * CAPACITY) > 20 * CAPACITY);
    }
    ring_close(&ring);
}

int main(void)
{
    RUN(record_that_ends_at_the_end_needs_no_padding);
    RUN(wrap_inserts_padding_to_the_end);
    RUN(padding_may_be_nothing_but_a_header);
    RUN(an_empty_record_fits_into_the_last_eight_bytes);
    RUN(every_position_and_length_round_trips);
    RUN(counts_go_on_past_every_power_of_two);
    return 0;
}
