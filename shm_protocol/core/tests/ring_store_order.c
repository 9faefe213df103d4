/* The order of stores: nothing is visible before it is complete, nothing is given back before it is done with.
 *
 * What claim and publish store is told apart by looking between them. The order inside publish, release and create is
 * watched from a second thread, which ThreadSanitizer watches in turn. */
#include <pthread.h>
#include <sched.h>

#include "channels.h"
#include "rings.h"

static void claim_moves_no_tail(void)
{
    struct ring ring;
    void *payload;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    CHECK_EQUAL(shm_ring_claim(&ring.producer, 16, &payload), 1);
    CHECK_EQUAL(ring_tail(&ring), 0);
    CHECK_EQUAL(ring_peek_answer(&ring), 0);
    CHECK(!shm_ring_has_record(&ring.consumer));
    shm_ring_publish(&ring.producer, 0);
    CHECK_EQUAL(ring_tail(&ring), SHM_RECORD_HEADER_BYTES + 16);
    CHECK_EQUAL(ring_peek_answer(&ring), 1);
    ring_close(&ring);
}

static void claim_with_padding_moves_no_tail(void)
{
    const uint64_t start = SHM_RING_CAPACITY_MIN - 32;
    struct ring ring;
    void *payload;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    ring_start_at(&ring, start);
    CHECK_EQUAL(shm_ring_claim(&ring.producer, 100, &payload), 1);
    CHECK_EQUAL(ring_tail(&ring), start);
    CHECK_EQUAL(ring_peek_answer(&ring), 0);
    CHECK_EQUAL(ring_header_at(&ring, (uint32_t)start).flags, SHM_RECORD_PADDING);
    CHECK_EQUAL(ring_header_at(&ring, 0).length, 100);
    shm_ring_publish(&ring.producer, 0);
    /* Padding and record at once: a padding alone would be a place where the consumer finds nothing. */
    CHECK_EQUAL(ring_tail(&ring), SHM_RING_CAPACITY_MIN + SHM_RECORD_HEADER_BYTES + 104);
    ring_close(&ring);
}

static void peek_moves_no_head(void)
{
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    ring_put(&ring, 16, 1);
    CHECK_EQUAL(ring_peek_answer(&ring), 1);
    CHECK_EQUAL(ring_peek_answer(&ring), 1);
    CHECK_EQUAL(ring_head(&ring), 0);
    shm_ring_release(&ring.consumer);
    CHECK_EQUAL(ring_head(&ring), SHM_RECORD_HEADER_BYTES + 16);
    ring_close(&ring);
}

static void peek_over_padding_moves_no_head(void)
{
    const uint64_t start = SHM_RING_CAPACITY_MIN - 32;
    struct ring ring;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    ring_start_at(&ring, start);
    ring_put(&ring, 100, 1);
    CHECK_EQUAL(ring_peek_answer(&ring), 1);
    CHECK_EQUAL(ring_head(&ring), start);
    ring_take(&ring, 100, 1);
    CHECK_EQUAL(ring_head(&ring), SHM_RING_CAPACITY_MIN + SHM_RECORD_HEADER_BYTES + 104);
    ring_close(&ring);
}

/* Spins, but lets the other thread run where there is but one core. */
static void pause_a_little(uint32_t *turns)
{
    if (++*turns % 256 == 0)
        sched_yield();
}

#define WATCHED_RECORDS UINT64_C(30000)

static uint32_t watched_length(uint64_t i)
{
    return (uint32_t)((i * 37) % 300);
}

static uint32_t watched_flags(uint64_t i)
{
    return i % 3 == 0 ? SHM_RECORD_MORE : 0;
}

static void *produce_watched_records(void *argument)
{
    struct ring *ring = argument;
    uint32_t turns = 0;
    for (uint64_t i = 0; i < WATCHED_RECORDS; i++) {
        void *payload;
        int rc;
        while ((rc = shm_ring_claim(&ring->producer, watched_length(i), &payload)) == 0)
            pause_a_little(&turns);
        CHECK_EQUAL(rc, 1);
        pattern_fill(payload, watched_length(i), i);
        shm_ring_publish(&ring->producer, watched_flags(i));
    }
    return NULL;
}

/* The consumer looks the moment the tail moves: header, flags, payload and the padding before must all be there. And it
 * spoils nothing: the producer must not write before the head has moved. */
static void a_record_is_complete_when_the_tail_moves(void)
{
    struct ring ring;
    pthread_t producer;
    uint32_t turns = 0;
    ring_open(&ring, SHM_RING_CAPACITY_MIN);
    CHECK_EQUAL(pthread_create(&producer, NULL, produce_watched_records, &ring), 0);
    for (uint64_t i = 0; i < WATCHED_RECORDS; i++) {
        const uint8_t *payload;
        uint32_t length, flags;
        int rc;
        while ((rc = shm_ring_peek(&ring.consumer, &payload, &length, &flags)) == 0)
            pause_a_little(&turns);
        CHECK_EQUAL(rc, 1);
        CHECK_EQUAL(length, watched_length(i));
        CHECK_EQUAL(flags, watched_flags(i));
        CHECK_PATTERN(payload, length, i);
        shm_ring_release(&ring.consumer);
    }
    CHECK_EQUAL(pthread_join(producer, NULL), 0);
    ring_close(&ring);
}

static void *create_segment(void *argument)
{
    struct shm_segment segment;
    CHECK_EQUAL(shm_segment_create(&segment, *(int *)argument, SHM_RING_CAPACITY_MIN), 0);
    shm_segment_close(&segment);
    return NULL;
}

static void the_layout_version_is_stored_last(void)
{
    const size_t bytes = shm_segment_bytes(SHM_RING_CAPACITY_MIN);
    for (int round = 0; round < 300; round++) {
        int fd = memory_file(bytes);
        struct shm_segment_header *header = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(header != MAP_FAILED);
        pthread_t creator;
        uint32_t turns = 0;
        CHECK_EQUAL(pthread_create(&creator, NULL, create_segment, &fd), 0);
        while (atomic_load_explicit(&header->layout_version, memory_order_acquire) == 0)
            pause_a_little(&turns);
        CHECK_EQUAL(atomic_load_explicit(&header->magic, memory_order_relaxed), SHM_MAGIC);
        CHECK_EQUAL(header->ring_capacity, SHM_RING_CAPACITY_MIN);
        CHECK_EQUAL(header->segment_bytes, bytes);
        CHECK_EQUAL(pthread_join(creator, NULL), 0);
        munmap(header, bytes);
        close(fd);
    }
}

int main(void)
{
    RUN(claim_moves_no_tail);
    RUN(claim_with_padding_moves_no_tail);
    RUN(peek_moves_no_head);
    RUN(peek_over_padding_moves_no_head);
    RUN(a_record_is_complete_when_the_tail_moves);
    RUN(the_layout_version_is_stored_last);
    return 0;
}
