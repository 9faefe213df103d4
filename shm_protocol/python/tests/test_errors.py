"""The registry of errors: errors.json, PROTOCOL.md and the classes say the same."""

from __future__ import annotations

import json
import logging
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import pytest
import shm_protocol
from hypothesis import given, settings
from hypothesis import strategies as st
from shm_protocol import ERRORS, BridgeError, EncodeError, RemoteError, UnknownMethod, frames, values
from shm_protocol.error_maps import error_from_map, error_to_map
from shm_protocol.errors import MAX_TEXT_BYTES, cut
from shm_protocol.log import log_raised
from tagged import SHM_PROTOCOL

REGISTRY: list[dict[str, str]] = json.loads((SHM_PROTOCOL / "errors.json").read_text())


def test_the_classes_are_those_of_the_registry_with_the_same_parents() -> None:
    in_python = {code: kind.__mro__[1].__name__ for code, kind in ERRORS.items()}
    assert in_python == {row["code"]: row["parent"] for row in REGISTRY}


def test_a_code_is_the_name_of_its_class_and_public() -> None:
    for code, kind in ERRORS.items():
        assert kind.__name__ == kind.code == code
        assert getattr(shm_protocol, code) is kind


def test_the_table_of_the_protocol_is_the_registry() -> None:
    section = (SHM_PROTOCOL / "PROTOCOL.md").read_text().split("## 9. Errors")[1].split("## 10.")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE)
    codes = [code for code, _ in rows]
    assert codes == [row["code"] for row in REGISTRY]


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


class Limit(Exception):
    data = {"limit": 3}


def test_an_exception_crosses_with_type_message_data_and_stack() -> None:
    crossed = error_from_map(error_to_map(raised(Limit("too much"))))
    assert isinstance(crossed, RemoteError)
    assert (crossed.type, crossed.message, crossed.data) == ("Limit", "too much", {"limit": 3})
    assert "test_errors.py" in crossed.stack
    assert str(crossed) == "Limit: too much"


def test_a_remote_error_from_deeper_keeps_its_name_and_both_stacks_are_visible() -> None:
    deeper = RemoteError("RangeError", "bad locale", {"k": 1}, "RangeError: bad locale\n    at format (x.ts:1:2)")
    crossed = error_from_map(error_to_map(raised(deeper)))
    assert isinstance(crossed, RemoteError)
    assert (crossed.type, crossed.message, crossed.data) == ("RangeError", "bad locale", {"k": 1})
    assert "x.ts:1:2" in crossed.stack
    assert "test_errors.py" in crossed.stack


def test_a_remote_error_that_was_never_initialized_crosses_under_its_class() -> None:
    class Unfinished(RemoteError):
        def __init__(self) -> None:
            pass

    assert crossed(Unfinished()).type == "Unfinished"


def test_a_bridge_error_from_deeper_crosses_under_its_code() -> None:
    crossed = error_from_map(error_to_map(raised(UnknownMethod("no.such"))))
    assert isinstance(crossed, RemoteError)
    assert (crossed.type, crossed.message) == ("UnknownMethod", "no.such")


def test_a_traceback_shows_the_remote_stack() -> None:
    error = RemoteError("TypeError", "m", None, "at x.ts:1:2\n")
    assert error.__notes__ == ["--- remote stack of TypeError ---\nat x.ts:1:2"]


def test_an_unknown_code_is_a_remote_error_of_that_type() -> None:
    error = error_from_map({"code": "FutureError", "message": "m"})
    assert isinstance(error, RemoteError)
    assert (error.type, error.message, error.stack) == ("FutureError", "m", "")


@pytest.mark.parametrize("code", [code for code in ERRORS if code != "RemoteError"])
def test_a_known_code_is_its_class(code: str) -> None:
    error = error_from_map({"code": code, "message": "m"})
    assert type(error) is ERRORS[code]
    assert str(error) == "m"


def test_an_error_tells_whether_the_peer_answered_with_it() -> None:
    for code in ERRORS:
        assert error_from_map({"code": code, "message": "m"}).from_peer
    assert not EncodeError("args[0]: no").from_peer


def test_an_exception_that_cannot_be_read_still_crosses() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

        @property
        def data(self) -> Any:
            raise ValueError("no data")

    sent = error_to_map(raised(Broken()))
    assert sent["type"] == "Broken"
    assert sent["data"] is None


def test_an_endless_message_is_cut_and_a_lone_surrogate_is_escaped() -> None:
    sent = error_to_map(raised(ValueError("\ud800" + "x" * 10 * MAX_TEXT_BYTES)))
    message = sent["message"]
    assert isinstance(message, str)
    assert len(message) < MAX_TEXT_BYTES + 100
    assert message.startswith("\\ud800")
    message.encode()


def test_errors_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(RemoteError("T", "m", [1], "s")))
    assert (error.type, error.message, error.data, error.stack) == ("T", "m", [1], "s")


