"""What each error of the bridge becomes for an HTTP client of the Flask app, and what only the log is told."""

import logging

import pytest
from shm_protocol import (
    BridgeError,
    Busy,
    CallTimeout,
    CallTooDeep,
    ConnectionClosed,
    EncodeError,
    MessageTooLarge,
    PeerGone,
    PeerUnavailable,
    ProtocolError,
    RemoteError,
    UnknownMethod,
)
from werkzeug.test import TestResponse

from python_side.app import create_app


def from_peer(error: BridgeError) -> BridgeError:
    """An error that the peer answered with: about its result."""
    error.from_peer = True
    return error


def answer_to(error: Exception) -> TestResponse:
    app = create_app()

    @app.get("/fail")
    def fail() -> str:
        raise error

    return app.test_client().get("/fail")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (PeerUnavailable("secret"), 503, "The TypeScript server is not there"),
        (PeerGone("secret"), 503, "The TypeScript server went away during the call"),
        (ConnectionClosed("secret"), 503, "The TypeScript server went away during the call"),
        (Busy("secret"), 503, "Too many calls to the TypeScript server are waiting"),
        (CallTimeout("secret"), 504, "The TypeScript server did not answer in time"),
        (EncodeError("args[0]: no"), 400, "args[0]: no"),
        (MessageTooLarge("3 bytes; max_message is 2"), 413, "3 bytes; max_message is 2"),
        (from_peer(EncodeError("secret")), 502, "The TypeScript server's answer could not be sent"),
        (from_peer(MessageTooLarge("secret")), 502, "The TypeScript server's answer could not be sent"),
        (RemoteError("Error", "secret", None, "secret stack"), 500, "Internal server error"),
        (UnknownMethod("secret"), 500, "Internal server error"),
        (CallTooDeep("secret"), 500, "Internal server error"),
        (ProtocolError("secret"), 500, "Internal server error"),
    ],
)
def test_each_error_has_its_status_and_tells_no_secret(error: BridgeError, status: int, message: str) -> None:
    answer = answer_to(error)
    assert (answer.status_code, answer.get_json()) == (status, {"error": message})
    assert ("Retry-After" in answer.headers) == (status == 503)


def test_the_remote_stack_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer_to(RemoteError("Error", "the message", None, "at secret (file.ts:1)"))
    assert "RemoteError: Error: the message\nat secret (file.ts:1)" in caplog.text


def test_an_exception_of_the_app_is_a_500_and_its_stack_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = answer_to(LookupError("secret"))
    assert (answer.status_code, answer.get_json()) == (500, {"error": "Internal server error"})
    assert "LookupError: secret" in caplog.text
