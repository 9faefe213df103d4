#define _GNU_SOURCE
#include "descriptors.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* SCM_MAX_FD: the kernel sends no more at once. There is room for all, so that each can be closed. */
#define MOST_AT_ONCE 253

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

int shm_descriptor_receive(int socket_fd, uint64_t *number, int *fd)
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
        received = recvmsg(socket_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    if (received < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno == ECONNRESET ? -EPIPE : -errno;
    int fds[MOST_AT_ONCE];
    const unsigned count = take_descriptors(&message, fds);
    if (received == (ssize_t)sizeof *number && count == 1 && (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) == 0) {
        *fd = fds[0];
        return 1;
    }
    for (unsigned index = 0; index < count; index++)
        close(fds[index]);
    if (received > 0)
        return -EPROTO;
    return count == 0 ? -EPIPE : -EPROTO;
}
