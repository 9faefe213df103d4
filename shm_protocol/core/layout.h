/* The layout of a segment: every offset, size, flag and version, and nothing else.
 *
 * PROTOCOL.md sections 3 to 5 show the same as a picture and explain it; a test compares the two.
 * Words that one side stores and the other loads are SHM_LINE_BYTES apart. */
#ifndef SHM_LAYOUT_H
#define SHM_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SHM_PROTOCOL_MAJOR 1
#define SHM_PROTOCOL_MINOR 2
#define SHM_LAYOUT_VERSION 1u

/* "SHMPOLYG", read as a little-endian u64. */
#define SHM_MAGIC UINT64_C(0x47594c4f504d4853)

/* Two 64-byte cache lines: x86 prefetches lines in pairs (Intel 64 and IA-32 Optimization Reference Manual,
 * "spatial prefetcher"), and some aarch64 cores have 128-byte lines. */
#define SHM_LINE_BYTES 128
#define SHM_HEADER_BYTES 4096

#define SHM_RING_CAPACITY_MIN (UINT32_C(4) * 1024)
#define SHM_RING_CAPACITY_MAX (UINT32_C(256) * 1024 * 1024)
#define SHM_RING_CAPACITY_DEFAULT (UINT32_C(256) * 1024)
#define SHM_MAX_MESSAGE_DEFAULT (UINT32_C(64) * 1024 * 1024)

#define SHM_RECORD_HEADER_BYTES 8
#define SHM_RECORD_ALIGN 8
#define SHM_RECORD_MORE UINT32_C(1)
#define SHM_RECORD_PADDING UINT32_C(2)

#define SHM_DOORBELL_BYTE 0x01

enum shm_consumer_state { SHM_AWAKE = 0, SHM_BUSY = 1, SHM_PARKED = 2 };

/* Ring 0 carries messages from the dialer to the acceptor, ring 1 the other way. */
enum shm_ring_index { SHM_RING_TO_ACCEPTOR = 0, SHM_RING_TO_DIALER = 1, SHM_RING_COUNT = 2 };

struct shm_ring_words {
    _Alignas(SHM_LINE_BYTES) _Atomic uint64_t tail;
    _Alignas(SHM_LINE_BYTES) _Atomic uint64_t head;
    _Alignas(SHM_LINE_BYTES) _Atomic uint32_t consumer_state;
    _Alignas(SHM_LINE_BYTES) _Atomic uint32_t producer_waiting;
};

/* Buckets of latencies, four to each doubling from 256 ns to beyond a minute; counters.h has the formula. */
#define SHM_LATENCY_BUCKETS 112

/* What one side has done since the beginning. It alone stores them; the other side, and whoever asks it, only reads. */
struct shm_counters {
    _Alignas(SHM_LINE_BYTES) _Atomic uint64_t messages_sent;
    _Atomic uint64_t messages_received;
    _Atomic uint64_t bytes_sent; /* of messages, without record headers */
    _Atomic uint64_t bytes_received;
    _Atomic uint64_t doorbells_rung;
    _Atomic uint64_t parks;
    _Atomic uint64_t spin_budget_ns; /* now */
    _Atomic uint64_t calls_failed;   /* of those in `latency` */
    _Alignas(SHM_LINE_BYTES) _Atomic uint64_t latency[SHM_LATENCY_BUCKETS]; /* calls that this side made and that ended */
};

/* A side is the index of its counters, and of the ring that it sends on. */
enum shm_side { SHM_DIALER = 0, SHM_ACCEPTOR = 1, SHM_SIDE_COUNT = 2 };

struct shm_segment_header {
    _Atomic uint64_t magic;
    _Atomic uint32_t layout_version;
    uint32_t ring_capacity;
    uint64_t segment_bytes;
    struct shm_ring_words rings[SHM_RING_COUNT];
    struct shm_counters counters[SHM_SIDE_COUNT];
};

struct shm_record_header {
    uint32_t length; /* of the payload, in bytes, before padding to SHM_RECORD_ALIGN */
    uint32_t flags;
};

_Static_assert(sizeof(struct shm_ring_words) == 0x200, "a ring has four lines");
_Static_assert(offsetof(struct shm_ring_words, tail) == 0x000, "tail");
_Static_assert(offsetof(struct shm_ring_words, head) == 0x080, "head");
_Static_assert(offsetof(struct shm_ring_words, consumer_state) == 0x100, "consumer state");
_Static_assert(offsetof(struct shm_ring_words, producer_waiting) == 0x180, "producer waiting");
_Static_assert(offsetof(struct shm_segment_header, magic) == 0x000, "magic");
_Static_assert(offsetof(struct shm_segment_header, layout_version) == 0x008, "layout version");
_Static_assert(offsetof(struct shm_segment_header, ring_capacity) == 0x00c, "ring capacity");
_Static_assert(offsetof(struct shm_segment_header, segment_bytes) == 0x010, "segment bytes");
_Static_assert(offsetof(struct shm_segment_header, rings) == 0x080, "ring 0");
_Static_assert(sizeof(struct shm_counters) == 0x400, "counters");
_Static_assert(offsetof(struct shm_counters, latency) == 0x080, "latency");
_Static_assert(offsetof(struct shm_segment_header, counters) == 0x480, "counters of the dialer");
_Static_assert(sizeof(struct shm_segment_header) == 0xc80, "end of the acceptor's counters");
_Static_assert(sizeof(struct shm_segment_header) <= SHM_HEADER_BYTES, "the header fits before the data");
_Static_assert(sizeof(struct shm_record_header) == SHM_RECORD_HEADER_BYTES, "record header");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2,
               "a lock inside an atomic would not be shared between processes");
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "shm-polyglot needs a little-endian machine"
#endif

#endif
