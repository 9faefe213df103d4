#define _GNU_SOURCE
#include "harness.h"

#include <fcntl.h>
#include <sanitizer/asan_interface.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hooks.h"
#undef memcpy

#define GUARD_BYTES 4096
#define FILE_BYTES_MAX ((size_t)SHM_HEADER_BYTES + 4 * CAPACITY)
#define MESSAGE_BYTES_MAX (16 * CAPACITY)

/* Far more looks than the longest step takes, which goes through a ring of the smallest records. */
#define READS_IN_A_STEP_MAX 20000

/* Its neighbours belong to nobody. A peer's writes are not instrumented: they are the hostile part. */
static _Alignas(4096) uint8_t arena[GUARD_BYTES + FILE_BYTES_MAX + GUARD_BYTES];
static uint8_t *const segment = arena + GUARD_BYTES;

static int segment_fd = -1;
static int sockets[2] = {-1, -1}; /* ours, the peer's */
static size_t file_bytes_now, capacity_now;
static uint32_t allocation_limit;
static bool is_mapped;

static struct {
    bool waits;
    uint32_t reads;
    struct patch patch;
} pending[PATCHES_PENDING];
static uint32_t pending_count, reads_in_step;

uint64_t take(struct input *input, size_t bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < bytes && input->at < input->end; i++)
        number |= (uint64_t)*input->at++ << (8 * i);
    return number;
}

static void allow_all(void)
{
    ASAN_POISON_MEMORY_REGION(arena, sizeof arena);
    ASAN_UNPOISON_MEMORY_REGION(segment, file_bytes_now);
    /* Between the words and the data nobody has anything to read. */
    if (file_bytes_now >= SHM_HEADER_BYTES)
        ASAN_POISON_MEMORY_REGION(segment + sizeof(struct shm_segment_header),
                                  SHM_HEADER_BYTES - sizeof(struct shm_segment_header));
}

/* From now on the core has business with this ring's data only: the other's is a neighbour that it must not reach. */
static void allow_data_of(enum shm_ring_index ring)
{
    uint8_t *data = segment + SHM_HEADER_BYTES;
    ASAN_UNPOISON_MEMORY_REGION(data + (size_t)ring * capacity_now, capacity_now);
    ASAN_POISON_MEMORY_REGION(data + (size_t)(1 - ring) * capacity_now, capacity_now);
}

void *fuzz_map(size_t bytes)
{
    MUST(bytes == file_bytes_now && !is_mapped);
    is_mapped = true;
    allow_all();
    return segment;
}

int fuzz_unmap(const void *memory)
{
    MUST(memory == segment && is_mapped);
    is_mapped = false;
    ASAN_POISON_MEMORY_REGION(arena, sizeof arena);
    return 0;
}

void *fuzz_grow(void *memory, size_t bytes)
{
    MUST(bytes <= allocation_limit);
    /* In parentheses it is no macro. */
    return (realloc)(memory, bytes);
}

void fuzz_before_read(void)
{
    MUST(++reads_in_step < READS_IN_A_STEP_MAX);
    for (size_t i = 0; pending_count > 0 && i < PATCHES_PENDING; i++) {
        if (!pending[i].waits || pending[i].reads-- > 0)
            continue;
        pending[i].waits = false;
        pending_count--;
        apply_patch(&pending[i].patch);
    }
}

void apply_patch_after(const struct patch *patch, uint32_t reads)
{
    for (size_t i = 0; i < PATCHES_PENDING; i++)
        if (!pending[i].waits) {
            pending[i].waits = true;
            pending[i].reads = reads;
            pending[i].patch = *patch;
            pending_count++;
            return;
        }
}

void forget_pending_patches(void)
{
    memset(pending, 0, sizeof pending);
    pending_count = 0;
}

void step_begins(void)
{
    reads_in_step = 0;
}

void receiving_begins(void)
{
    step_begins();
    allow_data_of(SHM_RING_TO_ACCEPTOR);
}

