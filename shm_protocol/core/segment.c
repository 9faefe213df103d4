#include "segment.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "barrier.h"

static bool is_capacity(uint32_t capacity)
{
    return capacity >= SHM_RING_CAPACITY_MIN && capacity <= SHM_RING_CAPACITY_MAX && (capacity & (capacity - 1)) == 0;
}

size_t shm_segment_bytes(uint32_t ring_capacity)
{
    return is_capacity(ring_capacity) ? (size_t)SHM_HEADER_BYTES + (size_t)SHM_RING_COUNT * ring_capacity : 0;
}

/* Map all of `fd`, a regular file of at least a header. */
static int map_file(struct shm_segment *segment, int fd)
{
    struct stat file;
    if (fstat(fd, &file) < 0)
        return -errno;
    if (!S_ISREG(file.st_mode) || file.st_size < SHM_HEADER_BYTES)
        return -EPROTO;
    void *memory = mmap(NULL, (size_t)file.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return -errno;
    segment->header = memory;
    segment->bytes = (size_t)file.st_size;
    segment->guard = shm_bus_guard_begin(memory, segment->bytes);
    if (segment->guard == NULL) {
        shm_segment_close(segment);
        return -ENOMEM;
    }
    return 0;
}

int shm_segment_create(struct shm_segment *segment, int fd, uint32_t ring_capacity)
{
    *segment = (struct shm_segment){0};
    if (!is_capacity(ring_capacity))
        return -EINVAL;
    int rc = map_file(segment, fd);
    if (rc < 0)
        return rc == -EPROTO ? -EINVAL : rc;
    if (segment->bytes != shm_segment_bytes(ring_capacity)) {
        shm_segment_close(segment);
        return -EINVAL;
    }
    segment->ring_capacity = ring_capacity;
    struct shm_segment_header *header = segment->header;
    shm_store_relaxed(&header->magic, SHM_MAGIC);
    header->ring_capacity = ring_capacity;
    header->segment_bytes = segment->bytes;
    /* The rings' words start at zero, as a fresh file does. SYNC: segment laid out. */
    shm_store_release(&header->layout_version, SHM_LAYOUT_VERSION);
    return 0;
}

static int check_header(struct shm_segment *segment)
{
    struct shm_segment_header *header = segment->header;
    /* SYNC: segment laid out. */
    uint32_t version = shm_load_acquire(&header->layout_version);
    uint64_t magic = shm_load_relaxed(&header->magic);
    if (magic != SHM_MAGIC && (magic != 0 || version != 0))
        return -ENOMSG;
    if (version == 0)
        return -EAGAIN;
    if (version != SHM_LAYOUT_VERSION)
        return -ENOTSUP;
    uint32_t capacity;
    uint64_t bytes;
    shm_read_once(&capacity, &header->ring_capacity, sizeof capacity);
    shm_read_once(&bytes, &header->segment_bytes, sizeof bytes);
    if (!is_capacity(capacity) || bytes != segment->bytes || segment->bytes != shm_segment_bytes(capacity))
        return -EPROTO;
    segment->ring_capacity = capacity;
    return 0;
}

int shm_segment_attach(struct shm_segment *segment, int fd)
{
    *segment = (struct shm_segment){0};
    int rc = map_file(segment, fd);
    if (rc < 0)
        return rc;
    rc = check_header(segment);
    if (rc < 0)
        shm_segment_close(segment);
    return rc;
}

void shm_segment_close(struct shm_segment *segment)
{
    shm_bus_guard_end(segment->guard);
    if (segment->header != NULL)
        munmap(segment->header, segment->bytes);
    *segment = (struct shm_segment){0};
}

uint8_t *shm_segment_data(const struct shm_segment *segment, enum shm_ring_index index)
{
    return (uint8_t *)segment->header + SHM_HEADER_BYTES + (size_t)index * segment->ring_capacity;
}
