/* A peer that stores anything at all: every answer is a checked record, nothing, or -EPROTO, and never a crash. */
#include <errno.h>

#include "rings.h"

#define CAPACITY SHM_RING_CAPACITY_MIN

static void a_tail_that_cannot_be_is_a_protocol_error(void)
{
    static const uint64_t tails[] = {
        CAPACITY + 8,       /* further than the ring is long */
        UINT64_MAX - 7,     /* backwards, before the head */
        UINT64_C(1) << 63,  /* far beyond */
        UINT64_C(1) << 32,  /* lost if it were cut to 32 bits */
        9, 12, 15, CAPACITY - 1, /* no multiple of 8 */
    };
    struct ring ring;
    ring_open(&ring, CAPACITY);
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        ring_start_at(&ring, 0);
        /* A record that is right but for the tail. */
        ring_forge_header(&ring, 0, 0, 0);
        atomic_store(&ring.shared->tail, tails[i]);
        CHECK_EQUAL(ring_peek_answer(&ring), -EPROTO);
        /* So that whoever waits comes and meets the error. */
        CHECK(shm_ring_has_record(&ring.consumer));
        CHECK(!shm_ring_park(&ring.consumer, SHM_AWAKE));
    }
    ring_close(&ring);
}

static void a_tail_that_goes_back_is_a_protocol_error(void)
{
    struct ring ring;
    ring_open(&ring, CAPACITY);
    ring_put(&ring, 8, 1);
    ring_put(&ring, 8, 2);
    ring_take(&ring, 8, 1);
    ring_take(&ring, 8, 2);
    ring_forge_header(&ring, 32, 0, 0);
    atomic_store(&ring.shared->tail, 16);
    CHECK_EQUAL(ring_peek_answer(&ring), -EPROTO);
    ring_close(&ring);
}

static void a_head_that_cannot_be_is_a_protocol_error(void)
{
    struct ring ring;
    ring_open(&ring, CAPACITY);
    static const uint64_t start = 4 * CAPACITY;
    static const uint64_t heads[] = {
        start + CAPACITY + 8,       /* beyond the tail */
        start + CAPACITY + 1,
        start - 8,                  /* backwards, and more than a capacity behind */
        0,
        UINT64_MAX - 7,
        start + 4,                  /* no multiple of 8 */
        start + (UINT64_C(1) << 32), /* right if it were cut to 32 bits */
    };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        void *payload;
        ring_start_at(&ring, start);
        for (uint64_t record = 0; record < 4; record++)
            ring_put(&ring, CAPACITY / 4 - SHM_RECORD_HEADER_BYTES, record);
        atomic_store(&ring.shared->head, heads[i]);
        CHECK_EQUAL(shm_ring_claim(&ring.producer, 8, &payload), -EPROTO);
        CHECK_EQUAL(shm_ring_has_room(&ring.producer, 8), -EPROTO);
        CHECK_EQUAL(shm_ring_await_room(&ring.producer, 8), -EPROTO);
        CHECK_EQUAL(atomic_load(&ring.shared->producer_waiting), 0);
        CHECK_EQUAL(ring_tail(&ring), start + CAPACITY);
    }
    ring_close(&ring);
}

static void a_head_that_goes_back_is_a_protocol_error(void)
{
    struct ring ring;
    ring_open(&ring, CAPACITY);
    for (uint64_t i = 0; i < 4; i++)
        ring_put(&ring, CAPACITY / 4 - SHM_RECORD_HEADER_BYTES, i);
    atomic_store(&ring.shared->head, CAPACITY / 2);
    CHECK_EQUAL(shm_ring_has_room(&ring.producer, 8), 1);
    atomic_store(&ring.shared->head, CAPACITY / 4);
    CHECK_EQUAL(shm_ring_await_room(&ring.producer, 8), -EPROTO);
    ring_close(&ring);
}

static void a_length_that_cannot_be_is_a_protocol_error(void)
{
    static const struct {
        uint64_t start, tail;
        uint32_t length;
    } cases[] = {
        {0, 16, 9},                                /* past what was published */
        {0, 8, 1},
        {0, CAPACITY, CAPACITY - 7},               /* past the end of the data, by a byte */
        {0, CAPACITY, CAPACITY},
        {CAPACITY - 16, CAPACITY + 64, 9},         /* past the end, though published */
        {CAPACITY - 8, CAPACITY, 1},
        {0, CAPACITY, UINT32_MAX},                 /* rounded up to 8 it would be 0 */
        {0, CAPACITY, UINT32_MAX - 7},
        {0, CAPACITY, UINT32_MAX - 15},
        {0, CAPACITY, UINT32_C(0x80000000)},
    };
    struct ring ring;
    ring_open(&ring, CAPACITY);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ring_start_at(&ring, cases[i].start);
        ring_forge_header(&ring, (uint32_t)cases[i].start, cases[i].length, 0);
        atomic_store(&ring.shared->tail, cases[i].tail);
        CHECK_EQUAL(ring_peek_answer(&ring), -EPROTO);
        CHECK_EQUAL(ring_head(&ring), cases[i].start);
    }
    ring_close(&ring);
}

