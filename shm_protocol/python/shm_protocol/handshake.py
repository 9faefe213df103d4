"""The handshake (PROTOCOL.md section 2): one hello from the dialer, one welcome or refusal from the acceptor.

Pure code over bytes. Reading and writing the socket is the dialer's business (dialing.py).
"""

from __future__ import annotations

import platform
import re
import struct
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from . import values
from .errors import ERRORS, BridgeError, ProtocolError, VersionMismatch

MAGIC: Final = b"SHMP"
PROTOCOL_MAJOR: Final = 1
PROTOCOL_MINOR: Final = 0
LIBRARY_VERSION: Final = "0.1.0"
LANGUAGE: Final = f"python {platform.python_version()}"

HEADER: Final = struct.Struct("<4sHHI")
"""magic, major, minor, bytes of the body."""

BODY_BYTES_MAX: Final = 4096
NAME_CHARACTERS_MAX: Final = 128
MAX_MESSAGE_MAX: Final = 2**53 - 1
TIMEOUT_S: Final = 5.0

SEGMENT_NAME: Final = re.compile(r"/shm-polyglot-[0-9a-f]{32}")

Role = Literal["client", "worker"]
Transport = Literal["shm", "socket"]


@dataclass(frozen=True, slots=True)
class Hello:
    """What a dialer says of itself. `segment` is the name of its shared memory, with the shm transport only."""

    role: Role
    transport: Transport
    name: str
    max_message: int
    language: str = LANGUAGE
    library: str = LIBRARY_VERSION
    segment: str | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """What an acceptor says of itself to a dialer it takes."""

    name: str
    max_message: int
    language: str = LANGUAGE
    library: str = LIBRARY_VERSION


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an acceptor does not take a dialer: an error code of the registry and a message."""

    code: str
    message: str

    def to_error(self) -> BridgeError:
        """The refusal as an exception to raise."""
        error = ERRORS.get(self.code)
        if error is None or self.code == "RemoteError":
            return ProtocolError(f"refused with the code {self.code!r}: {self.message}")
        return error(self.message)


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a handshake message. The versions are the sender's."""

    major: int
    minor: int
    body_bytes: int


def encode_hello(hello: Hello, *, major: int = PROTOCOL_MAJOR) -> bytes:
    """The bytes of a hello. `major` is for tests."""
    body = asdict(hello)
    if hello.segment is None:
        del body["segment"]
    return _encode(body, major)


def encode_answer(answer: Welcome | Refusal, *, major: int = PROTOCOL_MAJOR) -> bytes:
    """The bytes of a welcome or a refusal."""
    status = "welcome" if isinstance(answer, Welcome) else "refused"
    return _encode({"status": status, **asdict(answer)}, major)


def decode_header(header: bytes) -> Header:
    """The first HEADER.size bytes. Raises ProtocolError, naming the bytes, if they are not ours."""
    magic, major, minor, body_bytes = HEADER.unpack(header)
    if magic != MAGIC:
        raise ProtocolError(f"no handshake of this protocol: it begins with {header!r}")
    if body_bytes > BODY_BYTES_MAX:
        raise ProtocolError(f"a handshake with a body of {body_bytes} bytes; at most {BODY_BYTES_MAX} are allowed")
    return Header(major, minor, body_bytes)


def check_version(header: Header) -> None:
    """Raise VersionMismatch if a peer of this version cannot be understood."""
    if header.major != PROTOCOL_MAJOR:
        raise VersionMismatch(
            f"the peer speaks protocol {header.major}.{header.minor}, this side {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}"
        )


def decode_hello(body: bytes) -> Hello:
    """The body of a hello. Raises ProtocolError."""
    fields = _decode(body)
    role: Any = _text(fields, "role")
    transport: Any = _text(fields, "transport")
    if role not in ("client", "worker"):
        raise ProtocolError(f"a hello with the role {values.brief(role)}, not client or worker")
    if transport not in ("shm", "socket"):
        raise ProtocolError(f"a hello with the transport {values.brief(transport)}, not shm or socket")
    segment = fields.get("segment") if transport == "shm" else None
    if transport == "shm" and (type(segment) is not str or SEGMENT_NAME.fullmatch(segment) is None):
        raise ProtocolError(f"a hello with a segment {values.brief(segment)} that is no name of a segment")
    return Hello(role, transport, *_common_fields(fields), segment)


def decode_answer(body: bytes) -> Welcome | Refusal:
    """The body of a welcome or a refusal. Raises ProtocolError."""
    fields = _decode(body)
    match _text(fields, "status"):
        case "welcome":
            return Welcome(*_common_fields(fields))
        case "refused":
            return Refusal(_text(fields, "code"), _text(fields, "message"))
        case status:
            raise ProtocolError(f"an answer to a hello with the status {values.brief(status)}, not welcome or refused")


def _encode(body: dict[str, Any], major: int) -> bytes:
    packed = values.Packer().pack(body)
    return HEADER.pack(MAGIC, major, PROTOCOL_MINOR, len(packed)) + packed


def _decode(body: bytes) -> dict[str, Any]:
    fields = values.decode(body)
    if type(fields) is not dict or not all(type(key) is str for key in fields):
        raise ProtocolError("a handshake whose body is no map with str keys")
    return fields


def _common_fields(fields: dict[str, Any]) -> tuple[str, int, str, str]:
    name, max_message = _text(fields, "name"), fields.get("max_message")
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        raise ProtocolError(f"a handshake with a name of {len(name)} characters, not 1 to {NAME_CHARACTERS_MAX}")
    if type(max_message) is not int or not 1 <= max_message <= MAX_MESSAGE_MAX:
        raise ProtocolError(
            f"a handshake with a max_message that is no int from 1 to 2**53 - 1: {values.brief(max_message)}"
        )
    return name, max_message, _text(fields, "language"), _text(fields, "library")


def _text(fields: dict[str, Any], key: str) -> str:
    text = fields.get(key)
    if type(text) is not str:
        raise ProtocolError(f"a handshake whose {key} is no str: {values.brief(text)}")
    return text
