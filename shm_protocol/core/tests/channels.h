/* Both sides of a connection: two channels over one segment and a socket pair, and a view of the segment itself. */
#ifndef CHANNELS_H
#define CHANNELS_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "../channel.h"
#include "check.h"

struct pair {
    int segment_fd;
    int sockets[2]; /* by enum shm_side: each side's own end */
    shm_channel *dialer, *acceptor;
    struct shm_segment view; /* what a hostile peer has: all of it, writable */
};

#define TEST_MAX_MESSAGE (UINT32_C(4) * 1024 * 1024)

/* Anonymous: nothing to leave behind in /dev/shm. */
static inline int memory_file(size_t bytes)
{
    int fd = memfd_create("shm-polyglot-test", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQUAL(ftruncate(fd, (off_t)bytes), 0);
    return fd;
}

static inline void pair_open(struct pair *pair, uint32_t capacity, uint32_t max_message, int64_t spin_us)
{
    pair->segment_fd = memory_file(shm_segment_bytes(capacity));
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair->sockets), 0);
    struct shm_channel_options options = {pair->sockets[SHM_DIALER], max_message, spin_us};
    CHECK_EQUAL(shm_channel_create(&pair->dialer, pair->segment_fd, capacity, &options), 0);
    options.socket_fd = pair->sockets[SHM_ACCEPTOR];
    CHECK_EQUAL(shm_channel_attach(&pair->acceptor, pair->segment_fd, &options), 0);
    CHECK_EQUAL(shm_segment_attach(&pair->view, pair->segment_fd), 0);
}

static inline void pair_close(struct pair *pair)
{
    shm_channel_close(pair->dialer);
    shm_channel_close(pair->acceptor);
    shm_segment_close(&pair->view);
    close(pair->segment_fd);
    close(pair->sockets[0]);
    close(pair->sockets[1]);
}

/* One side of the connection goes: its channel and its end of the socket. */
static inline void pair_close_dialer(struct pair *pair)
{
    shm_channel_close(pair->dialer);
    pair->dialer = NULL;
    close(pair->sockets[SHM_DIALER]);
    pair->sockets[SHM_DIALER] = -1;
}

static inline struct shm_ring_words *pair_words(struct pair *pair, enum shm_ring_index ring)
{
    return &pair->view.header->rings[ring];
}

static inline struct shm_record_header pair_header_at(struct pair *pair, enum shm_ring_index ring, uint32_t position)
{
    struct shm_record_header header;
    memcpy(&header, shm_segment_data(&pair->view, ring) + position, sizeof header);
    return header;
}

/* Writes a record header and moves the tail behind the record, as a hostile dialer may. Rings no doorbell. */
static inline void pair_forge_record(struct pair *pair, uint32_t length, uint32_t flags)
{
    struct shm_ring_words *words = pair_words(pair, SHM_RING_TO_ACCEPTOR);
    uint64_t tail = atomic_load(&words->tail);
    const struct shm_record_header header = {length, flags};
    memcpy(shm_segment_data(&pair->view, SHM_RING_TO_ACCEPTOR) + (tail & (pair->view.ring_capacity - 1)), &header,
           sizeof header);
    atomic_store(&words->tail, tail + sizeof header + ((length + 7u) & ~UINT32_C(7)));
}

/* Sends a message of pattern bytes; returns shm_channel_send's answer. */
static inline int send_pattern(shm_channel *channel, size_t length, uint64_t seed)
{
    uint8_t *message = malloc(length + 1);
    CHECK(message != NULL);
    pattern_fill(message, length, seed);
    int rc = shm_channel_send(channel, message, length);
    free(message);
    return rc;
}

/* The next message is this one; takes it. */
static inline void receive_pattern(shm_channel *channel, size_t expected_length, uint64_t seed)
{
    const uint8_t *message;
    size_t length;
    CHECK_EQUAL(shm_channel_peek(channel, &message, &length), 1);
    CHECK_EQUAL(length, expected_length);
    CHECK_PATTERN(message, length, seed);
    shm_channel_consume(channel);
}

static inline int peek_answer(shm_channel *channel)
{
    const uint8_t *message;
    size_t length;
    return shm_channel_peek(channel, &message, &length);
}

static inline struct shm_channel_stats stats_of(const shm_channel *channel)
{
    struct shm_channel_stats stats;
    shm_channel_get_stats(channel, &stats);
    return stats;
}

/* Reads the doorbells that wait for one side, and counts them. */
static inline int doorbells_for(struct pair *pair, enum shm_side side)
{
    uint8_t bytes[512];
    ssize_t count = recv(pair->sockets[side], bytes, sizeof bytes, MSG_DONTWAIT);
    if (count < 0) {
        CHECK_EQUAL(errno, EAGAIN);
        return 0;
    }
    for (ssize_t i = 0; i < count; i++)
        CHECK_EQUAL(bytes[i], SHM_DOORBELL_BYTE);
    return (int)count;
}

static inline int is_readable(int fd)
{
    struct pollfd socket = {.fd = fd, .events = POLLIN};
    return poll(&socket, 1, 0);
}

/* shm_channel_wait as a caller uses it: -EINTR means look after signals and go on. */
static inline int wait_through_signals(shm_channel *channel)
{
    for (;;) {
        int rc = shm_channel_wait(channel, -1);
        if (rc != -EINTR)
            return rc;
    }
}

#endif
