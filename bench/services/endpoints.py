"""The requests that every build of the showcase is sent, and what it has to answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from bench.workload import FIXED
from python_side import ml_service

OK: Final = 200
NOT_THERE: Final = (404, 405)
SHOWN: Final = 80
"""Characters of a wrong value that a message shows."""


@dataclass(frozen=True)
class Answer:
    """What a service sent."""

    status: int
    body: str


@dataclass(frozen=True, eq=False)
class Endpoint:
    """One request of the contract."""

    method: str
    path: str
    body: Mapping[str, object] | None = None
    answer: Mapping[str, object] | None = None
    """The keys whose values are the same from every build."""
    keys: tuple[str, ...] = ()
    """Further keys, whose values are the time or describe the runtime: they may be anything."""
    rates_per_s: tuple[float, ...] = (300.0, 1000.0)
    """At which its latency is measured: such as every build should keep up with."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def text(self) -> str:
        """The body to send; empty for none."""
        return "" if self.body is None else json.dumps(self.body)

    def is_served(self, answer: Answer) -> bool:
        """Whether a service that answers so has this endpoint at all."""
        return answer.status not in NOT_THERE

    def difference(self, answer: Answer) -> str:
        """Where an answer is not what the contract wants, in words; empty if it is."""
        if answer.status != OK:
            return f"{self} answers status {answer.status}, not {OK}: {_shown(answer.body)}"
        try:
            got = json.loads(answer.body)
        except ValueError:
            return f"{self} answers what is not JSON: {_shown(answer.body)}"
        if not isinstance(got, dict):
            return f"{self} answers no JSON object: {_shown(answer.body)}"
        wanted = self.answer or {}
        if missing := [key for key in (*wanted, *self.keys) if key not in got]:
            return f"{self} answers without {', '.join(missing)}"
        found = _first_difference({key: got[key] for key in wanted}, wanted, "")
        return f"{self} answers {found}" if found else ""


def _first_difference(got: object, wanted: object, where: str) -> str:
    """The path, in a JSON value, where two differ, and how: `prediction.confidence: 0.65, not 0.8`."""
    pairs: Iterable[tuple[str, object, object]]
    if isinstance(got, Mapping) and isinstance(wanted, Mapping) and got.keys() == wanted.keys():
        pairs = ((f".{key}", got[key], wanted[key]) for key in wanted)
    elif isinstance(got, list) and isinstance(wanted, list) and len(got) == len(wanted):
        pairs = ((f"[{number}]", *pair) for number, pair in enumerate(zip(got, wanted, strict=True)))
    elif got == wanted and isinstance(got, bool) == isinstance(wanted, bool):
        return ""
    else:
        return f"{where.lstrip('.')}: {_shown(json.dumps(got))}, not {_shown(json.dumps(wanted))}"
    return next(filter(None, (_first_difference(one, other, where + step) for step, one, other in pairs)), "")


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


TEXT: Final = FIXED["predict"]["argument"]
TEXT_BYTES: Final = 200
TEXTS: Final = [" ".join([text] * 5)[:TEXT_BYTES] for text in cast("list[str]", FIXED["batch"]["argument"])]
"""A hundred of 200 bytes: with what JSON puts around them a document of 20 KiB."""

HELLO: Final = Endpoint("GET", "/hello", keys=("message", "runtime", "languages"))
HEALTH: Final = Endpoint("GET", "/health", answer={"status": "healthy"})
INDEX: Final = Endpoint("GET", "/", answer={"status": "healthy"})
STATS: Final = Endpoint("GET", "/api/stats", keys=("totalRequests",))
PREDICT: Final = Endpoint(
    "POST",
    "/api/predict",
    {"text": TEXT},
    {"text": TEXT, "prediction": FIXED["predict"]["answer"], "model": ml_service.MODEL},
    ("timestamp",),
)
BATCH: Final = Endpoint(
    "POST",
    "/api/batch",
    {"texts": TEXTS},
    {
        "results": [{"text": text, "prediction": ml_service.predict(text)} for text in TEXTS],
        "count": len(TEXTS),
        "model": ml_service.MODEL,
    },
    ("timestamp",),
    rates_per_s=(50.0, 200.0),
)
"""The JSON workload: a document of 20 KiB is read, and another of 30 KiB made of it. The contract has no other route
that transforms a document, and every build serves this one."""
FORMAT: Final = Endpoint(
    "POST",
    "/api/format",
    cast("dict[str, object]", FIXED["format"]["argument"]),
    cast("dict[str, object]", FIXED["format"]["answer"]),
)
SEGMENT: Final = Endpoint(
    "POST",
    "/api/segment",
    cast("dict[str, object]", FIXED["segment"]["argument"]),
    {
        "segments": FIXED["segment"]["answer"],
        "count": len(cast("list[str]", FIXED["segment"]["answer"])),
    },
)
SLUGIFY: Final = Endpoint("POST", "/api/slugify", {"text": "Hello, World"}, {"slug": "hello-world"})

CONTRACT: Final = (HEALTH, INDEX, HELLO, PREDICT, BATCH, FORMAT, SEGMENT, SLUGIFY)
"""What a build that somebody names is asked for; one that lacks an endpoint is measured without it."""
