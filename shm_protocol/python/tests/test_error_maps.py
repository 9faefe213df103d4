"""What is sent of an exception's causes and parts, and that neither can keep it from arriving."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from shm_protocol import RemoteError, RemoteErrorGroup, frames, values
from shm_protocol.error_maps import MAX_PART_BYTES, MAX_PART_DEPTH, MAX_PARTS, error_from_map, error_to_map, fault_of


def crossed(error: BaseException, max_message: int = 2**26) -> RemoteError:
    packed = frames.encode_error_response(values.Encoder(), 1, error_to_map(error), max_message)
    assert len(packed) <= max_message
    error_map = values.decode(packed)[2]
    assert fault_of(error_map) is None
    remote = error_from_map(error_map)
    assert isinstance(remote, RemoteError)
    return remote


def causes_of(error: BaseException) -> list[str]:
    found = []
    while error.__cause__ is not None:
        error = error.__cause__
        found.append(str(error))
    return found


def chained(links: int) -> Exception:
    error = ValueError("the first")
    for index in range(links):
        outer = ValueError(f"number {index}")
        outer.__cause__ = error
        error = outer
    return error


def test_a_chain_of_causes_is_sent_to_its_depth() -> None:
    assert len(causes_of(crossed(chained(3)))) == 3
    assert causes_of(crossed(chained(5000))) == [f"ValueError: number {4998 - n}" for n in range(MAX_PART_DEPTH)]


def test_causes_that_close_a_ring_are_told_once() -> None:
    error = chained(2)
    first = error.__cause__.__cause__  # type: ignore[union-attr]
    assert first is not None
    first.__cause__ = error
    assert causes_of(crossed(error)) == ["ValueError: number 0", "ValueError: the first"]
    first.__cause__ = None


def counted(error: BaseException) -> int:
    related = [*getattr(error, "exceptions", ()), *([error.__cause__] if error.__cause__ else [])]
    return len(related) + sum(map(counted, related))


def test_of_a_large_tree_the_nearest_are_sent() -> None:
    wide = ExceptionGroup("inner", [ValueError("x" * 100_000)] * 3000)
    group = ExceptionGroup("outer", [wide, KeyError("near")])
    group.__cause__ = OSError("also near")
    remote = crossed(group)
    assert isinstance(remote, RemoteErrorGroup)
    assert counted(remote) == MAX_PARTS
    assert [str(one) for one in (remote.__cause__, remote.exceptions[1])] == ["OSError: also near", "KeyError: 'near'"]
    inner = remote.exceptions[0]
    assert isinstance(inner, RemoteErrorGroup)
    assert len(inner.exceptions) == MAX_PARTS - 3
    part = inner.exceptions[0]
    assert isinstance(part, RemoteError)
    assert len(part.message.encode()) <= MAX_PART_BYTES + 100


def test_a_context_is_sent_unless_it_is_suppressed() -> None:
    outer = ValueError("outer")
    outer.__context__ = KeyError("meanwhile")
    assert causes_of(crossed(outer)) == ["KeyError: 'meanwhile'"]
    outer.__suppress_context__ = True
    assert causes_of(crossed(outer)) == []


class Hostile(Exception):
    data = property(lambda _: 1 / 0)
    __cause__ = property(lambda _: 1 / 0)
    __notes__ = property(lambda _: 1 / 0)

    def __str__(self) -> str:
        raise ValueError("no text")


class HostileGroup(ExceptionGroup[Exception]):
    exceptions = property(lambda _: 1 / 0)


def test_causes_and_parts_that_raise_when_they_are_looked_at_are_told_as_far_as_they_can_be() -> None:
    group = HostileGroup("group", [Hostile()])
    group.__cause__ = Hostile()
    remote = crossed(group)
    assert isinstance(remote, RemoteErrorGroup)
    for one in (remote.exceptions[0], remote.__cause__):
        assert str(one) == "Hostile: <no message: its __str__ raised>"


class Odd(dict[str, Any]):
    def items(self) -> Any:
        raise ValueError("odd")

    def __iter__(self) -> Iterator[str]:
        raise ValueError("odd")


def with_data(message: str, data: object, cause: Exception | None = None) -> Exception:
    error = ValueError(message)
    error.data = data  # type: ignore[attr-defined]
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("data", [Odd(a=1), lambda: None, {1, 2}, "\ud800"])
def test_data_that_cannot_be_encoded_takes_nothing_else_with_it(data: object) -> None:
    remote = crossed(with_data("outer", [1], with_data("inner", data)))
    assert (remote.data, causes_of(remote)) == ([1], ["ValueError: inner"])
    remote = crossed(with_data("outer", data, with_data("inner", [2])))
    assert (remote.data, causes_of(remote)) == (None, ["ValueError: inner"])


def test_what_does_not_fit_goes_in_the_order_that_is_promised() -> None:
    error = with_data("outer", "d" * 500, with_data("c" * 2000, "e" * 2000))
    whole = len(frames.encode_error_response(values.Encoder(), 1, error_to_map(error), 2**26))
    seen = []
    for room in range(whole, 100, -50):
        remote = crossed(error, room)
        cause = remote.__cause__
        seen.append((getattr(cause, "data", None) is not None, cause is not None, remote.data is not None))
        assert remote.message == "outer"
    assert list(dict.fromkeys(seen)) == [
        (True, True, True),
        (False, True, True),
        (False, False, True),
        (False, False, False),
    ]


def test_a_part_that_is_raised_by_itself_keeps_its_remote_stack() -> None:
    remote = crossed(ExceptionGroup("g", [with_data("inner", None)]))
    assert isinstance(remote, RemoteErrorGroup)
    part: Any = remote.exceptions[0]
    assert not hasattr(part, "__notes__")
    part.stack = "at x.ts:1:2"
    assert "at x.ts:1:2" in crossed(part).stack


def test_a_group_can_be_made_derived_from_and_pickled() -> None:
    part = RemoteError("T", "p")
    group = RemoteErrorGroup("G", "m", [part], [1], "at x")
    assert (group.type, group.message, group.data, group.stack, str(group)) == ("G", "m", [1], "at x", "G: m")
    for other in (pickle.loads(pickle.dumps(group)), group.derive([part])):
        assert isinstance(other, RemoteErrorGroup)
        assert (other.type, other.message, other.data, other.stack) == ("G", "m", [1], "at x")
        assert str(other.exceptions[0]) == "T: p"
        assert other.__notes__ == ["--- remote stack of G ---\nat x"]
