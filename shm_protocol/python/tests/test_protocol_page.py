"""PROTOCOL.md shows the segment, the states and the frames as core/layout.h and the libraries have them."""

import re
from pathlib import Path

from shm_protocol import frames

SHM_PROTOCOL = Path(__file__).resolve().parents[2]
PAGE = (SHM_PROTOCOL / "PROTOCOL.md").read_text()
LAYOUT = (SHM_PROTOCOL / "core" / "layout.h").read_text()
FRAMES_TS = (SHM_PROTOCOL / "node" / "src" / "frames.ts").read_text()

# What a line of the picture begins with: the assertion of layout.h that it shows, and what that is relative to.
OFFSETS = {
    "magic": ("magic", 0),
    "tail": ("tail", 0x80),
    "head": ("head", 0x80),
    "consumer state": ("consumer state", 0x80),
    "producer waiting": ("producer waiting", 0x80),
    "messages sent": ("counters of the dialer", 0),
    "latency": ("latency", 0x480),
    "unused": ("end of the acceptor's counters", 0),
}


def section(title: str) -> str:
    return PAGE[PAGE.index(f"## {title}") :].split("\n## ", 1)[0]


def asserted(name: str) -> int:
    match = re.search(rf'_Static_assert\(.*== (0x[0-9a-f]+), "{re.escape(name)}"\);', LAYOUT)
    assert match is not None, f"layout.h asserts no {name}"
    return int(match[1], 16)


def shown_offsets() -> list[tuple[int, str]]:
    """Each offset of the picture with the text of the first line under or beside it."""
    picture = section("3. Segment").split("```")[1]
    rows = re.findall(r"^(0x[0-9a-f]{4}) {2}(?:\+-+\+.*\n {8})?\| (.*?) *\|", picture, re.MULTILINE)
    return [(int(offset, 16), text) for offset, text in rows]


def test_every_offset_of_the_picture_is_the_one_that_layout_h_asserts() -> None:
    shown = shown_offsets()
    for name, (assertion, base) in OFFSETS.items():
        assert (asserted(assertion) + base, name) in [(offset, text[: len(name)]) for offset, text in shown], name
    ring, counters = asserted("a ring has four lines"), asserted("counters")
    data = int(re.findall(r"#define SHM_HEADER_BYTES (\d+)", LAYOUT)[0])
    expected = {asserted(assertion) + base for assertion, base in OFFSETS.values()}
    expected |= {asserted("ring 0") + ring, asserted("counters of the dialer") + counters, data}
    assert {offset for offset, _ in shown} == expected


def test_the_number_of_latencies_is_that_of_layout_h() -> None:
    buckets = int(re.findall(r"#define SHM_LATENCY_BUCKETS (\d+)", LAYOUT)[0])
    assert f"latency: {buckets} x u64" in section("3. Segment")


def test_the_states_and_flags_are_those_of_layout_h() -> None:
    states = dict(re.findall(r"SHM_(AWAKE|BUSY|PARKED) = (\d)", LAYOUT))
    assert dict(re.findall(r"^\| `(\w+)` \| (\d) \|", section("5. Waiting"), re.MULTILINE)) == states
    flags = dict(re.findall(r"#define SHM_RECORD_(MORE|PADDING) UINT32_C\((\d)\)", LAYOUT))
    assert dict(re.findall(r"^\| `(\w+)` \| (\d) \|", section("4. Ring"), re.MULTILINE)) == flags


def test_the_frames_have_the_numbers_that_both_libraries_give_them() -> None:
    rows = re.findall(r"^\| (\w+) \| `\[(\d+)", section("7. Frames"), re.MULTILINE)
    shown = {name.upper(): int(number) for name, number in rows}
    assert "MessagePack-RPC frames with nine more" in section("7. Frames")
    assert len(shown) == 3 + 9
    in_typescript = re.findall(r"export const ((?!MAX_)\w+) = (\d+);", FRAMES_TS)
    assert shown == {name: int(number) for name, number in in_typescript}
    assert shown == {name: getattr(frames, name) for name in shown}
