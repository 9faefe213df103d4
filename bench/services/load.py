"""The process that loads a service (load.ts), and what it measured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from bench.installed import ROOT
from bench.services.endpoints import Answer, Endpoint
from bench.trial import TS_NODE, end_session

PATIENCE_S: Final = 10.0
"""How long answers are waited for when all requests are sent: a service that takes longer hangs."""
GUARD_S: Final = 30.0
"""On top of that and of its seconds, before a load itself is taken to hang."""
MOST_REQUESTS: Final = 200_000
NS_PER_S: Final = 1e9

Kind = Literal["closed", "rate"]


class LoadFailed(Exception):
    """The generator does not work, which is no service's fault. The message says how it showed."""


@dataclass(frozen=True)
class Load:
    """How requests come."""

    kind: Kind
    """closed: each connection sends the next when it has its answer. rate: they are due at fixed times."""
    connections: int
    seconds: float
    rate_per_s: float | None = None
    """With `rate`."""
    most: int = MOST_REQUESTS
    """It ends after so many requests, if the time is not over before."""


@dataclass(frozen=True)
class Loaded:
    """What came of one load of one endpoint."""

    times_ns: list[float]
    """Of the requests that got an answer: with `rate` from when each was due, else from when it was sent."""
    elapsed_s: float
    """From the first request to the last answer; with `rate` at least the seconds that the load was to last."""
    errors: int
    """Requests that got no answer or a wrong one."""
    first_error: str
    wrong: int
    """Of the errors, those that were answered."""
    hung: int
    """Of the errors, those that were given up."""


class Generator:
    """The process, from the first load to the end of the block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._printed.close()

    def run(self, url: str, endpoint: Endpoint, load: Load) -> Loaded:
        """Load that endpoint of the service at `url`, and check every answer. Raises LoadFailed."""
        job = {
            "url": url,
            "method": endpoint.method,
            "path": endpoint.path,
            "body": endpoint.text,
            "connections": load.connections,
            "rate_per_s": load.rate_per_s,
            "seconds": load.seconds,
            "most": load.most,
            "patience_s": PATIENCE_S,
        }
        outcome = self._ask(json.dumps(job), load.seconds + PATIENCE_S + GUARD_S)
        wrong = [
            (difference, answer["count"])
            for answer in outcome["answers"]
            if (difference := endpoint.difference(Answer(answer["status"], answer["body"])))
        ]
        hung: int = outcome["unanswered"]
        elapsed_s: float = outcome["elapsed_ns"] / NS_PER_S
        problems = [(f"{endpoint} gets no answer: {reason}", count) for reason, count in outcome["failures"].items()]
        problems += wrong
        if hung:
            problems.append((f"{endpoint}: {hung} requests are not answered after {PATIENCE_S:.0f} s", hung))
        return Loaded(
            outcome["times_ns"],
            elapsed_s if load.kind == "closed" else max(elapsed_s, load.seconds),
            sum(count for _, count in problems),
            problems[0][0] if problems else "",
            sum(count for _, count in wrong),
            hung,
        )

    def _ask(self, line: str, limit_s: float) -> dict[str, Any]:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        guard = threading.Timer(limit_s, process.kill)
        guard.start()
        try:
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        finally:
            guard.cancel()
        if not answer:
            self._printed.seek(0)
            printed = self._printed.read().decode(errors="replace")
            # The next load gets a fresh one.
            self._end()
            raise LoadFailed(f"the load generator ended within {limit_s:.0f} s, {process.returncode=}:\n{printed}")
        outcome: dict[str, Any] = json.loads(answer)
        return outcome

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*TS_NODE, str(ROOT / "bench" / "services" / "load.ts")],
            cwd=ROOT,
            env={**os.environ, "TS_NODE_PROJECT": str(ROOT / "bench" / "tsconfig.json")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            start_new_session=True,
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            end_session(process)
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with contextlib.suppress(BrokenPipeError):  # What is still to be written to one that has ended.
                    stream.close()
