# cython: language_level=3, boundscheck=False, wraparound=False
"""Values to MessagePack and back, in one pass: what values/encoder.py and values/decoder.py do, compiled.

Never another opinion. It writes the same bytes and makes the same values; whatever cannot be sent it leaves to them, who
know which value is to blame.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next, PyDict_Size
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE, PyList_New, PyList_SET_ITEM
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy

from shm_protocol.errors import MessageTooLarge, ProtocolError
from shm_protocol.values.encoder import encode
from shm_protocol.values.ext_types import unpack_ext
from shm_protocol.values.reduced import reduced, reduced_key
from shm_protocol.values.wire import (
    CUT_SHORT,
    MAX_DEPTH_SENT,
    NO_MESSAGEPACK,
    NO_UTF8,
    TOO_DEEP,
    TOO_MANY,
    TOO_MANY_VALUES,
    UNSUITABLE_KEY,
    Ext,
    HasReferences,
    Missing,
    Undecodable,
    Unsendable,
)

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX
    object PyByteArray_FromStringAndSize(const char *bytes, Py_ssize_t count)
    object PyUnicode_DecodeUTF8(const char *text, Py_ssize_t bytes, const char *errors)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *bytes) except NULL
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    unsigned long long PyLong_AsUnsignedLongLong(object number) except? 0xffffffffffffffff

cdef extern from "byteswap.h" nogil:
    uint16_t bswap_16(uint16_t)
    uint32_t bswap_32(uint32_t)
    uint64_t bswap_64(uint64_t)

__all__ = ["DECLINED", "Encoder", "decode", "decode_plain", "read_result"]

cdef enum:
    # values.EXT_REFERENCE
    EXT_REFERENCE = 2
    # values.MAX_DEPTH_RECEIVED
    MAX_DEPTH_RECEIVED = 512
    # values.MAX_DEPTH_SENT, and what is around a value in a request and in a response.
    MAX_DEPTH_REQUEST = 502
    MAX_DEPTH_RESPONSE = 501
    # values.MAX_VALUES
    MAX_VALUES = 1048576
    FIRST_BYTES = 512
    # The most that is written in one step with sending it, and that is kept allocated for it: 4 MiB and what is around them.
    BYTES_AT_ONCE = 4259840
    # What one message leaves allocated: to have memory again for each costs several times what encoding into it does. Twice
    # as much, because the buffer doubles.
    BYTES_KEPT = 8519680
    # values.EXT_ARRAY, EXT_BUFFER
    EXT_ARRAY = 1
    EXT_BUFFER = 3
    # values.wire.TABLE
    TABLE = 11
    # frames.REQUEST and RESPONSE
    REQUEST = 0
    RESPONSE = 1
    # The cache of the keys of maps has so many places, a power of two.
    KEYS = 128

cdef uint64_t MAX_BYTES = 0xffffffff

DECLINED = object()
"""What read_answer returns for a message that is not for it."""

# What stands in the place of an array's dtype and shape.
cdef bytes _BYTES = bytes(8)

cdef object _Ext = Ext
cdef object _reduced = reduced
cdef object _reduced_key = reduced_key


class _Declined(Exception):
    """Raised as a class: one instance, raised again and again, would keep the traceback of each time."""


class _TooMany(Exception):
    """More than MAX_VALUES. Raised as a class, likewise."""


cdef class Encoder:
    """Writes values into a buffer of its own, which belongs to one thread at a time. values/encoder.py says the rest."""

    def __cinit__(self, holding=None):
        self.holding = holding
        self.buffer = <uint8_t *>malloc(FIRST_BYTES)
        if self.buffer == NULL:
            raise MemoryError
        self.capacity = FIRST_BYTES
        self.threshold = PY_SSIZE_T_MAX

    def lend_by(self, lender):
        """Have large buffers taken out of what is encoded in here: see values/wire.py."""
        self.lender = lender
        self.threshold = lender.threshold

    def take_back(self):
        """The message that was encoded last is not sent."""
        # Not what a message that is being encoded has lent: then it is another's that is not sent.
        if self.has_lent and not self.busy:
            self.has_lent = False
            self.lender.take_back()

    def __dealloc__(self):
        free(self.buffer)

    def pack(self, value, names=(), int levels=MAX_DEPTH_SENT):
        """The bytes of `value`: see values/encoder.py."""
        if self.busy:
            # By the code of a value that is being encoded in here.
            return Encoder(self.holding).pack(value, names, levels)
        self._begin(levels, PY_SSIZE_T_MAX, 1, False)
        if self.has_lent:
            self.has_lent = False
            self.lender.begin()
        is_encoded = False
        try:
            self._value(value, 0)
            is_encoded = True
            return PyBytes_FromStringAndSize(<const char *>self.buffer, self.position)
        except _TooMany:
            raise MessageTooLarge(TOO_MANY_VALUES) from None
        # UnicodeEncodeError: a lone surrogate. OverflowError: an int of more than 64 bits.
        except (_Declined, Unsendable, UnicodeEncodeError, OverflowError):
            pass
        finally:
            self._end()
            looked_at, self.looked_at = self.looked_at, None
            if not is_encoded:
                self.take_back()
        # It finds what is wrong; or nothing, where the value has changed meanwhile.
        return encode(value, names, levels, self.holding, looked_at or ())

    cdef bint write_request(self, uint64_t call_id, str method, tuple args, double deadline_ms) except -1:
        """Leave a request in the buffer (PROTOCOL.md section 7), without meta where `deadline_ms` is 0. False: declined."""
        if self.busy:
            return False
        self._begin(MAX_DEPTH_REQUEST, BYTES_AT_ONCE, 8 if deadline_ms > 0 else 5, True)
        try:
            self._byte(0x95 if deadline_ms > 0 else 0x94)
            self._byte(REQUEST)
            self._natural(call_id)
            self._str(method)
            self._tuple(args, 1)
            if deadline_ms > 0:
                self._byte(0x81)
                self._str("deadline_ms")
                self._float(deadline_ms)
        except (_Declined, _TooMany, Unsendable, UnicodeEncodeError, OverflowError):
            return False
        finally:
            self.busy = False
        return True

    cdef bint write_answer(self, uint64_t request_id, object result) except -1:
        """Leave the response of a function that returned in the buffer. False: declined."""
        if self.busy:
            return False
        self._begin(MAX_DEPTH_RESPONSE, BYTES_AT_ONCE, 5, True)
        try:
            self._byte(0x94)
            self._byte(RESPONSE)
            self._natural(request_id)
            self._byte(0xc0)
            self._value(result, 1)
        except (_Declined, _TooMany, Unsendable, UnicodeEncodeError, OverflowError):
            return False
        finally:
            self.busy = False
        return True

    cdef int _begin(self, int levels, Py_ssize_t max_bytes, uint64_t values, bint is_plain) noexcept:
        """Start a message with so many values. is_plain: for which no code of a value's is to be run."""
        self.is_plain = is_plain
        self.looked_at = None
        self.busy = True
        self.position = 0
        self.levels = levels
        self.max_bytes = max_bytes
        self.values = values
        return 0

    cdef int _end(self) noexcept:
        """Let go of what a large message took."""
        cdef uint8_t *shrunk
        self.busy = False
        if self.capacity > BYTES_KEPT:
            shrunk = <uint8_t *>realloc(self.buffer, FIRST_BYTES)
            if shrunk != NULL:
                self.buffer = shrunk
                self.capacity = FIRST_BYTES
        return 0

    cdef uint8_t *_reserve(self, Py_ssize_t count) except NULL:
        """Room for so many bytes, which are counted as written."""
        cdef Py_ssize_t end = self.position + count
        cdef uint8_t *grown
        if end > self.capacity:
            if end > self.max_bytes:
                raise _Declined
            grown = <uint8_t *>realloc(self.buffer, 2 * end)
            if grown == NULL:
                raise MemoryError
            self.buffer = grown
            self.capacity = 2 * end
        grown = self.buffer + self.position
        self.position = end
        return grown

    cdef int _byte(self, uint8_t byte) except -1:
        self._reserve(1)[0] = byte
        return 0

    cdef int _head8(self, uint8_t type, uint8_t number) except -1:
        cdef uint8_t *at = self._reserve(2)
        at[0] = type
        at[1] = number
        return 0

    cdef int _head16(self, uint8_t type, uint16_t number) except -1:
        cdef uint8_t *at = self._reserve(3)
        at[0] = type
        number = bswap_16(number)
        memcpy(at + 1, &number, 2)
        return 0

    cdef int _head32(self, uint8_t type, uint32_t number) except -1:
        cdef uint8_t *at = self._reserve(5)
        at[0] = type
        number = bswap_32(number)
        memcpy(at + 1, &number, 4)
        return 0

    cdef int _head64(self, uint8_t type, uint64_t number) except -1:
        cdef uint8_t *at = self._reserve(9)
        at[0] = type
        number = bswap_64(number)
        memcpy(at + 1, &number, 8)
        return 0

    cdef int _value(self, object value, int depth) except -1:
        cdef object kind = type(value)
        if kind is str:
            return self._str(value)
        if value is None:
            return self._byte(0xc0)
        if kind is int:
            return self._int(value)
        if kind is bool:
            return self._byte(0xc3 if value is True else 0xc2)
        if kind is float:
            return self._float(PyFloat_AS_DOUBLE(value))
        if kind is dict:
            return self._dict(value, depth)
        if kind is list:
            return self._list(value, depth)
        if kind is tuple:
            return self._tuple(value, depth)
        if kind is bytes:
            return self._bytes(value)
        if self.is_plain:
            raise _Declined
        return self._other(self._look(value), depth)

    cdef object _look(self, object value):
        """What a value is sent as whose code is run for it: once, because a second time it may be another."""
        if self.looked_at is None:
            self.looked_at = []
        self.looked_at.append(value)
        try:
            seen = _reduced(value, self.holding)
        except Unsendable as fault:
            self.looked_at.append(fault)
            raise
        self.looked_at.append(seen)
        return seen

    cdef int _other(self, object value, int depth) except -1:
        """What a value of another type is sent as."""
        if type(value) is _Ext:
            return self._ext(value)
        return self._value(value, depth)

    cdef int _ext(self, object ext) except -1:
        cdef bytes head = ext.head
        cdef const uint8_t[::1] body
        if ext.code == EXT_ARRAY and self.threshold != PY_SSIZE_T_MAX:
            scattered = ext.scattered
            if scattered is not None:
                if scattered.nbytes >= self.threshold and self._lend(head, scattered, True):
                    return 0
            elif len(ext.body) >= self.threshold and self._lend(head, ext.body, False):
                return 0
        ext.gather()
        body = ext.body
        self._ext_head(PyBytes_GET_SIZE(head) + body.shape[0], ext.code)
        memcpy(self._reserve(PyBytes_GET_SIZE(head)), PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        if body.shape[0] > 0:
            memcpy(self._reserve(body.shape[0]), &body[0], body.shape[0])
        return 0

    cdef bint _lend(self, bytes head, object body, bint is_scattered) except -1:
        """Have a buffer taken out of the message, if that can be now."""
        cdef object placed = self.lender.place_scattered(head, body) if is_scattered else self.lender.place(head, body)
        cdef bytes place
        if placed is None:
            return False
        self.has_lent = True
        place = placed
        self._ext_head(PyBytes_GET_SIZE(place), EXT_BUFFER)
        memcpy(self._reserve(PyBytes_GET_SIZE(place)), PyBytes_AS_STRING(place), PyBytes_GET_SIZE(place))
        return True

    cdef int _ext_head(self, uint64_t length, int code) except -1:
        cdef int power = 0
        if length in (1, 2, 4, 8, 16):
            while 1 << power < length:
                power += 1
            self._byte(0xd4 + power)
        elif length < 0x100:
            self._head8(0xc7, <uint8_t>length)
        elif length < 0x10000:
            self._head16(0xc8, <uint16_t>length)
        elif length <= MAX_BYTES:
            self._head32(0xc9, <uint32_t>length)
        else:
            raise _Declined
        self._byte(<uint8_t><signed char>code)
        return 0

    cdef int _natural(self, uint64_t number) except -1:
        if number < 0x80:
            return self._byte(<uint8_t>number)
        if number < 0x100:
            return self._head8(0xcc, <uint8_t>number)
        if number < 0x10000:
            return self._head16(0xcd, <uint16_t>number)
        if number < 0x100000000:
            return self._head32(0xce, <uint32_t>number)
        return self._head64(0xcf, number)

    cdef int _int(self, object value) except -1:
        cdef int overflow = 0
        cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow < 0:
            raise _Declined
        if overflow > 0:
            return self._natural(PyLong_AsUnsignedLongLong(value))
        if number >= 0:
            return self._natural(<uint64_t>number)
        if number >= -0x20:
            return self._byte(<uint8_t>number)
        if number >= -0x80:
            return self._head8(0xd0, <uint8_t>number)
        if number >= -0x8000:
            return self._head16(0xd1, <uint16_t>number)
        if number >= -0x80000000LL:
            return self._head32(0xd2, <uint32_t>number)
        return self._head64(0xd3, <uint64_t>number)

    cdef int _float(self, double number) except -1:
        cdef uint64_t bits
        memcpy(&bits, &number, 8)
        return self._head64(0xcb, bits)

    cdef int _str(self, object text) except -1:
        cdef Py_ssize_t length = 0
        cdef const char *encoded = PyUnicode_AsUTF8AndSize(text, &length)
        if length < 32:
            self._byte(<uint8_t>(0xa0 | length))
        elif length < 0x100:
            self._head8(0xd9, <uint8_t>length)
        elif length < 0x10000:
            self._head16(0xda, <uint16_t>length)
        elif <uint64_t>length <= MAX_BYTES:
            self._head32(0xdb, <uint32_t>length)
        else:
            raise _Declined
        memcpy(self._reserve(length), encoded, length)
        return 0

    cdef int _bytes(self, object value) except -1:
        cdef Py_ssize_t length = PyBytes_GET_SIZE(value)
        if length >= self.threshold:
            if self.is_plain:
                raise _Declined
            if self._lend(_BYTES, value, False):
                return 0
        if length < 0x100:
            self._head8(0xc4, <uint8_t>length)
        elif length < 0x10000:
            self._head16(0xc5, <uint16_t>length)
        elif <uint64_t>length <= MAX_BYTES:
            self._head32(0xc6, <uint32_t>length)
        else:
            raise _Declined
        memcpy(self._reserve(length), PyBytes_AS_STRING(value), length)
        return 0

    cdef int _container(self, uint64_t count, uint64_t values, int depth, uint8_t fixed, uint8_t sixteen) except -1:
        if depth >= self.levels:
            raise _Declined
        self.values += values
        if self.values > MAX_VALUES:
            raise _TooMany
        if count < 16:
            return self._byte(<uint8_t>(fixed | count))
        if count < 0x10000:
            return self._head16(sixteen, <uint16_t>count)
        return self._head32(sixteen + 1, <uint32_t>count)

    # Between two values the code of one of them may be run, which can change what they stand in: so each is held on to,
    # and what has not as many of them any more is declined.

    cdef int _list(self, object value, int depth) except -1:
        cdef Py_ssize_t index
        cdef Py_ssize_t count = PyList_GET_SIZE(value)
        self._container(count, count, depth, 0x90, 0xdc)
        for index in range(count):
            if PyList_GET_SIZE(value) != count:
                raise _Declined
            item = <object>PyList_GET_ITEM(value, index)
            self._value(item, depth + 1)
        return 0

    cdef int _tuple(self, object value, int depth) except -1:
        cdef Py_ssize_t index
        cdef Py_ssize_t count = PyTuple_GET_SIZE(value)
        self._container(count, count, depth, 0x90, 0xdc)
        for index in range(count):
            self._value(<object>PyTuple_GET_ITEM(value, index), depth + 1)
        return 0

    cdef int _dict(self, object value, int depth) except -1:
        cdef Py_ssize_t place = 0
        cdef Py_ssize_t left = PyDict_Size(value)
        cdef PyObject *key_at
        cdef PyObject *item_at
        self._container(left, 2 * left, depth, 0x80, 0xde)
        while PyDict_Next(value, &place, &key_at, &item_at):
            left -= 1
            if left < 0:
                break
            key = <object>key_at
            item = <object>item_at
            self._key(key)
            self._value(item, depth + 1)
        if left != 0:
            raise _Declined
        return 0

    cdef int _key(self, object key) except -1:
        kind = type(key)
        if kind is str:
            return self._str(key)
        if kind is int or key is None or kind is bool or kind is float or kind is bytes:
            return self._value(key, 0)
        if self.is_plain:
            raise _Declined
        # Exact now, and no container.
        return self._value(_reduced_key(key), 0)


cdef struct Reader:
    const uint8_t *at
    const uint8_t *end
    # Values that containers have announced and that are still to come. Each takes a byte at least: no container is made
    # for more than the message can hold, nor all of them together.
    uint64_t announced
    # All that the message has, as far as its containers have told.
    uint64_t values
    # Of no references or buffers: a message with some is left to others.
    bint is_plain
    # Where buffers outside of the message are; NULL: nowhere.
    PyObject *lender


cdef list _keys = [None] * KEYS


def decode(message not None, lender=None):
    """The one value in `message`: see values/decoder.py."""
    return _decode(message, False, lender)


def decode_plain(message not None):
    """The same, for a message without references: see values/decoder.py."""
    return _decode(message, True, None)


cdef object _decode(object message, bint is_plain, object lender):
    cdef const uint8_t[::1] view
    try:
        if type(message) is bytes:
            return _read_all(<const uint8_t *>PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message), is_plain, lender)
        view = message
        return _read_all(&view[0], view.shape[0], is_plain, lender)
    except HasReferences:
        raise
    except Undecodable as fault:
        raise ProtocolError(f"a message of {len(message)} bytes cannot be decoded: {fault}") from None


