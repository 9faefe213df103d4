/* One side of a connection's shared memory: sends and receives messages, waits, parks and rings the doorbell.
 *
 * A channel belongs to one thread at a time. It owns its mapping and a duplicate of the socket. Functions return 0
 * or a count, or a negative errno:
 *   -EAGAIN    not now: the ring is full
 *   -EINVAL    misuse by the caller
 *   -EMSGSIZE  the message is larger than max_message
 *   -EPROTO    the peer broke the protocol: close the connection
 *   -EPIPE     the peer is gone: the socket is at its end
 *   -EINTR     a signal may have arrived: handle it and call again
 *   -ENOMEM    no memory for a message of several fragments */
#ifndef SHM_CHANNEL_H
#define SHM_CHANNEL_H

#include <stdbool.h>

#include "segment.h"

typedef struct shm_channel shm_channel;

struct shm_channel_options {
    int socket_fd;        /* connected; duplicated, the caller keeps its own */
    uint32_t max_message; /* largest message, in bytes, sent or received */
    int64_t spin_us;      /* < 0: adaptive; else the fixed spin budget in microseconds */
};

/* What one side has done since the beginning, and how it is now. */
struct shm_channel_stats {
    uint64_t messages_sent, messages_received;
    uint64_t bytes_sent, bytes_received; /* payload only */
    uint64_t doorbells_rung, parks;
    uint64_t spin_budget_ns; /* now */
    uint32_t ring_bytes;     /* capacity of the ring that it sends on */
    uint32_t ring_used;      /* bytes of it that are not yet read, now; record headers included */
    uint32_t state;          /* enum shm_consumer_state, now; of a hostile peer, any number */
    uint64_t calls_failed;
    uint64_t latency[SHM_LATENCY_BUCKETS]; /* calls that it made and that ended, by shm_latency_bucket */
};

/* The dialer's side: lay out a segment in `segment_fd` (sized and reserved by the caller, shm_segment_bytes) and open
 * it. `segment_fd` may be closed afterwards. Errors: those of shm_segment_create, and -ENOMEM. */
int shm_channel_create(shm_channel **channel, int segment_fd, uint32_t ring_capacity,
                       const struct shm_channel_options *options);

/* The acceptor's side: open the segment that the dialer made. Errors: those of shm_segment_attach, and -ENOMEM. */
int shm_channel_attach(shm_channel **channel, int segment_fd, const struct shm_channel_options *options);

/* Unmap, close the duplicated socket, free. NULL is fine. Does not shut the socket down: a forked child may close its
 * copy. */
void shm_channel_close(shm_channel *channel);

/* The duplicate of the socket: the channel's, closed with it. For an event loop to watch. */
int shm_channel_socket(const shm_channel *channel);

/* The smaller of both sides' limits, once the handshake has told the peer's. */
void shm_channel_set_max_message(shm_channel *channel, uint32_t max_message);

/* Send a message. 0: all of it is published and the peer woken if it slept. -EAGAIN: the ring is full, perhaps after
 * some fragments; wait until shm_channel_wait or _poll says ready, then call again *with the same message*.
 *
 * Sending begins a new wait, with its own spin budget, and ends a park: an event loop polls again after it. */
int shm_channel_send(shm_channel *channel, const void *message, size_t length);

/* Is a message partly sent? Then no other may be sent before it. */
bool shm_channel_is_sending(const shm_channel *channel);

/* Look at the next message: 1 and its bytes, or 0 when there is none yet. The bytes stay where they are until
 * shm_channel_consume, but the peer may alter them meanwhile: copy them out first. */
int shm_channel_peek(shm_channel *channel, const uint8_t **message, size_t *length);

/* Done with the message that shm_channel_peek showed. */
void shm_channel_consume(shm_channel *channel);

/* The same for a message that stands in memory of this side's own, which becomes the caller's until shm_channel_give_back: its
 * address and size. NULL, and nothing is done, for one that stands in the ring. */
uint8_t *shm_channel_take(shm_channel *channel, size_t *size);

/* The next message of several fragments may be put there. */
void shm_channel_give_back(shm_channel *channel, uint8_t *memory, size_t size);

/* For an event loop: look for a message, or for room if a message is partly sent, for at most `poll_ns` now.
 * 1: ready. 0: nothing yet, poll again soon. -EAGAIN: the spin budget is used up and the channel is parked: the socket
 * will become readable; call shm_channel_unpark then. Never blocks in the kernel. */
int shm_channel_poll(shm_channel *channel, uint64_t poll_ns);

/* Park without polling (further). True: parked. False: there is something after all. */
bool shm_channel_park(shm_channel *channel);

/* Awake again. */
void shm_channel_unpark(shm_channel *channel);

/* Block until there is a message, or room if a message is partly sent: poll for the spin budget, then park in the
 * kernel. `timeout_ns` < 0: no limit. 1: ready. 0: timed out. Wakes soonest where the socket is in blocking mode. */
int shm_channel_wait(shm_channel *channel, int64_t timeout_ns);

/* The same, but -ECANCELED as soon as the descriptor `wake_fd` is readable and nothing else is there: how another thread, or
 * the handler of a signal, ends a wait. It sleeps in ppoll, which wakes a little later. `wake_fd` < 0: there is none. */
int shm_channel_wait_or_wake(shm_channel *channel, int64_t timeout_ns, int wake_fd);

/* Read the doorbells that have come, without blocking; past 256 the rest stays, and keeps the socket readable.
 * 0, -EPIPE at the end of the socket, -EPROTO for another byte. */
int shm_channel_drain_doorbell(shm_channel *channel);

/* Tell the peer that this side is occupied with something else (true), or no longer. */
void shm_channel_set_busy(shm_channel *channel, bool busy);

/* The peer's state: a hint for choosing among peers, possibly any number if the peer is hostile. */
uint32_t shm_channel_peer_state(const shm_channel *channel);

/* A call that this side made has ended, `latency_ns` after it began; `failed`: with an error, or without an answer. */
void shm_channel_count_call(shm_channel *channel, uint64_t latency_ns, bool failed);

/* This side's. They lie in the segment, where a hostile peer can alter them: nothing is decided by them. */
void shm_channel_get_stats(const shm_channel *channel, struct shm_channel_stats *stats);

/* The other side's, as it tells them. */
void shm_channel_get_peer_stats(const shm_channel *channel, struct shm_channel_stats *stats);

#endif
