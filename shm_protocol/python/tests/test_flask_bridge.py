"""The Flask extension: what it does to an app, when it connects, and what is told where it cannot."""

from __future__ import annotations

import gc
import json
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from acceptor import Acceptor
from flask import Flask, Response, stream_with_context
from shm_protocol import CallTimeout, ConfigError, ConnectionClosed, PeerUnavailable
from shm_protocol.flask import Bridge, settings
from tagged import SHM_PROTOCOL

HANG_S = 200.0

Listen = Callable[..., Acceptor]


def shout(text: str) -> str:
    return text.upper() + "!"


def count(to: int) -> Iterator[int]:
    yield from range(to)


@pytest.fixture(params=["shm", "socket"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def make_app(path: Path, **settings: Any) -> Flask:
    app = Flask("shop")
    app.testing = True  # what a handler raises is raised by the client
    app.config["SHM_POLYGLOT_DIR"] = path.parent
    app.config.update(settings)
    return app


def with_routes(app: Flask, bridge: Bridge) -> Flask:
    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.get("/shout/<text>")
    def shouted(text: str) -> str:
        return str(bridge.call("shout", text))

    @app.get("/first")
    def first() -> str:
        return str(next(bridge.stream("count", 1000)))

    return app


def test_an_app_that_never_calls_connects_to_nobody(path: Path, listen: Listen) -> None:
    acceptor = listen().serve_in_background()
    app = make_app(path)
    with_routes(app, Bridge(app))
    assert [app.test_client().get("/plain").text for _ in range(3)] == ["plain"] * 3
    assert acceptor.hellos == []


def test_requests_share_the_connection_that_the_first_call_has_made(path: Path, transport: str, listen: Listen) -> None:
    acceptor = listen({"shout": shout}).serve_in_background()
    app = make_app(path, SHM_POLYGLOT_TRANSPORT=transport)
    bridge = Bridge(app)
    client = with_routes(app, bridge).test_client()
    assert [client.get(f"/shout/{word}").text for word in ("a", "b", "c")] == ["A!", "B!", "C!"]
    assert [(hello.name, hello.transport) for hello in acceptor.hellos] == [("flask shop", transport)]
    bridge.close()


def test_a_factory_sets_its_apps_up_and_each_has_its_own_client(path: Path, listen: Listen) -> None:
    listen({"shout": shout}).serve_in_background()
    bridge = Bridge()
    apps = [make_app(path, SHM_POLYGLOT_NAME=name) for name in ("one", "two")]
    for app in apps:
        bridge.init_app(app)
        assert app.extensions["shm_polyglot"] is bridge
    clients = []
    for app in apps:
        with app.app_context():
            assert bridge.call("shout", "x") == "X!"
            clients.append(bridge.client)
    assert clients[0] is not clients[1]
    with pytest.raises(RuntimeError, match=r"^the bridge has 2 apps, and there is no application context"):
        bridge.call("shout", "x")
    for app in apps:
        with app.app_context():
            bridge.close()
            with pytest.raises(ConnectionClosed):
                bridge.call("shout", "x")


def test_outside_of_a_request_the_only_app_is_meant(path: Path, listen: Listen) -> None:
    heard = threading.Event()
    listen({"shout": shout, "hear": heard.set}).serve_in_background()
    app = make_app(path)
    bridge = Bridge(app)
    assert bridge.call("shout", "x") == "X!"
    bridge.notify("hear")
    assert heard.wait(HANG_S)
    bridge.close()


def test_an_app_that_has_not_been_set_up_is_told(path: Path) -> None:
    with pytest.raises(
        RuntimeError, match=r"^the bridge has no app yet: Bridge\(app\), or bridge.init_app\(app\) before"
    ):
        Bridge().call("shout", "x")
    app, other = make_app(path), Flask("other")
    bridge = Bridge(app)
    with other.app_context(), pytest.raises(RuntimeError, match=r"'other'.* call bridge.init_app\(app\)"):
        bridge.call("shout", "x")


def test_an_app_has_one_bridge(path: Path) -> None:
    app = make_app(path)
    Bridge(app)
    with pytest.raises(RuntimeError, match="has a bridge already: import that one"):
        Bridge(app)


def test_a_call_without_node_fails_alone_and_the_next_one_connects(path: Path, listen: Listen) -> None:
    app = make_app(path, SHM_POLYGLOT_WAIT=None)
    bridge = Bridge(app)
    client = with_routes(app, bridge).test_client()
    with pytest.raises(PeerUnavailable, match="nobody listens at "):
        client.get("/shout/x")
    assert client.get("/plain").text == "plain"
    listen({"shout": shout}).serve_in_background()
    # The pause after a failure has to be over.
    while True:
        try:
            assert client.get("/shout/x").text == "X!"
            break
        except PeerUnavailable:
            threading.Event().wait(0.005)
    bridge.close()


def test_a_call_waits_as_long_as_the_app_says_and_as_itself_says(
    path: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()
    listen({"hold": lambda: opened.wait(HANG_S)}).serve_in_background()
    for app in (make_app(path, SHM_POLYGLOT_CALL_TIMEOUT=0.02), make_app(path)):
        bridge = Bridge(app)
        with pytest.raises(CallTimeout, match="no answer within 0.02 s"):
            bridge.call("hold")
        with pytest.raises(CallTimeout, match="no answer within 0.03 s"):
            bridge.call("hold", timeout=0.03)
        bridge.close()
        # The second one leaves it to the environment.
        monkeypatch.setenv("SHM_POLYGLOT_CALL_TIMEOUT", "0.02")
    opened.set()


@pytest.mark.parametrize(
    ("key", "value", "kind", "said"),
    [
        ("TRANSPORT", "tcp", ConfigError, r'^SHM_POLYGLOT_TRANSPORT="tcp": must be auto, shm or socket'),
        ("RING_BYTES", 5, ConfigError, r'^SHM_POLYGLOT_RING_BYTES="5": must be a power of two from 4096'),
        ("DIR", "run", ConfigError, r'^SHM_POLYGLOT_DIR="run": must be an absolute path'),
        ("DIR", ["run"], TypeError, r"^SHM_POLYGLOT_DIR=.*list.*: must be text or a number, or None"),
        ("NAME", "", ConfigError, r"^SHM_POLYGLOT_NAME='': must have 1 to 128 characters"),
        ("CALL_TIMEOUT", 0, ConfigError, r"^SHM_POLYGLOT_CALL_TIMEOUT=0: must be a number of seconds greater than 0"),
        ("CALL_TIMEOUT", "5", TypeError, r"^SHM_POLYGLOT_CALL_TIMEOUT='5': must be a number of seconds"),
        ("CONNECT_TIMEOUT", -1, ConfigError, r"^SHM_POLYGLOT_CONNECT_TIMEOUT=-1: must be"),
        ("WAIT", "long", TypeError, r"^SHM_POLYGLOT_WAIT='long': must be .*, or None"),
        ("MAX_CONNECTIONS", 0, ConfigError, r"^SHM_POLYGLOT_MAX_CONNECTIONS=0: must be an integer from 1 to"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_when_the_app_is_set_up(
    path: Path, key: str, value: Any, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        Bridge(make_app(path, **{f"SHM_POLYGLOT_{key}": value}))


def test_the_page_lists_the_keys_that_there_are() -> None:
    page = (SHM_PROTOCOL.parent / "docs" / "flask.md").read_text()
    assert re.findall(r"^\| `(SHM_\w+)`", page, re.MULTILINE) == list(settings.DEFAULTS)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("CALL_TIMEOUT", "soon", r'^SHM_POLYGLOT_CALL_TIMEOUT="soon": must be a number of seconds'),
        ("MAX_CONNECTIONS", "many", r'^SHM_POLYGLOT_MAX_CONNECTIONS="many": must be an integer from 1 to'),
        ("MAX_CONNECTIONS", "0", r'^SHM_POLYGLOT_MAX_CONNECTIONS="0": must be an integer from 1 to'),
    ],
)
def test_what_the_environment_says_that_cannot_be_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, text: str, said: str
) -> None:
    monkeypatch.setenv(f"SHM_POLYGLOT_{variable}", text)
    with pytest.raises(ConfigError, match=said):
        Bridge(make_app(path))


def test_the_app_wins_over_the_environment(path: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    acceptor = listen({"shout": shout}).serve_in_background()
    monkeypatch.setenv("SHM_POLYGLOT_DIR", "/nowhere")
    monkeypatch.setenv("SHM_POLYGLOT_TRANSPORT", "socket")
    app = make_app(path)
    bridge = Bridge(app)
    assert bridge.call("shout", "x") == "X!"
    assert [hello.transport for hello in acceptor.hellos] == ["socket"]
    bridge.close()


def test_a_stream_that_was_not_read_to_its_end_is_given_up_with_its_request(
    path: Path, transport: str, listen: Listen
) -> None:
    ended = threading.Semaphore(0)

    def endless(_: int) -> Iterator[int]:
        try:
            yield from iter(int, 1)
        finally:
            ended.release()

    acceptor = listen({"count": endless}).serve_in_background()
    app = make_app(path, SHM_POLYGLOT_TRANSPORT=transport, SHM_POLYGLOT_MAX_CONNECTIONS=1)
    bridge = Bridge(app)
    client = with_routes(app, bridge).test_client()
    # Each has the one connection there is.
    for _ in range(3):
        assert client.get("/first").text == "0"
        assert ended.acquire(timeout=HANG_S)
    assert len(acceptor.hellos) == 1
    bridge.close()


def test_a_response_may_be_made_of_a_stream_with_its_context_and_without(
    path: Path, transport: str, listen: Listen
) -> None:
    acceptor = listen({"count": count}).serve_in_background()
    app = make_app(path, SHM_POLYGLOT_TRANSPORT=transport, SHM_POLYGLOT_MAX_CONNECTIONS=1)
    bridge = Bridge(app)

    @app.get("/with")
    def within() -> Response:
        return Response(stream_with_context(f"{number}," for number in bridge.stream("count", 200)))

    @app.get("/without")
    def without() -> Response:
        return Response(f"{number}," for number in bridge.stream("count", 200))

    @app.get("/late")
    def late() -> Response:
        def generate() -> Iterator[str]:
            yield f"{next(bridge.stream('count', 200))}"

        return Response(stream_with_context(generate()))

    client = app.test_client()
    # Each has the one connection there is.
    for _ in range(2):
        for way in ("/with", "/without"):
            assert client.get(way).text == "".join(f"{number}," for number in range(200))
        assert client.get("/late").text == "0"
    assert len(acceptor.hellos) == 1
    bridge.close()


def test_a_stream_is_over_with_the_context_it_was_opened_in(path: Path, transport: str, listen: Listen) -> None:
    listen({"count": count}).serve_in_background()
    app = make_app(path, SHM_POLYGLOT_TRANSPORT=transport)
    bridge = Bridge(app)
    with app.app_context():
        stream = bridge.stream("count", 200)
        assert next(stream) == 0
    with pytest.raises(RuntimeError, match="has ended with the request, or the application context, that it was"):
        next(stream)
    bridge.close()


def test_a_handler_that_raises_gives_its_stream_up(path: Path, transport: str, listen: Listen) -> None:
    acceptor = listen({"count": count}).serve_in_background()
    app = make_app(path, SHM_POLYGLOT_TRANSPORT=transport, SHM_POLYGLOT_MAX_CONNECTIONS=1)
    bridge = Bridge(app)

    @app.get("/failing")
    def failing() -> str:
        kept.append(bridge.stream("count", 200))
        raise KeyError(next(kept[-1]))

    kept: list[Any] = []
    with pytest.raises(KeyError, match="^0$"):
        app.test_client().get("/failing")
    app.testing = False
    # Its page is sent piece by piece, as far as Flask knows: a server closes it.
    with app.test_client().get("/failing") as response:
        assert response.status_code == 500
    assert (len(kept), len(acceptor.hellos)) == (2, 1)
    bridge.close()


def test_a_stream_that_was_read_or_closed_is_left_alone_at_the_end(path: Path, listen: Listen) -> None:
    listen({"count": count}).serve_in_background()
    app = make_app(path)
    bridge = Bridge(app)
    with app.app_context():
        read, closed = bridge.stream("count", 3), bridge.stream("count", 3)
        assert list(read) == [0, 1, 2]
        with closed:
            assert next(closed) == 0
    assert list(read) == list(closed) == []
    bridge.close()


def test_an_app_that_is_forgotten_takes_its_connections_with_it(path: Path, listen: Listen) -> None:
    acceptor = listen({"shout": shout}).serve_in_background()
    bridge = Bridge()
    app = make_app(path)
    bridge.init_app(app)
    with app.app_context():
        assert bridge.call("shout", "x") == "X!"
    forgotten = weakref.ref(app)
    del app
    gc.collect()
    assert forgotten() is None
    while not acceptor.connections[0].closed:
        threading.Event().wait(0.001)


# flask bridge ...


def invoke(app: Flask, *arguments: str) -> tuple[int, str, str]:
    """The exit code, what was printed, and the errors."""
    result = app.test_cli_runner().invoke(args=["bridge", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_call_by_hand_prints_what_the_function_gives_as_json(path: Path, listen: Listen) -> None:
    listen(
        {"shout": shout, "echo": lambda *args: list(args), "count": count, "raw": lambda: b"x"}
    ).serve_in_background()
    app = make_app(path)
    bridge = Bridge(app)
    assert invoke(app, "call", "shout", "hello") == (0, '"HELLO!"\n', "")
    code, output, _ = invoke(app, "call", "echo", "[1, 2]", "text", "é", '{"a": null}', "1.5")
    assert (code, json.loads(output)) == (0, [[1, 2], "text", "é", {"a": None}, 1.5])
    code, output, _ = invoke(app, "call", "echo", "-5", "-1.5e3", "--timeout", "9", "-0")
    assert (code, json.loads(output)) == (0, [-5, -1500.0, 0])
    code, output, _ = invoke(app, "call", "echo", "--", "-x", "-5")
    assert (code, json.loads(output)) == (0, ["-x", -5])
    assert invoke(app, "call", "echo", "-x")[0] == 2
    assert invoke(app, "call", "echo", "--timout", "9")[0] == 2
    assert invoke(app, "call", "--stream", "count", "2") == (0, "0\n1\n", "")
    assert invoke(app, "call", "raw") == (0, "\"b'x'\"\n", "")
    bridge.close()


def test_a_call_by_hand_that_fails_says_so_and_exits_with_1(path: Path, listen: Listen) -> None:
    app = make_app(path)
    bridge = Bridge(app)
    code, output, errors = invoke(app, "call", "shout", "hello")
    assert (code, output) == (1, "")
    assert errors.startswith("PeerUnavailable: nobody listens at ")
    listen({"count": count, "shout": shout}).serve_in_background()
    app = make_app(path)
    bridge = Bridge(app)
    assert invoke(app, "call", "nothing") == (1, "", "UnknownMethod: nothing: nothing of that name is exposed\n")
    code, _, errors = invoke(app, "call", "--timeout", "0", "shout", "x")
    assert (code, errors.startswith("flask bridge call: timeout=0.0: must be")) == (2, True)
    code, _, errors = invoke(app, "call", "--stream", "shout", "x")
    assert (code, "gave a value, not a stream" in errors) == (2, True)
    bridge.close()


def test_doctor_and_top_look_where_the_app_does(path: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SHM_POLYGLOT_DIR", "SHM_POLYGLOT_TRANSPORT"):
        # Set and taken back, so that what the command sets is taken back too.
        monkeypatch.setenv(variable, "/elsewhere")
    app = make_app(path, SHM_POLYGLOT_TRANSPORT="socket")
    Bridge(app)
    code, output, _ = invoke(app, "doctor", "--json")
    assert code == 1  # nobody listens
    assert json.loads(output)["socket"] == str(path)
    code, _, errors = invoke(app, "top", "--count", "1")
    assert (code, f"nobody listens at {path}" in errors) == (1, True)
    code, output, _ = invoke(app, "top", "--help")
    assert (code, output.startswith("usage: shm-polyglot top")) == (0, True)
