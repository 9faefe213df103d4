"""OpenTelemetry: one trace goes from TypeScript to Python and back, and nobody who does not trace pays for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import HANG_S, HERE, ROOT
from services import KEPT_TYPESCRIPT

Spans = list[dict[str, Any]]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where Node listens."""
    with tempfile.TemporaryDirectory(prefix="shmp-") as folder:
        yield Path(folder)


def run(
    directory: Path, kind: str, transport: str, method: str, *args: Any, untraced: tuple[str, ...] = ()
) -> tuple[Any, Spans, Spans, bool]:
    """What Node was answered, the spans of Node and of Python, and whether Python has imported OpenTelemetry."""
    environment = {
        **os.environ,
        "SHM_POLYGLOT_DIR": str(directory / "run"),
        "SHM_POLYGLOT_TRANSPORT": transport,
    }
    untraced_environment = {**environment, "UNTRACED": "1"}
    command = ["node", "-r", KEPT_TYPESCRIPT, str(HERE / "traced_node.ts"), method, json.dumps(args)]
    node_environment = untraced_environment if "node" in untraced else environment
    with subprocess.Popen(command, cwd=ROOT, env=node_environment, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        assert node.stdout.readline() == "listening\n"
        try:
            worker = subprocess.run(
                [sys.executable, str(HERE / "traced_worker.py"), kind],
                cwd=ROOT,
                env=untraced_environment if "python" in untraced else environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=HANG_S,
            )
        except BaseException:
            node.kill()
            raise
        of_node = json.loads(node.stdout.read())
    of_python = json.loads(worker.stdout)
    return of_node["answer"], of_node["spans"], of_python["spans"], of_python["imported"]


def named(spans: Spans, name: str, kind: str | int) -> dict[str, Any]:
    """The one span of a name and kind."""
    (found,) = (span for span in spans if (span["name"], span["kind"]) == (name, kind))
    return found


@pytest.mark.parametrize(("kind", "transport"), [("thread", "shm"), ("loop", "socket")])
def test_one_trace_spans_http_typescript_python_and_typescript(directory: Path, kind: str, transport: str) -> None:
    answer, node, python, _ = run(directory, kind, transport, "back", "functions.spanOf")
    request = named(node, "GET /", 0)
    chain = [
        request,
        named(node, "back", 2),
        named(python, "back", "SERVER"),
        named(python, "own work", "INTERNAL"),
        named(python, "functions.spanOf", "CLIENT"),
        named(node, "functions.spanOf", 1),
    ]
    assert [span["parent"] for span in chain] == [None, *(span["span"] for span in chain[:-1])]
    assert {span["trace"] for span in chain} == {answer}
    assert not any(span["failed"] for span in chain)
    assert chain[2]["attributes"] == chain[1]["attributes"]
    assert chain[1]["attributes"] == {
        "rpc.system.name": "shm_polyglot",
        "rpc.method": "back",
        "server.address": str(directory / "run" / "node.sock"),
    }


@pytest.mark.parametrize(("kind", "transport"), [("thread", "socket"), ("loop", "shm")])
def test_a_call_that_fails_is_a_span_that_has(directory: Path, kind: str, transport: str) -> None:
    answer, node, python, _ = run(directory, kind, transport, "back", "functions.fail")
    assert "too far" in answer
    for span in (
        named(node, "back", 2),
        named(python, "back", "SERVER"),
        named(python, "functions.fail", "CLIENT"),
        named(node, "functions.fail", 1),
    ):
        assert span["failed"]
        assert span["attributes"]["error.type"] == "RangeError"
        assert "exception" in span["events"]
    assert named(python, "functions.fail", "CLIENT")["attributes"]["rpc.response.status_code"] == "RemoteError"


def test_who_does_not_trace_hands_the_trace_on_and_imports_nothing(directory: Path) -> None:
    answer, node, python, imported = run(directory, "thread", "shm", "back", "functions.spanOf", untraced=("python",))
    assert answer == named(node, "GET /", 0)["trace"]
    assert named(node, "functions.spanOf", 1)["parent"] == named(node, "back", 2)["span"]
    assert (python, imported) == ([], False)


def test_a_trace_may_begin_in_python(directory: Path) -> None:
    answer, node, python, _ = run(directory, "thread", "shm", "back", "functions.echo", 3, untraced=("node",))
    assert (answer, node) == (3, [])
    assert named(python, "back", "SERVER")["parent"] is None
    assert named(python, "functions.echo", "CLIENT")["trace"] == named(python, "back", "SERVER")["trace"]
