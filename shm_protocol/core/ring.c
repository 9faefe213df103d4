#include "ring.h"

#include <errno.h>
#include <string.h>

#include "barrier.h"

static uint32_t record_bytes(uint32_t length)
{
    return SHM_RECORD_HEADER_BYTES + ((length + SHM_RECORD_ALIGN - 1) & ~(uint32_t)(SHM_RECORD_ALIGN - 1));
}

static uint32_t longest_payload(uint32_t capacity)
{
    return capacity / 2 - SHM_RECORD_HEADER_BYTES;
}

static void store_header(uint8_t *at, uint32_t length, uint32_t flags)
{
    const struct shm_record_header header = {length, flags};
    memcpy(at, &header, sizeof header);
}

void shm_producer_init(struct shm_producer *producer, struct shm_ring_words *shared, uint8_t *data, uint32_t capacity)
{
    *producer = (struct shm_producer){.shared = shared, .data = data, .capacity = capacity};
}

void shm_consumer_init(struct shm_consumer *consumer, struct shm_ring_words *shared, uint8_t *data, uint32_t capacity)
{
    *consumer = (struct shm_consumer){.shared = shared, .data = data, .capacity = capacity};
}

/* Bytes from the tail to the end of the data that a record of `bytes` would have to skip, or 0. */
static uint32_t padding_before(const struct shm_producer *producer, uint32_t bytes)
{
    uint32_t to_end = producer->capacity - ((uint32_t)producer->local_tail & (producer->capacity - 1));
    return bytes <= to_end ? 0 : to_end;
}

static int load_head(struct shm_producer *producer)
{
    /* SYNC: record released, its bytes may be overwritten. SYNC: producer waits for room. */
    uint64_t head = shm_load_seq_cst(&producer->shared->head);
    /* A head only moves forward, and never past what was published. */
    if (head - producer->cached_head > producer->local_tail - producer->cached_head || head % SHM_RECORD_ALIGN != 0)
        return -EPROTO;
    producer->cached_head = head;
    return 0;
}

static bool fits(const struct shm_producer *producer, uint32_t bytes)
{
    uint64_t used = producer->local_tail - producer->cached_head;
    return used + padding_before(producer, bytes) + bytes <= producer->capacity;
}

int shm_ring_has_room(struct shm_producer *producer, uint32_t length)
{
    if (length > longest_payload(producer->capacity))
        return -EINVAL;
    uint32_t bytes = record_bytes(length);
    if (fits(producer, bytes))
        return 1;
    int rc = load_head(producer);
    return rc < 0 ? rc : fits(producer, bytes);
}

int shm_ring_claim(struct shm_producer *producer, uint32_t length, void **payload)
{
    if (producer->claimed != 0)
        return -EINVAL;
    int rc = shm_ring_has_room(producer, length);
    if (rc <= 0)
        return rc;
    uint32_t bytes = record_bytes(length);
    uint32_t mask = producer->capacity - 1;
    uint32_t padding = padding_before(producer, bytes);
    if (padding != 0) {
        /* Not yet visible: the tail moves past padding and record together, in shm_ring_publish. */
        store_header(producer->data + ((uint32_t)producer->local_tail & mask), padding - SHM_RECORD_HEADER_BYTES,
                     SHM_RECORD_PADDING);
        producer->local_tail += padding;
    }
    uint8_t *record = producer->data + ((uint32_t)producer->local_tail & mask);
    store_header(record, length, 0);
    producer->claimed = bytes;
    *payload = record + SHM_RECORD_HEADER_BYTES;
    return 1;
}

bool shm_ring_publish(struct shm_producer *producer, uint32_t flags)
{
    if (flags != 0) {
        uint8_t *record = producer->data + ((uint32_t)producer->local_tail & (producer->capacity - 1));
        memcpy(record + offsetof(struct shm_record_header, flags), &flags, sizeof flags);
    }
    producer->local_tail += producer->claimed;
    producer->claimed = 0;
    /* SYNC: record visible to consumer. SYNC: consumer parks. */
    shm_store_seq_cst(&producer->shared->tail, producer->local_tail);
    /* SYNC: consumer parks. */
    if (shm_load_seq_cst(&producer->shared->consumer_state) != SHM_PARKED)
        return false;
    /* An exchange, so that one park costs one doorbell however many records follow. */
    return shm_exchange_seq_cst(&producer->shared->consumer_state, SHM_AWAKE) == SHM_PARKED;
}