cdef object _read_all(const uint8_t *message, Py_ssize_t length, bint is_plain, object lender):
    cdef Reader reader
    _begin(&reader, message, length, 1, is_plain)
    reader.lender = NULL if lender is None else <PyObject *>lender
    value = _read(&reader, 0)
    if reader.at != reader.end:
        raise Undecodable(CUT_SHORT)
    return value


cdef int _begin(Reader *reader, const uint8_t *message, Py_ssize_t length, uint64_t values, bint is_plain) noexcept:
    """Start with a message of which so many values are read already, or read without being announced."""
    reader.at = message
    reader.end = message + length
    reader.announced = 0
    reader.values = values
    reader.is_plain = is_plain
    reader.lender = NULL
    return 0


cdef object read_answer(const uint8_t *message, Py_ssize_t length, uint64_t call_id):
    """The result in `message`, if that is a response to the call, without an error; else DECLINED."""
    cdef Reader reader
    _begin(&reader, message, length, 5, True)
    try:
        if _take(&reader, 1)[0] != 0x94 or _take(&reader, 1)[0] != RESPONSE:
            return DECLINED
        if _read_natural(&reader) != call_id or _take(&reader, 1)[0] != 0xc0:
            return DECLINED
        value = _read(&reader, 1)
    except (_Declined, Undecodable):
        return DECLINED
    return value if reader.at == reader.end else DECLINED


