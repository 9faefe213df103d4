"""What the counters of a segment are read as."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shm_protocol import ProtocolError, counters
from tagged import SHM_PROTOCOL


def in_buckets(**counts: int) -> list[int]:
    """in_buckets(_5=2): two calls in bucket 5."""
    latency = [0] * counters.LATENCY_BUCKETS
    for bucket, count in counts.items():
        latency[int(bucket[1:])] = count
    return latency


def told(**changes: Any) -> dict[str, Any]:
    side = dict.fromkeys(counters.Counters.__annotations__, 1) | {"latency": in_buckets(_3=1)}
    connection = {
        "id": 1,
        "asks": False,
        "name": "worker",
        "role": "worker",
        "language": "python 3.12.1",
        "library": "0.1.0",
        "transport": "shm",
        "outstanding": 0,
        "being_served": 0,
        "late_answers": 0,
        "counters": {"dialer": dict(side), "acceptor": dict(side)},
    }
    return connection | changes


def test_the_buckets_are_those_of_the_core() -> None:
    layout = (SHM_PROTOCOL / "core" / "layout.h").read_text()
    formula = (SHM_PROTOCOL / "core" / "counters.h").read_text()
    assert re.search(rf"#define SHM_LATENCY_BUCKETS {counters.LATENCY_BUCKETS}\n", layout)
    assert "#define SHM_LATENCY_FIRST_OCTAVE 8\n" in formula
    # 256 ns, then by quarters of each octave; core/tests/channel_counters.c counts with the same.
    assert [counters.bucket_begin_ns(bucket) for bucket in range(10)] == [
        0,
        256,
        320,
        384,
        448,
        512,
        640,
        768,
        896,
        1024,
    ]
    assert counters.bucket_begin_ns(counters.LATENCY_BUCKETS - 1) == 7 * 2**35 // 4 - 2**35 // 4


def test_without_a_call_there_is_no_percentile() -> None:
    assert counters.percentile_us(in_buckets(), 0.5) is None


@given(
    st.dictionaries(st.integers(0, counters.LATENCY_BUCKETS - 1), st.integers(1, 10**6), min_size=1),
    st.floats(0.001, 1),
)
def test_a_percentile_lies_in_the_bucket_of_the_call_that_has_its_rank(filled: dict[int, int], share: float) -> None:
    latency = in_buckets(**{f"_{bucket}": count for bucket, count in filled.items()})
    found = counters.percentile_us(latency, share)
    assert found is not None
    ends = [counters.bucket_begin_ns(bucket + 1) / 1000 for bucket in range(counters.LATENCY_BUCKETS)]
    not_above = sum(count for count, end in zip(latency, ends, strict=True) if end <= found * (1 + 1e-9))
    below = sum(count for bucket, count in enumerate(latency) if counters.bucket_begin_ns(bucket) / 1000 < found)
    assert not_above <= share * sum(latency) * (1 + 1e-9) + 1e-9
    assert below >= share * sum(latency) * (1 - 1e-9)


def test_an_answer_is_parsed() -> None:
    over_shm, over_socket = counters.parse([told(), told(id=2, transport="socket", counters=None)])
    assert (over_shm.id, over_shm.name, over_shm.asks) == (1, "worker", False)
    assert over_shm.dialer is not None
    assert over_shm.dialer.latency == in_buckets(_3=1)
    assert (over_socket.dialer, over_socket.acceptor) == (None, None)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [1],
        [{}],
        [told(counters={"dialer": {}, "acceptor": {}})],
        [told(counters={"dialer": told()["counters"]["dialer"]})],
        [told(counters={side: told()["counters"]["dialer"] | {"parks": 1.5} for side in ("dialer", "acceptor")})],
        [told(counters={side: told()["counters"]["dialer"] | {"latency": [1]} for side in ("dialer", "acceptor")})],
        [told(counters={side: told()["counters"]["dialer"] | {"ring_bytes": 0} for side in ("dialer", "acceptor")})],
    ],
    ids=["nil", "numbers", "empty", "no counters", "one side", "a float", "few buckets", "no ring"],
)
def test_any_other_answer_is_a_protocol_error(answer: object) -> None:
    with pytest.raises(ProtocolError, match=r"shm_polyglot\.connections has answered"):
        counters.parse(answer)
