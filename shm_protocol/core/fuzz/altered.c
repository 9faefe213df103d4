/* A segment that changes while the channel works: between two of its steps, and within a step before any look at shared
 * memory. The input is the list of steps and of what the peer does meanwhile, so that each execution can be repeated. */
#include <sys/socket.h>

#include "harness.h"

/* At its end: past it nothing that matters is left to find. */
#define STEPS_MAX 256

enum step { RECEIVE, TAKE, SEND, POLL, PARK, UNPARK, WAIT, DRAIN, BUSY, ALTER, RING, HANG_UP, STEPS };

static const uint32_t limits[] = {2 * CAPACITY, 16 * CAPACITY, CAPACITY / 4, 0};

struct peer {
    struct input input;
    shm_channel *channel;
    uint32_t max_message;
    size_t sending; /* length of the message that is partly sent */
};

/* So many alterations come within the next step. */
static void take_pending(struct input *input, size_t count)
{
    forget_pending_patches();
    while (count-- > 0) {
        const uint32_t reads = (uint32_t)take(input, 1);
        const struct patch patch = take_patch(input);
        apply_patch_after(&patch, reads);
    }
}

static int step_once(struct peer *peer, enum step step)
{
    int rc;
    step_begins();
    switch (step) {
    case RECEIVE:
        return receive(peer->channel, peer->max_message);
    case TAKE:
        rc = receive(peer->channel, peer->max_message);
        if (rc == 1)
            shm_channel_consume(peer->channel);
        return rc;
    case SEND:
        if (!shm_channel_is_sending(peer->channel))
            peer->sending = take(&peer->input, 2) % (2 * CAPACITY + 1);
        rc = transmit(peer->channel, peer->sending);
        return rc == -EAGAIN || rc == -EMSGSIZE ? 0 : rc;
    case POLL:
        receiving_begins();
        rc = shm_channel_poll(peer->channel, 0);
        MUST(rc == 1 || rc == 0 || rc == -EAGAIN);
        return 0;
    case PARK:
        (void)shm_channel_park(peer->channel);
        return 0;
    case UNPARK:
        shm_channel_unpark(peer->channel);
        return 0;
    case WAIT:
        receiving_begins();
        rc = shm_channel_wait(peer->channel, 0);
        MUST(rc == 1 || rc == 0 || rc == -EINTR || rc == -EPIPE || rc == -EPROTO);
        return rc == -EINTR ? 0 : rc;
    case DRAIN:
        rc = shm_channel_drain_doorbell(peer->channel);
        MUST(rc == 0 || rc == -EPIPE || rc == -EPROTO);
        return rc;
    case BUSY:
        shm_channel_set_busy(peer->channel, take(&peer->input, 1) & 1);
        (void)shm_channel_peer_state(peer->channel);
        return 0;
    case ALTER: {
        const struct patch patch = take_patch(&peer->input);
        apply_patch(&patch);
        return 0;
    }
    case RING: {
        const uint8_t byte = (uint8_t)take(&peer->input, 1);
        if (peer_socket() >= 0)
            (void)send(peer_socket(), &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        return 0;
    }
    case HANG_UP:
        peer_close_socket();
        return 0;
    case STEPS:
        break;
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peer peer = {.input = {data, data + size}};
    const uint8_t first = (uint8_t)take(&peer.input, 1);
    peer.max_message = limits[first & 3];
    segment_begin_laid_out();
    take_pending(&peer.input, first >> 6);
    if (channel_open(&peer.channel, peer.max_message) < 0)
        return 0;
    int rc = 0;
    for (int steps = 0; rc >= 0 && steps < STEPS_MAX && peer.input.at < peer.input.end; steps++) {
        const uint8_t byte = (uint8_t)take(&peer.input, 1);
        take_pending(&peer.input, byte >> 6);
        rc = step_once(&peer, (byte & 15) % STEPS);
    }
    forget_pending_patches();
    channel_close(peer.channel);
    return 0;
}