def test_every_error_is_a_bridge_error() -> None:
    assert all(issubclass(kind, BridgeError) for kind in ERRORS.values())


def crossed(error: BaseException) -> RemoteError:
    error_map = error_to_map(error)
    packed = frames.encode_error_response(values.Encoder(), 1, error_map, 2**26)
    remote = error_from_map(values.decode(packed)[2])
    assert isinstance(remote, RemoteError)
    return remote


class Foreign(BaseException):
    pass


HOOKS = (
    "__str__", "__repr__", "__class__", "__dict__", "__cause__", "__context__", "__suppress_context__", "__traceback__",
    "__notes__", "__bool__", "__len__", "__iter__", "__eq__", "__hash__", "__format__", "__dir__", "__reduce__", "args",
    "name", "data", "type", "message", "stack", "code", "msg", "text", "lineno", "offset", "filename", "end_lineno",
    "end_offset", "exceptions", "obj", "name_from",
)  # fmt: skip
BASES = (Exception, BaseException, RemoteError, UnknownMethod, SyntaxError, KeyError, OSError, NameError, ImportError)


class OddText(str):
    __slots__ = ()

    def encode(self, *arguments: Any) -> Any:
        return 5

    def __str__(self) -> Any:
        raise Foreign

    def __len__(self) -> int:
        raise Foreign

    def __format__(self, _spec: str) -> str:
        raise Foreign


class OddKind(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__name__", "__qualname__", "__module__"):
            raise Foreign(name)
        return super().__getattribute__(name)

    def __repr__(cls) -> str:
        raise Foreign


def hostile(base: type[BaseException], hooks: dict[str, object], kind: type[type] = type) -> BaseException:
    """An exception whose hooks raise, or give something odd."""

    def hook(odd: object) -> property:
        def give(_self: Any, *_arguments: Any) -> Any:
            if isinstance(odd, type) and issubclass(odd, BaseException):
                raise odd
            return odd

        return property(give)

    made = kind("Hostile", (base,), {name: hook(odd) for name, odd in hooks.items()})
    error: BaseException = made.__new__(made, "m", "n")  # type: ignore[call-overload]
    return error


@settings(deadline=None)
@given(
    st.sampled_from(BASES),
    st.dictionaries(
        st.sampled_from(HOOKS),
        st.sampled_from(
            [
                *(Foreign, ValueError, GeneratorExit, SystemExit, AttributeError, RecursionError),
                *(None, 5, b"bytes", [1], OddText("odd")),
            ]
        ),
    ),
    st.sampled_from([type, OddKind]),
    st.booleans(),
)
def test_an_exception_whose_hooks_raise_or_give_something_odd_still_crosses(
    base: type[BaseException], hooks: dict[str, object], kind: type[type], as_cause: bool
) -> None:
    error = hostile(base, hooks, kind)
    if as_cause:
        outer = ValueError("outer")
        outer.__cause__ = error
        remote = crossed(outer)
        assert (remote.type, remote.message) == ("ValueError", "outer")
    else:
        remote = crossed(error)
        assert remote.type == "Hostile" or issubclass(base, RemoteError)


def template_error(offset: Any, text: Any) -> SyntaxError:
    return SyntaxError("bad", ("page.tpl", 3, offset, text))


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (template_error(1, b"<% if %>"), "SyntaxError", "bad (page.tpl, line 3)"),
        (template_error("col 5", "<% if %>"), "SyntaxError", "bad (page.tpl, line 3)"),
        (RemoteError("NotFound", None), "NotFound", "None"),  # type: ignore[arg-type]
        (RemoteError(None, "m"), "None", "m"),  # type: ignore[arg-type]
        (ValueError(OddText("odd")), "ValueError", "<no message: its __str__ raised>"),
    ],
)
def test_an_exception_that_cannot_be_formatted_crosses_with_its_stack(
    error: Exception, name: str, message: str
) -> None:
    remote = crossed(raised(error))
    assert (remote.type, remote.message) == (name, message)
    assert "test_errors.py" in remote.stack
    assert name in remote.stack or isinstance(error, RemoteError)


def test_ctrl_c_is_not_swallowed_where_an_exception_is_looked_at() -> None:
    with pytest.raises(KeyboardInterrupt):
        error_to_map(hostile(ValueError, {"data": KeyboardInterrupt}))


