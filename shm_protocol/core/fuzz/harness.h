/* What the harnesses share: a segment, the hostile peer who writes into it, and what must hold of the core's answers.
 *
 * A harness defines LLVMFuzzerTestOneInput. It is linked with libFuzzer, or with replay.c where there is no clang. */
#ifndef FUZZ_HARNESS_H
#define FUZZ_HARNESS_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A capacity with which records soon come to the end of the data. */
#define CAPACITY SHM_RING_CAPACITY_MIN
#define SEGMENT_BYTES ((size_t)SHM_HEADER_BYTES + 2 * CAPACITY)

/* What must hold. Aborts, which is a finding. */
#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* The input is read from front to back; past its end come zeros. */
struct input {
    const uint8_t *at, *end;
};

/* The next `bytes` bytes (1 to 8) as a little-endian number. */
uint64_t take(struct input *input, size_t bytes);

/* A file of `file_bytes` bytes that reads as zeros; nothing is mapped. */
void segment_begin(size_t file_bytes);

/* The same, laid out as a dialer does that keeps to the protocol, with rings of CAPACITY. */
void segment_begin_laid_out(void);

/* The peer writes. `offset` counts from the beginning of the segment. */
void peer_write(size_t offset, const void *bytes, size_t count);

/* The connection's channel on the acceptor's side; `rc` as shm_channel_attach says, and checked. */
int channel_open(shm_channel **channel, uint32_t max_message);
void channel_close(shm_channel *channel);

/* The end of the socket that the peer holds, or -1 once it has closed it. */
int peer_socket(void);
void peer_close_socket(void);

/* Look at the next message, and copy it out as the bindings do: 1, 0 or a negative errno, checked. */
int receive(shm_channel *channel, uint32_t max_message);

/* Send `length` bytes: 0, or a negative errno, checked. */
int transmit(shm_channel *channel, size_t length);

/* One alteration of the segment by the peer. */
struct patch {
    uint8_t what, ring, relative;
    uint16_t offset;
    uint64_t value;
};

struct patch take_patch(struct input *input);
void apply_patch(const struct patch *patch);

/* Apply it once the core has looked at shared memory `reads` times more. At most PATCHES_PENDING wait at a time. */
#define PATCHES_PENDING 3
void apply_patch_after(const struct patch *patch, uint32_t reads);
void forget_pending_patches(void);

/* A step of the channel begins: it has to end before it has looked at shared memory without end. */
void step_begins(void);
/* The same for one that reads what the peer has sent: a wait takes the fragments of a message that goes on. */
void receiving_begins(void);

#endif
