/* A ring with both its ends in one process. Its data is a heap block of its own: ASan sees every byte beyond it. */
#ifndef RINGS_H
#define RINGS_H

#include "../ring.h"
#include "check.h"

struct ring {
    struct shm_ring_words *shared;
    uint8_t *data;
    uint32_t capacity;
    struct shm_producer producer;
    struct shm_consumer consumer;
};

/* Both ends begin at `count` bytes, a multiple of 8. */
static inline void ring_start_at(struct ring *ring, uint64_t count)
{
    memset(ring->shared, 0, sizeof *ring->shared);
    shm_producer_init(&ring->producer, ring->shared, ring->data, ring->capacity);
    shm_consumer_init(&ring->consumer, ring->shared, ring->data, ring->capacity);
    atomic_store(&ring->shared->tail, count);
    atomic_store(&ring->shared->head, count);
    ring->producer.local_tail = ring->producer.cached_head = count;
    ring->consumer.local_head = ring->consumer.cached_tail = count;
}

static inline void ring_open(struct ring *ring, uint32_t capacity)
{
    ring->shared = aligned_alloc(SHM_LINE_BYTES, sizeof *ring->shared);
    ring->data = malloc(capacity);
    CHECK(ring->shared != NULL && ring->data != NULL);
    ring->capacity = capacity;
    memset(ring->data, 0xa5, capacity);
    ring_start_at(ring, 0);
}

static inline void ring_close(struct ring *ring)
{
    free(ring->shared);
    free(ring->data);
}

static inline uint64_t ring_tail(struct ring *ring)
{
    return atomic_load(&ring->shared->tail);
}

static inline uint64_t ring_head(struct ring *ring)
{
    return atomic_load(&ring->shared->head);
}

static inline struct shm_record_header ring_header_at(struct ring *ring, uint32_t position)
{
    struct shm_record_header header;
    CHECK(position + sizeof header <= ring->capacity);
    memcpy(&header, ring->data + position, sizeof header);
    return header;
}

/* Writes a header as a hostile peer may. */
static inline void ring_forge_header(struct ring *ring, uint32_t position, uint32_t length, uint32_t flags)
{
    const struct shm_record_header header = {length, flags};
    CHECK(position + sizeof header <= ring->capacity);
    memcpy(ring->data + position, &header, sizeof header);
}

/* Claims, fills and publishes a record; returns shm_ring_claim's answer. */
static inline int ring_try_put(struct ring *ring, uint32_t length, uint64_t seed)
{
    void *payload;
    int rc = shm_ring_claim(&ring->producer, length, &payload);
    if (rc == 1) {
        CHECK((uint8_t *)payload >= ring->data + SHM_RECORD_HEADER_BYTES);
        CHECK((uint8_t *)payload + length <= ring->data + ring->capacity);
        pattern_fill(payload, length, seed);
        shm_ring_publish(&ring->producer, 0);
    }
    return rc;
}

static inline void ring_put(struct ring *ring, uint32_t length, uint64_t seed)
{
    CHECK_EQUAL(ring_try_put(ring, length, seed), 1);
}

/* The next record is this one; takes it. */
static inline void ring_take(struct ring *ring, uint32_t expected_length, uint64_t seed)
{
    const uint8_t *payload;
    uint32_t length, flags;
    CHECK_EQUAL(shm_ring_peek(&ring->consumer, &payload, &length, &flags), 1);
    CHECK_EQUAL(length, expected_length);
    CHECK_EQUAL(flags, 0);
    CHECK_PATTERN(payload, length, seed);
    shm_ring_release(&ring->consumer);
}

static inline int ring_peek_answer(struct ring *ring)
{
    const uint8_t *payload;
    uint32_t length, flags;
    return shm_ring_peek(&ring->consumer, &payload, &length, &flags);
}

#endif
