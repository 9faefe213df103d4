# cython: language_level=3, boundscheck=False, wraparound=False
"""A call as most are, in one step: from its arguments to the ring, and from the ring to its result; likewise the answer to
one of the peer's.

A quick way through connection.py, never another opinion: it sends the bytes that frames.py would, takes nothing but the
answer, and leaves whatever else happens to the connection.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from shm_protocol._binding cimport Channel, now_ns
from shm_protocol._codec cimport Encoder, read_answer

from shm_protocol._codec import DECLINED

__all__ = ["DirectCalls", "Unfinished", "compile_call"]

cdef extern from "Python.h":
    ctypedef PyObject *(*PyCFunction)(PyObject *, PyObject *)

    ctypedef struct PyMethodDef:
        const char *ml_name
        PyCFunction ml_meth
        int ml_flags
        const char *ml_doc

    int METH_FASTCALL
    int METH_KEYWORDS
    object PyDescr_NewMethod(PyTypeObject *type, PyMethodDef *method)
    int PyContextVar_Get(object var, PyObject *default_value, PyObject **value) except -1
    void Py_DECREF(PyObject *)
    unsigned long PyThread_get_thread_ident()

cdef enum:
    # Answers up to so many bytes need no memory of their own.
    COPY_BYTES = 1024
    # frames._SURELY_SHORT
    MAX_METHOD_CHARACTERS = 64
    # Seconds. Longer ones, and none, are the connection's.
    MAX_TIMEOUT = 86400

cdef object _DECLINED = DECLINED


cdef class Unfinished:
    """What a call has come to where it has no result yet. direct_calls.py says what the fields mean."""

    cdef readonly bint sent
    cdef readonly object message
    cdef readonly double began


cdef Unfinished _unfinished(bint sent, object message, int64_t began_ns):
    cdef Unfinished unfinished = Unfinished.__new__(Unfinished)
    unfinished.sent = sent
    unfinished.message = message
    unfinished.began = began_ns / 1e9
    return unfinished


cdef class DirectCalls:
    """The calls of one connection.

    encoder: one that nobody else uses meanwhile. under_way: what must be empty, or other things are under way.
    stale_after_s: a connection idle for longer is to be looked at before anything is sent.
    """

    cdef Channel channel
    cdef Encoder encoder
    cdef tuple under_way
    cdef int64_t stale_after_ns
    cdef int64_t last_used_ns
    cdef readonly uint64_t sent

    def __init__(
        self, Channel channel not None, Encoder encoder not None, tuple under_way not None, double stale_after_s
    ):
        self.channel = channel
        self.encoder = encoder
        self.under_way = under_way
        self.stale_after_ns = <int64_t>(stale_after_s * 1e9)
        self.last_used_ns = now_ns()

    def call(self, uint64_t call_id, method, args, timeout, bint told):
        """The result, or an Unfinished. timeout: seconds; told: the peer is to know of it.

        Raises what sending and receiving raise. Counts the call unless it is unfinished.
        """
        cdef int64_t began_ns = now_ns()
        cdef bint is_stale = began_ns - self.last_used_ns > self.stale_after_ns
        cdef double seconds
        cdef int64_t left_ns
        self.last_used_ns = began_ns
        if type(method) is not str or not 0 < len(<str>method) <= MAX_METHOD_CHARACTERS:
            return _unfinished(False, None, began_ns)
        for container in self.under_way:
            if container:
                return _unfinished(False, None, began_ns)
        if type(timeout) is not float and type(timeout) is not int or not 0 < timeout <= MAX_TIMEOUT:
            return _unfinished(False, None, began_ns)
        seconds = timeout
        if is_stale and not self.channel.is_connected():
            return _unfinished(False, None, began_ns)
        if type(args) is not tuple or not self.encoder.write_request(
            call_id, method, args, seconds * 1000 if told else 0
        ):
            return _unfinished(False, None, began_ns)
        try:
            left_ns = <int64_t>(seconds * 1e9)
            is_published = self.channel.put(self.encoder.buffer, self.encoder.position)
            self.sent = call_id
            if not is_published:
                if not self.channel.put_rest(self.encoder.buffer, self.encoder.position, left_ns):
                    return _unfinished(True, None, began_ns)
                left_ns = max(0, left_ns - (now_ns() - began_ns))
            return self._take_answer(call_id, left_ns, began_ns)
        except BaseException:
            self.channel.count(began_ns, True)
            raise

    def answer(self, uint64_t request_id, result):
        """Send the response of a function that returned, as Channel.send does. None: nothing is sent; go the long way."""
        if not self.encoder.write_answer(request_id, result):
            return None
        if self.channel.put(self.encoder.buffer, self.encoder.position):
            return True
        self.channel.keep(self.encoder.buffer, self.encoder.position)
        return False

    cdef object _take_answer(self, uint64_t call_id, int64_t timeout_ns, int64_t began_ns):
        cdef uint8_t copy[COPY_BYTES]
        cdef size_t length = 0
        cdef size_t size = 0
        cdef uint8_t *taken
        cdef object owned = None
        cdef const uint8_t *answer = self.channel.look(&length, timeout_ns)
        if answer == NULL:
            return _unfinished(True, None, began_ns)
        # It is consumed before values are made: that may run the collector, and with it a finalizer that uses this very
        # channel. And it is not read where the peer can change it, in the ring.
        if length <= COPY_BYTES:
            memcpy(copy, answer, length)
            self.channel.consume()
            return self._read(copy, length, None, call_id, began_ns)
        taken = self.channel.take(&size)
        if taken == NULL:
            owned = PyBytes_FromStringAndSize(<const char *>answer, length)
            self.channel.consume()
            return self._read(<const uint8_t *>PyBytes_AS_STRING(owned), length, owned, call_id, began_ns)
        try:
            return self._read(taken, length, None, call_id, began_ns)
        finally:
            self.channel.give_back(taken, size)

    cdef object _read(self, const uint8_t *answer, size_t length, object owned, uint64_t call_id, int64_t began_ns):
        """The result in the answer, or what the connection needs where it is none. owned: the same, where there is such bytes."""
        result = read_answer(answer, length, call_id)
        if result is _DECLINED:
            return _unfinished(True, owned or PyBytes_FromStringAndSize(<const char *>answer, length), began_ns)
        self.channel.count(began_ns, False)
        return result


cdef class _PooledCall:
    """What _call_pooled needs: of the one class whose method it is."""

    cdef object in_python
    cdef object being_served
    cdef object stale
    cdef object default_timeout
    cdef bytes documentation
    cdef PyMethodDef method


cdef _PooledCall _pooled = _PooledCall()


def compile_call(client_class, being_served, stale, default_timeout):
    """See direct_calls.py."""
    in_python = client_class.call
    # The first line is what inspect.signature reads.
    parameters = f"$self, method, *args, timeout={default_timeout}, traceparent=None, kwargs=None, **keywords"
    _pooled.in_python = in_python
    _pooled.being_served = being_served
    _pooled.stale = stale
    _pooled.default_timeout = default_timeout
    _pooled.documentation = f"call({parameters})\n--\n\n{in_python.__doc__}".encode()
    _pooled.method.ml_name = "call"
    _pooled.method.ml_meth = <PyCFunction><void *>_call_pooled
    _pooled.method.ml_flags = METH_FASTCALL | METH_KEYWORDS
    _pooled.method.ml_doc = _pooled.documentation
    client_class.call = PyDescr_NewMethod(<PyTypeObject *>client_class, &_pooled.method)


cdef object _call_pooled(object client, PyObject *const *arguments, Py_ssize_t count, PyObject *names):
    """Client.call where a connection is idle, nothing is being served, and no keyword but timeout is given."""
    cdef Py_ssize_t named = 0 if names == NULL else PyTuple_GET_SIZE(<object>names)
    cdef list idle
    cdef Py_ssize_t index
    cdef bint is_usual = count > 0
    timeout = _pooled.default_timeout
    if named == 1 and <object>PyTuple_GET_ITEM(<object>names, 0) == "timeout":
        timeout = <object>arguments[count]
    elif named > 0:
        is_usual = False
    idle = client._idle
    if is_usual and idle and not _serves():
        connection = idle.pop()
        connection.owner = PyThread_get_thread_ident()
        try:
            return connection.call_with(<object>arguments[0], _tuple_of(arguments + 1, count - 1), timeout, None)
        except _pooled.stale:
            # Nothing was sent: see Client.call.
            pass
        finally:
            if client._closed or client._waiting or connection.link.ended is not None:
                client.release(connection)
            else:
                # No other thread comes between the look at _waiting and this: it runs compiled, and keeps the GIL. The
                # list as it is now: a fork may have been between.
                idle = client._idle
                idle.append(connection)
    keywords = {<object>PyTuple_GET_ITEM(<object>names, index): <object>arguments[count + index] for index in range(named)}
    return _pooled.in_python(client, *_tuple_of(arguments, count), **keywords)


cdef bint _serves() except -1:
    """Whether a call of a peer's is being served here, as current_call tells."""
    cdef PyObject *served = NULL
    PyContextVar_Get(_pooled.being_served, NULL, &served)
    is_none = served == <PyObject *>None
    Py_DECREF(served)
    return not is_none


cdef tuple _tuple_of(PyObject *const *items, Py_ssize_t count):
    cdef tuple made = PyTuple_New(count)
    cdef Py_ssize_t index
    for index in range(count):
        Py_INCREF(<object>items[index])
        PyTuple_SET_ITEM(made, index, <object>items[index])
    return made
