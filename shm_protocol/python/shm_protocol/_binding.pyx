# cython: language_level=3, boundscheck=False, wraparound=False
"""The C core's channel (core/channel.h) as a Python object. It has no policy: it moves messages, waits, and says what
happened.

A channel belongs to one thread at a time; only interrupt may be called by another.
"""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, EINTR, EINVAL, EMSGSIZE, ENOMEM, ENOMSG, EPIPE, EPROTO, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

import os

from shm_protocol.errors import ConnectionClosed, MessageTooLarge, PeerGone, ProtocolError, VersionMismatch

cdef extern from "<errno.h>" nogil:
    # Cython's libc.errno lacks them.
    enum: ECANCELED
    enum: ENOTSUP

cdef extern from "<fcntl.h>" nogil:
    enum: O_CLOEXEC
    enum: O_CREAT
    enum: O_EXCL
    enum: O_RDWR

cdef extern from "<sys/mman.h>" nogil:
    int shm_open(const char *name, int flags, unsigned int mode)
    int shm_unlink(const char *name)

cdef extern from "<sys/socket.h>" nogil:
    enum: SHUT_RDWR
    int shutdown_socket "shutdown"(int fd, int how)

cdef extern from "<time.h>" nogil:
    enum: CLOCK_MONOTONIC
    struct timespec:
        int64_t tv_sec
        int64_t tv_nsec
    int clock_gettime(int clock, timespec *now)

cdef extern from "channel.h" nogil:
    enum: SHM_LAYOUT_VERSION
    struct shm_channel_options:
        int socket_fd
        uint32_t max_message
        int64_t spin_us
    struct shm_channel_stats:
        uint64_t messages_sent
        uint64_t messages_received
        uint64_t bytes_sent
        uint64_t bytes_received
        uint64_t doorbells_rung
        uint64_t parks
        uint64_t spin_budget_ns
    size_t shm_segment_bytes(uint32_t ring_capacity)
    int shm_channel_create(shm_channel **channel, int segment_fd, uint32_t ring_capacity,
                           const shm_channel_options *options)
    int shm_channel_attach(shm_channel **channel, int segment_fd, const shm_channel_options *options)
    void shm_channel_close(shm_channel *channel)
    void shm_channel_set_max_message(shm_channel *channel, uint32_t max_message)
    int shm_channel_send(shm_channel *channel, const void *message, size_t length)
    int shm_channel_peek(shm_channel *channel, const uint8_t **message, size_t *length)
    void shm_channel_consume(shm_channel *channel)
    uint8_t *shm_channel_take(shm_channel *channel, size_t *size)
    void shm_channel_give_back(shm_channel *channel, uint8_t *memory, size_t size)
    int shm_channel_poll(shm_channel *channel, uint64_t poll_ns)
    bint shm_channel_park(shm_channel *channel)
    int shm_channel_socket(const shm_channel *channel)
    void shm_channel_unpark(shm_channel *channel)
    int shm_channel_wait_or_wake(shm_channel *channel, int64_t timeout_ns, int wake_fd)
    int shm_channel_drain_doorbell(shm_channel *channel)
    void shm_channel_set_busy(shm_channel *channel, bint busy)
    uint32_t shm_channel_peer_state(const shm_channel *channel)
    void shm_channel_count_call(shm_channel *channel, uint64_t latency_ns, bint failed)
    void shm_channel_get_stats(const shm_channel *channel, shm_channel_stats *stats)


def segment_bytes(uint32_t ring_capacity):
    """Bytes of a segment with rings of `ring_capacity`. Raises ValueError unless that is a power of two in its
    range.
    """
    cdef size_t count = shm_segment_bytes(ring_capacity)
    if count == 0:
        raise ValueError(f"ring_capacity={ring_capacity}: must be a power of two from 4 KiB to 256 MiB")
    return count


def open_segment(bytes name, unsigned int mode):
    """The descriptor of a new segment, of no bytes. Raises OSError."""
    cdef int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    cdef int failed = errno
    if fd < 0:
        raise OSError(failed, os.strerror(failed), os.fsdecode(name))
    return fd