def test_causes_contexts_groups_and_remote_stacks_are_in_the_stack() -> None:
    deepest = RemoteError("Error", "connect ECONNREFUSED", {"code": 1}, "Error: connect ECONNREFUSED\n    at x.ts:1:2")
    group = ExceptionGroup("two failed", [raised(deepest), raised(KeyError("second"))])
    outer = ValueError("outer")
    outer.__cause__ = group
    outer.add_note("a note of the user's")
    stack = crossed(raised(outer)).stack
    for part in ("ECONNREFUSED", "at x.ts:1:2", "two failed", "KeyError: 'second'", "ValueError: outer", "a note of"):
        assert part in stack
    # Also where one of them cannot be formatted.
    deepest.__cause__ = template_error(1, b"<% if %>")
    stack = crossed(raised(outer)).stack
    for part in ("ECONNREFUSED", "at x.ts:1:2", "two failed", "KeyError: 'second'", "ValueError: outer", "a note of"):
        assert part in stack


def chained(links: int) -> Exception:
    error = Exception("the first")
    for index in range(links):
        outer = Exception(f"number {index}")
        outer.__cause__ = error
        error = outer
    return error


@pytest.mark.parametrize("links", [10, 5_000])
def test_a_chain_of_causes_may_have_any_length_and_may_close(links: int) -> None:
    error = chained(links)
    assert f"number {links - 1}" in crossed(error).stack
    first = error
    while first.__cause__ is not None:
        first = first.__cause__  # type: ignore[assignment]
    first.__cause__ = error
    assert len(crossed(error).stack.encode()) <= MAX_TEXT_BYTES + 100
    first.__cause__ = None


def test_a_group_may_have_any_number_of_members_and_a_stack_any_depth() -> None:
    group = ExceptionGroup("many", [ExceptionGroup("inner", [ValueError("x" * 1000)] * 3000)] * 300)
    assert len(crossed(group).stack.encode()) <= MAX_TEXT_BYTES + 100

    def below(levels: int) -> None:
        if levels == 0:
            raise ValueError("deep")
        below(levels - 1)

    with pytest.raises(ValueError, match="deep") as caught:
        below(600)
    assert "below" in crossed(caught.value).stack


class EndlessGroup(ExceptionGroup[Exception]):
    """As a library does that makes its members when it is asked for them."""

    exceptions = property(lambda _: (EndlessGroup("again", [ValueError("member")]),))


class EndlessTrace(Exception):
    __traceback__ = property(lambda self: self)
    tb_lineno, tb_lasti = 1, 0
    tb_frame = property(lambda _: sys._getframe())
    tb_next = property(lambda self: self)


class EndlessNotes(list[str]):
    def __iter__(self) -> Iterator[str]:
        return repeat("a note")


def with_notes(notes: object) -> Exception:
    error = ValueError("outer")
    error.__notes__ = notes  # type: ignore[assignment]
    return error


def syntax_error(**attributes: object) -> Exception:
    error = SyntaxError("odd")
    error.filename, error.lineno, error.text, error.offset = "f", 1, "x" * 100, 1
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


UNBOUNDED: dict[str, tuple[Callable[[], Exception], str]] = {
    "a group": (lambda: EndlessGroup("outer", [ValueError("member")]), "EndlessGroup: outer"),
    "a traceback": (lambda: EndlessTrace("outer"), "EndlessTrace: outer"),
    "notes": (lambda: with_notes(EndlessNotes(["first"])), "ValueError: outer\n['first']"),
    "many notes": (lambda: with_notes(["first"] * 3_000_000), "[2999900 notes are left out]"),
    "a note that raises": (lambda: with_notes(["first", Unreadable(), "last"]), "a note that cannot be read>\nlast"),
    "carets": (lambda: syntax_error(end_offset=1 << 24), "SyntaxError: odd"),
    "spaces": (lambda: syntax_error(offset=1 << 24, text="x" * 1_000_000), "SyntaxError: odd"),
}


class Unreadable:
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize("what", UNBOUNDED)
def test_an_exception_that_traceback_would_follow_without_an_end_crosses_and_is_logged(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, told = UNBOUNDED[what]
    error = raised(make())
    stack = crossed(error).stack
    assert told in stack
    assert "bytes cut" not in stack
    log_raised(logging.ERROR, "closing %s raised", "it", raised=error)
    assert caplog.messages[0].startswith("closing it raised")
    assert told in caplog.text


def test_a_message_of_millions_of_characters_is_cut_in_the_log_as_it_is_for_the_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for error in (raised(ValueError("x" * 3_000_000)), raised(ExceptionGroup("g", [ValueError("y" * 3_000_000)]))):
        assert len(crossed(error).stack) <= 2 * MAX_TEXT_BYTES
        caplog.clear()
        log_raised(logging.ERROR, "closing %s raised", "it", raised=error)
        assert "bytes cut" in caplog.text
        assert len(caplog.text) <= 4 * MAX_TEXT_BYTES


def test_a_text_is_cut_by_bytes_at_a_character_boundary() -> None:
    for text in ("x" * 20, "ä" * 20, "€" * 20, "𝄞" * 20, ""):
        for room in range(100):
            short = cut(text, room)
            assert len(short.encode()) <= room
            assert short == text or text.startswith(short.removesuffix("…"))
