/* Whatever a peer may send on the second socket: descriptors of any kind, none, too many, with any number of bytes. What is
 * taken is memory that can be read to its end, and nothing stays open.
 *
 * The core's own mappings go to harness.c here: what is received is checked and closed, not mapped. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../descriptors.h"
#include "../memory.h"
#include "harness.h"

#define MOST 8
#define MESSAGES 32

enum kind { SEALED, UNSEALED, HALF_SEALED, EMPTY, PIPE, NOTHING, FOLDER, SOCKET, KINDS };

/* A descriptor of that kind, or -1. */
static int open_kind(enum kind kind, size_t bytes)
{
    int pair[2];
    if (kind <= EMPTY) {
        const int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        MUST(fd >= 0 && ftruncate(fd, kind == EMPTY ? 0 : (off_t)bytes) == 0);
        if (kind != UNSEALED)
            MUST(fcntl(fd, F_ADD_SEALS, kind == HALF_SEALED ? F_SEAL_GROW : F_SEAL_GROW | F_SEAL_SHRINK) == 0);
        return fd;
    }
    if (kind == PIPE || kind == SOCKET) {
        MUST((kind == PIPE ? pipe(pair) : socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) == 0);
        close(pair[1]);
        return pair[0];
    }
    return open(kind == FOLDER ? "/" : "/dev/null", O_RDONLY | O_CLOEXEC);
}

static void send_one(int to, struct input *input)
{
    uint8_t content[64];
    const size_t bytes = 1 + take(input, 1) % sizeof content;
    const unsigned count = (unsigned)(take(input, 1) % (MOST + 1));
    const uint64_t number = take(input, 2);
    memset(content, 0, sizeof content);
    memcpy(content, &number, sizeof number);
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(MOST * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec part = {.iov_base = content, .iov_len = bytes};
    struct msghdr message = {0};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    int fds[MOST];
    for (unsigned index = 0; index < count; index++)
        fds[index] = open_kind((enum kind)(take(input, 1) % KINDS), 1 + (size_t)take(input, 2));
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    (void)sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    for (unsigned index = 0; index < count; index++)
        close(fds[index]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    int ends[2];
    const int lowest = dup(0);
    close(lowest);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    for (unsigned sent = 0; sent < MESSAGES && input.at < input.end; sent++)
        send_one(ends[0], &input);
    close(ends[0]);
    for (;;) {
        uint64_t number, bytes = 0;
        int fd = -1;
        step_begins();
        const int rc = shm_descriptor_receive(ends[1], &number, &fd);
        MUST((rc == 1) == (fd >= 0));
        if (rc == -EPIPE)
            break;
        MUST(rc == 1 || rc == -EPROTO);
        if (rc != 1)
            continue;
        MUST(fcntl(fd, F_GETFD) == FD_CLOEXEC);
        if (shm_memory_check(fd, &bytes) == 0) {
            char last;
            MUST(bytes > 0 && pread(fd, &last, 1, (off_t)(bytes - 1)) == 1);
            MUST(ftruncate(fd, 0) != 0);
        }
        close(fd);
    }
    close(ends[1]);
    const int after = dup(0);
    MUST(after == lowest);
    close(after);
    return 0;
}
