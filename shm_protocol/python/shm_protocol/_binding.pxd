"""What the compiled modules beside _binding.pyx use of it. The core is linked into that one alone: to the others a Channel
is the way to it.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef extern from "channel.h" nogil:
    ctypedef struct shm_channel:
        pass

cdef class Channel:
    cdef shm_channel *channel
    cdef int socket_fd
    cdef uint32_t message_limit
    cdef int waiters      # threads inside the core without the GIL: the memory must stay
    cdef int64_t unbroken_ns  # how long the next sleep may last before it is looked whether a signal has come
    cdef const uint8_t *unsent_at  # the message that is partly sent, or NULL: in `unsent` or in `kept`, which must stay
    cdef size_t unsent_length
    cdef bytes unsent
    cdef uint8_t *kept
    cdef size_t kept_size
    cdef object closed_because
    cdef uint8_t *spare   # memory of a large message that nobody reads any more, for the core to use again
    cdef size_t spare_size
    cdef public object buffers

    cdef bint put(self, const uint8_t *message, size_t length) except -1
    cdef bint put_rest(self, const uint8_t *message, size_t length, int64_t timeout_ns) except -1
    cdef bint is_connected(self) noexcept
    cdef int keep(self, const uint8_t *message, size_t length) except -1
    cdef const uint8_t *look(self, size_t *length, int64_t timeout_ns) except? NULL
    cdef void consume(self) noexcept
    cdef uint8_t *take(self, size_t *size) noexcept
    cdef void give_back(self, uint8_t *memory, size_t size) noexcept
    cdef void count(self, int64_t began_ns, bint failed) noexcept

    cdef bint _has_only_room(self, int64_t timeout_ns) except -1
    cdef int _end_unlocked(self) except -1
    cdef bint _publish(self, const uint8_t *message, size_t length) except -1
    cdef object _too_large(self, size_t length)
    cdef void _free(self) noexcept
    cdef int _require_open(self) except -1
    cdef int _require_nothing_kept(self) except -1
    cdef int _wait(self, int64_t timeout_ns, int wake_fd) except -2
    cdef bint _continue_sending(self) except -1
    cdef object _next(self)

cdef int64_t now_ns() noexcept nogil
