"""The vectors, which TypeScript is tested against as well."""

from __future__ import annotations

from typing import Any

import pytest
from frame_sinks import checked, encoded_again
from shm_protocol import ProtocolError, handshake, values
from shm_protocol.handshake import HEADER, Header
from tagged import is_same, load, to_value

VALUES = load("values.json")
FRAMES = load("frames.json")
BAD = load("bad.json")

HANDSHAKES = {"hello": handshake.decode_hello, "answer": handshake.decode_answer}
DECODERS = {"value": values.decode, "frame": checked, **HANDSHAKES}


def by_name(row: dict[str, Any]) -> str:
    name: str = row["name"]
    return name


@pytest.mark.parametrize("row", VALUES, ids=by_name)
def test_a_value_decodes_to_what_the_vector_says(row: dict[str, Any]) -> None:
    decoded = values.decode(bytes.fromhex(row["wire"]))
    assert is_same(decoded, to_value(row["value"]))


@pytest.mark.parametrize("row", [row for row in VALUES if "python" in row["encode"]], ids=by_name)
def test_a_value_encodes_to_exactly_these_bytes(row: dict[str, Any]) -> None:
    value = to_value(row["value"])
    assert values.Encoder().pack(value).hex() == row["wire"]


@pytest.mark.parametrize("row", FRAMES, ids=by_name)
def test_a_frame_decodes_to_what_the_vector_says(row: dict[str, Any]) -> None:
    assert is_same(checked(bytes.fromhex(row["wire"])), to_value(row["frame"]))


@pytest.mark.parametrize("row", [row for row in FRAMES if "longer forms" not in row["name"]], ids=by_name)
def test_a_frame_encodes_to_exactly_these_bytes(row: dict[str, Any]) -> None:
    assert encoded_again(bytes.fromhex(row["wire"])).hex() == row["wire"]


@pytest.mark.parametrize("row", BAD, ids=by_name)
def test_what_is_no_value_no_frame_and_no_handshake_is_refused(row: dict[str, Any]) -> None:
    wire = bytes.fromhex(row["wire"])
    if row["of"] in HANDSHAKES:
        # For its fields: the header is in order.
        assert handshake.decode_header(wire[: HEADER.size]) == Header(1, 0, len(wire) - HEADER.size)
        wire = wire[HEADER.size :]
    with pytest.raises(ProtocolError):
        DECODERS[row["of"]](wire)


@pytest.mark.parametrize("row", [row for row in BAD if row["of"] == "frame"], ids=by_name)
def test_bad_frames_are_refused_for_their_fields_not_for_their_bytes(row: dict[str, Any]) -> None:
    if row["name"] in ("frame: bytes after it", "frame: cut short"):
        return
    values.decode(bytes.fromhex(row["wire"]))