static void an_unknown_flag_is_a_protocol_error(void)
{
    static const uint32_t flags[] = {4,
                                     8,
                                     SHM_RECORD_MORE | SHM_RECORD_PADDING,
                                     SHM_RECORD_MORE | 4,
                                     SHM_RECORD_PADDING | UINT32_C(0x80000000),
                                     UINT32_MAX};
    struct ring ring;
    ring_open(&ring, CAPACITY);
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        ring_start_at(&ring, CAPACITY - 64);
        ring_forge_header(&ring, CAPACITY - 64, 64 - SHM_RECORD_HEADER_BYTES, flags[i]);
        atomic_store(&ring.shared->tail, CAPACITY);
        CHECK_EQUAL(ring_peek_answer(&ring), -EPROTO);
    }
    ring_close(&ring);
}

static void padding_that_does_not_end_at_the_end_is_a_protocol_error(void)
{
    static const uint32_t lengths[] = {0, 8, 48, 55, 57, 64, CAPACITY, UINT32_MAX};
    struct ring ring;
    ring_open(&ring, CAPACITY);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        ring_start_at(&ring, CAPACITY - 64);
        ring_forge_header(&ring, CAPACITY - 64, lengths[i], SHM_RECORD_PADDING);
        ring_forge_header(&ring, 0, 8, 0);
        atomic_store(&ring.shared->tail, CAPACITY + 16);
        CHECK_EQUAL(ring_peek_answer(&ring), -EPROTO);
    }
    ring_close(&ring);
}

/* Padding of the whole data, again and again, would keep a reader busy for ever. */
static void padding_at_the_start_is_a_protocol_error(void)
{
    struct ring ring;
    ring_open(&ring, CAPACITY);
    ring_forge_header(&ring, 0, CAPACITY - SHM_RECORD_HEADER_BYTES, SHM_RECORD_PADDING);
    atomic_store(&ring.shared->tail, CAPACITY);
    CHECK_EQUAL(ring_peek_answer(&ring), -EPROTO);
    ring_close(&ring);
}

static void padding_alone_is_nothing_to_read(void)
{
    struct ring ring;
    ring_open(&ring, CAPACITY);
    ring_start_at(&ring, CAPACITY - 64);
    ring_forge_header(&ring, CAPACITY - 64, 64 - SHM_RECORD_HEADER_BYTES, SHM_RECORD_PADDING);
    atomic_store(&ring.shared->tail, CAPACITY);
    CHECK_EQUAL(ring_peek_answer(&ring), 0);
    CHECK_EQUAL(ring_peek_answer(&ring), 0);
    CHECK_EQUAL(ring_head(&ring), CAPACITY - 64);
    ring_close(&ring);
}

/* The length that was checked is the one that counts, whatever stands there later. */
static void a_header_altered_after_peek_changes_nothing(void)
{
    struct ring ring;
    const uint8_t *payload;
    uint32_t length, flags;
    ring_open(&ring, CAPACITY);
    ring_put(&ring, 32, 1);
    ring_put(&ring, 40, 2);
    CHECK_EQUAL(shm_ring_peek(&ring.consumer, &payload, &length, &flags), 1);
    ring_forge_header(&ring, 0, UINT32_MAX, UINT32_MAX);
    memset(ring.data + SHM_RECORD_HEADER_BYTES, 0xff, 32);
    CHECK_EQUAL(length, 32);
    CHECK_EQUAL(flags, 0);
    shm_ring_release(&ring.consumer);
    CHECK_EQUAL(ring_head(&ring), SHM_RECORD_HEADER_BYTES + 32);
    ring_take(&ring, 40, 2);
    ring_close(&ring);
}

static void any_consumer_state_is_survived(void)
{
    static const uint32_t states[] = {SHM_AWAKE, SHM_BUSY, SHM_PARKED, 3, UINT32_MAX};
    struct ring ring;
    ring_open(&ring, CAPACITY);
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        void *payload;
        atomic_store(&ring.shared->consumer_state, states[i]);
        CHECK_EQUAL(shm_ring_claim(&ring.producer, 8, &payload), 1);
        pattern_fill(payload, 8, i);
        CHECK_EQUAL(shm_ring_publish(&ring.producer, 0), states[i] == SHM_PARKED);
        ring_take(&ring, 8, i);
    }
    ring_close(&ring);
}

