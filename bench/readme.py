"""The figures in README.md, and those of all peers beside the results: written from a result file, so that they are
never anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import results
from bench.cases import DIRECTIONS, KIB, Direction
from bench.installed import ROOT
from bench.report import render_svg
from bench.report.view import LANGUAGES, OURS, calls, find, measured
from bench.report.words import listing
from bench.results import CallRow, Results

README: Final = ROOT / "README.md"
ALL_PEERS: Final = "README.md"
"""The page of all peers, in the folder of the results."""
BEGIN: Final = "<!-- Figures: written by `python -m bench readme`, do not edit -->"
END: Final = "<!-- End of figures -->"
CHARTS: Final = {"latency": "What a call costs, by peer", "payload": "What a call costs, by size of the argument"}

SOCKET: Final = "uds-msgpack"
"""What the bridge is held against in every case: what one would use if there were no bridge."""
SAME_LANGUAGE: Final = "same-language"
"""What no call between two languages can be quicker than."""


ABOUT_ALL_PEERS: Final = (
    BEGIN,
    "",
    "# What a call costs, by peer",
    "",
    "A call of `predict` with a short text, the same function in both languages, through each one's public API: times",
    "in microseconds. `× shm` is the ratio to this bridge as it comes (`shm`), taken within each round; CPU is the",
    "processor time of both sides. [bench/README.md](../../README.md) says what is measured, and how.",
    "",
)


@dataclass(frozen=True)
class ShortCase:
    """A case of the short table."""

    workload: str
    payload_bytes: int | None = None
    name: str = ""
    """Before the name of a peer; the usual case has none."""


USUAL: Final = ShortCase("predict")
SHORT_CASES: Final = (
    USUAL,
    ShortCase("after-10ms", name="after 10 ms of idleness"),
    ShortCase("echo", 256 * KIB, "256 KiB of text, echoed"),
)
SHORT_PEERS: Final = {
    OURS: "this bridge",
    "shm-spin0": "this bridge, parked: neither side polls",
    SOCKET: "a Unix socket",
    "http-keepalive": "HTTP",
}
"""Those of the usual case, with their names; of another only the first and SOCKET."""


def update(path: Path, readme: Path = README) -> None:
    """Put the figures of that result file between the two marks, and those of all peers into a page beside it.

    Raises ResultsError, and ValueError without marks.
    """
    found = results.read(path)
    folder = path if path.is_dir() else path.parent
    before, _, rest = readme.read_text().partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{readme} has no lines {BEGIN!r} and {END!r}: there is nowhere to put the figures")
    for name in charts(found):
        (folder / f"{name}.svg").write_text(render_svg(found, name))
    (folder / ALL_PEERS).write_text(all_peers(found, folder))
    readme.write_text(f"{before}{BEGIN}\n{figures(found, folder)}\n{END}{after}")


def charts(found: Results) -> list[str]:
    """Those that can be drawn: a quick run has one size of argument."""
    sizes = {row["payload_bytes"] for row in found["rows"] if row["workload"] == "echo" and row["p50_us"] is not None}
    return [name for name in CHARTS if name != "payload" or len(sizes) > 1]


def figures(found: Results, folder: Path) -> str:
    """The short table, where the bridge loses, a chart, and what they were measured on."""
    where = folder.resolve().relative_to(ROOT)
    more = f"[All peers]({where}/{ALL_PEERS}), with p95, p99 and processor time."
    lines = [
        f"| p50, µs | {' | '.join(LANGUAGES[direction] for direction in DIRECTIONS)} |",
        "|---|---|---|",
        *_short_rows(found),
        "",
        *(f"{said}\n" for said in _losses(found)),
        f"![{CHARTS['latency']}]({where}/latency.svg)\n",
        f"{_machine(found)} {more} {_whole(f'{where}/', where)}",
    ]
    idle = found["idle_cpu_percent"]
    if idle is not None:
        lines.append(f"Connected and idle, gunicorn with one worker and Node used {idle:.2f} % of a core together.")
    return "\n".join(lines)


def _short_rows(found: Results) -> Iterator[str]:
    """A line for each that was measured in either direction; the quicker of the bridge and the socket is bold."""
    own = [_usual(found, SAME_LANGUAGE, direction) for direction in DIRECTIONS]
    yield from _short_row(f"within the caller's language (`{SAME_LANGUAGE}`)", own)
    best = [_best_in_process(found, direction) for direction in DIRECTIONS]
    yield from _short_row("the best in one process", best, names=True)
    for case in SHORT_CASES:
        for peer, name in SHORT_PEERS.items():
            if case is USUAL or peer in {OURS, SOCKET}:
                rows = [_find(found, peer, direction, case) for direction in DIRECTIONS]
                winners = [_winner(found, direction, case) for direction in DIRECTIONS]
                label = f"{name} (`{peer}`)"
                yield from _short_row(f"{case.name}: {label}" if case.name else label, rows, winners)


def _short_row(
    name: str, rows: list[CallRow | None], winners: list[CallRow | None] | None = None, *, names: bool = False
) -> Iterator[str]:
    cells = []
    for row, winner in zip(rows, winners or [None, None], strict=True):
        text = _digits(row["p50_us"] if row else None)
        text = f"**{text}**" if row is not None and row is winner else text
        cells.append(f"{text} (`{row['peer']}`)" if row and names else text)
    if any(rows):
        yield f"| {name} | {' | '.join(cells)} |"


def _find(found: Results, peer: str, direction: Direction, case: ShortCase) -> CallRow | None:
    return find(found["rows"], peer, direction, case.workload, case.payload_bytes)


def _usual(found: Results, peer: str, direction: Direction) -> CallRow | None:
    return _find(found, peer, direction, USUAL)


def _best_in_process(found: Results, direction: Direction) -> CallRow | None:
    rows = [row for row in calls(found, direction, USUAL.workload) if row["kind"] == "in-process"]
    return rows[0] if rows else None


def _winner(found: Results, direction: Direction, case: ShortCase) -> CallRow | None:
    """The quicker of the bridge and the socket; None where one was not measured."""
    both = [row for peer in (OURS, SOCKET) if (row := _find(found, peer, direction, case))]
    return measured(both)[0] if len(both) == len((OURS, SOCKET)) else None


def _losses(found: Results) -> Iterator[str]:
    """Where the socket is the quicker one of the two, in a sentence."""
    said = []
    for case in SHORT_CASES:
        lost = [
            LANGUAGES[direction]
            for direction in DIRECTIONS
            if (winner := _winner(found, direction, case)) is not None and winner["peer"] == SOCKET
        ]
        if lost:
            where = "in both directions" if len(lost) == len(DIRECTIONS) else f"where {listing(lost)}"
            said.append(f"{case.name or 'in the usual call'}, {where}")
    if said:
        yield f"Where a Unix socket is quicker than this bridge, by these medians: {'; '.join(said)}."


def _machine(found: Results) -> str:
    meta, versions = found["meta"], found["meta"]["versions"]
    return (
        f"{meta['cpu']}, {meta['cores']} virtual cores, {meta['kernel']}; CPython {versions['CPython']}, "
        f"Node {versions['Node']}; {meta['started'][:10]}, {meta['rounds']} rounds, commit {meta['commit']}, "
        f"`{meta['command']}`."
    )


def _whole(beside: str, folder: Path) -> str:
    return (
        f"All rows and intervals: [results.json]({beside}results.json), or as a page, "
        f"`.venv/bin/python -m bench report {folder}`."
    )


def all_peers(found: Results, folder: Path) -> str:
    """The page of all peers."""
    lines = [
        *ABOUT_ALL_PEERS,
        *_long_table(found),
        *(f"![{CHARTS[name]}]({name}.svg)\n" for name in charts(found)),
        f"{_machine(found)} {_whole('', folder.resolve().relative_to(ROOT))}",
    ]
    return "\n".join(lines) + "\n"


def _long_table(found: Results) -> Iterator[str]:
    """`predict`, measured: each direction by p50."""
    for direction in DIRECTIONS:
        yield f"## {LANGUAGES[direction]}\n"
        yield "| | waiting | p50 | p95 | p99 | CPU µs | × shm |"
        yield "|---|---|---|---|---|---|---|"
        yield from map(_line, calls(found, direction, USUAL.workload))
        yield ""


def _line(row: CallRow) -> str:
    name = f"**{row['peer']}**" if row["kind"] == "bridge" else row["peer"]
    shown = [_digits(row[key]) for key in ("p50_us", "p95_us", "p99_us", "cpu_us_per_call", "ratio_to_shm")]
    return f"| {name} ({row['kind']}) | {row['waits']} | {' | '.join(shown)} |"


def _digits(value: float | None) -> str:
    """At least three that count."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
