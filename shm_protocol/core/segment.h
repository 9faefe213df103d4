/* A segment: the shared memory of one connection, mapped and checked. */
#ifndef SHM_SEGMENT_H
#define SHM_SEGMENT_H

#include "bus_guard.h"
#include "layout.h"

struct shm_segment {
    struct shm_segment_header *header; /* NULL when not mapped */
    size_t bytes;
    uint32_t ring_capacity; /* a private copy: the one in the header is the peer's to spoil */
    struct shm_bus_guard *guard; /* tells when the peer has made the file shorter */
};

/* Bytes a segment with rings of `ring_capacity` bytes takes, or 0 where that is no power of two between
 * SHM_RING_CAPACITY_MIN and SHM_RING_CAPACITY_MAX. */
size_t shm_segment_bytes(uint32_t ring_capacity);

/* Map `fd`, whose size the caller has set and reserved (posix_fallocate), and lay it out. The layout version
 * is stored last. Returns 0, -EINVAL (capacity, or the file has another size), -ENOMEM, or mmap's errno, negative. */
int shm_segment_create(struct shm_segment *segment, int fd, uint32_t ring_capacity);

/* Map `fd` as laid out by a peer. Returns 0 or
 *   -ENOMSG   not ours: the magic is another
 *   -EAGAIN   not ready: no layout version yet
 *   -ENOTSUP  another layout version
 *   -EPROTO   damaged: capacity or sizes do not add up, or not a regular file
 * or -ENOMEM, or fstat's or mmap's errno, negative. */
int shm_segment_attach(struct shm_segment *segment, int fd);

/* Unmap. Safe to call twice. */
void shm_segment_close(struct shm_segment *segment);

/* The data of one ring. */
uint8_t *shm_segment_data(const struct shm_segment *segment, enum shm_ring_index index);

#endif
