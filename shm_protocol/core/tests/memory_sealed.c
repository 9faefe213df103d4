/* Memory that is handed over by its descriptor: what either side can and cannot do with it, and what is refused. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../memory.h"
#include "check.h"

#define BYTES 100000

static void what_is_written_is_seen_by_the_other(void)
{
    int fd;
    uint8_t *own, *seen;
    uint64_t bytes = 0;
    CHECK_EQUAL(shm_memory_create(BYTES, &fd, &own), 0);
    CHECK_EQUAL(shm_memory_check(fd, &bytes), 0);
    CHECK_EQUAL(bytes, BYTES);
    pattern_fill(own, BYTES, 1);
    CHECK_EQUAL(shm_memory_map(fd, 0, BYTES, SHM_MEMORY_READ, &seen), 0);
    close(fd);
    CHECK_PATTERN(seen, BYTES, 1);
    pattern_fill(own, BYTES, 2);
    CHECK_PATTERN(seen, BYTES, 2);
    shm_memory_unmap(own, BYTES);
    CHECK_PATTERN(seen, BYTES, 2);
    shm_memory_unmap(seen, BYTES);
}

static void a_write_to_a_private_map_stays_private(void)
{
    int fd;
    uint8_t *own, *seen;
    CHECK_EQUAL(shm_memory_create(BYTES, &fd, &own), 0);
    pattern_fill(own, BYTES, 1);
    CHECK_EQUAL(shm_memory_map(fd, 0, BYTES, SHM_MEMORY_PRIVATE, &seen), 0);
    pattern_fill(seen, BYTES, 2);
    CHECK_PATTERN(own, BYTES, 1);
    CHECK_PATTERN(seen, BYTES, 2);
    shm_memory_unmap(own, BYTES);
    shm_memory_unmap(seen, BYTES);
    close(fd);
}

static void a_part_begins_where_it_is_told_to(void)
{
    int fd;
    uint8_t *own, *seen;
    CHECK_EQUAL(shm_memory_create(BYTES, &fd, &own), 0);
    for (size_t at = 0; at < BYTES; at++)
        own[at] = (uint8_t)(at / SHM_MEMORY_ALIGN);
    for (size_t offset = 0; offset < BYTES; offset += 5 * SHM_MEMORY_ALIGN) {
        CHECK_EQUAL(shm_memory_map(fd, offset, BYTES - offset, SHM_MEMORY_READ, &seen), 0);
        CHECK_EQUAL(seen[0], (uint8_t)(offset / SHM_MEMORY_ALIGN));
        CHECK_EQUAL(memcmp(seen, own + offset, BYTES - offset), 0);
        shm_memory_unmap(seen, BYTES - offset);
    }
    CHECK_EQUAL(shm_memory_map(fd, 8, 8, SHM_MEMORY_READ, &seen), -EINVAL);
    CHECK_EQUAL(shm_memory_map(fd, 0, 0, SHM_MEMORY_READ, &seen), -EINVAL);
    shm_memory_unmap(own, BYTES);
    close(fd);
}

static void nobody_can_change_the_size_or_the_seals(void)
{
    int fd;
    uint8_t *own;
    CHECK_EQUAL(shm_memory_create(BYTES, &fd, &own), 0);
    CHECK_EQUAL(ftruncate(fd, 0), -1);
    CHECK_EQUAL(errno, EPERM);
    CHECK_EQUAL(ftruncate(fd, 2 * BYTES), -1);
    CHECK_EQUAL(errno, EPERM);
    CHECK_EQUAL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    shm_memory_unmap(own, BYTES);
    close(fd);
}

static void nobody_but_the_maker_can_write(void)
{
    int fd;
    uint8_t *own;
    CHECK_EQUAL(shm_memory_create(BYTES, &fd, &own), 0);
    /* Not by the C library: of one file the tests under ThreadSanitizer have one mapping, one_mapping.c. */
    CHECK_EQUAL(syscall(SYS_mmap, NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), -1);
    CHECK_EQUAL(errno, EPERM);
    CHECK_EQUAL(pwrite(fd, "x", 1, 0), -1);
    CHECK_EQUAL(errno, EPERM);
    own[0] = 1;
    shm_memory_unmap(own, BYTES);
    close(fd);
}

static void refuse(int fd)
{
    uint64_t bytes = 77;
    CHECK(fd >= 0);
    CHECK_EQUAL(shm_memory_check(fd, &bytes), -EPROTO);
    CHECK_EQUAL(bytes, 77);
    close(fd);
}

static int memfd(off_t bytes, int seals)
{
    const int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK_EQUAL(ftruncate(fd, bytes), 0);
    CHECK_EQUAL(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void what_is_no_sealed_memory_is_refused(void)
{
    int pair[2];
    refuse(memfd(BYTES, 0));
    refuse(memfd(BYTES, F_SEAL_SHRINK));
    refuse(memfd(BYTES, F_SEAL_GROW | F_SEAL_WRITE));
    refuse(memfd(0, F_SEAL_SHRINK | F_SEAL_GROW));
    refuse(open("/dev/null", O_RDWR | O_CLOEXEC));
    refuse(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    refuse(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    CHECK_EQUAL(pipe(pair), 0);
    refuse(pair[0]);
    refuse(pair[1]);
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    refuse(pair[0]);
    refuse(pair[1]);
    uint64_t bytes;
    CHECK_EQUAL(shm_memory_check(-1, &bytes), -EBADF);
    const int sealed = memfd(BYTES, F_SEAL_SHRINK | F_SEAL_GROW);
    CHECK_EQUAL(shm_memory_check(sealed, &bytes), 0);
    close(sealed);
}

static void memory_that_cannot_be_had_leaves_nothing_open(void)
{
    int fd = -1;
    uint8_t *own = NULL;
    const int next = dup(0);
    close(next);
    CHECK_EQUAL(shm_memory_create(0, &fd, &own), -EINVAL);
    CHECK_EQUAL(shm_memory_create(SIZE_MAX, &fd, &own), -EINVAL);
    CHECK(shm_memory_create((size_t)INT64_MAX, &fd, &own) < 0);
    CHECK_EQUAL(fd, -1);
    CHECK_EQUAL(dup(0), next);
    close(next);
}

int main(void)
{
    RUN(what_is_written_is_seen_by_the_other);
    RUN(a_write_to_a_private_map_stays_private);
    RUN(a_part_begins_where_it_is_told_to);
    RUN(nobody_can_change_the_size_or_the_seals);
    RUN(nobody_but_the_maker_can_write);
    RUN(what_is_no_sealed_memory_is_refused);
    RUN(memory_that_cannot_be_had_leaves_nothing_open);
    return 0;
}
