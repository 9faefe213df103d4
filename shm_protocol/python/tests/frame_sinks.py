"""Sinks for frames: what a test looks at."""

from __future__ import annotations

from typing import Any

from shm_protocol import frames, values


class Encoded:
    """Encodes each frame again, with the function for its kind."""

    def __init__(self) -> None:
        self.encoder = values.Encoder()
        self.messages: list[bytes] = []

    def on_request(self, call_id: int, method: str, args: list[Any], meta: dict[str, Any] | None) -> None:
        self.messages.append(frames.encode_request(self.encoder, call_id, method, args, meta))

    def on_response(self, call_id: int, result: Any) -> None:
        self.messages.append(frames.encode_response(self.encoder, call_id, result))

    def on_error_response(self, call_id: int, error: dict[str, Any]) -> None:
        self.messages.append(frames.encode_error_response(self.encoder, call_id, error, 2**26))

    def on_notification(self, method: str, args: list[Any], meta: dict[str, Any] | None) -> None:
        self.messages.append(frames.encode_notification(self.encoder, method, args, meta))

    def on_cancel(self, call_id: int) -> None:
        self.messages.append(frames.encode_cancel(self.encoder, call_id))

    def on_item(self, call_id: int, value: Any) -> None:
        self.messages.append(frames.encode_item(self.encoder, call_id, value))

    def on_credit(self, call_id: int, items: int) -> None:
        self.messages.append(frames.encode_credit(self.encoder, call_id, items))

    def on_leave(self) -> None:
        self.messages.append(frames.encode_leave(self.encoder))

    def on_expose(self, names: list[str]) -> None:
        self.messages.append(frames.encode_expose(self.encoder, names))

    def on_release(self, ids: list[int]) -> None:
        self.messages.append(frames.encode_release(self.encoder, ids))

    def on_hold(self, ids: list[int]) -> None:
        self.messages.append(frames.encode_hold(self.encoder, ids))

    def on_returned(self, numbers: list[int]) -> None:
        self.messages.append(frames.encode_returned(numbers))

    def on_withdrawn(self, numbers: list[int]) -> None:
        self.messages.append(frames.encode_withdrawn(numbers))


def checked(message: bytes) -> Any:
    """The frame in a message. Raises ProtocolError unless it is one."""
    frame = values.decode(message)
    encoded = Encoded()
    frames.read_frame(frame, encoded)
    assert len(encoded.messages) == 1
    return frame


def encoded_again(message: bytes) -> bytes:
    """The same frame, read and written once more."""
    encoded = Encoded()
    frames.read_frame(values.decode(message), encoded)
    (again,) = encoded.messages
    return again
