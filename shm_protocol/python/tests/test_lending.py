"""What one side lends to the other, with two sessions and the messages between them in memory; and a peer that lies."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from shm_protocol import Callback, EncodeError, Handle, ProtocolError, Released, UnknownMethod, frames, values
from shm_protocol.calls import PendingCall, ServedCall
from shm_protocol.lending import Lending
from shm_protocol.session import MAX_OUTSTANDING, Session
from shm_protocol.values import FUNCTION, OBJECT, RETURNED, Reference
from shm_protocol.values.wire import EXT_ARRAY, TABLE


class Caller:
    """In place of a connection."""

    def call_reference(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout: float | None, *, handles: bool
    ) -> Any:
        return method, args, kwargs, handles

    def stream_reference(self, method: str, *_: Any, handles: bool) -> Any:
        return method, handles

    def tell_references(self) -> None:
        """Later."""


class Thing:
    """An object that is no value."""


class Ends:
    """Two sessions that tell each other whatever they have to."""

    def __init__(self, peer_minor: int = 2) -> None:
        self.owner = Session(2**26, peer_minor=peer_minor)
        self.holder = Session(2**26)
        self.caller = Caller()
        for session in (self.owner, self.holder):
            session.lending.caller = lambda: self.caller

    def call(self, *args: Any, meta: dict[str, Any] | None = None) -> tuple[PendingCall, ServedCall]:
        call_id, message = self.owner.start("m.f", args, meta)
        call = self.owner.track(call_id, "m.f", (meta or {}).get("stream", 0))
        self.holder.receive(message)
        request = self.holder.take()
        assert request is not None
        return call, request

    def tell(self) -> None:
        for message in self.holder.lending.messages():
            self.owner.receive(message)

    def answer(self, request: ServedCall, result: object = None) -> None:
        message = self.holder.answer(request, result)
        self.tell()
        self.owner.receive(message)


@pytest.fixture
def ends() -> Ends:
    return Ends()


def lent(session: Session) -> set[int]:
    return set(session.lending.lent)


def test_a_function_is_lent_for_the_call(ends: Ends) -> None:
    call, request = ends.call(1, len, [2])
    (one, callback, two) = request.args
    assert (one, two) == (1, [2])
    assert isinstance(callback, Callback)
    assert callback("x", a=1) == ("shm_polyglot.ref.1", ("x",), {"a": 1}, False)
    assert lent(ends.owner) == {1}
    ends.answer(request)
    assert call.done
    assert lent(ends.owner) == set(ends.holder.lending.held) == set()
    with pytest.raises(Released, match="len: the call that this function was given to has ended"):
        callback()
    with pytest.raises(Released, match=r"len\.hold\(\): the call"):
        callback.hold()
    assert isinstance(ends.owner.lending.why_not("shm_polyglot.ref.1"), Released)


def test_a_function_that_is_held_is_there_until_it_is_released(ends: Ends) -> None:
    _, request = ends.call(len)
    (callback,) = request.args
    assert callback.hold() is callback.hold()
    ends.answer(request)
    assert lent(ends.owner) == {1}
    assert callback()[0] == "shm_polyglot.ref.1"
    callback.release()
    callback.release()
    ends.tell()
    assert lent(ends.owner) == set()
    with pytest.raises(Released, match="len: it has been released"):
        callback()


def test_a_held_function_that_nothing_refers_to_is_released(ends: Ends) -> None:
    _, request = ends.call(len)
    request.args[0].hold()
    ends.answer(request)
    ends.holder.replies.clear()
    del request
    gc.collect()
    # Nothing is sent by a finalizer: it asks whoever sends next.
    assert list(ends.holder.replies) == [b""]
    ends.tell()
    assert lent(ends.owner) == set(ends.holder.lending.held) == set()


def test_each_lending_has_an_id_of_its_own(ends: Ends) -> None:
    for expected in ({1, 2}, {3, 4}):
        _, request = ends.call(len, meta={"kwargs": {"done": len}})
        assert lent(ends.owner) == expected
        ends.answer(request)


def test_a_cancelled_call_takes_its_functions_with_it(ends: Ends) -> None:
    call, request = ends.call(len)
    ends.holder.receive(ends.owner.forget(call.id))
    assert lent(ends.owner) == set()
    with pytest.raises(Released):
        request.args[0]()
    # One that was held and told of before that was known is another's to tell: its call is over.
    _, second = ends.call(len)
    second.args[0].hold()
    ends.owner.forget(2)
    ends.tell()
    assert lent(ends.owner) == set()


def test_what_is_called_before_the_answer_is_found_after_it(ends: Ends) -> None:
    call, request = ends.call(len)
    ends.owner.receive(frames.encode_request(ends.holder.encoder, 1, "shm_polyglot.ref.1", (), {"within": call.id}))
    ends.answer(request)
    asked = ends.owner.take()
    assert asked is not None
    assert asked.lent is not None
    assert asked.lent[0].target is len
    assert not asked.lent[0].is_over


def test_an_object_is_lent_to_who_takes_handles_until_it_is_released(ends: Ends) -> None:
    thing = Thing()
    call, request = ends.call(meta={"handles": True})
    ends.owner.receive(ends.holder.answer(request, thing))
    handle = call.result
    assert isinstance(handle, Handle)
    assert repr(handle) == "<Handle of Thing>"
    assert handle.predict(1) == ("shm_polyglot.ref.1.predict", (1,), {}, True)
    assert ends.holder.lending.lent[1].target is thing
    # Back to its owner, anywhere in a value.
    _, back = Ends.call(ends, {"deep": [handle]})
    assert back.args[0]["deep"][0] is thing
    handle.close()
    for message in ends.owner.lending.messages():
        ends.holder.receive(message)
    assert lent(ends.holder) == set()
    with pytest.raises(Released, match=r"Thing\.predict: it has been released"):
        handle.predict(1)
    with pytest.raises(EncodeError, match="<Handle of Thing, released> cannot be sent"):
        ends.owner.start("m.f", ([handle],), None)


@pytest.mark.parametrize("result", [{1}, [Thing()], {"a": len}, 2**70, "\ud800", Thing, pytest, iter([])], ids=range(8))
def test_what_is_a_value_or_refused_as_one_is_not_lent(ends: Ends, result: object) -> None:
    _, request = ends.call(meta={"handles": True})
    with pytest.raises(EncodeError):
        ends.holder.answer(request, result)
    assert lent(ends.holder) == set()


def test_an_object_is_not_lent_to_who_does_not_ask_for_it(ends: Ends) -> None:
    _, request = ends.call()
    with pytest.raises(EncodeError, match="result: an object of class .*Thing cannot be encoded"):
        ends.holder.answer(request, Thing())


def test_the_handle_of_an_answer_that_came_late_is_let_go_of(ends: Ends) -> None:
    call, request = ends.call(meta={"handles": True})
    message = ends.holder.answer(request, Thing())
    ends.owner.forget(call.id)
    ends.owner.receive(message)
    for told in ends.owner.lending.messages():
        ends.holder.receive(told)
    assert lent(ends.holder) == set(ends.owner.lending.held) == set()


def test_what_comes_back_after_it_has_been_released_is_told_and_never_another(ends: Ends) -> None:
    call, request = ends.call(len)
    # Sent before the cancel was known, and received after it.
    back = frames.encode_request(ends.holder.encoder, 1, "m.g", (request.args[0],), None)
    answer = frames.encode_response(ends.holder.encoder, 2, request.args[0])
    ends.owner.forget(call.id)
    ends.owner.receive(back)
    assert ends.owner.take() is None
    (refusal,) = ends.owner.replies
    assert values.decode(refusal)[2]["code"] == "Released"
    later, _ = ends.call()
    ends.owner.receive(answer)
    assert isinstance(later.error, Released)


def test_a_function_to_a_peer_that_knows_none_is_refused_here() -> None:
    ends = Ends(peer_minor=1)
    with pytest.raises(EncodeError) as caught:
        ends.call(1, len)
    assert str(caught.value) == "m.f: args[1]: functions as arguments need protocol 1.2, the peer speaks 1.1"


def test_the_end_of_the_connection_releases_all(ends: Ends) -> None:
    _, request = ends.call(len)
    callback = request.args[0].hold()
    for session in (ends.owner, ends.holder):
        session.end(ProtocolError("over"))
        assert session.lending.lent == session.lending.held == {}
    callback.release()
    del callback, request
    gc.collect()
    assert not ends.holder.replies


# A peer that lies.


def request_with(*references: Reference) -> bytes:
    return frames.encode_request(values.Encoder(), 1, "m.f", references, None)


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (frames.encode_release(values.Encoder(), [1]), "a release of 1, which was never lent"),
        (frames.encode_hold(values.Encoder(), [7]), "a hold of 7, which was never lent"),
        (request_with(Reference(RETURNED, 1)), "a reference to 1, which was never lent"),
        (request_with(Reference(FUNCTION, 1, "f"), Reference(OBJECT, 1, "T")), "a second reference with id 1"),
        (frames.encode_notification(values.Encoder(), "m.f", (Reference(FUNCTION, 1, "f"),), None), "a notification"),
        (values.Encoder().pack(Reference(FUNCTION, 1, "f")), "a frame that is not an array"),
        (values.Encoder().pack((8, [Reference(FUNCTION, 1, "f")])), "a release with an id that is not an integer"),
    ],
    ids=str,
)
def test_what_breaks_the_protocol_is_told_as_that(ends: Ends, message: bytes, fault: str) -> None:
    with pytest.raises(ProtocolError, match=fault):
        ends.owner.receive(message)


def test_a_peer_cannot_make_this_side_hold_without_end(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_REFERENCES", 2)
    ends.owner.receive(request_with(*(Reference(FUNCTION, one) for one in range(1, 5))))
    with pytest.raises(ProtocolError, match="more than 4 references"):
        ends.owner.receive(frames.encode_request(values.Encoder(), 2, "m.f", (Reference(FUNCTION, 9),), None))


@pytest.mark.parametrize(
    "method", ["1.", "1.x", "2", "0", "-1", "1 ", "01.x", "x", "", "9" * 40, "١", "1e0", "1.5"], ids=repr
)
def test_a_name_that_nothing_was_lent_by_is_unknown(ends: Ends, method: str) -> None:
    ends.call(len)
    name = f"shm_polyglot.ref.{method}"
    assert ends.owner.lending.find(name) is None
    assert isinstance(ends.owner.lending.why_not(name), UnknownMethod)


def test_references_in_errors_and_in_what_nobody_gets_leave_nothing(ends: Ends) -> None:
    call, _ = ends.call()
    error = {"code": "RemoteError", "message": "m", "data": [Reference(OBJECT, 1, "T")]}
    ends.owner.receive(values.Encoder().pack((1, call.id, error, None)))
    assert call.done
    assert ends.owner.lending.held == {}
    assert isinstance(ends.owner.lending, Lending)


UNREADABLE_TABLE = b"\xc7\x08" + bytes([EXT_ARRAY, TABLE, 1, 0, 0, 0, 0, 0, 0])
"""It has not even its end."""


def test_a_notification_with_a_table_that_cannot_be_read_is_dropped_and_takes_no_call_with_it() -> None:
    caller, server = Session(2**26), Session(2**26)
    notification = b"\x93\x02\xa3m.f\x91" + UNREADABLE_TABLE
    server.receive(notification)
    assert server.take() is None
    for _ in range(MAX_OUTSTANDING):
        call_id, message = caller.start("m.f", (), None)
        caller.track(call_id, "m.f")
        server.receive(message)
    server.receive(notification)
    assert server.dropped_notifications == 2
    assert [server.take() is not None for _ in range(MAX_OUTSTANDING)] == [True] * MAX_OUTSTANDING


def test_what_is_missing_in_a_message_fails_its_call_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoDescriptors:
        @staticmethod
        def find_spec(*_: Any) -> Any:
            raise OSError(24, "Too many open files")

    caller, server = Session(2**26), Session(2**26)
    call_id, message = caller.start("m.f", (values.NdArray("int8", (1,), b"\1"), 2), None)
    call = caller.track(call_id, "m.f")
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "numpy", raising=False)
        patch.setattr(sys, "meta_path", [NoDescriptors])
        assert server.start_alone(message) is None
    assert server.take() is None
    caller.receive(server.replies.popleft())
    assert isinstance(call.error, EncodeError)
    said = "m.f: args: an array cannot be received: NumPy cannot be imported now ([Errno 24] Too many open files)"
    assert str(call.error) == said


def test_a_stream_gives_what_came_before_an_item_that_cannot_be_read() -> None:
    caller = Session(2**26)
    call_id, _ = caller.start("m.f", (), {"stream": 9})
    call = caller.track(call_id, "m.f", 9)
    caller.receive(b"\x93\x04\x01\xa5first")
    caller.receive(b"\x93\x04\x01" + UNREADABLE_TABLE)
    assert call.items is not None
    assert list(call.items) == ["first"]
    assert isinstance(call.error, EncodeError)
    assert caller.replies.popleft()[1] == frames.CANCEL
