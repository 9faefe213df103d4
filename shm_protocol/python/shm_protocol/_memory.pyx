# cython: language_level=3, boundscheck=False, wraparound=False
"""Memory that is shared by its descriptor (core/memory.h, core/descriptors.h) as Python objects. It has no policy: pool.py
says what is used again, buffers.py what is handed over.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EPROTO
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

import os

from shm_protocol.errors import ProtocolError

cdef extern from "<errno.h>" nogil:
    # Cython's libc.errno lacks it.
    enum: ETOOMANYREFS

cdef extern from "<unistd.h>" nogil:
    int close_descriptor "close"(int fd)

cdef extern from "memory.h" nogil:
    enum: SHM_MEMORY_ALIGN
    enum shm_memory_access:
        SHM_MEMORY_READ
    int shm_memory_create(size_t bytes, int *fd, uint8_t **memory)
    int shm_memory_check(int fd, uint64_t *bytes)
    int shm_memory_map(int fd, uint64_t offset, size_t bytes, shm_memory_access access, uint8_t **memory)
    void shm_memory_unmap(uint8_t *memory, size_t bytes)

cdef extern from "descriptors.h" nogil:
    int shm_descriptor_send(int socket_fd, uint64_t number, int fd)
    int shm_descriptor_receive(int socket_fd, uint64_t *number, int *fd)

__all__ = ["ALIGN", "Loan", "Memory", "PeerMemory", "View", "receive_descriptor", "send_descriptor"]

ALIGN = SHM_MEMORY_ALIGN

cdef enum:
    # What is copied in less time than it takes to hand the GIL to another thread and get it back.
    COPY_WITH_GIL = 65536


cdef object _failed(int rc):
    return OSError(-rc, os.strerror(-rc))


cdef int _copy(uint8_t *to, const uint8_t *source, size_t count) noexcept:
    if count <= COPY_WITH_GIL:
        memcpy(to, source, count)
    else:
        with nogil:
            memcpy(to, source, count)
    return 0


cdef class Memory:
    """Memory of this process that peers may map: `size` bytes, known to them as `number`. Raises OSError."""

    cdef uint8_t *at
    cdef int fd
    cdef readonly size_t size
    cdef readonly uint64_t number

    def __cinit__(self, uint64_t number, size_t size):
        self.at = NULL
        self.fd = -1
        self.number = number
        cdef int rc = shm_memory_create(size, &self.fd, &self.at)
        if rc < 0:
            raise _failed(rc)
        self.size = size

    def __dealloc__(self):
        if self.at != NULL:
            shm_memory_unmap(self.at, self.size)
            close_descriptor(self.fd)

    def fileno(self):
        """Its descriptor."""
        return self.fd


cdef class Loan:
    """The first `size` bytes of a Memory, in use: a buffer that can be written to. When nobody holds it any more,
    `give_back(memory, spoiled)` is called, in whatever thread that is.

    spoiled: a peer that has gone may still look at the memory, so it is not to be used again.
    """

    cdef readonly Memory memory
    cdef object give_back
    cdef readonly size_t size
    cdef public bint spoiled

    def __cinit__(self, Memory memory not None, size_t size, give_back):
        if size > memory.size:
            raise ValueError(f"{size} bytes of a memory of {memory.size}")
        self.memory = memory
        self.size = size
        self.give_back = give_back
        self.spoiled = False

    def __del__(self):
        self.give_back(self.memory, self.spoiled)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.memory.at, self.size, 0, flags)

    def fill(self, source):
        """Copy the bytes of a C-contiguous buffer, which has as many as this."""
        cdef Py_buffer buffer
        PyObject_GetBuffer(source, &buffer, PyBUF_SIMPLE)
        try:
            if <size_t>buffer.len != self.size:
                raise ValueError(f"{buffer.len} bytes for a loan of {self.size}")
            _copy(self.memory.at, <const uint8_t *>buffer.buf, self.size)
        finally:
            PyBuffer_Release(&buffer)

    def offset_of(self, part):
        """Where a C-contiguous buffer begins in it, or -1: it is not a part of it."""
        cdef Py_buffer buffer
        cdef int64_t offset = -1
        PyObject_GetBuffer(part, &buffer, PyBUF_SIMPLE)
        cdef const uint8_t *start = <const uint8_t *>buffer.buf
        if start >= self.memory.at and start + buffer.len <= self.memory.at + self.size:
            offset = start - self.memory.at
        PyBuffer_Release(&buffer)
        return offset


cdef class PeerMemory:
    """All of a peer's memory, by the descriptor that it has sent, which is closed here. It can only be read, once it is
    mapped. Raises ProtocolError where it is none whose size is sealed.
    """

    cdef uint8_t *at
    cdef int fd
    cdef readonly size_t size

    def __cinit__(self, int fd):
        cdef uint64_t bytes = 0
        self.at = NULL
        self.fd = fd
        cdef int rc = shm_memory_check(fd, &bytes)
        if rc == -EPROTO:
            raise ProtocolError("the peer has sent a descriptor of something else than memory whose size is sealed")
        if rc < 0:
            raise _failed(rc)
        self.size = bytes
        # At once, so that the descriptor is free again. Who uses it is told where that cannot be.
        self._map()

    def __dealloc__(self):
        if self.at != NULL:
            shm_memory_unmap(self.at, self.size)
        if self.fd >= 0:
            close_descriptor(self.fd)

    cdef int _map(self) noexcept:
        if self.at != NULL:
            return 0
        cdef int rc = shm_memory_map(self.fd, 0, self.size, SHM_MEMORY_READ, &self.at)
        if rc == 0:
            close_descriptor(self.fd)
            self.fd = -1
        return rc

    def map(self):
        """Have it mapped where it could not be until now. Raises OSError where it cannot be, now or at all."""
        cdef int rc = self._map()
        if rc < 0:
            raise _failed(rc)

    def copy(self, size_t offset, size_t size):
        """Bytes of it. Raises ValueError past its end, or where it is not mapped."""
        if self.at == NULL or size > self.size or offset > self.size - size:
            raise ValueError(f"bytes {offset} to {offset + size} of {self.size}")
        copied = PyBytes_FromStringAndSize(NULL, size)
        _copy(<uint8_t *>PyBytes_AS_STRING(copied), self.at + offset, size)
        return copied


cdef class View:
    """A part of a PeerMemory: a buffer that can only be read. When nobody holds it any more, `give_back(number)` is called,
    in whatever thread that is. Raises ValueError past the end of the memory, or where that is not mapped.
    """

    cdef PeerMemory memory
    cdef size_t offset
    cdef size_t size
    cdef object give_back
    cdef object number

    def __cinit__(self, PeerMemory memory not None, size_t offset, size_t size, give_back, number):
        if memory.at == NULL or size > memory.size or offset > memory.size - size:
            raise ValueError(f"bytes {offset} to {offset + size} of {memory.size}")
        self.memory = memory
        self.offset = offset
        self.size = size
        self.number = number
        self.give_back = give_back

    def __del__(self):
        if self.give_back is not None:
            self.give_back(self.number)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if flags & PyBUF_WRITABLE == PyBUF_WRITABLE:
            raise BufferError("what the peer has sent can only be read: it is the peer's own memory")
        PyBuffer_FillInfo(buffer, self, self.memory.at + self.offset, self.size, 1, flags)


def send_descriptor(int socket_fd, Memory memory not None):
    """Have the peer know the memory by its number. False: not now. Raises OSError where it cannot be done at all."""
    cdef int rc = shm_descriptor_send(socket_fd, memory.number, memory.fd)
    if rc == -EAGAIN or rc == -ETOOMANYREFS:
        return False
    if rc < 0:
        raise _failed(rc)
    return True


def receive_descriptor(int socket_fd):
    """The number of a peer's memory and its descriptor, which is the caller's to close. None: none has come.

    Raises ProtocolError for what is no such message, OSError (BrokenPipeError at the end; EMFILE: it is left there).
    """
    cdef uint64_t number = 0
    cdef int fd = -1
    cdef int rc = shm_descriptor_receive(socket_fd, &number, &fd)
    if rc == 0:
        return None
    if rc == -EPROTO:
        raise ProtocolError("the peer has sent something else than a number and one descriptor")
    if rc < 0:
        raise _failed(rc)
    return number, fd
