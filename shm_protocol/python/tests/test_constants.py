"""Numbers that stand in more than one place: core/layout.h, PROTOCOL.md and this library."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version

import shm_protocol
from shm_protocol import config, frames, handshake, options, session, values
from shm_protocol._binding import segment_bytes
from shm_protocol.transports import stale_segments
from tagged import SHM_PROTOCOL

LAYOUT = (SHM_PROTOCOL / "core" / "layout.h").read_text()
PROTOCOL = (SHM_PROTOCOL / "PROTOCOL.md").read_text()


def defined(name: str) -> int:
    """The value of a #define of layout.h, whose expressions are products of integers."""
    match = re.search(rf"#define {name} (.+)", LAYOUT)
    assert match is not None, name
    expression = re.sub(r"UINT(?:32|64)_C\((\w+)\)|(\d+)u\b", r"\1\2", match[1].split("/*")[0]).strip("() ")
    result = 1
    for factor in expression.split("*"):
        result *= int(factor.strip("() "), 0)
    return result


LIMITS = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", PROTOCOL.split("## 11. Limits")[1], re.MULTILINE))
"""What section 11 says of each limit."""


def test_versions_are_those_of_the_layout() -> None:
    assert (
        defined("SHM_PROTOCOL_MAJOR"),
        defined("SHM_PROTOCOL_MINOR"),
    ) == (handshake.PROTOCOL_MAJOR, handshake.PROTOCOL_MINOR)
    assert f"Current: protocol {handshake.PROTOCOL_MAJOR}.{handshake.PROTOCOL_MINOR}" in PROTOCOL


def test_ring_and_message_sizes_are_those_of_the_layout() -> None:
    assert defined("SHM_RING_CAPACITY_MIN") == config.MIN_RING_BYTES
    assert defined("SHM_RING_CAPACITY_MAX") == config.MAX_RING_BYTES
    assert defined("SHM_RING_CAPACITY_DEFAULT") == config.DEFAULT_RING_BYTES
    assert defined("SHM_MAX_MESSAGE_DEFAULT") == config.DEFAULT_MAX_MESSAGE
    assert segment_bytes(4096) == defined("SHM_HEADER_BYTES") + 2 * 4096


def test_limits_are_those_of_the_protocol() -> None:
    assert LIMITS["message"] == f"{config.DEFAULT_MAX_MESSAGE // 2**20} MiB (`max_message`)"
    assert LIMITS["handshake body"] == f"{handshake.MAX_BODY_BYTES} bytes"
    assert LIMITS["handshake"] == f"{handshake.HANDSHAKE_TIMEOUT_S:g} s"
    assert LIMITS["calls outstanding, one connection and direction"] == str(session.MAX_OUTSTANDING)
    assert LIMITS["nested calls"] == str(frames.MAX_CHAIN)
    assert LIMITS["nesting of a value"].startswith(f"{values.MAX_DEPTH_SENT} sent")
    assert LIMITS["method name"] == f"{frames.MAX_METHOD_BYTES} bytes"
    assert LIMITS["credit outstanding, one stream"] == f"{frames.MAX_CREDIT:,} items"
    assert f"older than {stale_segments.STALE_AFTER_S:g} s" in PROTOCOL
    assert options.DEFAULT_CREDIT <= frames.MAX_CREDIT


def test_the_types_of_arrays_are_those_of_the_protocol() -> None:
    match = re.search(r"^\| NumPy \| (.+) \|$", PROTOCOL, re.MULTILINE)
    assert match is not None
    assert match[1].split(" | ") == list(values.ARRAY_DTYPES)


def test_the_lock_files_have_what_the_build_requires() -> None:
    project = tomllib.loads((SHM_PROTOCOL.parent / "pyproject.toml").read_text())
    assert project["project"]["optional-dependencies"]["build"] == project["build-system"]["requires"]


def test_the_version_is_that_of_the_package() -> None:
    assert shm_protocol.__version__ == handshake.LIBRARY_VERSION == version("shm-polyglot")
