/* Descriptors over a socket: one with each number, and whatever else comes is refused and leaves nothing open. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "../descriptors.h"
#include "../memory.h"
#include "check.h"

#define MOST 253

static int ends[2];
static int lowest; /* the next descriptor that is free */

static void begin(void)
{
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    lowest = dup(0);
    close(lowest);
}

static void end(void)
{
    CHECK_EQUAL(dup(0), lowest);
    close(lowest);
    close(ends[0]);
    close(ends[1]);
}

/* What a peer may send: `bytes` bytes with `count` descriptors of the standard input. */
static void send_any(size_t bytes, unsigned count)
{
    char content[64] = "12345678abcdefgh";
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(MOST * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec part = {.iov_base = content, .iov_len = bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memset(CMSG_DATA(header), 0, count * sizeof(int));
    }
    CHECK_EQUAL(sendmsg(ends[0], &message, 0), bytes);
}

static int receive(void)
{
    uint64_t number = 0;
    int fd = -1;
    const int rc = shm_descriptor_receive(ends[1], &number, &fd);
    CHECK_EQUAL(rc == 1, fd >= 0);
    if (rc == 1)
        close(fd);
    return rc;
}

static void each_arrives_with_its_number_and_is_closed_on_exec(void)
{
    int fd, arrived;
    uint8_t *own, *seen;
    uint64_t number = 0, bytes = 0;
    begin();
    CHECK_EQUAL(receive(), 0);
    CHECK_EQUAL(shm_memory_create(4096, &fd, &own), 0);
    own[0] = 7;
    CHECK_EQUAL(shm_descriptor_send(ends[0], UINT64_C(0x1122334455667788), fd), 0);
    CHECK_EQUAL(shm_descriptor_send(ends[0], 2, fd), 0);
    close(fd);
    CHECK_EQUAL(shm_descriptor_receive(ends[1], &number, &arrived), 1);
    CHECK_EQUAL(number, UINT64_C(0x1122334455667788));
    CHECK_EQUAL(fcntl(arrived, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(shm_memory_check(arrived, &bytes), 0);
    CHECK_EQUAL(shm_memory_map(arrived, 0, 4096, SHM_MEMORY_READ, &seen), 0);
    CHECK_EQUAL(seen[0], 7);
    close(arrived);
    CHECK_EQUAL(shm_descriptor_receive(ends[1], &number, &arrived), 1);
    CHECK_EQUAL(number, 2);
    close(arrived);
    CHECK_EQUAL(receive(), 0);
    shm_memory_unmap(own, 4096);
    shm_memory_unmap(seen, 4096);
    end();
}

static void another_number_of_descriptors_or_bytes_is_refused_and_closed(void)
{
    static const struct {
        size_t bytes;
        unsigned count;
    } wrong[] = {{8, 0}, {8, 2}, {8, MOST}, {7, 1}, {1, 1}, {1, 0}, {3, MOST}};
    for (size_t index = 0; index < sizeof wrong / sizeof *wrong; index++) {
        begin();
        send_any(wrong[index].bytes, wrong[index].count);
        CHECK_EQUAL(receive(), -EPROTO);
        CHECK_EQUAL(receive(), 0);
        end();
    }
}

static void bytes_behind_a_number_are_refused(void)
{
    begin();
    send_any(9, 1);
    CHECK_EQUAL(receive(), 1);
    CHECK_EQUAL(receive(), -EPROTO);
    end();
}

static void the_end_is_told_and_a_full_socket_never_blocks(void)
{
    unsigned sent = 0;
    int rc;
    begin();
    while ((rc = shm_descriptor_send(ends[0], sent, 0)) == 0)
        sent++;
    CHECK(rc == -EAGAIN || rc == -ETOOMANYREFS);
    for (unsigned index = 0; index < sent; index++)
        CHECK_EQUAL(receive(), 1);
    CHECK_EQUAL(receive(), 0);
    shutdown(ends[0], SHUT_WR);
    CHECK_EQUAL(receive(), -EPIPE);
    shutdown(ends[1], SHUT_RDWR);
    CHECK_EQUAL(shm_descriptor_send(ends[0], 1, 0), -EPIPE);
    end();
    uint64_t number;
    int fd;
    CHECK_EQUAL(shm_descriptor_send(-1, 1, 0), -EBADF);
    CHECK_EQUAL(shm_descriptor_receive(-1, &number, &fd), -EBADF);
}

static void a_number_without_a_descriptor_is_not_given_that_of_the_next(void)
{
    begin();
    send_any(8, 0);
    send_any(8, 1);
    CHECK_EQUAL(receive(), -EPROTO);
    CHECK_EQUAL(receive(), 1);
    CHECK_EQUAL(receive(), 0);
    end();
}

/* Nothing whose number would be `at_most` or above can be opened. */
static void limit_descriptors(rlim_t at_most)
{
    struct rlimit limit;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = at_most;
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void what_a_process_has_no_descriptor_for_stays_until_it_has_one(void)
{
    struct rlimit before;
    uint64_t number = 0;
    int fd;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    begin();
    CHECK_EQUAL(shm_descriptor_send(ends[0], 1, 0), 0);
    CHECK_EQUAL(shm_descriptor_send(ends[0], 2, 0), 0);
    const rlim_t too_few[] = {(rlim_t)lowest, 1, 0};
    for (size_t index = 0; index < sizeof too_few / sizeof *too_few; index++) {
        limit_descriptors(too_few[index]);
        CHECK_EQUAL(receive(), -EMFILE);
        CHECK_EQUAL(receive(), -EMFILE);
    }
    limit_descriptors((rlim_t)lowest + 1);
    CHECK_EQUAL(shm_descriptor_receive(ends[1], &number, &fd), 1);
    CHECK_EQUAL(number, 1);
    CHECK_EQUAL(receive(), -EMFILE);
    limit_descriptors(before.rlim_cur);
    close(fd);
    CHECK_EQUAL(shm_descriptor_receive(ends[1], &number, &fd), 1);
    CHECK_EQUAL(number, 2);
    close(fd);
    CHECK_EQUAL(receive(), 0);
    end();
}

static void a_process_without_descriptors_still_tells_what_is_wrong_and_the_end(void)
{
    struct rlimit before;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    begin();
    limit_descriptors((rlim_t)lowest);
    send_any(8, 0);
    CHECK_EQUAL(receive(), -EPROTO);
    send_any(7, 1);
    CHECK_EQUAL(receive(), -EPROTO);
    CHECK_EQUAL(receive(), 0);
    shutdown(ends[0], SHUT_WR);
    CHECK_EQUAL(receive(), -EPIPE);
    limit_descriptors(before.rlim_cur);
    end();
}

int main(void)
{
    RUN(each_arrives_with_its_number_and_is_closed_on_exec);
    RUN(another_number_of_descriptors_or_bytes_is_refused_and_closed);
    RUN(bytes_behind_a_number_are_refused);
    RUN(a_number_without_a_descriptor_is_not_given_that_of_the_next);
    RUN(what_a_process_has_no_descriptor_for_stays_until_it_has_one);
    RUN(a_process_without_descriptors_still_tells_what_is_wrong_and_the_end);
    RUN(the_end_is_told_and_a_full_socket_never_blocks);
    return 0;
}
