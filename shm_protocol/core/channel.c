#define _GNU_SOURCE
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "barrier.h"
#include "counters.h"
#include "ring.h"
#include "waiter.h"

/* How often a poll looks at the clock, which costs as much as a dozen looks at the ring. */
#define LOOKS_PER_CLOCK 16

/* A wait that has lasted this long, twice the quickest answer, lets others run between looks. */
#define POLITE_AFTER_NS UINT64_C(5000)

/* A blocking wait with a long fixed budget comes up for signals and a dead peer this often. */
#define SPIN_SLICE_NS INT64_C(1000000)

#define NS_PER_S UINT64_C(1000000000)

/* The longest that sending one message polls for room while its reader takes the fragments before. Then it is for the caller to
 * wait, who may have something else to do. */
#define SEND_MAX_NS UINT64_C(2000000)

/* What one message leaves allocated: to have memory again for each costs several times what copying into it does. */
#define ASSEMBLY_KEPT_BYTES ((size_t)8 * 1024 * 1024)

/* How much sooner than its deadline a sleep in recv ends, twice the kernel's longest tick (HZ=100). */
#define RECV_SLACK_NS UINT64_C(20000000)

/* A timeout even where there is no deadline: without one, a signal may restart recv instead of ending it. */
#define LONGEST_SLEEP_NS (UINT64_C(3600) * NS_PER_S)

struct shm_channel {
    struct shm_segment segment;
    struct shm_producer producer;
    struct shm_consumer consumer;
    struct shm_waiter waiter;
    struct shm_waiter room_waiter; /* of waits for room within shm_channel_send */
    const atomic_bool *lost; /* the peer has truncated the segment */
    int socket_fd;
    uint64_t receive_timeout_ns; /* as SO_RCVTIMEO was last set; 0: never */
    uint32_t max_message;
    enum shm_consumer_state awake; /* SHM_AWAKE or SHM_BUSY: what to be when not parked */
    bool parked;
    bool slept; /* the current wait has parked: polling did not catch what it waits for */

    bool sending;     /* a message is partly sent */
    size_t sent;      /* bytes of it that are published */
    uint32_t wanted;  /* payload bytes of the record that did not fit */
    size_t last_sent; /* bytes of the last message that was sent, until the wait for what follows has ended */

    uint8_t *assembly; /* fragments of the message being received */
    size_t assembly_capacity;
    size_t assembled;
    bool showing_assembly; /* the message that peek showed is in `assembly`, complete */
    size_t shown;          /* bytes of the message that peek showed */