def read_result(bytes message not None, uint64_t call_id):
    """The same for whoever has no pointer."""
    return read_answer(<const uint8_t *>PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message), call_id)


cdef const uint8_t *_take(Reader *reader, uint64_t count) except NULL:
    """So many bytes, and go past them."""
    cdef const uint8_t *taken = reader.at
    if count > <uint64_t>(reader.end - reader.at):
        raise Undecodable(CUT_SHORT)
    reader.at += count
    return taken


cdef uint16_t _read16(Reader *reader) except? 0xffff:
    cdef uint16_t number
    memcpy(&number, _take(reader, 2), 2)
    return bswap_16(number)


cdef uint32_t _read32(Reader *reader) except? 0xffffffff:
    cdef uint32_t number
    memcpy(&number, _take(reader, 4), 4)
    return bswap_32(number)


cdef uint64_t _read64(Reader *reader) except? 0xffffffffffffffff:
    cdef uint64_t number
    memcpy(&number, _take(reader, 8), 8)
    return bswap_64(number)


cdef uint64_t _read_natural(Reader *reader) except? 0xffffffffffffffff:
    cdef uint8_t head = _take(reader, 1)[0]
    if head < 0x80:
        return head
    if head == 0xcc:
        return _take(reader, 1)[0]
    if head == 0xcd:
        return _read16(reader)
    if head == 0xce:
        return _read32(reader)
    if head == 0xcf:
        return _read64(reader)
    raise _Declined


