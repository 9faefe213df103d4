"""Serving: runs the functions that the peer calls, and answers for them.

Whatever a function, its result or its exception does while it is run, looked at, encoded, closed or logged, the caller
is told, in the worst case with an answer that nothing of the user's has a part in; the connection and whoever else is
served on it never notice. Only what exits.py tells of goes its way, after the caller has been told: what a function
raises to end the program, and what strikes while the library looks at something.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from threading import get_ident
from typing import Any, Final, NoReturn
from weakref import ref

from . import streams
from .calls import ServedCall
from .current_call import Caller, Served, being_served
from .errors import (
    BridgeError,
    ConnectionClosed,
    EncodeError,
    MessageTooLarge,
    PeerGone,
    ProtocolError,
    Released,
    RemoteError,
    UnknownMethod,
    name_of,
    text_of,
)
from .exits import ends_program, is_interrupt, traceback_of
from .exposables import Function, looked_at, methods_of
from .exposed import ANY_NUMBER, NEEDS_LOOP, Exposed, argument_counts, wrong_count
from .link import Link
from .log import log_plainly, log_raised
from .near_names import did_you_mean
from .references import REFERENCE_PREFIX, Lent
from .streams import END


class Serving:
    """Runs what one side exposes for the peer of one connection.

    served: requests and notifications started. depth: how many run, one inside the other. current: the innermost.
    """

    def __init__(self, link: Link, exposed: Exposed, connection: Caller) -> None:
        self.served = 0
        self.depth = 0
        self.current: ServedCall | None = None
        self._link: Final = link
        self._session: Final = link.session
        self._exposed: Final = exposed
        self._functions: Final = exposed.functions
        self._built_in: Final = exposed.built_in
        self._argument_counts: Final = exposed.argument_counts
        # Not kept alive: a connection that nobody holds any more ends at once.
        self._connection: Final = ref(connection)
        self._tell_current: Final = _teller(ref(self))
        # Copied for each root call, which costs less than to make one and to set the variable in it.
        self._empty_context: Final = Context()
        self._empty_context.run(being_served.set, self._tell_current)
        self._stream_first = False  # whose turn it is, where both a stream and a request could go on

    # Choosing.

    def start_next(self) -> bool:
        """Start the next request, or send the next item of a stream; by turns where there are both. False: nothing was
        done.
        """
        session = self._session
        if session.flowing:
            # One that nobody reads any more: its `finally` blocks may release what the caller's next request needs.
            is_abandoned = session.flowing[0].cancelled and session.may_start(session.flowing[0])
            self._stream_first = is_abandoned or not self._stream_first
            if (self._stream_first or not session.queue) and self._serve_stream():
                return True
        if session.queue:
            request = session.take()
            if request is not None:
                self.serve(request)
                return True
        return bool(session.replies) or self._serve_stream()

    # Running.

    def serve(self, request: ServedCall) -> None:
        """Run the function that a request names, and answer."""
        function = self._functions.get(request.method)
        if function is None:
            try:
                function, counts = self._find_other(request)
            except BridgeError as error:
                self._refuse_or_log(request, error)
                return
        else:
            counts = self._argument_counts[request.method]
        if request.kwargs:
            # Which of them fits which parameter is Python's own to tell.
            function = partial(function, **request.kwargs)
        elif len(request.args) not in counts:
            # A TypeError, as in any other call of the language, but without a stack: nothing has run.
            wrong = wrong_count(request.method, counts, len(request.args))
            self._refuse_or_log(request, RemoteError("TypeError", wrong))
            return
        self.served += 1
        request.context = self._make_context(request)
        try:
            result, failed = self._run(request, function, request.args)
            if failed is not None:
                self._settle_failure(request, failed)
            elif request.cancelled or not request.id:
                self._drop(request, result)
            elif request.lingers:
                self._respond_lingering(request, result)
            else:
                self._respond(request, result)
        except BaseException as escaped:
            if not self._has_answered(request, escaped):
                raise

    @property
    def is_waiting(self) -> bool:
        """Whether what is served now is so while a call of ours waits for its answer."""
        return bool(self._session.waiting)

    def settle(self, request: ServedCall, result: object, failed: BaseException | None) -> None:
        """Answer for what has run elsewhere, with what it gave in the end, or raised. See exposed.Elsewhere."""
        try:
            if failed is not None and ends_program(failed):
                request.exits = True
                self._tell_before_the_end(request, failed)
                raise failed
            if request.cancelled:
                self._drop(request, result)
            elif failed is not None:
                self._settle_failure(request, failed)
            elif not self._refuse_unfinished(request, result):
                self._respond_in_the_end(request, result)
        except BaseException as escaped:
            if not self._has_answered(request, escaped):
                raise

    def post_item(self, request: ServedCall, value: object) -> bool:
        """Send an item of what runs in a loop. False: it cannot be sent, and the stream has been broken off."""
        try:
            message = self._session.item(request, value)
        except BaseException as raised:
            self.refuse(request, self._encode_error(raised, request, "item"))
            if is_interrupt(raised):
                raise
            return False
        try:
            self._link.post(message)
        except MessageTooLarge as error:
            self.refuse(request, error)
            return False
        request.credit -= 1
        return True

    def _find_other(self, request: ServedCall) -> tuple[Function, range]:
        """What is not exposed by the program: a function of the library's own, one that has been lent to the peer, or a
        method of an object that has. Raises Released and UnknownMethod.
        """
        method, lending = request.method, self._session.lending
        built_in = self._built_in.get(method)
        if built_in is not None:
            return built_in, ANY_NUMBER
        if not method.startswith(REFERENCE_PREFIX):
            # A copy: others may expose more meanwhile.
            near = did_you_mean(method, list(self._functions))
            raise UnknownMethod(f"{method}: nothing of that name is exposed{near}")
        called = request.lent or lending.find(method)
        if called is None:
            raise lending.why_not(method)
        lent, member = called
        if lent.is_over:
            raise Released(f"{method}: the call that the function was given to has been given up")
        if lent.found is None:
            lent.found = {}
        if member not in lent.found:
            lent.found[member] = _function_of(lent, member, method)
        found: tuple[Function, range] = lent.found[member]
        return found

    def _make_context(self, request: ServedCall) -> Context:
        """What the function runs in: a root call in an empty context, as in a new thread; one that belongs to a call of
        ours that waits in a copy of that one's, as a nested call of one runtime would, but it cannot change it.
        """
        if request.within not in self._session.waiting:
            return self._empty_context.copy()
        context = copy_context()
        context.run(being_served.set, self._tell_current)
        return context

    def served_here(self) -> Served | None:
        """The innermost call that runs, for the thread that serves it."""
        connection, request = self._connection(), self.current
        if request is None or connection is None or connection.owner != get_ident():
            return None
        return connection, request

    def _run(
        self, request: ServedCall, function: Callable[..., Any], args: Sequence[Any], *, is_own: bool = True
    ) -> tuple[Any, BaseException | None]:
        """What the function returned, or what it raised. Raises what ends the program, and BridgeError if the
        connection ended meanwhile.

        is_own: it is the function that is served, or a generator of its, not the code of an object that it gave.
        """
        outer = self.current
        self.current = request
        self.depth += 1
        result: Any = None
        failed: BaseException | None = None
        try:
            result = request.context.run(function, *args)  # type: ignore[union-attr]  # set when it was started
        except BaseException as raised:
            # Whatever it is, the caller is told.
            if is_interrupt(raised) or (is_own and ends_program(raised)):
                request.exits = True
                self._tell_before_the_end(request, raised)
                raise
            failed = raised
            without_our_frame(raised)
        finally:
            self.depth -= 1
            self.current = outer
        if self._link.ended is not None:
            self._raise_ended()
        return result, failed

    def _tell_before_the_end(self, request: ServedCall, raised: BaseException) -> None:
        is_owed = not request.id or request.id in self._session.incoming
        if is_owed and self._link.ended is None and not request.cancelled:
            self._respond_failure(request, raised)

    def _raise_ended(self) -> NoReturn:
        ended = self._link.ended
        if isinstance(ended, ConnectionClosed):
            raise ConnectionClosed(str(ended))
        raise PeerGone(f"the connection ended while a call was served: {ended}")

    def _begin_stream(self, request: ServedCall, result: object) -> None:
        iterator, failed = self._run(request, iter, (result,), is_own=False)
        if failed is not None:
            self._settle_failure(request, failed)
        elif request.cancelled:
            self._drop(request, iterator)
        else:
            request.is_own_stream = streams.runs_function(result)
            self._session.flow(request, iterator)

    def _serve_stream(self) -> bool:
        request = self._session.next_stream()
        if request is None:
            return False
        try:
            if request.cancelled:
                self._drop(request, request.iterator)
            else:
                self._send_item(request)
        except BaseException as escaped:
            if not self._has_answered(request, escaped):
                raise
        return True

    def _send_item(self, request: ServedCall) -> None:
        iterator = request.iterator
        value, failed = self._run(request, next, (iterator, END), is_own=request.is_own_stream)
        if request.cancelled:
            self._drop(request, iterator)
        elif failed is not None:
            self._settle_failure(request, failed)
        elif value is END:
            self._respond_the_long_way(request, None)
        else:
            self._post_item(request, value)

    def _post_item(self, request: ServedCall, value: object) -> None:
        try:
            message = self._session.continue_stream(request, value)
        except BaseException as raised:
            self._drop(request, request.iterator)
            # Kept by no name: it refers to this frame, and a cycle would keep the value.
            self.refuse(request, self._encode_error(raised, request, "item"))
            if is_interrupt(raised):
                raise
            return
        try:
            self._link.post(message)
        except MessageTooLarge as error:
            self._drop(request, request.iterator)
            self.refuse(request, error)

    # Answering.

    def _settle_failure(self, request: ServedCall, failed: BaseException) -> None:
        if request.cancelled:
            log_raised(logging.INFO, "%s raised after its caller had given up", request.method, raised=failed)
            self._drop(request, None)
        else:
            self._respond_failure(request, failed)

    def _refuse_unfinished(self, request: ServedCall, result: object) -> bool:
        """Whether what was given in the end is itself to be awaited or iterated over in a loop: then that is told."""
        if streams.is_async_stream(result):
            self.refuse(request, EncodeError(f"result: {request.method} gives a stream: call it with stream()"))
        elif streams.is_awaitable(result):
            self.refuse(request, EncodeError(f"result: what {request.method} gives is to be awaited twice"))
            self._drop(request, result)
        else:
            return False
        return True

    def _respond_in_the_end(self, request: ServedCall, result: object) -> None:
        """With what something asynchronous has given."""
        if request.lingers:
            self._respond_lingering(request, result)
        else:
            self._respond(request, result)

    def _respond_lingering(self, request: ServedCall, result: object) -> None:
        if request.wants_stream and streams.is_stream(result):
            self._begin_stream(request, result)
        else:
            self._respond_the_long_way(request, result)

    def _respond(self, request: ServedCall, result: object) -> None:
        try:
            # First: most results are plain, and a plain one is nothing of what follows.
            if self._link.post_plain_answer(request, result):
                return
        except MessageTooLarge as error:
            self.refuse(request, MessageTooLarge(f"{request.method}: result: {error}"))
            return
        self._respond_the_long_way(request, result)

    def _respond_the_long_way(self, request: ServedCall, result: object) -> None:
        try:
            if streams.is_awaitable(result) or streams.is_async_stream(result):
                self._respond_later(request, result)
                return
            message = self._encode_answer(request, result)
            if message is not None:
                self._post_answer(request, message)
        except MessageTooLarge as error:
            self.refuse(request, MessageTooLarge(f"{request.method}: result: {error}"))

    def _encode_answer(self, request: ServedCall, result: object) -> bytes | None:
        """The response, or None where an error has been sent instead."""
        try:
            return self._session.answer(request, result)
        except BaseException as raised:
            if streams.is_stream(result):
                error = EncodeError(f"result: {request.method} gives a stream: call it with stream()")
                self.refuse(request, error)
                self._close(request, result)
            else:
                self.refuse(request, self._encode_error(raised, request, "result"))
            if is_interrupt(raised):
                raise
            return None

    def _encode_error(self, raised: BaseException, request: ServedCall, part: str) -> BridgeError:
        """The error to tell of what was raised while a value was encoded: by the encoder, or by the value itself. part:
        "result" or "item".
        """
        if type(raised) is EncodeError:
            return EncodeError(f"{request.method}: {raised}")
        where = f"{request.method}: {part}"
        if type(raised) is MessageTooLarge:
            return MessageTooLarge(f"{where}: {raised}")
        return EncodeError(f"{where}: it cannot be encoded, it raised {name_of(type(raised))}: {text_of(raised)}")

    def _respond_later(self, request: ServedCall, result: Any) -> None:
        """What an asynchronous function gives, where there is no loop to await it in."""
        if self._exposed.elsewhere is not None:
            self._exposed.elsewhere.respond(self, request, result)
            return
        self.refuse(request, EncodeError(f"result: {request.method} is asynchronous; {NEEDS_LOOP}"))
        # Else it would be reported as never awaited.
        if streams.is_coroutine(result):
            self._close(request, result)

    def _respond_failure(self, request: ServedCall, raised: BaseException) -> None:
        if not request.id:
            log_raised(logging.ERROR, "the notification %s raised", request.method, raised=raised)
            return
        try:
            message = self._session.fail(request, raised)
        except BaseException as failed:
            self._answer_last(request)
            if is_interrupt(failed):
                raise
            return
        self._post_answer(request, message)

    def _refuse_or_log(self, request: ServedCall, error: BridgeError) -> None:
        if request.id:
            self.refuse(request, error)
        else:
            self._session.finish(request)
            text = error.message if isinstance(error, RemoteError) else error
            log_plainly(logging.WARNING, "a notification cannot be delivered: %s", text)

    def refuse(self, request: ServedCall, error: BridgeError) -> None:
        """Answer with an error of the library's own: the function did not run, or its result cannot be sent."""
        self._post_answer(request, self._session.refuse(request, error))

    def _post_answer(self, request: ServedCall, message: bytes) -> None:
        if request.lingers:
            # First what its function has held: with its answer the peer takes back the rest.
            self._link.tell_references()
        self._link.post(message)

    def _answer_last(self, request: ServedCall) -> None:
        """The answer that cannot fail: nothing of a user's is in it."""
        self._session.finish(request)
        try:
            self._post_answer(request, last_answer(request.id))
        except MessageTooLarge as error:
            raise ProtocolError(f"the peer takes no message that an error fits into: {error}") from None

    def _has_answered(self, request: ServedCall, escaped: BaseException) -> bool:
        """Whether it was answered all the same, because what has escaped is a hook's that was thought of nowhere, and
        ends neither the connection nor the program.
        """
        if isinstance(escaped, BridgeError | MemoryError) or request.exits or is_interrupt(escaped):
            return False
        self._answer_escaped(request, escaped)
        return True

    def _answer_escaped(self, request: ServedCall, escaped: BaseException) -> None:
        """What has come past every guard is answered all the same, once, and logged."""
        if request.id and request.id in self._session.incoming and not request.cancelled:
            self._answer_last(request)
        self._session.finish(request)
        log_raised(logging.ERROR, "what %s gave could not be dealt with", request.method, raised=escaped)

    # Closing.

    def _drop(self, request: ServedCall, result: object) -> None:
        """Nobody wants the result. If it is an iterator, its `finally` blocks run now."""
        self._session.finish(request)
        if streams.is_stream(result) or streams.is_coroutine(result):
            self._close(request, result)

    def _close(self, request: ServedCall, result: object) -> None:
        _, failed = self._run(request, streams.close, (result,), is_own=False)
        if failed is not None:
            log_raised(logging.ERROR, "closing the stream of %s raised", request.method, raised=failed)

    def close_streams(self, requests: Sequence[ServedCall]) -> None:
        """Close the streams of a connection that has ended. Raises what ends the program, after the last."""
        ends: BaseException | None = None
        for request in requests:
            try:
                assert request.context is not None
                request.context.run(streams.close, request.iterator)
            except BaseException as failed:  # noqa: BLE001  # each stream is closed, whatever the others do
                log_raised(logging.ERROR, "closing the stream of %s raised", request.method, raised=failed)
                ends = failed if is_interrupt(failed) else ends
        if ends is not None:
            raise ends


