/* A single-producer, single-consumer ring of records in shared memory (PROTOCOL.md section 4).
 *
 * `shared` and `data` belong to both sides; everything else in these structs is private to one side.
 * Neither side trusts what the other stores. Full and empty are answers, a peer that broke the rules is -EPROTO. */
#ifndef SHM_RING_H
#define SHM_RING_H

#include <stdbool.h>

#include "barrier.h"
#include "layout.h"

struct shm_producer {
    struct shm_ring_words *shared;
    uint8_t *data;
    uint32_t capacity;
    uint64_t local_tail;
    uint64_t cached_head; /* the consumer's head when last looked at: saves a cache miss while there is room */
    uint32_t claimed;     /* bytes of the claimed record, header and padding included; 0 when none */
};

struct shm_consumer {
    struct shm_ring_words *shared;
    uint8_t *data;
    uint32_t capacity;
    uint64_t local_head;
    uint64_t cached_tail; /* the producer's tail when last looked at */
    uint32_t peeked;      /* bytes of the peeked record, header and padding included; 0 when none */
};

void shm_producer_init(struct shm_producer *producer, struct shm_ring_words *shared, uint8_t *data, uint32_t capacity);
void shm_consumer_init(struct shm_consumer *consumer, struct shm_ring_words *shared, uint8_t *data, uint32_t capacity);

/* Claim room for a record of `length` payload bytes (at most half the capacity less the header) and point
 * `*payload` at it. Returns 1 claimed, 0 full, -EINVAL too long or already claimed, -EPROTO impossible head. */
int shm_ring_claim(struct shm_producer *producer, uint32_t length, void **payload);

/* Publish the claimed record with `flags` (0 or SHM_RECORD_MORE). Returns true if the consumer was parked and the
 * caller must ring its doorbell; the consumer's state is AWAKE by then. */
bool shm_ring_publish(struct shm_producer *producer, uint32_t flags);

/* Would a record of `length` fit now? 1 yes, 0 no, -EPROTO. */
int shm_ring_has_room(struct shm_producer *producer, uint32_t length);

/* Say that the producer is about to sleep until there is room for `length`. Returns 1 if there is room after
 * all (do not sleep), 0 if the consumer will ring, -EPROTO. */
int shm_ring_await_room(struct shm_producer *producer, uint32_t length);

/* Look at the oldest record: 1 and its payload, length and flags; 0 when empty; -EPROTO for an index, length
 * or flag that cannot be. The payload is shared memory: copy it out before interpreting it. */
int shm_ring_peek(struct shm_consumer *consumer, const uint8_t **payload, uint32_t *length, uint32_t *flags);

/* Release the peeked record. Returns true if the producer waits for room and the caller must ring its doorbell. */
bool shm_ring_release(struct shm_consumer *consumer);

/* Is there a record? Does not check it. Here, because a wait does nothing else. */
static inline bool shm_ring_has_record(const struct shm_consumer *consumer)
{
    if (consumer->cached_tail != consumer->local_head)
        return true;
    /* Acquire is enough to poll; a tail that cannot be is left to shm_ring_peek to report. */
    return shm_load_acquire(&consumer->shared->tail) != consumer->local_head;
}

/* The flags of the oldest record, where there is one, and unchecked: a hint, nothing is decided by it that shm_ring_peek does
 * not check. Not 0: a fragment, or padding before the record. */
static inline uint32_t shm_ring_flags(const struct shm_consumer *consumer)
{
    struct shm_record_header header;
    shm_read_once(&header, consumer->data + ((uint32_t)consumer->local_head & (consumer->capacity - 1)), sizeof header);
    return header.flags;
}

/* Say that the consumer is about to sleep. Returns true if it is parked and the producer will ring, false if a record has
 * come (do not sleep; the state is `awake` again). `awake` is SHM_AWAKE or SHM_BUSY. */
bool shm_ring_park(struct shm_consumer *consumer, enum shm_consumer_state awake);

/* Say that the consumer is not parked (any more). */
void shm_ring_wake(struct shm_consumer *consumer, enum shm_consumer_state awake);

/* What the consumer of a ring says that it does: enum shm_consumer_state, or of a hostile one any number. */
uint32_t shm_ring_state(const struct shm_ring_words *shared);

/* Bytes of a ring that are published and not released, at most its capacity: a hint, nothing is decided by it. */
uint32_t shm_ring_used(const struct shm_ring_words *shared, uint32_t capacity);

#endif