int shm_ring_await_room(struct shm_producer *producer, uint32_t length)
{
    /* SYNC: producer waits for room. */
    shm_store_seq_cst(&producer->shared->producer_waiting, 1);
    int rc = load_head(producer);
    if (rc == 0)
        rc = shm_ring_has_room(producer, length);
    if (rc != 0)
        shm_store_relaxed(&producer->shared->producer_waiting, 0);
    return rc;
}

/* Records that the producer has published and this side has not released, or -EPROTO. */
static int load_tail(struct shm_consumer *consumer)
{
    /* SYNC: record visible to consumer. SYNC: consumer parks. */
    uint64_t tail = shm_load_seq_cst(&consumer->shared->tail);
    if (tail - consumer->local_head > consumer->capacity || tail % SHM_RECORD_ALIGN != 0)
        return -EPROTO;
    consumer->cached_tail = tail;
    return 0;
}

int shm_ring_peek(struct shm_consumer *consumer, const uint8_t **payload, uint32_t *length, uint32_t *flags)
{
    for (;;) {
        if (consumer->cached_tail == consumer->local_head) {
            int rc = load_tail(consumer);
            if (rc < 0)
                return rc;
            if (consumer->cached_tail == consumer->local_head)
                return 0;
        }
        uint32_t position = (uint32_t)consumer->local_head & (consumer->capacity - 1);
        uint32_t to_end = consumer->capacity - position;
        uint64_t available = consumer->cached_tail - consumer->local_head;
        struct shm_record_header header;
        shm_read_once(&header, consumer->data + position, sizeof header);
        if (header.length > to_end - SHM_RECORD_HEADER_BYTES || record_bytes(header.length) > available)
            return -EPROTO;
        if (header.flags == SHM_RECORD_PADDING) {
            /* At the start of the data nothing needs padding: a peer that padded there could keep this loop busy. */
            if (header.length != to_end - SHM_RECORD_HEADER_BYTES || position == 0)
                return -EPROTO;
            /* Not stored to the shared head: the record behind it releases both. */
            consumer->local_head += to_end;
            continue;
        }
        if ((header.flags & ~SHM_RECORD_MORE) != 0)
            return -EPROTO;
        consumer->peeked = record_bytes(header.length);
        *payload = consumer->data + position + SHM_RECORD_HEADER_BYTES;
        *length = header.length;
        *flags = header.flags;
        return 1;
    }
}

bool shm_ring_release(struct shm_consumer *consumer)
{
    consumer->local_head += consumer->peeked;
    consumer->peeked = 0;
    /* SYNC: record released, its bytes may be overwritten. SYNC: producer waits for room. */
    shm_store_seq_cst(&consumer->shared->head, consumer->local_head);
    /* SYNC: producer waits for room. */
    if (shm_load_seq_cst(&consumer->shared->producer_waiting) == 0)
        return false;
    return shm_exchange_seq_cst(&consumer->shared->producer_waiting, 0) != 0;
}

bool shm_ring_park(struct shm_consumer *consumer, enum shm_consumer_state awake)
{
    /* SYNC: consumer parks. */
    shm_store_seq_cst(&consumer->shared->consumer_state, SHM_PARKED);
    if (consumer->cached_tail == consumer->local_head &&
        /* SYNC: record visible to consumer. SYNC: consumer parks. */
        shm_load_seq_cst(&consumer->shared->tail) == consumer->local_head)
        return true;
    shm_ring_wake(consumer, awake);
    return false;
}

void shm_ring_wake(struct shm_consumer *consumer, enum shm_consumer_state awake)
{
    /* Relaxed: a doorbell rung needlessly between here and the store's arrival does no harm. */
    shm_store_relaxed(&consumer->shared->consumer_state, awake);
}

uint32_t shm_ring_state(const struct shm_ring_words *shared)
{
    return shm_load_relaxed(&shared->consumer_state);
}

uint32_t shm_ring_used(const struct shm_ring_words *shared, uint32_t capacity)
{
    /* The head first: it never passes the tail. Records may come and go between the two. */
    uint64_t head = shm_load_relaxed(&shared->head);
    uint64_t used = shm_load_relaxed(&shared->tail) - head;
    return used < capacity ? (uint32_t)used : capacity;
}