def _teller(serving: ref[Serving]) -> Callable[[], Served | None]:
    """Tells its current call, and keeps nothing alive: a user's task or thread may keep a context for ever."""

    def tell() -> Served | None:
        alive = serving()
        return None if alive is None else alive.served_here()

    return tell


def _function_of(lent: Lent, member: str, method: str) -> tuple[Function, range]:
    """What is called, and how many arguments it can take. Raises UnknownMethod."""
    if not member:
        function: Function = lent.target
    else:
        kind = name_of(type(lent.target))
        try:
            methods = looked_at(f"{kind}.{member}", lambda: methods_of(lent.target))
        except TypeError as failed:
            raise UnknownMethod(f"{method}: {failed}") from None
        if member not in methods:
            raise UnknownMethod(f"{method}: {kind} has no public method {member!r}")
        function = methods[member]
    return function, argument_counts(function)


def last_answer(request_id: int) -> bytes:
    """A RemoteError, made without an encoder."""
    text = b"an error that cannot be described"
    return b"".join(
        (
            b"\x94\x01\xcf",
            request_id.to_bytes(8, "big"),
            b"\x82\xa4code\xabRemoteError\xa7message",
            b"\xd9",
            len(text).to_bytes(1, "big"),
            text,
            b"\xc0",
        )
    )


def without_our_frame(raised: BaseException) -> None:
    """Let the stack begin at the user's function."""
    trace = traceback_of(raised)
    if trace is not None:
        BaseException.with_traceback(raised, trace.tb_next)