    struct shm_counters *counters; /* this side's */
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int online_cores(void)
{
    /* Not the cores this process may run on: the peer may be on another. */
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static uint32_t fragment_bytes(const shm_channel *channel)
{
    return channel->segment.ring_capacity / 4;
}

static void tell_spin_budget(const shm_channel *channel)
{
    shm_store_relaxed(&channel->counters->spin_budget_ns, channel->waiter.budget_ns);
}

static int open_channel(shm_channel **out, const struct shm_segment *segment, enum shm_side side,
                        const struct shm_channel_options *options)
{
    shm_channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL)
        return -ENOMEM;
    channel->socket_fd = fcntl(options->socket_fd, F_DUPFD_CLOEXEC, 0);
    if (channel->socket_fd < 0) {
        int rc = -errno;
        free(channel);
        return rc;
    }
    enum shm_ring_index out_ring = side == SHM_DIALER ? SHM_RING_TO_ACCEPTOR : SHM_RING_TO_DIALER;
    enum shm_ring_index in_ring = side == SHM_DIALER ? SHM_RING_TO_DIALER : SHM_RING_TO_ACCEPTOR;
    channel->segment = *segment;
    channel->lost = shm_bus_guard_lost(segment->guard);
    channel->max_message = options->max_message;
    shm_producer_init(&channel->producer, &segment->header->rings[out_ring], shm_segment_data(segment, out_ring),
                      segment->ring_capacity);
    shm_consumer_init(&channel->consumer, &segment->header->rings[in_ring], shm_segment_data(segment, in_ring),
                      segment->ring_capacity);
    shm_waiter_init(&channel->waiter, options->spin_us, online_cores());
    shm_waiter_init(&channel->room_waiter, options->spin_us, online_cores());
    channel->counters = &segment->header->counters[side];
    tell_spin_budget(channel);
    *out = channel;
    return 0;
}

int shm_channel_create(shm_channel **channel, int segment_fd, uint32_t ring_capacity,
                       const struct shm_channel_options *options)
{
    struct shm_segment segment;
    int rc = shm_segment_create(&segment, segment_fd, ring_capacity);
    if (rc == 0) {
        rc = open_channel(channel, &segment, SHM_DIALER, options);
        if (rc < 0)
            shm_segment_close(&segment);
    }
    return rc;
}

int shm_channel_attach(shm_channel **channel, int segment_fd, const struct shm_channel_options *options)
{
    struct shm_segment segment;
    int rc = shm_segment_attach(&segment, segment_fd);
    if (rc == 0) {
        rc = open_channel(channel, &segment, SHM_ACCEPTOR, options);
        if (rc < 0)
            shm_segment_close(&segment);
    }
    return rc;
}

void shm_channel_close(shm_channel *channel)
{
    if (channel == NULL)
        return;
    shm_segment_close(&channel->segment);
    close(channel->socket_fd);
    free(channel->assembly);
    free(channel);
}

int shm_channel_socket(const shm_channel *channel)
{
    return channel->socket_fd;
}

void shm_channel_set_max_message(shm_channel *channel, uint32_t max_message)
{
    channel->max_message = max_message;
}

static bool is_lost(const shm_channel *channel)
{
    return shm_load_relaxed(channel->lost);
}

static void ring_doorbell(shm_channel *channel)
{
    static const uint8_t doorbell = SHM_DOORBELL_BYTE;
    /* A socket too full for one more byte wakes its reader anyway; a dead peer shows when this side waits. */
    (void)send(channel->socket_fd, &doorbell, sizeof doorbell, MSG_DONTWAIT | MSG_NOSIGNAL);
    shm_count(&channel->counters->doorbells_rung, 1);
}

/* End the current wait, if any: what it waited for has come, or waits no more. */
static void end_wait(shm_channel *channel)
{
    if (channel->waiter.began_ns != 0) {
        shm_waiter_end(&channel->waiter, !channel->slept);
        tell_spin_budget(channel);
    }
    channel->slept = false;
    channel->last_sent = 0;
}

/* Is a message on its way, in or out, whose other part the peer is about to send or to read? */
static bool is_within_message(const shm_channel *channel)
{
    return channel->sending || (channel->assembled > 0 && !channel->showing_assembly);
}

static void begin_wait(shm_channel *channel, uint64_t clock_ns)
{
    if (is_within_message(channel))
        shm_waiter_begin_within(&channel->waiter, clock_ns);
    else
        shm_waiter_begin(&channel->waiter, clock_ns, channel->last_sent);
}

void shm_channel_unpark(shm_channel *channel)
{
    channel->parked = false;
    shm_ring_wake(&channel->consumer, channel->awake);
}

/* End the current wait although nothing has come. Polling that was cut short says nothing about whether it pays. */
static void abandon_wait(shm_channel *channel)
{
    if (channel->slept)
        end_wait(channel);
    else
        channel->waiter.began_ns = 0;
}

/* What was sent may be answered soon, however long this side had already waited for something else. */
static void begin_new_wait(shm_channel *channel)
{
    if (channel->parked)
        shm_channel_unpark(channel);
    abandon_wait(channel);
}

/* Poll for room for the next fragment: its reader is at work on those before, and takes a few microseconds for each. Who
 * cannot go on here has to keep the message, which takes a copy of it. False: there is none yet. */
static bool spin_for_room(shm_channel *channel, uint32_t piece, uint64_t until_ns)
{
    uint64_t clock_ns = now_ns();
    bool is_free = false;
    if (clock_ns >= until_ns || shm_ring_state(channel->producer.shared) == SHM_BUSY)
        return false;
    const uint64_t began_ns = clock_ns;
    shm_waiter_begin(&channel->room_waiter, clock_ns, 0);
    while (!is_free && clock_ns < until_ns && clock_ns - began_ns < SHM_SPIN_WITHIN_NS &&
           shm_waiter_polls(&channel->room_waiter, clock_ns)) {
        for (int look = 0; look < LOOKS_PER_CLOCK && !is_free; look++) {
            relax();
            /* An impossible head counts as room: shm_ring_claim meets and reports it. */
            is_free = shm_ring_has_room(&channel->producer, piece) != 0;
        }
        clock_ns = now_ns();
    }
    shm_waiter_end(&channel->room_waiter, is_free);
    return is_free;
}

int shm_channel_send(shm_channel *channel, const void *message, size_t length)
{
    if (length > channel->max_message)
        return -EMSGSIZE;
    if (channel->sending && channel->sent > length)
        return -EINVAL;
    if (is_lost(channel))
        return -EPROTO;
    const uint8_t *bytes = message;
    const size_t sent_before = channel->sent;
    uint64_t until_ns = 0;
    do {
        size_t rest = length - channel->sent;
        uint32_t piece = rest <= fragment_bytes(channel) ? (uint32_t)rest : fragment_bytes(channel);
        void *payload;
        int rc = shm_ring_claim(&channel->producer, piece, &payload);
        if (rc < 0)
            return rc;
        if (rc == 0 && channel->sent != sent_before) {
            if (until_ns == 0)
                until_ns = now_ns() + SEND_MAX_NS;
            if (spin_for_room(channel, piece, until_ns))
                continue;
        }
        if (rc == 0) {
            /* A park until now did not ask for this room. One that did stays: trying in vain does not poll anew. */
            if (!channel->sending || channel->sent != sent_before)
                begin_new_wait(channel);
            channel->sending = true;
            channel->wanted = piece;
            return -EAGAIN;
        }
        if (piece > 0)
            memcpy(payload, bytes + channel->sent, piece);
        channel->sent += piece;
        if (shm_ring_publish(&channel->producer, channel->sent < length ? SHM_RECORD_MORE : 0))
            ring_doorbell(channel);
    } while (channel->sent < length);
    channel->sending = false;
    channel->sent = 0;
    shm_count(&channel->counters->messages_sent, 1);
    shm_count(&channel->counters->bytes_sent, length);
    begin_new_wait(channel);
    channel->last_sent = length;
    return 0;
}

bool shm_channel_is_sending(const shm_channel *channel)
{
    return channel->sending;
}

static int append_fragment(shm_channel *channel, const uint8_t *payload, uint32_t length)
{
    size_t needed = channel->assembled + length;
    if (needed > channel->max_message)
        return -EMSGSIZE;
    if (needed > channel->assembly_capacity) {
        /* Doubled: grows with what has arrived, never with what a peer says will. */
        size_t capacity = channel->assembly_capacity == 0 ? fragment_bytes(channel) : channel->assembly_capacity;
        while (capacity < needed)
            capacity *= 2;
        uint8_t *grown = realloc(channel->assembly, capacity);
        if (grown == NULL)
            return -ENOMEM;
        channel->assembly = grown;
        channel->assembly_capacity = capacity;
    }
    if (length > 0)
        memcpy(channel->assembly + channel->assembled, payload, length);
    channel->assembled = needed;
    return 0;
}

static void release_record(shm_channel *channel)
{
    if (shm_ring_release(&channel->consumer))
        ring_doorbell(channel);
}

/* Is a record as long as shm_channel_send would have made it? Shorter fragments would let a peer keep shm_channel_peek
 * busy for as many rounds as max_message has bytes. */
static bool is_cut_as_sent(const shm_channel *channel, uint32_t bytes, uint32_t flags)
{
    if ((flags & SHM_RECORD_MORE) != 0)
        return bytes == fragment_bytes(channel);
    return bytes <= fragment_bytes(channel) && (bytes > 0 || channel->assembled == 0);
}

int shm_channel_peek(shm_channel *channel, const uint8_t **message, size_t *length)
{
    if (is_lost(channel))
        return -EPROTO;
    while (!channel->showing_assembly) {
        const uint8_t *payload;
        uint32_t bytes, flags;
        int rc = shm_ring_peek(&channel->consumer, &payload, &bytes, &flags);
        /* An empty ring is also what it looks like where this look has met the loss. */
        if (rc <= 0)
            return rc == 0 && is_lost(channel) ? -EPROTO : rc;
        if (!is_cut_as_sent(channel, bytes, flags))
            return -EPROTO;
        if (flags == 0 && channel->assembled == 0) {
            if (bytes > channel->max_message)
                return -EMSGSIZE;
            *message = payload;
            *length = channel->shown = bytes;
            return 1;
        }
        rc = append_fragment(channel, payload, bytes);
        if (rc < 0)
            return rc;
        release_record(channel);
        channel->showing_assembly = (flags & SHM_RECORD_MORE) == 0;
    }
    *message = channel->assembly;
    *length = channel->shown = channel->assembled;
    return 1;
}

static void keep_assembly(shm_channel *channel, uint8_t *memory, size_t size)
{
    free(channel->assembly);
    channel->assembly = memory;
    channel->assembly_capacity = size;
}

void shm_channel_consume(shm_channel *channel)
{
    shm_count(&channel->counters->messages_received, 1);
    shm_count(&channel->counters->bytes_received, channel->shown);
    if (!channel->showing_assembly) {
        release_record(channel);
        return;
    }
    if (channel->assembly_capacity > ASSEMBLY_KEPT_BYTES)
        keep_assembly(channel, NULL, 0);
    channel->assembled = 0;
    channel->showing_assembly = false;
}

uint8_t *shm_channel_take(shm_channel *channel, size_t *size)
{
    if (!channel->showing_assembly)
        return NULL;
    uint8_t *memory = channel->assembly;
    *size = channel->assembly_capacity;
    channel->assembly = NULL;
    channel->assembly_capacity = 0;
    shm_channel_consume(channel);
    return memory;
}

void shm_channel_give_back(shm_channel *channel, uint8_t *memory, size_t size)
{
    /* Meanwhile there may be other memory, and a message in it. */
    if (channel->assembly == NULL && size <= ASSEMBLY_KEPT_BYTES)
        keep_assembly(channel, memory, size);
    else
        free(memory);
}

/* Is there what a wait waits for: a record, or room for the record that did not fit? */
static bool is_ready(shm_channel *channel)
{
    if (channel->showing_assembly || shm_ring_has_record(&channel->consumer))
        return true;
    /* An error counts as ready: shm_channel_send meets and reports it, or shm_channel_peek. */
    return (channel->sending && shm_ring_has_room(&channel->producer, channel->wanted) != 0) || is_lost(channel);
}

/* Take what has come of a message of several fragments, so that whoever waits for it is not woken for each. True: there is
 * something for the caller, perhaps an error. False: the rest of the message is still to come. */
static bool take_fragments(shm_channel *channel)
{
    const uint8_t *message;
    size_t length;
    if (channel->showing_assembly || !shm_ring_has_record(&channel->consumer) ||
        (channel->assembled == 0 && shm_ring_flags(&channel->consumer) == 0))
        return true;
    if (shm_channel_peek(channel, &message, &length) != 0)
        return true;
    end_wait(channel);
    return channel->sending && shm_ring_has_room(&channel->producer, channel->wanted) != 0;
}

static int ready(shm_channel *channel)
{
    end_wait(channel);
    return 1;
}

/* Poll until ready (true), or until `until_ns` or the end of the spin budget (false). `*clock_ns` is the time on
 * return. */
static bool spin(shm_channel *channel, uint64_t until_ns, uint64_t *clock_ns)
{
    for (;;) {
        for (int look = 0; look < LOOKS_PER_CLOCK; look++) {
            if (is_ready(channel))
                return true;
            relax();
        }
        *clock_ns = now_ns();
        if (*clock_ns >= until_ns || !shm_waiter_polls(&channel->waiter, *clock_ns))
            return false;
        /* The peer may wait for this very core: a wake-up by socket likes to put both on one. In the middle of a message it is
         * sooner woken than a third has used up what it was given of this core. */
        if (!channel->waiter.within && *clock_ns - channel->waiter.began_ns > POLITE_AFTER_NS)
            sched_yield();
    }
}

bool shm_channel_park(shm_channel *channel)
{
    if (channel->showing_assembly || !shm_ring_park(&channel->consumer, channel->awake) ||
        (channel->sending && shm_ring_await_room(&channel->producer, channel->wanted) != 0) || is_lost(channel)) {
        shm_channel_unpark(channel);
        end_wait(channel);
        return false;
    }
    channel->parked = true;
    channel->slept = channel->waiter.began_ns != 0;
    shm_count(&channel->counters->parks, 1);
    return true;
}

int shm_channel_poll(shm_channel *channel, uint64_t poll_ns)
{
    if (is_ready(channel)) {
        if (channel->parked)
            shm_channel_unpark(channel);
        if (take_fragments(channel))
            return ready(channel);
    }
    if (channel->parked)
        return -EAGAIN;
    uint64_t clock_ns = now_ns();
    const uint64_t until_ns = clock_ns + poll_ns;
    for (begin_wait(channel, clock_ns); shm_waiter_polls(&channel->waiter, clock_ns); begin_wait(channel, clock_ns)) {
        const bool is_here = spin(channel, until_ns, &clock_ns);
        if (is_here && take_fragments(channel))
            return ready(channel);
        if (is_here)
            clock_ns = now_ns();
        if (clock_ns >= until_ns)
            return 0;
    }
    if (shm_channel_park(channel))
        return -EAGAIN;
    return take_fragments(channel);
}

/* Read some doorbells: 0, -EPIPE at the end of the socket, -EPROTO for another byte, or recv's errno, negative. */
static int read_doorbells(shm_channel *channel, int flags)
{
    uint8_t bytes[256];
    ssize_t count = recv(channel->socket_fd, bytes, sizeof bytes, flags);
    if (count == 0 || (count < 0 && errno == ECONNRESET))
        return -EPIPE;
    if (count < 0)
        return -errno;
    for (ssize_t i = 0; i < count; i++)
        if (bytes[i] != SHM_DOORBELL_BYTE)
            return -EPROTO;
    return 0;
}

int shm_channel_drain_doorbell(shm_channel *channel)
{
    int rc = read_doorbells(channel, MSG_DONTWAIT);
    return rc == -EAGAIN || rc == -EWOULDBLOCK ? 0 : rc;
}

static bool set_receive_timeout(shm_channel *channel, uint64_t timeout_ns)
{
    struct timeval timeout = {(time_t)(timeout_ns / NS_PER_S), (suseconds_t)(timeout_ns % NS_PER_S / 1000)};
    if (timeout_ns == channel->receive_timeout_ns)
        return true;
    if (setsockopt(channel->socket_fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0)
        return false;
    channel->receive_timeout_ns = timeout_ns;
    return true;
}

/* Sleep in recv, which wakes sooner than ppoll (CONTRIBUTING.md, departures). Its timeout is of the kernel's ticks, a few milliseconds
 * long, so it is set short of the deadline, and in whole seconds where it can be, to be set seldom. False: too little
 * is left for it, or the socket does not block. Otherwise `*rc` is as read_doorbells says. */
static bool sleep_in_recv(shm_channel *channel, uint64_t left_ns, int *rc)
{
    if (left_ns < 2 * RECV_SLACK_NS)
        return false;
    uint64_t timeout_ns = left_ns - RECV_SLACK_NS;
    if (timeout_ns > NS_PER_S)
        timeout_ns -= timeout_ns % NS_PER_S;
    if (timeout_ns > LONGEST_SLEEP_NS)
        timeout_ns = LONGEST_SLEEP_NS;
    int flags = fcntl(channel->socket_fd, F_GETFL);
    if (flags < 0 || (flags & O_NONBLOCK) != 0 || !set_receive_timeout(channel, timeout_ns))
        return false;
    *rc = read_doorbells(channel, 0);
    return true;
}

/* Sleep until the socket is readable or `deadline_ns` has come (0: none), or sooner, and read the doorbells. 0, or a
 * negative errno as read_doorbells says, or -EINTR; -ECANCELED if only `wake_fd` is readable (< 0: there is none). */
static int sleep_on_socket(shm_channel *channel, uint64_t deadline_ns, int wake_fd)
{
    uint64_t left_ns = LONGEST_SLEEP_NS;
    if (deadline_ns != 0) {
        uint64_t clock_ns = now_ns();
        left_ns = deadline_ns > clock_ns ? deadline_ns - clock_ns : 0;
    }
    int rc;
    if (wake_fd >= 0 || !sleep_in_recv(channel, left_ns, &rc)) {
        const struct timespec timeout = {(time_t)(left_ns / NS_PER_S), (long)(left_ns % NS_PER_S)};
        struct pollfd slept_on[] = {{.fd = channel->socket_fd, .events = POLLIN}, {.fd = wake_fd, .events = POLLIN}};
        int count = ppoll(slept_on, 2, &timeout, NULL);
        if (count < 0)
            rc = -errno;
        else if (slept_on[0].revents != 0)
            rc = read_doorbells(channel, MSG_DONTWAIT);
        else
            rc = count == 0 ? 0 : -ECANCELED;
    }
    return rc == -EAGAIN || rc == -EWOULDBLOCK ? 0 : rc;
}

/* Ready, or else `rc`. What the peer published before it went is still to be read; a peer that broke the protocol is
 * not heard any more. */
static int ready_or(shm_channel *channel, int rc)
{
    return rc != -EPROTO && is_ready(channel) ? ready(channel) : rc;
}

static bool is_readable(int fd)
{
    struct pollfd looked_at = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&looked_at, 1, 0) > 0;
}

/* As shm_channel_wait_or_wake, but 1 for a fragment too. `deadline_ns`: 0 for none. */
static int wait_for_record(shm_channel *channel, uint64_t clock_ns, uint64_t deadline_ns, int wake_fd)
{
    begin_wait(channel, clock_ns);
    while (shm_waiter_polls(&channel->waiter, clock_ns)) {
        uint64_t until_ns = clock_ns + (uint64_t)SPIN_SLICE_NS;
        if (deadline_ns != 0 && deadline_ns < until_ns)
            until_ns = deadline_ns;
        if (spin(channel, until_ns, &clock_ns))
            return ready(channel);
        if (deadline_ns != 0 && clock_ns >= deadline_ns) {
            abandon_wait(channel);
            return 0;
        }
        if (shm_waiter_polls(&channel->waiter, clock_ns)) {
            int rc = shm_channel_drain_doorbell(channel);
            return ready_or(channel, rc < 0 ? rc : is_readable(wake_fd) ? -ECANCELED : -EINTR);
        }
    }
    if (!shm_channel_park(channel))
        return 1;
    int rc = sleep_on_socket(channel, deadline_ns, wake_fd);
    shm_channel_unpark(channel);
    rc = ready_or(channel, rc);
    if (rc != 0)
        return rc;
    if (deadline_ns != 0 && now_ns() >= deadline_ns) {
        abandon_wait(channel);
        return 0;
    }
    /* A doorbell for something already read. The caller looks after signals even if a peer floods the socket. */
    return -EINTR;
}

int shm_channel_wait_or_wake(shm_channel *channel, int64_t timeout_ns, int wake_fd)
{
    if (channel->parked)
        shm_channel_unpark(channel);
    if (is_ready(channel) && take_fragments(channel))
        return ready(channel);
    uint64_t clock_ns = now_ns();
    const uint64_t deadline_ns = timeout_ns < 0 ? 0 : clock_ns + (uint64_t)timeout_ns;
    for (;;) {
        int rc = wait_for_record(channel, clock_ns, deadline_ns, wake_fd);
        if (rc != 1 || take_fragments(channel))
            return rc;
        clock_ns = now_ns();
        if (deadline_ns != 0 && clock_ns >= deadline_ns)
            return 0;
    }
}

int shm_channel_wait(shm_channel *channel, int64_t timeout_ns)
{
    return shm_channel_wait_or_wake(channel, timeout_ns, -1);
}

void shm_channel_set_busy(shm_channel *channel, bool busy)
{
    channel->awake = busy ? SHM_BUSY : SHM_AWAKE;
    if (!channel->parked)
        shm_ring_wake(&channel->consumer, channel->awake);
}

uint32_t shm_channel_peer_state(const shm_channel *channel)
{
    return shm_ring_state(channel->producer.shared);
}

void shm_channel_count_call(shm_channel *channel, uint64_t latency_ns, bool failed)
{
    shm_count(&channel->counters->latency[shm_latency_bucket(latency_ns)], 1);
    if (failed)
        shm_count(&channel->counters->calls_failed, 1);
}

static uint64_t look(const _Atomic uint64_t *counter)
{
    return shm_load_relaxed(counter);
}

/* `sends_on` and `receives_on`: the rings of the side whose counters these are. */
static void read_counters(const shm_channel *channel, const struct shm_counters *counters,
                          const struct shm_ring_words *sends_on, const struct shm_ring_words *receives_on,
                          struct shm_channel_stats *stats)
{
    *stats = (struct shm_channel_stats){
        .messages_sent = look(&counters->messages_sent),
        .messages_received = look(&counters->messages_received),
        .bytes_sent = look(&counters->bytes_sent),
        .bytes_received = look(&counters->bytes_received),
        .doorbells_rung = look(&counters->doorbells_rung),
        .parks = look(&counters->parks),
        .spin_budget_ns = look(&counters->spin_budget_ns),
        .ring_bytes = channel->segment.ring_capacity,
        .ring_used = shm_ring_used(sends_on, channel->segment.ring_capacity),
        .state = shm_ring_state(receives_on),
        .calls_failed = look(&counters->calls_failed),
    };
    for (unsigned bucket = 0; bucket < SHM_LATENCY_BUCKETS; bucket++)
        stats->latency[bucket] = look(&counters->latency[bucket]);
}

void shm_channel_get_stats(const shm_channel *channel, struct shm_channel_stats *stats)
{
    read_counters(channel, channel->counters, channel->producer.shared, channel->consumer.shared, stats);
}

void shm_channel_get_peer_stats(const shm_channel *channel, struct shm_channel_stats *stats)
{
    const struct shm_counters *counters = channel->segment.header->counters;
    const struct shm_counters *peers = channel->counters == counters ? counters + 1 : counters;
    read_counters(channel, peers, channel->consumer.shared, channel->producer.shared, stats);
}
