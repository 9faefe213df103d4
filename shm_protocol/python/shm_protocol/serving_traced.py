"""Serving where the program uses OpenTelemetry: each call has a span. What that costs, it costs here alone."""

from __future__ import annotations

from contextvars import Context
from typing import Any, Final

from .calls import ServedCall
from .serving import Serving
from .tracing import Tracing


class TracedServing(Serving):
    """A Serving whose calls have spans. The arguments are Serving's, after tracing."""

    def __init__(self, tracing: Tracing, *args: Any) -> None:
        super().__init__(*args)
        self._tracing: Final = tracing

    def _make_context(self, request: ServedCall) -> Context:
        context = super()._make_context(request)
        self._tracing.serve(request, context)
        return context