cdef object _read(Reader *reader, int depth):
    cdef uint8_t head = _take(reader, 1)[0]
    cdef uint32_t bits32
    cdef uint64_t bits64
    cdef float single
    cdef double number
    if head < 0x80:
        return head
    if head < 0x90:
        return _read_dict(reader, head & 0x0f, depth)
    if head < 0xa0:
        return _read_list(reader, head & 0x0f, depth)
    if head < 0xc0:
        return _read_str(reader, head & 0x1f)
    if head >= 0xe0:
        return <int>head - 0x100
    if head == 0xc0:
        return None
    if head == 0xc2:
        return False
    if head == 0xc3:
        return True
    if head == 0xcb:
        bits64 = _read64(reader)
        memcpy(&number, &bits64, 8)
        return number
    if head == 0xcc:
        return _take(reader, 1)[0]
    if head == 0xcd:
        return _read16(reader)
    if head == 0xce:
        return _read32(reader)
    if head == 0xcf:
        return _read64(reader)
    if head == 0xd9:
        return _read_str(reader, _take(reader, 1)[0])
    if head == 0xda:
        return _read_str(reader, _read16(reader))
    if head == 0xdb:
        return _read_str(reader, _read32(reader))
    if head == 0xdc:
        return _read_list(reader, _read16(reader), depth)
    if head == 0xdd:
        return _read_list(reader, _read32(reader), depth)
    if head == 0xde:
        return _read_dict(reader, _read16(reader), depth)
    if head == 0xdf:
        return _read_dict(reader, _read32(reader), depth)
    if head == 0xc4:
        return _read_bytes(reader, _take(reader, 1)[0])
    if head == 0xc5:
        return _read_bytes(reader, _read16(reader))
    if head == 0xc6:
        return _read_bytes(reader, _read32(reader))
    if head == 0xd0:
        return <signed char>_take(reader, 1)[0]
    if head == 0xd1:
        return <short>_read16(reader)
    if head == 0xd2:
        return <int>_read32(reader)
    if head == 0xd3:
        return <int64_t>_read64(reader)
    if head == 0xca:
        bits32 = _read32(reader)
        memcpy(&single, &bits32, 4)
        return <double>single
    if 0xd4 <= head <= 0xd8:
        return _read_ext(reader, <uint64_t>1 << (head - 0xd4))
    if head == 0xc7:
        return _read_ext(reader, _take(reader, 1)[0])
    if head == 0xc8:
        return _read_ext(reader, _read16(reader))
    if head == 0xc9:
        return _read_ext(reader, _read32(reader))
    raise Undecodable(NO_MESSAGEPACK)