static void sockets_begin(void)
{
    uint8_t bytes[512];
    if (sockets[1] >= 0) {
        /* What the last execution left unread. */
        while (recv(sockets[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
        }
        while (recv(sockets[1], bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
        }
        return;
    }
    if (sockets[0] >= 0)
        close(sockets[0]);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
}

int peer_socket(void)
{
    return sockets[1];
}

void peer_close_socket(void)
{
    if (sockets[1] >= 0)
        close(sockets[1]);
    sockets[1] = -1;
}

void segment_begin(size_t file_bytes)
{
    MUST(file_bytes <= FILE_BYTES_MAX && !is_mapped);
    if (segment_fd < 0)
        segment_fd = memfd_create("shm-polyglot-fuzz", MFD_CLOEXEC);
    /* The file has only its size: what is in it would be the arena's. */
    if (file_bytes != file_bytes_now)
        MUST(segment_fd >= 0 && ftruncate(segment_fd, (off_t)file_bytes) == 0);
    file_bytes_now = file_bytes;
    capacity_now = file_bytes > SHM_HEADER_BYTES ? (file_bytes - SHM_HEADER_BYTES) / SHM_RING_COUNT : 0;
    ASAN_UNPOISON_MEMORY_REGION(arena, sizeof arena);
    memset(arena, 0, sizeof arena);
    ASAN_POISON_MEMORY_REGION(arena, sizeof arena);
    forget_pending_patches();
    sockets_begin();
}

void segment_begin_laid_out(void)
{
    segment_begin(SEGMENT_BYTES);
    struct shm_segment_header header = {.ring_capacity = CAPACITY, .segment_bytes = SEGMENT_BYTES};
    atomic_init(&header.magic, SHM_MAGIC);
    atomic_init(&header.layout_version, SHM_LAYOUT_VERSION);
    peer_write(0, &header, offsetof(struct shm_segment_header, rings));
}

/* Byte by byte and volatile: a memcpy would be AddressSanitizer's. */
__attribute__((no_sanitize("address"))) void peer_write(size_t offset, const void *bytes, size_t count)
{
    const uint8_t *from = bytes;
    for (size_t i = 0; i < count && offset + i < FILE_BYTES_MAX; i++)
        ((volatile uint8_t *)segment)[offset + i] = from[i];
}

__attribute__((no_sanitize("address"))) static uint64_t peer_load(size_t offset, size_t bytes)
{
    uint64_t word = 0;
    for (size_t i = 0; i < bytes; i++)
        word |= (uint64_t)((volatile uint8_t *)segment)[offset + i] << (8 * i);
    return word;
}

/* In one store, as a peer's word is stored: half a word is seen by nobody. */
__attribute__((no_sanitize("address"))) static void peer_store(size_t offset, size_t bytes, uint64_t word)
{
    if (bytes == 8)
        *(volatile uint64_t *)(void *)(segment + offset) = word;
    else
        *(volatile uint32_t *)(void *)(segment + offset) = (uint32_t)word;
}

int channel_open(shm_channel **channel, uint32_t max_message)
{
    MUST(max_message <= MESSAGE_BYTES_MAX);
    /* Doubled, and a fragment to begin with. */
    allocation_limit = 2 * max_message + (uint32_t)capacity_now / 4;
    const struct shm_channel_options options = {.socket_fd = sockets[0], .max_message = max_message, .spin_us = 0};
    *channel = NULL;
    step_begins();
    int rc = shm_channel_attach(channel, segment_fd, &options);
    MUST(rc == 0 || rc == -ENOMSG || rc == -EAGAIN || rc == -ENOTSUP || rc == -EPROTO);
    MUST((rc == 0) == (*channel != NULL) && is_mapped == (rc == 0));
    return rc;
}

void channel_close(shm_channel *channel)
{
    shm_channel_close(channel);
    MUST(!is_mapped);
}

int receive(shm_channel *channel, uint32_t max_message)
{
    static uint8_t copy[MESSAGE_BYTES_MAX];
    const uint8_t *message;
    size_t length;
    receiving_begins();
    int rc = shm_channel_peek(channel, &message, &length);
    MUST(rc == 1 || rc == 0 || rc == -EPROTO || rc == -EMSGSIZE);
    if (rc == 1) {
        MUST(length <= max_message);
        if (length > 0)
            memcpy(copy, message, length);
        /* Otherwise nobody reads the copy, and an optimising compiler leaves it out. */
        __asm__ volatile("" : : "r"(copy) : "memory");
    }
    return rc;
}

int transmit(shm_channel *channel, size_t length)
{
    static const uint8_t message[MESSAGE_BYTES_MAX];
    MUST(length <= sizeof message);
    step_begins();
    allow_data_of(SHM_RING_TO_DIALER);
    int rc = shm_channel_send(channel, message, length);
    MUST(rc == 0 || rc == -EAGAIN || rc == -EPROTO || rc == -EMSGSIZE);
    return rc;
}

enum { TAIL, HEAD, CONSUMER_STATE, PRODUCER_WAITING, DATA, RECORD, HEADER, CONSUMED };

struct patch take_patch(struct input *input)
{
    static const size_t widths[] = {1, 1, 4, 8};
    uint8_t first = (uint8_t)take(input, 1);
    struct patch patch = {.what = first & 7, .ring = first >> 3 & 1};
    uint8_t how = first >> 4 & 3;
    patch.relative = how == 0;
    if (patch.what == DATA || patch.what == RECORD || patch.what == HEADER)
        patch.offset = (uint16_t)take(input, 2);
    if (patch.what != CONSUMED)
        patch.value = take(input, widths[how]);
    return patch;
}

void apply_patch(const struct patch *patch)
{
    static const struct {
        size_t offset, bytes;
    } words[] = {
        [TAIL] = {offsetof(struct shm_ring_words, tail), 8},
        [HEAD] = {offsetof(struct shm_ring_words, head), 8},
        [CONSUMER_STATE] = {offsetof(struct shm_ring_words, consumer_state), 4},
        [PRODUCER_WAITING] = {offsetof(struct shm_ring_words, producer_waiting), 4},
    };
    const size_t ring = offsetof(struct shm_segment_header, rings) + patch->ring * sizeof(struct shm_ring_words);
    const size_t data = SHM_HEADER_BYTES + patch->ring * (size_t)CAPACITY;
    const uint64_t tail = peer_load(ring + words[TAIL].offset, 8);
    switch (patch->what) {
    case TAIL:
    case HEAD:
    case CONSUMER_STATE:
    case PRODUCER_WAITING: {
        const size_t offset = ring + words[patch->what].offset, bytes = words[patch->what].bytes;
        peer_store(offset, bytes, patch->relative ? peer_load(offset, bytes) + 8 * patch->value : patch->value);
        break;
    }
    case DATA:
        peer_store(data + (patch->offset * 4u) % CAPACITY, 4, patch->value);
        break;
    case RECORD: {
        /* At the tail, and published: `value` bytes of payload, eightfold if relative, with the flags `offset`. */
        const uint32_t length = (uint32_t)(patch->relative ? 8 * patch->value : patch->value);
        const size_t at = data + (tail & (CAPACITY - 1) & ~UINT64_C(7));
        peer_store(at, 4, length);
        peer_store(at + 4, 4, patch->offset);
        peer_store(ring + words[TAIL].offset, 8, tail + SHM_RECORD_HEADER_BYTES + ((length + 7u) & ~UINT32_C(7)));
        break;
    }
    case HEADER: {
        const uint8_t byte = (uint8_t)patch->value;
        peer_write(patch->offset % offsetof(struct shm_segment_header, rings), &byte, 1);
        break;
    }
    case CONSUMED:
        peer_store(ring + words[HEAD].offset, 8, tail);
        break;
    }
}
