"""OpenTelemetry, where the program uses it: spans for calls made and served, and the trace that travels with them.

Nothing is imported for it: whoever traces has imported `opentelemetry.trace` before a connection is made. What a tracer
of the program's raises is logged, and keeps no call from being made or served.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from contextvars import Context
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from .calls import ServedCall
from .errors import BridgeError, RemoteError, name_of, stack_of, text_of
from .exits import is_interrupt
from .handshake import LIBRARY_VERSION
from .log import log_raised

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
T = TypeVar("T")


def tracing_in_use(address: str) -> Tracing | None:
    """Where the program uses OpenTelemetry. address: the acceptor's socket, for the attributes of spans."""
    trace, context = sys.modules.get("opentelemetry.trace"), sys.modules.get("opentelemetry.context")
    return None if trace is None or context is None else Tracing(trace, context, address)


class Span:
    """One call, as a span. traceparent: what tells it to the other side, or None where there is nothing to tell."""

    def __init__(self, trace: Any, span: Any) -> None:
        self._trace: Final = trace
        self._span: Final = span
        self._is_over = span is None
        self.traceparent: Final = None if span is None else _guarded(lambda: _traceparent_of(span))

    def fail(self, raised: BaseException) -> None:
        """It ends with an exception."""
        if not self._is_over:
            _guarded(lambda: self._tell(raised))

    def end(self) -> None:
        """It has ended. Safe to call twice."""
        if not self._is_over:
            self._is_over = True
            _guarded(self._span.end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(error)
        self.end()

    def _tell(self, raised: BaseException) -> None:
        if not self._span.is_recording():
            return
        name, text = name_of(type(raised)), text_of(raised)
        if isinstance(raised, BridgeError):
            self._span.set_attribute("rpc.response.status_code", raised.code)
            name = raised.type if isinstance(raised, RemoteError) else raised.code
        self._span.set_attribute("error.type", name)
        told = {"exception.type": name, "exception.message": text, "exception.stacktrace": stack_of(raised)}
        self._span.add_event("exception", told)
        self._span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, text))


class Tracing:
    """Makes the spans of one connection's calls, with the semantic conventions of OpenTelemetry for RPC."""

    def __init__(self, trace: Any, context: Any, address: str) -> None:
        self._trace: Final = trace
        self._context: Final = context
        self._address: Final = address
        self._tracer: Final[Any] = _guarded(lambda: trace.get_tracer("shm_protocol", LIBRARY_VERSION))

    def traceparent(self) -> str | None:
        """Of the span that is current."""
        return _guarded(lambda: _traceparent_of(self._trace.get_current_span()))

    def start_call(self, method: str) -> Span:
        """A call of ours begins, within the span that is current."""
        return Span(self._trace, _guarded(lambda: self._start(method, self._trace.SpanKind.CLIENT, None)))

    def serve(self, request: ServedCall, context: Context) -> None:
        """A call of the peer's begins, in `context`, whose current span its span is from now on."""
        request.lingers = True
        request.span = Span(self._trace, _guarded(lambda: self._serve(request, context)))

    def _serve(self, request: ServedCall, context: Context) -> Any:
        trace = self._trace
        around = self._context.Context()
        told = _TRACEPARENT.match(request.traceparent or "")
        if told is not None:
            trace_id, span_id, flags = (int(part, 16) for part in told.groups())
            caller = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags))
            around = trace.set_span_in_context(trace.NonRecordingSpan(caller), around)
        span = self._start(request.method, trace.SpanKind.SERVER, around)
        context.run(self._context.attach, trace.set_span_in_context(span, around))
        return span

    def _start(self, method: str, kind: Any, around: Any) -> Any:
        attributes = {
            "rpc.system.name": "shm_polyglot",
            "rpc.method": method,
            "server.address": self._address,
        }
        return self._tracer.start_span(method, context=around, kind=kind, attributes=attributes)


def _traceparent_of(span: Any) -> str | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _guarded(look: Callable[[], T]) -> T | None:
    """What a tracer gives, or None where it raises."""
    try:
        return look()
    except BaseException as failed:
        if is_interrupt(failed):
            raise
        log_raised(logging.ERROR, "%s failed", "OpenTelemetry's tracer", raised=failed)
        return None