cdef object _read_str(Reader *reader, uint32_t length):
    cdef const uint8_t *text = _take(reader, length)
    return _text(text, length)


cdef object _text(const uint8_t *text, uint32_t length):
    try:
        return PyUnicode_DecodeUTF8(<const char *>text, length, NULL)
    except UnicodeDecodeError:
        raise Undecodable(NO_UTF8) from None


cdef object _read_ext(Reader *reader, uint64_t length):
    cdef const uint8_t *taken = _take(reader, 1 + length)
    if reader.is_plain and (
        taken[0] == EXT_REFERENCE or taken[0] == EXT_BUFFER
        or taken[0] == EXT_ARRAY and length > 0 and taken[1] == TABLE
    ):
        raise HasReferences
    data = PyByteArray_FromStringAndSize(<const char *>taken + 1, length)
    value = unpack_ext(<signed char>taken[0], data, None if reader.lender == NULL else <object>reader.lender)
    if reader.is_plain and type(value) is Missing:
        raise HasReferences
    return value


cdef object _read_bytes(Reader *reader, uint32_t length):
    cdef const uint8_t *taken = _take(reader, length)
    return PyBytes_FromStringAndSize(<const char *>taken, length)


cdef int _announce(Reader *reader, uint64_t values, int depth) except -1:
    if depth >= MAX_DEPTH_RECEIVED:
        raise Undecodable(TOO_DEEP)
    if reader.announced + values > <uint64_t>(reader.end - reader.at):
        raise Undecodable(CUT_SHORT)
    reader.announced += values
    reader.values += values
    if reader.values > MAX_VALUES:
        raise Undecodable(TOO_MANY)
    return 0


