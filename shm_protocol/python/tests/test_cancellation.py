"""A function that runs asks whether its answer is still wanted; asking reads what has arrived, and starts nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ends import HANG_S, TRANSPORTS, Ends
from shm_protocol import CallTimeout, CurrentCall, RemoteError, current_call, frames, values
from shm_protocol.link import READ_AHEAD_FOR_CANCEL
from shm_protocol.session import MAX_OUTSTANDING


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Functions:
    """What the far end exposes."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.order: list[str] = []
        self.kept: CurrentCall | None = None

    def until_cancelled(self) -> None:
        call = current_call()
        assert call is not None
        assert not call.cancelled
        self.begun.set()
        until(lambda: call.cancelled)
        self.order.append("cancelled")
        self.ended.set()

    def elsewhere(self) -> None:
        """Asks in a thread of its own, while this one waits."""
        call = current_call()
        assert call is not None
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(call.cancelled))
        thread.start()
        thread.join()
        assert answers == [False]

    def keep(self) -> None:
        self.kept = current_call()

    def ask_kept(self) -> bool:
        assert self.kept is not None
        return self.kept.cancelled

    def note(self, what: str) -> str:
        self.order.append(what)
        return what

    def nothing(self) -> None: ...


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
def ends(transport: str, functions: Functions) -> Iterator[Ends]:
    made = Ends(transport, 1 << 22, None, {"f": functions})
    made.serve()
    yield made
    made.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def wait(event: threading.Event) -> None:
    assert event.wait(HANG_S)


def begin(ends: Ends, functions: Functions) -> Any:
    """A call that runs, and that is not waited for."""
    stream = ends.near.stream("f.until_cancelled")
    wait(functions.begun)
    return stream


def test_a_cancel_that_arrives_while_a_plain_function_runs_is_seen_by_it(ends: Ends, functions: Functions) -> None:
    stream = begin(ends, functions)
    stream.close()
    wait(functions.ended)
    assert ends.near.call("f.note", "afterwards") == "afterwards"


def test_what_else_arrives_waits_its_turn_and_is_served_in_its_order(ends: Ends, functions: Functions) -> None:
    stream = begin(ends, functions)
    ends.near.notify("f.note", "first")
    ends.near.notify("f.note", "second")
    stream.close()
    assert ends.near.call("f.note", "third") == "third"
    assert functions.order == ["cancelled", "first", "second", "third"]


def test_a_cancel_is_seen_behind_as_many_requests_as_may_be_outstanding(ends: Ends, functions: Functions) -> None:
    stream = begin(ends, functions)
    others = [ends.near.stream("f.nothing") for _ in range(MAX_OUTSTANDING - 1)]
    stream.close()
    wait(functions.ended)
    for other in others:
        other.close()
    assert ends.near.call("f.note", "afterwards") == "afterwards"


def test_large_requests_are_left_to_wait_where_there_are_too_many_bytes_of_them(
    monkeypatch: pytest.MonkeyPatch, ends: Ends, functions: Functions
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("shm_protocol.link.READ_AHEAD_FOR_CANCEL", (READ_AHEAD_FOR_CANCEL[0], 1000))
        stream = begin(ends, functions)
        ends.near.notify("f.note", "x" * 2000)
        ends.near.notify("f.note", "y" * 2000)
        stream.close()
        until(lambda: len(ends.far._session.queue) == 1)
        assert not functions.ended.is_set()
    wait(functions.ended)
    assert ends.near.call("f.note", "z") == "z"
    assert functions.order == ["cancelled", "x" * 2000, "y" * 2000, "z"]


def test_a_caller_that_is_gone_wants_nothing_any_more(ends: Ends, functions: Functions) -> None:
    begin(ends, functions)
    ends.near.notify("f.note", "what it had sent before is of no use")
    ends.near.close()
    wait(functions.ended)


def test_a_peer_that_breaks_the_protocol_meanwhile_wants_nothing_any_more(
    ends: Ends, functions: Functions, caplog: pytest.LogCaptureFixture
) -> None:
    begin(ends, functions)
    ends.near_transport.send(frames.encode_cancel(values.Encoder(), 7))
    wait(functions.ended)
    ends.join()
    assert ends.far.closed
    assert "a cancel for call 7, which was never made" in caplog.text


def test_a_deadline_that_has_passed_is_the_same(ends: Ends, functions: Functions) -> None:
    # The function knows it as soon as its caller does, and may answer in time.
    with contextlib.suppress(CallTimeout):
        list(ends.near.stream("f.until_cancelled", timeout=0.05))
    assert ends.near.call("f.note", "afterwards") == "afterwards"
    # On a busy machine it may not have been started.
    assert functions.order in (["cancelled", "afterwards"], ["afterwards"])


def test_another_thread_reads_nothing_and_is_told_what_is_known(ends: Ends) -> None:
    assert ends.near.call("f.elsewhere") is None


def test_a_call_that_has_been_answered_is_not_cancelled_afterwards(ends: Ends, functions: Functions) -> None:
    ends.near.call("f.keep")
    assert ends.near.call("f.ask_kept") is False
    ends.near.close()
    ends.join()
    assert functions.ask_kept() is False


def test_a_function_that_raises_once_it_is_cancelled_is_nobodys_failure(transport: str) -> None:
    begun = threading.Event()

    def stop() -> None:
        call = current_call()
        assert call is not None
        begun.set()
        until(lambda: call.cancelled)
        raise ValueError("stopped")

    ends = Ends(transport, 1 << 20, None, {"stop": stop, "fail": lambda: int("x")})
    ends.serve()
    stream = ends.near.stream("stop")
    wait(begun)
    stream.close()
    with pytest.raises(RemoteError, match="invalid literal"):
        ends.near.call("fail")
    ends.close()
