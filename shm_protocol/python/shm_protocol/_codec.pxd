"""What the compiled modules beside _codec.pyx use of it."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef class Encoder:
    cdef uint8_t *buffer
    cdef Py_ssize_t capacity
    cdef Py_ssize_t position
    # How deep a value may be nested, how many bytes it may take, and how many values the message has so far.
    cdef int levels
    cdef Py_ssize_t max_bytes
    cdef uint64_t values
    cdef bint is_plain
    # Takes buffers of at least so many bytes out of the message; whether it has taken any out of this one, or the last.
    cdef object lender
    cdef Py_ssize_t threshold
    cdef bint has_lent
    cdef readonly bint busy
    # Of the values whose code has been run for the message: each, and what it is sent as, or why it is not.
    cdef list looked_at
    # Who knows what the peer has lent.
    cdef object holding

    cdef bint write_request(self, uint64_t call_id, str method, tuple args, double deadline_ms) except -1
    cdef bint write_answer(self, uint64_t request_id, object result) except -1

    cdef int _begin(self, int levels, Py_ssize_t max_bytes, uint64_t values, bint is_plain) noexcept
    cdef int _end(self) noexcept
    cdef uint8_t *_reserve(self, Py_ssize_t count) except NULL
    cdef int _byte(self, uint8_t byte) except -1
    cdef int _head8(self, uint8_t type, uint8_t number) except -1
    cdef int _head16(self, uint8_t type, uint16_t number) except -1
    cdef int _head32(self, uint8_t type, uint32_t number) except -1
    cdef int _head64(self, uint8_t type, uint64_t number) except -1
    cdef int _value(self, object value, int depth) except -1
    cdef object _look(self, object value)
    cdef int _other(self, object value, int depth) except -1
    cdef int _ext(self, object ext) except -1
    cdef int _ext_head(self, uint64_t length, int code) except -1
    cdef bint _lend(self, bytes head, object body, bint is_scattered) except -1
    cdef int _natural(self, uint64_t number) except -1
    cdef int _int(self, object value) except -1
    cdef int _float(self, double number) except -1
    cdef int _str(self, object text) except -1
    cdef int _bytes(self, object value) except -1
    cdef int _container(self, uint64_t count, uint64_t values, int depth, uint8_t fixed, uint8_t sixteen) except -1
    cdef int _list(self, object value, int depth) except -1
    cdef int _tuple(self, object value, int depth) except -1
    cdef int _dict(self, object value, int depth) except -1
    cdef int _key(self, object key) except -1

cdef object read_answer(const uint8_t *message, Py_ssize_t length, uint64_t call_id)
