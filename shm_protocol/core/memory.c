#define _GNU_SOURCE
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* The C library may be older than what it is asked for: these are the kernel's. */
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 0x0001U
#define MFD_ALLOW_SEALING 0x0002U
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#define F_SEAL_SEAL 0x0001
#define F_SEAL_SHRINK 0x0002
#define F_SEAL_GROW 0x0004
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#define TMPFS_TYPE 0x01021994

#define SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static int create_file(void)
{
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    long fd = syscall(SYS_memfd_create, "shm-polyglot", flags | MFD_NOEXEC_SEAL);
    /* Before Linux 6.3, which may insist on it. */
    if (fd < 0 && errno == EINVAL)
        fd = syscall(SYS_memfd_create, "shm-polyglot", flags);
    return fd < 0 ? -errno : (int)fd;
}

static int seal(int fd)
{
    /* A mapping that is there already stays writable. */
    if (fcntl(fd, F_ADD_SEALS, SIZE_SEALS | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0)
        return 0;
    if (errno == EINVAL && fcntl(fd, F_ADD_SEALS, SIZE_SEALS | F_SEAL_SEAL) == 0)
        return 0;
    return -errno;
}

int shm_memory_create(size_t bytes, int *fd, uint8_t **memory)
{
    const int created = create_file();
    if (created < 0)
        return created;
    int rc = 0;
    void *mapped = MAP_FAILED;
    if (bytes == 0 || bytes > INT64_MAX)
        rc = -EINVAL;
    else if (ftruncate(created, (off_t)bytes) != 0)
        rc = -errno;
    else if ((mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, created, 0)) == MAP_FAILED)
        rc = -errno;
    else
        rc = seal(created);
    if (rc < 0) {
        if (mapped != MAP_FAILED)
            munmap(mapped, bytes);
        close(created);
        return rc;
    }
    *fd = created;
    *memory = mapped;
    return 0;
}

int shm_memory_check(int fd, uint64_t *bytes)
{
    struct stat file;
    struct statfs system;
    if (fstat(fd, &file) != 0 || fstatfs(fd, &system) != 0)
        return -errno;
    /* Huge pages have the same seals, but a read of one that is not there yet can fail, with a signal. */
    if (!S_ISREG(file.st_mode) || (unsigned long)system.f_type != TMPFS_TYPE || file.st_size <= 0)
        return -EPROTO;
    const int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SIZE_SEALS) != SIZE_SEALS)
        return -EPROTO;
    /* The seals first: only now does the size stay what it is. */
    if (fstat(fd, &file) != 0)
        return -errno;
    *bytes = (uint64_t)file.st_size;
    return 0;
}

/* How far into its page an address or an offset is: mappings begin with a page. */
static size_t within_page(uint64_t position)
{
    return (size_t)(position & ((uint64_t)sysconf(_SC_PAGESIZE) - 1));
}

int shm_memory_map(int fd, uint64_t offset, size_t bytes, enum shm_memory_access access, uint8_t **memory)
{
    const size_t before = within_page(offset);
    if (bytes == 0 || offset % SHM_MEMORY_ALIGN != 0 || offset > INT64_MAX || bytes > SIZE_MAX - before)
        return -EINVAL;
    const int protection = access == SHM_MEMORY_PRIVATE ? PROT_READ | PROT_WRITE : PROT_READ;
    const int flags = access == SHM_MEMORY_PRIVATE ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED;
    void *mapped = mmap(NULL, before + bytes, protection, flags, fd, (off_t)(offset - before));
    if (mapped == MAP_FAILED)
        return -errno;
    *memory = (uint8_t *)mapped + before;
    return 0;
}

void shm_memory_unmap(uint8_t *memory, size_t bytes)
{
    const size_t before = within_page((uintptr_t)memory);
    munmap(memory - before, before + bytes);
}