/* Any number, more often one near which something happens. */
static uint64_t awkward_number(uint64_t *seed, uint64_t near)
{
    switch (random_below(seed, 8)) {
    case 0:
        return random_next(seed);
    case 1:
        return (uint32_t)random_next(seed);
    case 2:
        return near - 8 + random_below(seed, 17);
    case 3:
        return near + random_below(seed, 2 * CAPACITY);
    case 4:
        return near - random_below(seed, 2 * CAPACITY);
    default:
        return near + (random_below(seed, CAPACITY + 16) & ~UINT64_C(7));
    }
}

static void garbage_gives_a_record_or_nothing_or_a_protocol_error(void)
{
    const uint32_t rounds = 300000;
    uint64_t seed = random_seed();
    uint32_t records = 0, errors = 0;
    struct ring ring;
    ring_open(&ring, CAPACITY);
    for (uint32_t round = 0; round < rounds; round++) {
        const uint64_t start = (uint64_t)random_below(&seed, 1024) * 8;
        ring_start_at(&ring, start);
        if (round % 64 == 0)
            pattern_fill(ring.data, CAPACITY, random_next(&seed));
        for (uint32_t i = random_below(&seed, 4); i > 0; i--) {
            const uint32_t at = i == 1 ? (uint32_t)start & (CAPACITY - 1) : random_below(&seed, CAPACITY / 8) * 8;
            const uint32_t flags = random_below(&seed, 8) == 0 ? (uint32_t)random_next(&seed) : random_below(&seed, 3);
            const uint32_t to_end = CAPACITY - at - SHM_RECORD_HEADER_BYTES;
            const uint32_t length =
                random_below(&seed, 2) == 0 ? random_below(&seed, 200) : (uint32_t)awkward_number(&seed, to_end);
            ring_forge_header(&ring, at, flags == SHM_RECORD_PADDING && length % 4 != 0 ? to_end : length, flags);
        }
        atomic_store(&ring.shared->tail, awkward_number(&seed, start));
        for (int step = 0; step < 8; step++) {
            const uint8_t *payload;
            uint32_t length, flags;
            int rc = shm_ring_peek(&ring.consumer, &payload, &length, &flags);
            if (rc != 1) {
                CHECK(rc == 0 || rc == -EPROTO);
                errors += rc < 0;
                break;
            }
            records++;
            CHECK((flags & ~SHM_RECORD_MORE) == 0);
            CHECK(payload >= ring.data && length <= CAPACITY);
            CHECK(payload + length <= ring.data + CAPACITY);
            volatile uint8_t touched = 0;
            for (uint32_t i = 0; i < length; i++)
                touched ^= payload[i];
            shm_ring_release(&ring.consumer);
            if (random_below(&seed, 4) == 0)
                atomic_store(&ring.shared->tail, awkward_number(&seed, ring.consumer.local_head));
        }
    }
    fprintf(stderr, "%u rounds: %u records, %u protocol errors\n", rounds, records, errors);
    CHECK(records > rounds / 20 && errors > rounds / 20);
    ring_close(&ring);
}

static void a_garbage_head_gives_room_or_none_or_a_protocol_error(void)
{
    uint64_t seed = random_seed();
    uint32_t rooms = 0, errors = 0;
    struct ring ring;
    ring_open(&ring, CAPACITY);
    for (uint32_t round = 0; round < 200000; round++) {
        ring_start_at(&ring, (uint64_t)random_below(&seed, 1024) * 8);
        for (int step = 0; step < 8; step++) {
            const uint32_t length = random_below(&seed, CAPACITY / 2 - SHM_RECORD_HEADER_BYTES + 1);
            int rc = ring_try_put(&ring, length, 0);
            if (rc == 0)
                rc = shm_ring_await_room(&ring.producer, length);
            CHECK(rc == 0 || rc == 1 || rc == -EPROTO);
            rooms += rc == 1;
            errors += rc < 0;
            CHECK(ring.producer.local_tail - ring.producer.cached_head <= CAPACITY);
            atomic_store(&ring.shared->head, awkward_number(&seed, ring.producer.cached_head));
        }
    }
    CHECK(rooms > 1000 && errors > 1000);
    ring_close(&ring);
}

int main(void)
{
    RUN(a_tail_that_cannot_be_is_a_protocol_error);
    RUN(a_tail_that_goes_back_is_a_protocol_error);
    RUN(a_head_that_cannot_be_is_a_protocol_error);
    RUN(a_head_that_goes_back_is_a_protocol_error);
    RUN(a_length_that_cannot_be_is_a_protocol_error);
    RUN(an_unknown_flag_is_a_protocol_error);
    RUN(padding_that_does_not_end_at_the_end_is_a_protocol_error);
    RUN(padding_at_the_start_is_a_protocol_error);
    RUN(padding_alone_is_nothing_to_read);
    RUN(a_header_altered_after_peek_changes_nothing);
    RUN(any_consumer_state_is_survived);
    RUN(garbage_gives_a_record_or_nothing_or_a_protocol_error);
    RUN(a_garbage_head_gives_room_or_none_or_a_protocol_error);
    return 0;
}
