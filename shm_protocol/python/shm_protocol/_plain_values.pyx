# cython: language_level=3, boundscheck=False, wraparound=False
"""MessagePack of plain values, in one pass: exact None, bool, int, float, str, bytes, list, tuple and dict.

A quick way round msgpack, never another opinion: it writes the bytes and makes the values that values.py would, and
declines whatever is not plain, not valid, nested deep or large. values.py then does it, or says what is wrong with it.
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

cdef extern from "Python.h":
    object PyUnicode_DecodeUTF8(const char *text, Py_ssize_t bytes, const char *errors)
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *bytes) except NULL
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    unsigned long long PyLong_AsUnsignedLongLong(object number) except? 0xffffffffffffffff

cdef extern from "byteswap.h" nogil:
    uint16_t bswap_16(uint16_t)
    uint32_t bswap_32(uint32_t)
    uint64_t bswap_64(uint64_t)

cdef enum:
    # Far below values.MAX_DEPTH_SENT: the recursion here is C's, and what is nested deeper is rare.
    DEPTH_MAX = 64
    # values.MAX_DEPTH_RECEIVED
    DEPTH_RECEIVED_MAX = 512
    LEVELS = 513
    FIRST_BYTES = 512
    # What one message leaves allocated. Larger ones are msgpack's: their time goes into the copying.
    BYTES_MAX = 262144
    # frames.REQUEST and RESPONSE
    REQUEST = 0
    RESPONSE = 1
    # The cache of the keys of maps has so many places, a power of two.
    KEYS = 128

DECLINED = object()
"""What decode_plain returns for a message that is not for it."""


class _Declined(Exception):
    """Raised as a class: one instance, raised again and again, would keep the traceback of each time."""


cdef class PlainEncoder:
    """Writes values into a buffer of its own, which belongs to one thread at a time."""

    def __cinit__(self):
        self.buffer = <uint8_t *>malloc(FIRST_BYTES)
        if self.buffer == NULL:
            raise MemoryError
        self.capacity = FIRST_BYTES

    def __dealloc__(self):
        free(self.buffer)

    def pack(self, value):
        """The bytes of `value`, or None: declined."""
        self.position = 0
        try:
            self._value(value, 0)
        # UnicodeEncodeError: a lone surrogate. OverflowError: an int of more than 64 bits.
        except (_Declined, UnicodeEncodeError, OverflowError):
            return None
        return PyBytes_FromStringAndSize(<const char *>self.buffer, self.position)

    cdef bint write_request(self, uint64_t call_id, str method, tuple args, double deadline_ms) except -1:
        """Leave a request in the buffer (PROTOCOL.md section 7), without meta where `deadline_ms` is 0. False: declined."""
        self.position = 0
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
        except (_Declined, UnicodeEncodeError, OverflowError):
            return False
        return True

    cdef bint write_answer(self, uint64_t request_id, object result) except -1:
        """Leave the response of a function that returned in the buffer. False: declined."""
        self.position = 0
        try:
            self._byte(0x94)
            self._byte(RESPONSE)
            self._natural(request_id)
            self._byte(0xc0)
            self._value(result, 1)
        except (_Declined, UnicodeEncodeError, OverflowError):
            return False
        return True

    cdef uint8_t *_reserve(self, Py_ssize_t count) except NULL:
        """Room for so many bytes, which are counted as written."""
        cdef Py_ssize_t end = self.position + count
        cdef uint8_t *grown
        if end > self.capacity:
            if end > BYTES_MAX:
                raise _Declined
            grown = <uint8_t *>realloc(self.buffer, min(2 * end, BYTES_MAX))
            if grown == NULL:
                raise MemoryError
            self.buffer = grown
            self.capacity = min(2 * end, BYTES_MAX)
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
        raise _Declined

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
        elif length < BYTES_MAX:
            self._head32(0xdb, <uint32_t>length)
        else:
            raise _Declined
        memcpy(self._reserve(length), encoded, length)
        return 0

    cdef int _bytes(self, object value) except -1:
        cdef Py_ssize_t length = PyBytes_GET_SIZE(value)
        if length < 0x100:
            self._head8(0xc4, <uint8_t>length)
        elif length < 0x10000:
            self._head16(0xc5, <uint16_t>length)
        elif length < BYTES_MAX:
            self._head32(0xc6, <uint32_t>length)
        else:
            raise _Declined
        memcpy(self._reserve(length), PyBytes_AS_STRING(value), length)
        return 0

    cdef int _container(self, Py_ssize_t count, int depth, uint8_t fixed, uint8_t sixteen) except -1:
        if depth >= DEPTH_MAX or count > BYTES_MAX:
            raise _Declined
        if count < 16:
            return self._byte(<uint8_t>(fixed | count))
        if count < 0x10000:
            return self._head16(sixteen, <uint16_t>count)
        return self._head32(sixteen + 1, <uint32_t>count)

    cdef int _list(self, object value, int depth) except -1:
        cdef Py_ssize_t index
        cdef Py_ssize_t count = PyList_GET_SIZE(value)
        self._container(count, depth, 0x90, 0xdc)
        for index in range(count):
            self._value(<object>PyList_GET_ITEM(value, index), depth + 1)
        return 0

    cdef int _tuple(self, object value, int depth) except -1:
        cdef Py_ssize_t index
        cdef Py_ssize_t count = PyTuple_GET_SIZE(value)
        self._container(count, depth, 0x90, 0xdc)
        for index in range(count):
            self._value(<object>PyTuple_GET_ITEM(value, index), depth + 1)
        return 0

    cdef int _dict(self, object value, int depth) except -1:
        cdef Py_ssize_t place = 0
        cdef PyObject *key
        cdef PyObject *item
        self._container(PyDict_Size(value), depth, 0x80, 0xde)
        while PyDict_Next(value, &place, &key, &item):
            self._key(<object>key)
            self._value(<object>item, depth + 1)
        return 0

    cdef int _key(self, object key) except -1:
        kind = type(key)
        if kind is str:
            return self._str(key)
        # A tuple could be a key here, and not in every language.
        if kind is tuple:
            raise _Declined
        return self._value(key, 0)


cdef struct Reader:
    const uint8_t *at
    const uint8_t *end
    # Values that containers have announced and that are still to come. Each takes a byte at least: no container is made
    # for more than the message can hold, nor all of them together.
    uint64_t announced


cdef list _keys = [None] * KEYS


def decode_plain(bytes message not None):
    """The one value in `message`, or DECLINED."""
    cdef Reader reader
    reader.at = <const uint8_t *>PyBytes_AS_STRING(message)
    reader.end = reader.at + PyBytes_GET_SIZE(message)
    reader.announced = 0
    try:
        value = _read(&reader, 0)
    except (_Declined, UnicodeDecodeError):
        return DECLINED
    return value if reader.at == reader.end else DECLINED


cdef object read_answer(const uint8_t *message, Py_ssize_t length, uint64_t call_id):
    """The result in `message`, if that is a response to the call, without an error; else DECLINED."""
    cdef Reader reader
    reader.at = message
    reader.end = message + length
    reader.announced = 0
    try:
        if _take(&reader, 1)[0] != 0x94 or _take(&reader, 1)[0] != RESPONSE:
            return DECLINED
        if _read_natural(&reader) != call_id or _take(&reader, 1)[0] != 0xc0:
            return DECLINED
        value = _read(&reader, 1)
    except (_Declined, UnicodeDecodeError):
        return DECLINED
    return value if reader.at == reader.end else DECLINED


cdef const uint8_t *_take(Reader *reader, uint64_t count) except NULL:
    """So many bytes, and go past them."""
    cdef const uint8_t *taken = reader.at
    if count > <uint64_t>(reader.end - reader.at):
        raise _Declined
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
    raise _Declined


cdef object _read_str(Reader *reader, uint32_t length):
    cdef const uint8_t *text = _take(reader, length)
    return PyUnicode_DecodeUTF8(<const char *>text, length, NULL)


cdef object _read_bytes(Reader *reader, uint32_t length):
    cdef const uint8_t *taken = _take(reader, length)
    return PyBytes_FromStringAndSize(<const char *>taken, length)


cdef int _announce(Reader *reader, uint64_t values, int depth) except -1:
    if depth >= DEPTH_MAX or reader.announced + values > <uint64_t>(reader.end - reader.at):
        raise _Declined
    reader.announced += values
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
        raise _Declined
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
        key = PyUnicode_DecodeUTF8(<const char *>text, length, NULL)
        _keys[place] = key
        return key
    # A container is no key: msgpack says so.
    if head < 0xa0 and head >= 0x80 or 0xdc <= head <= 0xdf:
        raise _Declined
    return _read(reader, 0)


cdef str _INCOMPLETE = "it is cut short, or goes on after its value"


def fault_of_structure(bytes message not None):
    """Why `message` is not one value that is all there, nested as deep as it may be, with scalars as keys; None where it
    is. It says nothing of the contents of texts and extensions.

    To be asked before msgpack is: it makes room for each container as it is announced, so that nested ones could
    announce a thousand times what the message holds; and it drops what stands under a key that comes again.
    """
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(message)
    cdef uint64_t left = PyBytes_GET_SIZE(message)
    cdef uint64_t values = 1
    cdef uint64_t head_bytes
    cdef uint64_t body_bytes
    cdef uint64_t count
    cdef uint8_t head
    cdef uint8_t index
    # Of each container that is open: how many of its values are to come, and whether every other one is a key.
    cdef uint64_t left_in[LEVELS]
    cdef bint is_map[LEVELS]
    cdef int depth = 0
    cdef bint is_key
    cdef bint is_container
    left_in[0], is_map[0] = 1, False
    while values > 0:
        if values > left:
            return _INCOMPLETE
        while left_in[depth] == 0:
            depth -= 1
        is_key = is_map[depth] and left_in[depth] % 2 == 0
        head = at[0]
        values -= 1
        left_in[depth] -= 1
        is_container = 0x80 <= head < 0xa0 or 0xdc <= head <= 0xdf
        if is_key and (is_container or 0xc7 <= head <= 0xc9 or 0xd4 <= head <= 0xd8):
            return "a map key that is no scalar"
        if is_container and depth == DEPTH_RECEIVED_MAX:
            return f"nested more than {DEPTH_RECEIVED_MAX} deep"
        head_bytes, body_bytes, count = 1, 0, 0
        if head < 0x80 or head >= 0xe0 or head == 0xc0 or head == 0xc2 or head == 0xc3:
            pass
        elif head < 0x90:
            count = 2 * (head & 0x0f)
        elif head < 0xa0:
            count = head & 0x0f
        elif head < 0xc0:
            body_bytes = head & 0x1f
        elif head == 0xc1:
            return "0xc1 is no MessagePack"
        elif 0xca <= head <= 0xd3:
            # float32, float64, uint8 to uint64, int8 to int64
            body_bytes = 4 if head == 0xca else 8 if head == 0xcb else 1 << ((head - 0xcc) & 3)
        elif 0xd4 <= head <= 0xd8:
            body_bytes = 1 + (1 << (head - 0xd4))
        else:
            # A length or a count of 1, 2 or 4 bytes.
            if head <= 0xc9:
                head_bytes = 1 << ((head - 0xc4) % 3)
            elif head <= 0xdb:
                head_bytes = 1 << (head - 0xd9)
            else:
                head_bytes = 2 if head == 0xdc or head == 0xde else 4
            if head_bytes >= left:
                return _INCOMPLETE
            for index in range(head_bytes):
                count = count << 8 | at[1 + index]
            head_bytes += 1
            if head == 0xde or head == 0xdf:
                count *= 2
            elif head != 0xdc and head != 0xdd:
                # An extension has its type before its bytes.
                body_bytes = count + (1 if 0xc7 <= head <= 0xc9 else 0)
                count = 0
        if head_bytes + body_bytes > left:
            return _INCOMPLETE
        at += head_bytes + body_bytes
        left -= head_bytes + body_bytes
        values += count
        if is_container:
            depth += 1
            left_in[depth], is_map[depth] = count, head < 0x90 or head >= 0xde
    return None if left == 0 else _INCOMPLETE
