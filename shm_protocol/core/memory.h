/* Memory that is shared by passing its descriptor: sealed memfds (PROTOCOL.md section 12).
 *
 * It has no name, so nothing of it can be left behind, and its size is sealed: whoever has mapped it cannot be made to read
 * past its end. Functions return 0, or a negative errno. */
#ifndef SHM_MEMORY_H
#define SHM_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* A multiple of it is where a part that is handed over begins: every element of an array is aligned then. */
#define SHM_MEMORY_ALIGN 64

enum shm_memory_access {
    SHM_MEMORY_READ,    /* the peer's writes are seen, a write here is a fault */
    SHM_MEMORY_PRIVATE, /* the same until a page is written here: from then on that page is a copy */
};

/* New memory of `bytes` bytes, more than none, mapped to be written to. The descriptor is closed on exec, and sealed: neither
 * end can change the size, and where the kernel knows how (5.1) nobody but this mapping can write. Nothing is reserved: it
 * counts as it is touched. Errors: memfd_create's, ftruncate's and mmap's. */
int shm_memory_create(size_t bytes, int *fd, uint8_t **memory);

/* Check a descriptor that has been received, and tell its size. -EPROTO where it is no memory whose size is sealed. */
int shm_memory_check(int fd, uint64_t *bytes);

/* Map `bytes` bytes, more than none, from `offset` on, a multiple of SHM_MEMORY_ALIGN. They must lie within the size that
 * shm_memory_check has told. */
int shm_memory_map(int fd, uint64_t offset, size_t bytes, enum shm_memory_access access, uint8_t **memory);

/* Unmap what create or map has given. */
void shm_memory_unmap(uint8_t *memory, size_t bytes);

#endif
