#define _GNU_SOURCE
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* SCM_MAX_FD: the kernel sends no more at once. There is room for all, so that each can be closed. */
#define MOST_AT_ONCE 253

/* Other threads take and close descriptors meanwhile. */
#define MOST_TRIES 8

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are little-endian on the wire");

int shm_descriptor_send(int socket_fd, uint64_t number, int fd)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(sizeof fd)];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec part = {.iov_base = &number, .iov_len = sizeof number};
    struct msghdr message = {0};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    ssize_t sent;
    do
        sent = sendmsg(socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    /* Eight bytes are never cut in two: a Unix socket takes them in one buffer or not at all. */
    return sent == (ssize_t)sizeof number ? 0 : -EPIPE;
}

/* The control message behind one. musl's CMSG_NXTHDR compares a difference of pointers with a size. */
static struct cmsghdr *next_header(struct msghdr *message, struct cmsghdr *header)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-compare"
    return CMSG_NXTHDR(message, header);
#pragma GCC diagnostic pop
}

/* Every descriptor that has come with a message, of which at most MOST_AT_ONCE. */
static unsigned take_descriptors(struct msghdr *message, int *fds)
{
    unsigned count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = next_header(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof *fds;
        for (size_t index = 0; index < here; index++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + index * sizeof fd, sizeof fd);
            if (count < MOST_AT_ONCE)
                fds[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

/* Whether this process can have one more descriptor. Where the limit is 0, the kernel calls it an invalid argument. */
static bool has_spare(int like)
{
    const int spare = fcntl(like, F_DUPFD_CLOEXEC, 0);
    if (spare >= 0)
        close(spare);
    return spare >= 0 || (errno != EMFILE && errno != EINVAL);
}

/* Look at the next message and have its descriptors, and leave it where it is: what the kernel cannot give for want of
 * descriptors it would drop for good. The bytes that have come, or -1; count: of the descriptors. */
static ssize_t look(int socket_fd, uint64_t *number, int *fds, unsigned *count, int *flags)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(MOST_AT_ONCE * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = number, .iov_len = sizeof *number};
    struct msghdr message = {0};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    ssize_t received;
    do
        received = recvmsg(socket_fd, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    *count = received < 0 ? 0 : take_descriptors(&message, fds);
    *flags = message.msg_flags;
    return received;
}

/* Take away what has been looked at. Whether it had descriptors, which there is no room for here: where it has none, a look
 * finds those of the message behind it. */
static bool skip(int socket_fd)
{
    uint64_t number;
    struct iovec part = {.iov_base = &number, .iov_len = sizeof number};
    struct msghdr message = {0};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    ssize_t received;
    do
        received = recvmsg(socket_fd, &message, MSG_DONTWAIT);
    while (received < 0 && errno == EINTR);
    return received == (ssize_t)sizeof number && (message.msg_flags & MSG_CTRUNC) != 0;
}

int shm_descriptor_receive(int socket_fd, uint64_t *number, int *fd)
{
    for (unsigned tries = 0; tries < MOST_TRIES; tries++) {
        int fds[MOST_AT_ONCE], flags;
        unsigned count;
        const ssize_t received = look(socket_fd, number, fds, &count, &flags);
        if (received < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno == ECONNRESET ? -EPIPE : -errno;
        const bool is_whole = received == (ssize_t)sizeof *number;
        if (is_whole && count == 0 && (flags & MSG_CTRUNC) != 0) {
            /* Something has come of which this process is given nothing. */
            if (!has_spare(socket_fd))
                return -EMFILE;
            /* There is room by now. */
            continue;
        }
        const bool had_some = skip(socket_fd);
        if (is_whole && had_some && count == 1 && (flags & (MSG_CTRUNC | MSG_TRUNC)) == 0) {
            *fd = fds[0];
            return 1;
        }
        for (unsigned index = 0; index < count; index++)
            close(fds[index]);
        return received > 0 || count > 0 ? -EPROTO : -EPIPE;
    }
    return -EACCES;
}