cdef object _read_list(Reader *reader, uint32_t count, int depth):
    cdef Py_ssize_t index
    _announce(reader, count, depth)
    items = PyList_New(count)
    for index in range(count):
        reader.announced -= 1
        item = _read(reader, depth + 1)
        Py_INCREF(item)
        PyList_SET_ITEM(items, index, item)
    return items


cdef object _read_dict(Reader *reader, uint32_t count, int depth):
    cdef uint32_t index
    cdef dict fields
    _announce(reader, 2 * <uint64_t>count, depth)
    fields = {}
    for index in range(count):
        reader.announced -= 2
        key = _read_key(reader)
        fields[key] = _read(reader, depth + 1)
    return fields


cdef object _read_key(Reader *reader):
    """A key: for a short str the same object as last time, whose hash is known."""
    cdef uint8_t head
    cdef Py_ssize_t place
    cdef uint32_t length
    cdef const uint8_t *text
    cdef Py_ssize_t cached_length = 0
    cdef const char *cached_text
    if reader.at == reader.end:
        raise Undecodable(CUT_SHORT)
    head = reader.at[0]
    if 0xa0 < head < 0xc0:
        length = head & 0x1f
        reader.at += 1
        text = _take(reader, length)
        place = (length * 31 + text[0] * 7 + text[length - 1] + text[length >> 1] * 3) & (KEYS - 1)
        cached = _keys[place]
        if cached is not None:
            cached_text = PyUnicode_AsUTF8AndSize(cached, &cached_length)
            if <uint32_t>cached_length == length and memcmp(cached_text, text, length) == 0:
                return cached
        key = _text(text, length)
        _keys[place] = key
        return key
    if 0x80 <= head < 0xa0 or 0xdc <= head <= 0xdf or 0xc7 <= head <= 0xc9 or 0xd4 <= head <= 0xd8:
        raise Undecodable(UNSUITABLE_KEY)
    return _read(reader, 0)
