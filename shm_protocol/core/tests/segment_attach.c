/* Opening a segment: what is not ours, not ready, of another version or damaged is told apart, and never mapped. */
#include "channels.h"

#define CAPACITY SHM_RING_CAPACITY_MIN

/* A segment as a peer lays it out, and a writable view of its header. */
static int laid_out(struct shm_segment *view)
{
    int fd = memory_file(shm_segment_bytes(CAPACITY));
    CHECK_EQUAL(shm_segment_create(view, fd, CAPACITY), 0);
    return fd;
}

static void check_attach(int fd, int expected)
{
    struct shm_segment segment;
    CHECK_EQUAL(shm_segment_attach(&segment, fd), expected);
    if (expected != 0)
        CHECK(segment.header == NULL);
    shm_segment_close(&segment);
}

static void a_segment_that_was_laid_out_opens(void)
{
    struct shm_segment view, segment;
    int fd = laid_out(&view);
    CHECK_EQUAL(shm_segment_attach(&segment, fd), 0);
    CHECK_EQUAL(segment.ring_capacity, CAPACITY);
    CHECK_EQUAL(segment.bytes, SHM_HEADER_BYTES + 2 * CAPACITY);
    const uint8_t *start = (uint8_t *)segment.header;
    CHECK_EQUAL(shm_segment_data(&segment, SHM_RING_TO_ACCEPTOR) - start, SHM_HEADER_BYTES);
    CHECK_EQUAL(shm_segment_data(&segment, SHM_RING_TO_DIALER) - start, SHM_HEADER_BYTES + CAPACITY);
    shm_segment_close(&segment);
    shm_segment_close(&segment);
    CHECK(segment.header == NULL);
    shm_segment_close(&view);
    close(fd);
}

static void a_segment_without_its_version_is_not_ready(void)
{
    struct shm_segment view;
    int fd = laid_out(&view);
    atomic_store(&view.header->layout_version, 0);
    check_attach(fd, -EAGAIN);
    atomic_store(&view.header->magic, 0);
    check_attach(fd, -EAGAIN);
    shm_segment_close(&view);
    close(fd);
}

static void another_magic_is_not_ours(void)
{
    struct shm_segment view;
    int fd = laid_out(&view);
    atomic_store(&view.header->magic, SHM_MAGIC + 1);
    check_attach(fd, -ENOMSG);
    atomic_store(&view.header->magic, 0);
    check_attach(fd, -ENOMSG);
    atomic_store(&view.header->magic, SHM_MAGIC + 1);
    atomic_store(&view.header->layout_version, 0);
    check_attach(fd, -ENOMSG);
    shm_segment_close(&view);
    close(fd);
}

static void another_version_is_told_from_damage(void)
{
    struct shm_segment view;
    int fd = laid_out(&view);
    atomic_store(&view.header->layout_version, SHM_LAYOUT_VERSION + 1);
    check_attach(fd, -ENOTSUP);
    /* Another version may have another meaning of everything else. */
    view.header->ring_capacity = 17;
    check_attach(fd, -ENOTSUP);
    shm_segment_close(&view);
    close(fd);
}

static void a_capacity_that_cannot_be_is_damage(void)
{
    static const uint32_t capacities[] = {0, 1, CAPACITY - 1, CAPACITY + 8, CAPACITY / 2, 2 * CAPACITY, UINT32_MAX};
    struct shm_segment view;
    int fd = laid_out(&view);
    for (size_t i = 0; i < sizeof capacities / sizeof capacities[0]; i++) {
        view.header->ring_capacity = capacities[i];
        check_attach(fd, -EPROTO);
    }
    view.header->ring_capacity = CAPACITY;
    check_attach(fd, 0);
    shm_segment_close(&view);
    close(fd);
}

static void sizes_that_do_not_add_up_are_damage(void)
{
    const off_t bytes = (off_t)shm_segment_bytes(CAPACITY);
    struct shm_segment view;
    int fd = laid_out(&view);
    static const int64_t differences[] = {-1, 1, 8, -4096, 4096};
    for (size_t i = 0; i < sizeof differences / sizeof differences[0]; i++) {
        view.header->segment_bytes = (uint64_t)(bytes + differences[i]);
        check_attach(fd, -EPROTO);
        view.header->segment_bytes = (uint64_t)bytes;
        CHECK_EQUAL(ftruncate(fd, bytes + differences[i]), 0);
        check_attach(fd, -EPROTO);
        CHECK_EQUAL(ftruncate(fd, bytes), 0);
        check_attach(fd, 0);
    }
    shm_segment_close(&view);
    close(fd);
}