def unlink_segment(bytes name):
    """Remove a segment's name. Raises OSError, FileNotFoundError among them."""
    cdef int rc = shm_unlink(name)
    cdef int failed = errno
    if rc != 0:
        raise OSError(failed, os.strerror(failed), os.fsdecode(name))


cdef object _error(int rc):
    """The one translation of the core's codes: the exception to raise for `rc` < 0."""
    if rc == -EPIPE:
        return PeerGone("the peer has closed the connection")
    if rc == -EPROTO:
        return ProtocolError("the peer broke the rules of the ring or of the doorbell")
    if rc == -EMSGSIZE:
        return ProtocolError("the peer sent a message larger than max_message")
    if rc == -ENOMSG:
        return ProtocolError("not a segment of shm-polyglot: its magic is another")
    if rc == -ENOTSUP:
        return VersionMismatch(f"the segment has another layout version than {SHM_LAYOUT_VERSION}")
    if rc == -EAGAIN:
        return ProtocolError("the segment is not ready: its layout version is not stored yet")
    if rc == -EINVAL:
        return ValueError("the segment and its ring capacity do not fit together")
    if rc == -ENOMEM:
        return MemoryError("no memory for the message or the segment")
    return OSError(-rc, os.strerror(-rc))


cdef enum:
    # From here on others may run while a message is copied.
    LARGE_BYTES = 65536
    # Memory of this size stays allocated for the next message.
    BYTES_KEPT = 8388608

cdef int64_t FIRST_UNBROKEN_NS = 1000000000
cdef int64_t MAX_UNBROKEN_NS = 60000000000


