"""A worker that traces, or with `untraced` does not: its last line are the spans that have ended."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import shm_protocol

TRACES = os.environ.get("UNTRACED") is None
spans: Any = None
if TRACES:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)


def back(method: str, *args: Any) -> Any:
    """Call back, within a span of the program's own."""
    call = shm_protocol.current_call()
    assert call is not None
    if not TRACES:
        return call.connection.call(method, *args)
    with trace.get_tracer("test").start_as_current_span("own work"):
        return call.connection.call(method, *args)


async def back_async(method: str, *args: Any) -> Any:
    """The same in an event loop."""
    with trace.get_tracer("test").start_as_current_span("own work"):
        return await client.call(method, *args)


def fail() -> None:
    """Raise."""
    raise LookupError("not there")


def told() -> list[dict[str, Any]]:
    """The spans that have ended."""
    return [
        {
            "name": span.name,
            "kind": span.kind.name,
            "trace": f"{span.context.trace_id:032x}",
            "span": f"{span.context.span_id:016x}",
            "parent": None if span.parent is None else f"{span.parent.span_id:016x}",
            "attributes": dict(span.attributes),
            "failed": span.status.status_code.name == "ERROR",
            "events": [event.name for event in span.events],
        }
        for span in (spans.get_finished_spans() if TRACES else ())
    ]


async def serve_loop() -> None:
    """Serve in an event loop, until Node ends."""
    global client
    async with await shm_protocol.connect_async(role="worker", expose={"back": back_async, "fail": fail}) as client:
        await client.wait_closed()


client: shm_protocol.AsyncClient

if __name__ == "__main__":
    if sys.argv[1] == "loop":
        import asyncio

        asyncio.run(serve_loop())
    else:
        try:
            shm_protocol.attach(expose={"back": back, "fail": fail}).serve()
        except shm_protocol.PeerGone:
            pass
    print(json.dumps({"spans": told(), "imported": "opentelemetry" in sys.modules}))
