"""The figures in README.md: written from a result file, so that they are never anything else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench import results
from bench.installed import ROOT
from bench.results import CallRow, Results

README: Final = ROOT / "README.md"
BEGIN: Final = "<!-- Figures: written by `python -m bench readme`, do not edit -->"
END: Final = "<!-- End of figures -->"
CHARTS: Final = {"latency": "What a call costs, by peer", "payload": "What a call costs, by size of the argument"}


def update(path: Path, readme: Path = README) -> None:
    """Put the figures of that result file between the two marks. Raises ResultsError, and ValueError without marks."""
    from bench.report import render_svg

    found = results.read(path)
    folder = path if path.is_dir() else path.parent
    before, _, rest = readme.read_text().partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{readme} has no lines {BEGIN!r} and {END!r}: there is nowhere to put the figures")
    for name in charts(found):
        (folder / f"{name}.svg").write_text(render_svg(found, name))
    readme.write_text(f"{before}{BEGIN}\n{figures(found, folder)}\n{END}{after}")


def charts(found: Results) -> list[str]:
    """Those that can be drawn: a quick run has one size of argument."""
    sizes = {row["payload_bytes"] for row in found["rows"] if row["workload"] == "echo" and row["p50_us"] is not None}
    return [name for name in CHARTS if name != "payload" or len(sizes) > 1]


def figures(found: Results, folder: Path) -> str:
    """The table, the charts, and what they were measured on."""
    meta, versions = found["meta"], found["meta"]["versions"]
    where = folder.resolve().relative_to(ROOT)
    machine = (
        f"{meta['cpu']}, {meta['cores']} virtual cores, {meta['kernel']}; CPython {versions['CPython']}, "
        f"Node {versions['Node']}; {meta['started'][:10]}, {meta['rounds']} rounds, commit {meta['commit']}, "
        f"`{meta['command']}`. [The report]({where}/report.html) has all rows and intervals."
    )
    lines = [
        "| | direction | waiting | p50 | p95 | p99 | CPU µs | × shm |",
        "|---|---|---|---|---|---|---|---|",
        *map(_line, _main_rows(found)),
        "",
        *(f"![{CHARTS[name]}]({where}/{name}.svg)\n" for name in charts(found)),
        machine,
    ]
    idle = found["idle_cpu_percent"]
    if idle is not None:
        lines.append(f"Connected and idle, gunicorn with one worker and Node used {idle:.2f} % of a core together.")
    return "\n".join(lines)


def _main_rows(found: Results) -> Iterator[CallRow]:
    """`predict`, measured: each direction by p50."""
    for direction in ("py->ts", "ts->py"):
        rows = [
            row
            for row in found["rows"]
            if row["workload"] == "predict" and row["direction"] == direction and row["p50_us"] is not None
        ]
        yield from sorted(rows, key=lambda row: row["p50_us"] or 0.0)


def _line(row: CallRow) -> str:
    name = f"**{row['peer']}**" if row["kind"] == "bridge" else row["peer"]
    between = "–" if row["kind"] == "floor" else row["direction"].replace("->", " → ")
    shown = [_digits(row[key]) for key in ("p50_us", "p95_us", "p99_us", "cpu_us_per_call", "ratio_to_shm")]
    return f"| {name} ({row['kind']}) | {between} | {row['waits']} | {' | '.join(shown)} |"


def _digits(value: float | None) -> str:
    """Three that count."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
