/* Descriptors of memory, passed over a Unix-domain stream socket (PROTOCOL.md section 12).
 *
 * A message is 8 bytes, the number of the memory, with exactly one descriptor. Neither function ever blocks. */
#ifndef SHM_DESCRIPTORS_H
#define SHM_DESCRIPTORS_H

#include <stdint.h>

/* Send one; it stays the caller's. 0, or a negative errno:
 *   -EAGAIN         the socket is full
 *   -ETOOMANYREFS   too many descriptors are on their way
 *   -EPIPE          the peer has closed it
 * and whatever else forbids it here. */
int shm_descriptor_send(int socket_fd, uint64_t number, int fd);

/* Receive one, which is the caller's then, and closed on exec. 1; 0: none has come; -EPIPE: none will come any more;
 * -EPROTO: the peer has sent another number of descriptors, or of bytes. Of what it sent then nothing stays open.
 * -EMFILE: this process can have no more descriptors; -EACCES: something here forbids this one. What has come is left
 * where it is then, and can be received later. */
int shm_descriptor_receive(int socket_fd, uint64_t *number, int *fd);

#endif
