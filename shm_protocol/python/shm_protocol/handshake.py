"""The handshake (PROTOCOL.md section 2): one hello from the dialer, one welcome or refusal from the acceptor.

Pure code over bytes. Reading and writing the socket is the dialer's business (dialing.py).
"""

from __future__ import annotations

import platform
import re
import struct
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple

from . import values
from .errors import ERRORS, BridgeError, ProtocolError, VersionMismatch
from .frames import MAX_EXPOSED
from .project import MAX_PROJECT_CHARACTERS

MAGIC: Final = b"SHMP"
PROTOCOL_MAJOR: Final = 1
PROTOCOL_MINOR: Final = 2
MINOR_WITH_NAMES: Final = 1
"""Since when an acceptor takes the names of what is exposed (the frame `expose`)."""
LIBRARY_VERSION: Final = "0.1.0"
LANGUAGE: Final = f"python {platform.python_version()}"

HEADER: Final = struct.Struct("<4sHHI")
"""magic, major, minor, bytes of the body."""

MAX_BODY_BYTES: Final = 4096
MAX_NAME_CHARACTERS: Final = 128
MAX_TOLD_MESSAGE: Final = 2**53 - 1
HANDSHAKE_TIMEOUT_S: Final = 5.0

SEGMENT_NAME: Final = re.compile(r"/shm-polyglot-[0-9a-f]{32}")
TOKEN: Final = re.compile(r"[0-9a-f]{32}")
"""What a second socket names its connection by."""

Role = Literal["client", "worker"]
Transport = Literal["shm", "socket"]


class Peer(NamedTuple):
    """What the other side has said of itself.

    name: for logs. language: e.g. "node 22.11.0". library: the version of its library, e.g. "0.1.0".
    project: the folder of its project, None where it tells none. For people: nothing vouches for it.
    minor: the minor version of the protocol that it speaks.
    """

    name: str
    language: str
    library: str
    project: str | None = None
    minor: int = PROTOCOL_MINOR


@dataclass(frozen=True, slots=True)
class Hello:
    """What a dialer says of itself.

    segment: the name of its shared memory, with the shm transport only. exposes: how many functions it is about to
    name; None: it names none. project: the folder of its project, for people. attends: False for a client that looks
    for calls only while one of its own waits; None: it may be called at any time, or does not say.
    """

    role: Role
    transport: Transport
    name: str
    max_message: int
    language: str = LANGUAGE
    library: str = LIBRARY_VERSION
    segment: str | None = None
    exposes: int | None = None
    project: str | None = None
    attends: bool | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """What an acceptor says of itself to a dialer it takes. `project`: the folder of its project, for people.
    descriptors: what a second socket, for descriptors, is to name; None: it takes none.
    """

    name: str
    max_message: int
    language: str = LANGUAGE
    library: str = LIBRARY_VERSION
    project: str | None = None
    descriptors: str | None = None


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
    return _encode(asdict(hello), major)


def encode_descriptors_hello(token: str) -> bytes:
    """The bytes of the hello of a second socket."""
    return _encode({"role": "descriptors", "token": token}, PROTOCOL_MAJOR)


def encode_answer(answer: Welcome | Refusal, *, major: int = PROTOCOL_MAJOR) -> bytes:
    """The bytes of a welcome or a refusal."""
    status = "welcome" if isinstance(answer, Welcome) else "refused"
    return _encode({"status": status, **asdict(answer)}, major)


def decode_header(header: bytes) -> Header:
    """The first HEADER.size bytes.

    Raises ProtocolError, naming the bytes, if they are not ours, and VersionMismatch for a peer of another major
    version, which may have another body and other limits.
    """
    magic, major, minor, body_bytes = HEADER.unpack(header)
    if magic != MAGIC:
        raise ProtocolError(f"not a handshake of this protocol: it begins with {header!r}")
    if major != PROTOCOL_MAJOR:
        raise VersionMismatch(
            f"the peer speaks protocol {major}.{minor}, this side {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}: "
            "bring both to the same version"
        )
    if body_bytes > MAX_BODY_BYTES:
        raise ProtocolError(f"a handshake with a body of {body_bytes} bytes; at most {MAX_BODY_BYTES} are allowed")
    return Header(major, minor, body_bytes)


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
        raise ProtocolError(f"a hello with a segment {values.brief(segment)} that is not the name of a segment")
    return Hello(
        role, transport, *_common_fields(fields), segment, _exposes(fields), _project(fields), _attends(fields)
    )


def decode_answer(body: bytes) -> Welcome | Refusal:
    """The body of a welcome or a refusal. Raises ProtocolError."""
    fields = _decode(body)
    match _text(fields, "status"):
        case "welcome":
            token = _token(fields, "descriptors") if "descriptors" in fields else None
            return Welcome(*_common_fields(fields), _project(fields), token)
        case "refused":
            return Refusal(_text(fields, "code"), _text(fields, "message"))
        case status:
            raise ProtocolError(f"an answer to a hello with the status {values.brief(status)}, not welcome or refused")


def _encode(body: dict[str, Any], major: int) -> bytes:
    # A key that has no value is left out.
    packed = values.Encoder().pack({key: value for key, value in body.items() if value is not None})
    return HEADER.pack(MAGIC, major, PROTOCOL_MINOR, len(packed)) + packed


def _decode(body: bytes) -> dict[str, Any]:
    fields = values.decode(body)
    if type(fields) is not dict or not all(type(key) is str for key in fields):
        raise ProtocolError("a handshake whose body is not a map with string keys")
    return fields


def _common_fields(fields: dict[str, Any]) -> tuple[str, int, str, str]:
    name, max_message = _text(fields, "name"), fields.get("max_message")
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        raise ProtocolError(f"a handshake with a name of {len(name)} characters, not 1 to {MAX_NAME_CHARACTERS}")
    if type(max_message) is not int or not 1 <= max_message <= MAX_TOLD_MESSAGE:
        raise ProtocolError(
            f"a handshake whose max_message is not an integer from 1 to 2^53 - 1: {values.brief(max_message)}"
        )
    return name, max_message, _text(fields, "language"), _text(fields, "library")


def _exposes(fields: dict[str, Any]) -> int | None:
    exposes = fields.get("exposes", 0)
    if type(exposes) is not int or not 0 <= exposes <= MAX_EXPOSED:
        raise ProtocolError(f"a hello whose exposes is not an integer from 0 to {MAX_EXPOSED}: {values.brief(exposes)}")
    return exposes if "exposes" in fields else None


def _attends(fields: dict[str, Any]) -> bool | None:
    attends = fields.get("attends")
    if "attends" in fields and type(attends) is not bool:
        raise ProtocolError(f"a hello whose attends is not true or false: {values.brief(attends)}")
    return attends


def _project(fields: dict[str, Any]) -> str | None:
    if "project" not in fields:
        return None
    project = _text(fields, "project")
    if len(project) > MAX_PROJECT_CHARACTERS:
        raise ProtocolError(
            f"a handshake with a project of {len(project)} characters; at most {MAX_PROJECT_CHARACTERS} are allowed"
        )
    return project


def _token(fields: dict[str, Any], key: str) -> str:
    token = _text(fields, key)
    if TOKEN.fullmatch(token) is None:
        raise ProtocolError(f"a handshake whose {key} is not 32 hexadecimal digits: {values.brief(token)}")
    return token


def _text(fields: dict[str, Any], key: str) -> str:
    text = fields.get(key)
    if type(text) is not str:
        raise ProtocolError(f"a handshake whose {key} is not a string: {values.brief(text)}")
    return text