static void a_file_shorter_than_a_header_is_damage(void)
{
    static const size_t sizes[] = {0, 1, 8, SHM_HEADER_BYTES - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int fd = memory_file(sizes[i]);
        check_attach(fd, -EPROTO);
        close(fd);
    }
}

static void what_is_no_file_is_refused(void)
{
    int ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    check_attach(ends[0], -EPROTO);
    close(ends[0]);
    close(ends[1]);
    int directory = open("/", O_RDONLY | O_DIRECTORY);
    check_attach(directory, -EPROTO);
    close(directory);
    int device = open("/dev/null", O_RDWR);
    check_attach(device, -EPROTO);
    close(device);
    check_attach(-1, -EBADF);
}

static void creating_refuses_a_wrong_capacity_or_size(void)
{
    struct shm_segment segment;
    int fd = memory_file(shm_segment_bytes(CAPACITY));
    CHECK_EQUAL(shm_segment_create(&segment, fd, CAPACITY + 8), -EINVAL);
    CHECK_EQUAL(shm_segment_create(&segment, fd, 0), -EINVAL);
    CHECK_EQUAL(shm_segment_create(&segment, fd, 2 * CAPACITY), -EINVAL);
    CHECK_EQUAL(ftruncate(fd, 0), 0);
    CHECK_EQUAL(shm_segment_create(&segment, fd, CAPACITY), -EINVAL);
    CHECK(segment.header == NULL);
    CHECK_EQUAL(shm_segment_create(&segment, -1, CAPACITY), -EBADF);
    close(fd);
}

static void a_channel_that_cannot_open_leaves_no_descriptor(void)
{
    struct shm_segment view;
    struct shm_channel_options options = {.max_message = 1, .spin_us = 0};
    shm_channel *channel;
    int fd = laid_out(&view);
    options.socket_fd = fd; /* any open one */
    const int next = dup(0);
    close(next);
    atomic_store(&view.header->magic, 1);
    CHECK_EQUAL(shm_channel_attach(&channel, fd, &options), -ENOMSG);
    atomic_store(&view.header->magic, SHM_MAGIC);
    options.socket_fd = -1;
    CHECK_EQUAL(shm_channel_attach(&channel, fd, &options), -EBADF);
    CHECK_EQUAL(shm_channel_create(&channel, fd, CAPACITY, &options), -EBADF);
    CHECK_EQUAL(dup(0), next);
    close(next);
    shm_channel_close(NULL);
    shm_segment_close(&view);
    close(fd);
}

static void a_garbage_header_is_refused(void)
{
    uint64_t seed = random_seed();
    struct shm_segment view;
    int fd = laid_out(&view);
    for (int round = 0; round < 20000; round++) {
        struct shm_segment segment;
        pattern_fill(view.header, 24, random_next(&seed));
        if (random_below(&seed, 2) == 0)
            atomic_store(&view.header->magic, SHM_MAGIC);
        if (random_below(&seed, 2) == 0)
            atomic_store(&view.header->layout_version, SHM_LAYOUT_VERSION);
        if (random_below(&seed, 2) == 0)
            view.header->ring_capacity = UINT32_C(1) << random_below(&seed, 32);
        int rc = shm_segment_attach(&segment, fd);
        CHECK(rc == -ENOMSG || rc == -EAGAIN || rc == -ENOTSUP || rc == -EPROTO);
        CHECK(segment.header == NULL);
    }
    shm_segment_close(&view);
    close(fd);
}

int main(void)
{
    RUN(a_segment_that_was_laid_out_opens);
    RUN(a_segment_without_its_version_is_not_ready);
    RUN(another_magic_is_not_ours);
    RUN(another_version_is_told_from_damage);
    RUN(a_capacity_that_cannot_be_is_damage);
    RUN(sizes_that_do_not_add_up_are_damage);
    RUN(a_file_shorter_than_a_header_is_damage);
    RUN(what_is_no_file_is_refused);
    RUN(creating_refuses_a_wrong_capacity_or_size);
    RUN(a_channel_that_cannot_open_leaves_no_descriptor);
    RUN(a_garbage_header_is_refused);
    return 0;
}
