"""Keyword arguments of a call: what may be given, how it arrives, and what is told where it does not fit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from acceptor import Acceptor
from ends import RING, TRANSPORTS, Ends
from flask import Flask
from gunicorn.config import Config
from shm_protocol import EncodeError, MessageTooLarge, RemoteError, connect, connect_async, current_call
from shm_protocol.exposed import Exposed
from shm_protocol.flask import Bridge
from shm_protocol.gunicorn import settings
from shm_protocol.gunicorn.worker_client import WorkerClient
from shm_protocol.session import Session

HANG_S = 200.0


def describe(text: str, locale: str = "en", *, limit: int | None = None, **others: Any) -> list[Any]:
    return [text, locale, limit, others]


def plain(text: str, locale: str = "en") -> list[str]:
    return [text, locale]


def keyword_only(*, timeout: float) -> float:
    return timeout


def positional_only(text: str, /) -> str:
    return text


def count(*, to: int) -> Iterator[int]:
    yield from range(to)


def back(method: str, *args: Any, **kwargs: Any) -> Any:
    call = current_call()
    assert call is not None
    return call.connection.call(method, *args, kwargs=kwargs)


FUNCTIONS = {"describe": describe, "plain": plain, "only": keyword_only, "by_place": positional_only, "count": count}


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def noted() -> list[Any]:
    return []


@pytest.fixture
def ends(transport: str, noted: list[Any]) -> Iterator[Ends]:
    def note(**values: Any) -> None:
        noted.append(values)

    made = Ends(transport, 1 << 20, {"f": FUNCTIONS}, {"f": {**FUNCTIONS, "back": back, "note": note}})
    made.serve()
    yield made
    made.close()


def test_keyword_arguments_reach_the_parameters_of_their_names(ends: Ends) -> None:
    assert ends.near.call("f.describe", "a", locale="de") == ["a", "de", None, {}]
    assert ends.near.call("f.describe", text="a", limit=3, more=[1, None]) == ["a", "en", 3, {"more": [1, None]}]
    # More than go into the ring at once.
    assert ends.near.call("f.describe", "a", limit=1, blob=b"x" * 5 * RING)[3] == {"blob": b"x" * 5 * RING}


def test_a_name_that_is_an_option_of_the_call_goes_by_kwargs(ends: Ends) -> None:
    names = {"timeout": 3, "traceparent": 1, "kwargs": 2, "credit": 4, "method": 5, "self": 6, "function": 7}
    assert ends.near.call("f.describe", "a", kwargs=names, locale="de", timeout=HANG_S) == ["a", "de", None, names]
    assert ends.near.call("f.only", kwargs={"timeout": 3}) == 3


def test_streams_and_notifications_take_them_as_well(ends: Ends, noted: list[Any]) -> None:
    assert list(ends.near.stream("f.count", to=3)) == [0, 1, 2]
    ends.near.notify("f.note", a=1, kwargs={"traceparent": None})
    assert ends.near.call("f.plain", "done") == ["done", "en"]
    assert noted == [{"a": 1, "traceparent": None}]


def test_a_call_made_while_serving_takes_them_too(ends: Ends) -> None:
    assert ends.near.call("f.back", "f.describe", "a", limit=2) == ["a", "en", 2, {}]


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "said"),
    [
        ("f.plain", ("a",), {"limit": 1}, "plain() got an unexpected keyword argument 'limit'"),
        ("f.plain", ("a", "de"), {"locale": "fr"}, "plain() got multiple values for argument 'locale'"),
        ("f.plain", (), {"locale": "fr"}, "plain() missing 1 required positional argument: 'text'"),
        ("f.by_place", (), {"text": "a"}, "positional-only"),
        ("f.only", (1,), {"timeout": 1}, "takes 0 positional arguments"),
    ],
)
def test_what_does_not_fit_is_the_functions_own_type_error_and_nothing_runs(
    ends: Ends, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(RemoteError) as caught:
        ends.near.call(method, *args, kwargs=kwargs)
    error = caught.value
    assert error.type == "TypeError"
    assert said in error.message
    assert "in " not in error.stack
    assert ends.near.call("f.plain", "still there") == ["still there", "en"]


def test_a_notification_whose_keyword_arguments_do_not_fit_is_logged(
    ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    ends.near.notify("f.plain", "a", limit=1)
    assert ends.near.call("f.plain", "still there") == ["still there", "en"]
    assert "unexpected keyword argument 'limit'" in caplog.text


class Raising(dict[str, Any]):
    def items(self) -> Any:
        raise LookupError("looked at")


@pytest.mark.parametrize(
    ("kwargs", "error", "said"),
    [
        (3, TypeError, "kwargs=3: must be a mapping of names to values, or None"),
        ([("a", 1)], TypeError, "kwargs=<list>: must be a mapping"),
        ("text", TypeError, "kwargs='text': must be a mapping"),
        ({1: 2}, TypeError, "kwargs: the name 1: must be a string"),
        ({b"a": 2}, TypeError, "kwargs: the name b'a': must be a string"),
        ({"a": 1}, TypeError, "kwargs: 'a' is given as a keyword argument as well"),
        (Raising(a=1), LookupError, "looked at"),
    ],
    ids=repr,
)
def test_what_cannot_be_keyword_arguments_is_refused_here_and_nothing_is_sent(
    ends: Ends, kwargs: Any, error: type[Exception], said: str
) -> None:
    before = ends.near.stats["messages_sent"]
    for attempt in (ends.near.call, ends.near.stream, ends.near.notify):
        with pytest.raises(error, match=said.replace("[", r"\[")):
            attempt("f.describe", "a", kwargs=kwargs, a=0)
    assert ends.near.stats["messages_sent"] == before


def test_a_value_that_cannot_be_encoded_is_named_by_its_path_and_nothing_is_sent(ends: Ends) -> None:
    before = ends.near.stats["messages_sent"]
    for attempt in (ends.near.call, ends.near.stream, ends.near.notify):
        with pytest.raises(EncodeError, match=r"^kwargs\.locale: a set cannot be encoded"):
            attempt("f.describe", "a", locale={1})
        with pytest.raises(EncodeError, match=r"^kwargs\.others\[0\]\.at: an object"):
            attempt("f.describe", "a", others=[{"at": object()}])
        with pytest.raises(EncodeError, match=r"^kwargs: key '.*lone surrogate"):
            attempt("f.describe", "a", kwargs={"\ud800": 1})
        with pytest.raises(MessageTooLarge):
            attempt("f.describe", "a", blob=b"x" * (1 << 20))
    assert ends.near.stats["messages_sent"] == before
    assert ends.near.call("f.plain", "still there") == ["still there", "en"]


def test_they_nest_as_deep_as_arguments_do(ends: Ends) -> None:
    value: Any = 1
    for _ in range(500):
        value = [value]
    assert ends.near.call("f.only", kwargs={"timeout": value}) == value
    with pytest.raises(EncodeError, match="nested more than 500 deep"):
        ends.near.call("f.only", kwargs={"timeout": [value]})


def test_an_empty_mapping_is_none_at_all(ends: Ends) -> None:
    with pytest.raises(RemoteError, match=r"f\.plain takes 1 to 2 arguments, and was given 0"):
        ends.near.call("f.plain", kwargs={})


def test_an_older_peer_is_sent_none() -> None:
    session = Session(1 << 20, peer_minor=1)
    session.add_keywords({}, "m.f", {})
    with pytest.raises(EncodeError, match=r"^m\.f: keyword arguments need protocol 1\.2, the peer speaks 1\.1$"):
        session.add_keywords({}, "m.f", {"locale": "de"})


# Of each kind of client.


def test_a_client_hands_them_on(path: Path, listen: Callable[..., Acceptor], transport: str) -> None:
    listen(FUNCTIONS, accepts=(transport,)).serve_in_background()
    with connect(path, transport=transport) as client:
        assert client.call("describe", "a", locale="de", kwargs={"timeout": 1}) == ["a", "de", None, {"timeout": 1}]
        with client.stream("count", to=2) as stream:
            assert list(stream) == [0, 1]
        client.notify("plain", "a", locale="de")
        with pytest.raises(TypeError, match="kwargs=3: must be a mapping"):
            client.call("describe", kwargs=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("lazy", [False, True])
def test_an_asyncio_client_hands_them_on(
    path: Path, listen: Callable[..., Acceptor], transport: str, lazy: bool
) -> None:
    listen(FUNCTIONS, accepts=(transport,)).serve_in_background()

    async def test() -> None:
        async with await connect_async(path, transport=transport, lazy=lazy) as client:
            await client.notify("plain", "a", locale="de")
            assert await client.call("describe", "a", locale="de", kwargs={"credit": 1}) == [
                "a",
                "de",
                None,
                {"credit": 1},
            ]
            assert [item async for item in client.stream("count", to=2)] == [0, 1]
            with pytest.raises(EncodeError, match=r"^kwargs\.locale: "):
                await client.call("describe", "a", locale={1})

    asyncio.run(asyncio.wait_for(test(), HANG_S))


def test_the_flask_extension_hands_them_on(path: Path, listen: Callable[..., Acceptor], transport: str) -> None:
    listen(FUNCTIONS, accepts=(transport,)).serve_in_background()
    app = Flask("shop")
    app.config["SHM_POLYGLOT_DIR"] = path.parent
    bridge = Bridge(app)
    with app.app_context():
        assert bridge.call("describe", "a", locale="de", kwargs={"timeout": 1}) == ["a", "de", None, {"timeout": 1}]
        assert list(bridge.stream("count", to=2)) == [0, 1]
        bridge.notify("plain", "a", locale="de")
        bridge.close()


def test_the_client_of_gunicorns_worker_hands_them_on(
    path: Path, listen: Callable[..., Acceptor], monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(FUNCTIONS).serve_in_background()
    monkeypatch.setenv("SHM_POLYGLOT_DIR", str(path.parent))
    client = WorkerClient(settings.load(Config()), Exposed(), name="handlers")
    assert client.call("describe", "a", locale="de", kwargs={"timeout": 1}) == ["a", "de", None, {"timeout": 1}]
    client.close()