cdef int64_t now_ns() noexcept nogil:
    """The time of time.monotonic()."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1000000000 + now.tv_nsec


cdef class _Taken:
    """The memory of one large message, the channel's again when nobody reads it any more: to have memory anew for each costs
    several times what is done with it.
    """

    cdef Channel channel
    cdef uint8_t *memory
    cdef size_t size
    cdef Py_ssize_t length

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory, self.length, True, flags)

    def __dealloc__(self):
        # In any thread, so not to the core. And the channel may be gone, where both were part of the same garbage.
        if self.channel is None or self.channel.spare != NULL:
            free(self.memory)
        else:
            self.channel.spare = self.memory
            self.channel.spare_size = self.size


cdef _Taken _taken(Channel channel, uint8_t *memory, size_t size, size_t length):
    cdef _Taken taken = _Taken.__new__(_Taken)
    taken.channel = channel
    taken.memory = memory
    taken.size = size
    taken.length = length
    return taken


cdef class Channel:
    """One side of a connection's shared memory.

    segment_fd: the segment. With `ring_capacity` it is laid out here (the dialer), without it is opened as laid out
    by the peer (the acceptor). socket_fd: the connected socket. Both are duplicated: the caller keeps its own.
    max_message: bytes. spin_us: the fixed spin budget in microseconds, or -1: adaptive.

    Raises ProtocolError and VersionMismatch for a segment that cannot be used.
    """

    def __cinit__(self, int segment_fd, int socket_fd, *, ring_capacity=None, uint32_t max_message, int64_t spin_us=-1):
        self.socket_fd = -1
        self.message_limit = max_message
        self.unbroken_ns = FIRST_UNBROKEN_NS
        self.closed_because = None
        self.buffers = None
        cdef shm_channel_options options
        options.socket_fd = socket_fd
        options.max_message = max_message
        options.spin_us = spin_us
        cdef int rc
        if ring_capacity is None:
            rc = shm_channel_attach(&self.channel, segment_fd, &options)
        else:
            rc = shm_channel_create(&self.channel, segment_fd, ring_capacity, &options)
        if rc < 0:
            raise _error(rc)
        self.socket_fd = shm_channel_socket(self.channel)

    def __dealloc__(self):
        self._free()

    cdef void _free(self) noexcept:
        shm_channel_close(self.channel)
        free(self.spare)
        self.spare = NULL
        self.channel = NULL
        self.socket_fd = -1
        self.unsent = None
        self.unsent_at = NULL
        free(self.kept)
        self.kept = NULL
        self.kept_size = 0

    cdef int _require_open(self) except -1:
        if self.channel == NULL or self.closed_because is not None:
            raise ConnectionClosed(self.closed_because)
        return 0

    cdef int _require_nothing_kept(self) except -1:
        if self.unsent_at != NULL:
            raise ValueError("a message is partly sent; no other may be sent before it")
        return 0

    cdef bint put(self, const uint8_t *message, size_t length) except -1:
        """send, of bytes that are the caller's. False: perhaps a part of it, and `put_rest` or `keep` is to follow."""
        return self._publish(message, length)

    cdef bint put_rest(self, const uint8_t *message, size_t length, int64_t timeout_ns) except -1:
        """Go on with it while there is room before anything else, for `timeout_ns`. False: it is kept, as by send."""
        while timeout_ns > 0 and self._has_only_room(timeout_ns):
            if self._publish(message, length):
                return True
        self.keep(message, length)
        return False

    cdef bint is_connected(self) noexcept:
        """Read the doorbells that have come. False: it is closed, the socket has ended or is not as it should be."""
        return self.channel != NULL and shm_channel_drain_doorbell(self.channel) == 0

    cdef int keep(self, const uint8_t *message, size_t length) except -1:
        """Keep a copy of what was put in part."""
        cdef uint8_t *grown
        if length > self.kept_size:
            grown = <uint8_t *>realloc(self.kept, length)
            if grown == NULL:
                raise MemoryError
            self.kept = grown
            self.kept_size = length
        memcpy(self.kept, message, length)
        self.unsent_at = self.kept
        self.unsent_length = length
        return 0

    cdef bint _has_only_room(self, int64_t timeout_ns) except -1:
        """Wait for room for the message that is partly sent. False: something else has come, perhaps a signal, or the time
        has passed.
        """
        cdef const uint8_t *message
        cdef size_t length
        cdef int rc
        self.waiters += 1
        with nogil:
            # Not in one piece: see _wait.
            rc = shm_channel_wait_or_wake(self.channel, min(timeout_ns, FIRST_UNBROKEN_NS), -1)
        self._end_unlocked()
        return rc == 1 and shm_channel_peek(self.channel, &message, &length) == 0

    cdef int _end_unlocked(self) except -1:
        """Back from the core, where this thread was without the GIL: has it been closed meanwhile?"""
        self.waiters -= 1
        if self.closed_because is not None:
            if self.waiters == 0:
                self._free()
            raise ConnectionClosed(self.closed_because)
        return 0

    cdef bint _publish(self, const uint8_t *message, size_t length) except -1:
        """False: the ring is full, and the same message is to be kept."""
        self._require_open()
        self._require_nothing_kept()
        cdef int rc
        if length < LARGE_BYTES:
            rc = shm_channel_send(self.channel, message, length)
        else:
            # It takes a while, and may look for room meanwhile.
            self.waiters += 1
            with nogil:
                rc = shm_channel_send(self.channel, message, length)
            self._end_unlocked()
        if rc == 0:
            return True
        if rc == -EAGAIN:
            return False
        if rc == -EMSGSIZE:
            raise self._too_large(length)
        raise _error(rc)

    cdef const uint8_t *look(self, size_t *length, int64_t timeout_ns) except? NULL:
        """The bytes of the next message, or NULL: none has come within `timeout_ns`, and sometimes sooner.

        They stand in the memory that the peer can write to, until `consume`, which is to be called before anything else.
        """
        cdef const uint8_t *message
        cdef int rc
        self._require_open()
        if self._wait(timeout_ns, -1) != 1:
            return NULL
        rc = shm_channel_peek(self.channel, &message, length)
        if rc < 0:
            raise _error(rc)
        return message if rc == 1 else NULL

    cdef void consume(self) noexcept:
        shm_channel_consume(self.channel)

    cdef uint8_t *take(self, size_t *size) noexcept:
        """consume, of a message that stands in memory of this side's own: the caller's until give_back. NULL: it does not."""
        return shm_channel_take(self.channel, size)

    cdef void give_back(self, uint8_t *memory, size_t size) noexcept:
        """Also to a channel that has been closed meanwhile."""
        if self.channel == NULL:
            free(memory)
        else:
            shm_channel_give_back(self.channel, memory, size)

    cdef void count(self, int64_t began_ns, bint failed) noexcept:
        if self.channel != NULL:
            shm_channel_count_call(self.channel, max(0, now_ns() - began_ns), failed)

    cdef object _too_large(self, size_t length):
        return MessageTooLarge(f"the message has {length} bytes, max_message is {self.message_limit}")

    cdef int _wait(self, int64_t timeout_ns, int wake_fd) except -2:
        """1 ready, 0 timed out or ended by `wake_fd`, -1 came up for a signal that is handled now, or to see whether there
        is one.
        """
        cdef int rc
        # A signal that strikes between the interpreter's last look and the kernel's sleep, while the ring is polled, ends
        # no sleep: without an end of its own a wait would never know of it.
        cdef bint is_cut = timeout_ns < 0 or timeout_ns > self.unbroken_ns
        cdef int64_t part_ns = self.unbroken_ns if is_cut else timeout_ns
        self.waiters += 1
        with nogil:
            rc = shm_channel_wait_or_wake(self.channel, part_ns, wake_fd)
        self._end_unlocked()
        if rc > 0 or rc == 0 and not is_cut:
            self.unbroken_ns = FIRST_UNBROKEN_NS
            return rc
        if rc == -ECANCELED:
            return 0
        if rc < 0 and rc != -EINTR:
            raise _error(rc)
        if rc == 0:
            # Ever longer: each look is a wait that polling missed, and an idle worker is to cost next to nothing.
            self.unbroken_ns = min(2 * self.unbroken_ns, MAX_UNBROKEN_NS)
        PyErr_CheckSignals()
        self._require_open()  # a signal's handler may have closed it
        return -1

    cdef bint _continue_sending(self) except -1:
        cdef int rc = shm_channel_send(self.channel, self.unsent_at, self.unsent_length)
        if rc == -EAGAIN:
            return False
        self.unsent = None
        self.unsent_at = NULL
        if self.kept_size > BYTES_KEPT:
            free(self.kept)
            self.kept = NULL
            self.kept_size = 0
        if rc < 0:
            raise _error(rc)
        return True

    cdef object _next(self):
        cdef const uint8_t *message
        cdef size_t length
        cdef size_t size = 0
        cdef uint8_t *taken
        cdef bytes copied
        cdef int rc
        if self.spare != NULL:
            shm_channel_give_back(self.channel, self.spare, self.spare_size)
            self.spare = NULL
        rc = shm_channel_peek(self.channel, &message, &length)
        if rc == 0:
            return None
        if rc < 0:
            raise _error(rc)
        if length > LARGE_BYTES:
            taken = shm_channel_take(self.channel, &size)
            if taken != NULL:
                return memoryview(_taken(self, taken, size, length))
        copied = PyBytes_FromStringAndSize(<const char *>message, length)
        shm_channel_consume(self.channel)
        return copied

    @property
    def kind(self):
        """The name of the transport."""
        return "shm"

    @property
    def max_message(self):
        """The largest message, in bytes, that can be sent or received."""
        return self.message_limit

    @max_message.setter
    def max_message(self, uint32_t limit):
        self._require_open()
        self.message_limit = limit
        shm_channel_set_max_message(self.channel, limit)

    @property
    def sending(self):
        """Whether a message waits for room in the ring, perhaps partly sent."""
        return self.unsent_at != NULL

    def send(self, bytes message not None):
        """Send. True: it is published. False: the ring is full; the message is kept, and `flush` goes on with it.

        Raises MessageTooLarge, and ValueError while another message is kept.
        """
        if self._publish(<const uint8_t *>PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message)):
            return True
        self.unsent = message
        self.unsent_at = <const uint8_t *>PyBytes_AS_STRING(message)
        self.unsent_length = PyBytes_GET_SIZE(message)
        return False

    def flush(self):
        """Go on with the message that is kept. True: nothing is kept any more."""
        self._require_open()
        return self.unsent_at == NULL or self._continue_sending()

    def receive(self, int64_t timeout_ns):
        """The next message, or None after `timeout_ns` (< 0: no limit). A message that is kept goes on meanwhile. A large one is
        a memoryview, of memory that others are put into when that is gone.

        Raises PeerGone once the peer is gone and all it sent has been received.
        """
        self._require_open()
        message = self._next()
        if message is not None:
            return message
        cdef int64_t deadline_ns = -1 if timeout_ns < 0 else now_ns() + timeout_ns
        while True:
            if self._wait(timeout_ns, -1) == 0:
                return None
            if self.unsent_at != NULL:
                self._continue_sending()
            message = self._next()
            if message is not None:
                return message
            if timeout_ns >= 0:
                timeout_ns = max(0, deadline_ns - now_ns())

    def receive_or_wake(self, int wake_fd):
        """The next message, or None as soon as the descriptor `wake_fd` is readable and none has come.

        Raises PeerGone as receive does.
        """
        self._require_open()
        message = self._next()
        while message is None:
            if self._wait(-1, wake_fd) == 0:
                return None
            if self.unsent_at != NULL:
                self._continue_sending()
            message = self._next()
        return message

    def try_receive(self):
        """The next message that has arrived in full, or None."""
        self._require_open()
        return self._next()

    def wait(self, int64_t timeout_ns):
        """Wait for a message, or for room if one is kept. False after `timeout_ns` (< 0: no limit). Raises PeerGone."""
        self._require_open()
        cdef int64_t deadline_ns = -1 if timeout_ns < 0 else now_ns() + timeout_ns
        cdef int ready
        while True:
            ready = self._wait(timeout_ns, -1)
            if ready >= 0:
                return ready == 1
            if timeout_ns >= 0:
                timeout_ns = max(0, deadline_ns - now_ns())

    def poll(self, uint64_t poll_ns):
        """For an event loop: 1 there is a message, or room for the one that is kept. 0 nothing yet, poll again soon.
        -1 parked: the socket will become readable, then call unpark and drain. Never blocks."""
        self._require_open()
        cdef int rc = shm_channel_poll(self.channel, poll_ns)
        if rc == -EAGAIN:
            return -1
        if rc < 0:
            raise _error(rc)
        return rc

    def park(self):
        """Park without polling first. False: there is something already, and the channel is not parked."""
        self._require_open()
        return shm_channel_park(self.channel)

    def unpark(self):
        """Awake again."""
        self._require_open()
        shm_channel_unpark(self.channel)

    def drain(self):
        """Read the doorbells that have come, without blocking. Raises PeerGone at the end of the socket."""
        self._require_open()
        cdef int rc = shm_channel_drain_doorbell(self.channel)
        if rc < 0:
            raise _error(rc)

    def set_busy(self, bint busy):
        """Tell the peer that this side is occupied with something else, or no longer."""
        self._require_open()
        shm_channel_set_busy(self.channel, busy)

    def peer_state(self):
        """The peer's consumer state, a hint: 0 awake, 1 busy, 2 parked."""
        self._require_open()
        return shm_channel_peer_state(self.channel)

    def count_call(self, double began, bint failed):
        """A call has ended, with an error or not, that began at `began` seconds of time.monotonic(). Nothing is raised:
        on a closed channel nobody counts.
        """
        self.count(<int64_t>(began * 1e9), failed)

    def stats(self):
        """Counters since the beginning, and the spin budget now."""
        self._require_open()
        cdef shm_channel_stats stats
        shm_channel_get_stats(self.channel, &stats)
        return {
            "messages_sent": stats.messages_sent,
            "messages_received": stats.messages_received,
            "bytes_sent": stats.bytes_sent,
            "bytes_received": stats.bytes_received,
            "doorbells_rung": stats.doorbells_rung,
            "parks": stats.parks,
            "spin_budget_ns": stats.spin_budget_ns,
        }

    def fileno(self):
        """The socket, for an event loop."""
        self._require_open()
        return self.socket_fd

    def close(self, str because not None="the connection has been closed"):
        """Let go of the memory and the socket; any method raises ConnectionClosed(because) from then on.

        Safe to call twice, and by a signal's handler.
        """
        if self.closed_because is None:
            self.closed_because = because
        if self.waiters == 0:
            self._free()

    def close_in_child(self, str because not None):
        """close for a forked child, where the threads that waited in here do not exist."""
        self.waiters = 0
        self.close(because)

    def interrupt(self, str because not None):
        """close for any other thread: ends the connection, so that a thread that waits in here comes up."""
        if self.closed_because is None:
            self.closed_because = because
        if self.waiters == 0:
            self._free()
        else:
            shutdown_socket(self.socket_fd, SHUT_RDWR)
