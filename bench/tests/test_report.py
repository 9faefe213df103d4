"""The report and the terminal's table say what the result file says, are whole by themselves, and can be read."""

from __future__ import annotations

import copy
import functools
import html
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import bench_results
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench import report, table
from bench.cases import DIRECTIONS
from bench.report import beaten, look, svg, tables, words
from bench.report.published import PUBLISHED
from bench.report.standing import place
from bench.results import CallRow, Results

HANG_S = 200.0
REQUIRE_BROWSER = "SHM_POLYGLOT_REQUIRE_BROWSER"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VOID = {"meta", "link", "br", "hr", "img", "input"}
HOSTILE = "</style></svg><script>alert(1)</script><img src=x onerror=alert(1)> \"'&`x`"


@functools.cache
def _made() -> Results:
    return bench_results.synthetic()


@pytest.fixture
def results() -> Results:
    """A whole result file, to be changed at will."""
    return copy.deepcopy(_made())


@functools.cache
def _page() -> str:
    return report.render(_made())


class Page(HTMLParser):
    """A page that has been read: its elements, and the cells of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.values: dict[str, list[list[float | None]]] = {}
        self.text = ""
        self._caption = ""
        self._cell: list[str] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "caption":
            self._caption = ""
        elif tag == "tr" and self._caption:
            self.tables.setdefault(self._caption, []).append([])
            self.values.setdefault(self._caption, []).append([])
        elif tag in {"td", "th"}:
            self._cell = []
            self.values[self._caption][-1].append(None)
        elif tag == "data":
            self.values[self._caption][-1][-1] = float(attributes["value"])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        if tag == "table":
            self._caption = ""
        if tag in {"td", "th"} and self._cell is not None:
            self.tables[self._caption][-1].append("".join(self._cell).strip())
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if "caption" in self.open:
            self._caption += data
        # The name of a mark is not a part of what it stands beside.
        if self._cell is not None and "title" not in self.open and "small" not in self.open:
            self._cell.append(data)


def rows_of(results: Results, **wanted: object) -> list[CallRow]:
    """The rows whose fields are these."""
    return [
        row
        for row in results["rows"]
        if all(cast("dict[str, Any]", row)[key] == value for key, value in wanted.items())
    ]


def the_row(results: Results, peer: str, direction: str = "py->ts", workload: str = "predict") -> CallRow:
    """The one row of that."""
    (row,) = rows_of(results, peer=peer, direction=direction, workload=workload)
    return row


def lose(row: CallRow, ratio: float, spread: float = 0.01) -> None:
    """Have a peer take `ratio` times as long as the bridge."""
    row["ratio_to_shm"], row["ratio_to_shm_ci"] = ratio, [ratio - spread, ratio + spread]


def section(page: str, name: str) -> str:
    """The part of a page under that heading."""
    found = re.search(rf'<section id="{name}"[^>]*>.*?</section>', page, re.DOTALL)
    assert found, f"the page has no section {name}"
    return found[0]


def test_every_element_of_the_page_is_closed_and_its_ids_are_unique() -> None:
    page = Page(_page())
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0
    targets = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    assert targets == {f"#{name}" for name in ids}


def references(text: str) -> Iterator[str]:
    """What a page or a picture would have to fetch."""
    for tag, attributes in Page(text).elements:
        if tag in {"script", "link", "iframe", "object", "embed", "img", "image", "use"}:
            yield tag
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"):
            if name in attributes and not attributes[name].startswith("#"):
                yield f"{tag} {name}"
    yield from re.findall(r"url\s*\(|@import|@font-face", text)


def test_the_page_fetches_nothing() -> None:
    assert list(references(_page())) == []


def test_something_that_would_be_fetched_is_noticed() -> None:
    assert list(references('<p style="background:url(http://x)"><img src="a.png"><a href="http://x">x</a></p>')) == [
        "img",
        "img src",
        "a href",
        "url(",
    ]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_measured_peer_is_in_the_chart_of_its_direction(direction: str) -> None:
    charts = re.findall(r"<svg.*?</svg>", section(_page(), "latency"), re.DOTALL)
    title = {"py->ts": "Python calls TypeScript", "ts->py": "TypeScript calls Python"}[direction]
    (wide, narrow) = [chart for chart in charts if f"<title>{title}" in chart]
    for row in rows_of(_made(), direction=direction, workload="predict"):
        measured = row["p50_us"] is not None
        assert (f">{row['peer']}</text>" in wide) is measured
        assert (f">{row['peer']}</text>" in narrow) is measured


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_values_in_the_table_are_those_of_the_rows(direction: str) -> None:
    page = Page(section(_page(), "rows"))
    title = {"py->ts": "Python calls TypeScript", "ts->py": "TypeScript calls Python"}[direction]
    (caption,) = [caption for caption in page.tables if caption.startswith(f"{title}, predict")]
    headings = page.tables[caption][0]
    cells = {line[0]: (line, page.values[caption][i]) for i, line in enumerate(page.tables[caption])}
    fields = {
        "p50 µs": "p50_us",
        "p95 µs": "p95_us",
        "p99 µs": "p99_us",
        "p99.9 µs": "p999_us",
        "× shm": "ratio_to_shm",
        "calls/s": "calls_per_s",
        "CPU µs/call": "cpu_us_per_call",
        "calls": "calls",
        "errors": "errors",
        "cores": "cores",
    }
    rows = [row for row in rows_of(_made(), direction=direction, workload="predict") if row["p50_us"] is not None]
    assert len(rows) > 10
    for row in rows:
        texts, values = cells[row["peer"]]
        for heading, field in fields.items():
            value = cast("dict[str, Any]", row)[field]
            assert values[headings.index(heading)] == pytest.approx(value)
        assert texts[headings.index("p50 µs")] == words.number(row["p50_us"])
        assert texts[headings.index("who waits how")] == row["waits"]


def test_every_case_that_was_measured_has_a_table() -> None:
    page = Page(section(_page(), "rows"))
    cases = {
        (row["direction"], row["workload"], row["payload_bytes"], row["outstanding"])
        for row in _made()["rows"]
        if row["p50_us"] is not None
    }
    assert len(page.tables) == len(cases)


def test_what_was_skipped_and_what_failed_is_listed_with_its_reason() -> None:
    (cells,) = Page(section(_page(), "unmeasured")).tables.values()
    listed = {(line[0], line[1]): line[3] for line in cells[1:]}
    assert listed["pymport", "skipped"].replace("`", "") == bench_results.SKIPPED["pymport"].replace("`", "")
    assert "SIGSEGV" in listed["node-calls-python", "failed"]
    assert "<none> & 'nothing'" in listed["node-calls-python", "failed"]
    assert "\x1b" not in _page()
    assert "bytes are not supported" in listed["stpyv8", "failed"]
    assert "no answer within" in listed["GraalVM", "failed"]


def test_goals_that_were_not_reached_are_shown_so() -> None:
    (cells,) = Page(section(_page(), "goals")).tables.values()
    reached = {line[0]: line[3] for line in cells[1:]}
    assert [goal["figure"] for goal in _made()["figures"]] == list(reached)
    assert [line[1].split() for line in cells[1:]] == [goal["asked"].split() for goal in _made()["figures"]]
    assert [text.split()[-2:] for text in reached.values()] == [
        ["✓", "reached"],
        ["NOT", "reached"],
        ["not", "measured"],
    ]


def test_the_first_words_count_wins_ties_and_losses(results: Results) -> None:
    inside = rows_of(results, kind="in-process", direction="py->ts", workload="predict")
    known = [row for row in inside if row["p50_us"] is not None]
    for row in known:
        lose(row, 2.0)
    lose(the_row(results, "pythonmonkey"), 0.5)
    lose(the_row(results, "stpyv8"), 1.0)
    answer = page_answer(results)
    assert f"slower than 1 of {len(known)} (pythonmonkey takes 0.500× as long)" in answer
    assert f"level with 1 of {len(known)} (stpyv8)" in answer
    assert f"quicker than {len(known) - 2} of {len(known)}" in answer


def page_answer(results: Results) -> str:
    """The first words of the page."""
    found = re.search(r'<div class="answer">(.*?)</div>', report.render(results), re.DOTALL)
    assert found
    return html.unescape(found[1])


def test_the_first_words_give_the_times_of_the_bridge() -> None:
    answer = page_answer(_made())
    for direction in DIRECTIONS:
        assert words.duration(the_row(_made(), "shm", direction)["p50_us"]) in answer


def test_an_interval_that_holds_one_is_neither_win_nor_loss(results: Results) -> None:
    row = the_row(results, "stpyv8")
    lose(row, 0.9, spread=0.2)
    assert place(row) == "level"
    lose(row, 0.9, spread=0.05)
    assert place(row) == "quicker"
    row["ratio_to_shm_ci"] = None
    assert place(row) == "quicker"


def test_a_peer_that_beats_the_bridge_is_shown_with_a_reason_and_no_other_is(results: Results) -> None:
    for row in results["rows"]:
        if row["ratio_to_shm"] is not None and row["peer"] != "shm":
            lose(row, 3.0)
            row["calls_per_s"], row["cpu_us_per_call"] = 0.1, 1e6
    results.update({"http": [], "starts": [], "memory": []})
    before = section(report.render(results), "beaten")
    assert "No peer but the floors" in before
    assert Page(before).tables == {}
    lose(the_row(results, "zeromq", workload="batch"), 0.8)
    after = section(report.render(results), "beaten")
    ((heading, (_, line)),) = Page(after).tables.items()
    assert heading == beaten.BLOCKS.name
    assert line == ["zeromq", "latency", "py->ts: batch 0.800×"]
    assert beaten.BLOCKS.why in after


@pytest.mark.parametrize(
    ("peer", "workload", "payload_bytes", "cause"),
    [
        ("uds-msgpack", "echo", 256 * 1024, beaten.LARGE),
        ("uds-msgpack-busy", "echo", 256 * 1024, beaten.LARGE),
        ("uds-msgpack", "after-10ms", 43, beaten.ASLEEP),
        ("uds-msgpack-busy", "after-10ms", 43, beaten.POLLS),
        ("stdio", "first-call", 43, beaten.FIRST_CALL),
        ("uds-msgpack", "batch", 4300, beaten.BLOCKS),
        ("shm-busy", "echo", 256 * 1024, beaten.POLLS),
        ("shm-spin0", "batch", 4300, beaten.BLOCKS),
        ("pythonmonkey", "after-10ms", 43, beaten.ONE_PROCESS),
        ("mp-pipe-py-py", "batch", 4300, beaten.ONE_LANGUAGE),
        ("c-ring", "predict", 43, beaten.LESS_WORK),
    ],
)
def test_a_loss_stands_under_the_reason_that_it_has(
    results: Results, peer: str, workload: str, payload_bytes: int, cause: beaten.Cause
) -> None:
    for row in results["rows"]:
        if row["ratio_to_shm"] is not None and row["peer"] != "shm":
            lose(row, 3.0)
            row["calls_per_s"], row["cpu_us_per_call"] = 0.1, 1e6
    results.update({"http": [], "starts": [], "memory": []})
    (row,) = rows_of(results, peer=peer, direction="py->ts", workload=workload, payload_bytes=payload_bytes)
    lose(row, 0.5)
    (loss,) = beaten.losses(results)
    assert (loss.name, loss.why, loss.rows) == (cause.name, cause.why, 1)


def test_each_reason_is_given_once_and_every_row_that_beats_the_bridge_is_under_one() -> None:
    text = html.unescape(section(_page(), "beaten"))
    listed = [line for lines in Page(text).tables.values() for line in lines[1:]]
    found = beaten.beats(_made())
    assert len({beat.cause for beat in found}) > 3
    for beat in found:
        assert text.count(beat.cause.why) == 1
        (where,) = [line[2] for line in listed if line[:2] == [beat.row["peer"], beat.measure] and beat_in(beat, line)]
        assert words.times(beat.ratio) in where


def beat_in(beat: beaten.Beat, line: list[str]) -> bool:
    """Whether a line of a table has that row."""
    of_direction = [part for part in line[2].splitlines() if part.startswith(f"{beat.row['direction']}: ")]
    cases = [case.rpartition(" ")[0] for part in of_direction for case in part.partition(": ")[2].split(", ")]
    return tables.case_of(beat.row) in cases


def test_many_rows_under_a_reason_are_folded_and_few_are_open() -> None:
    losses = re.findall(r'<details class="loss"( open)?>(.*?)</details>', section(_page(), "beaten"), re.DOTALL)
    amounts = {bool(opened): len(re.findall("<tr", text)) - len(["heading"]) for opened, text in losses}
    assert amounts.keys() == {True, False}
    for opened, text in losses:
        assert bool(opened) is (len(re.findall("<tr", text)) - len(["heading"]) <= report.MOST_OPEN)


def test_a_service_that_beats_ours_is_shown(results: Results) -> None:
    for start in results["starts"]:
        start["ms"], start["ms_ci"] = (
            (100.0, [99.0, 101.0]) if start["service"].startswith("this bridge") else (200.0, None)
        )
    before = section(report.render(results), "beaten")
    quick = next(start for start in results["starts"] if start["service"] == "Node with Pyodide")
    quick["ms"], quick["ms_ci"] = 50.0, [49.0, 51.0]
    after = section(report.render(results), "beaten")
    assert ">50.0 ms<" not in before
    assert ">50.0 ms<" in after


def test_each_of_the_six_arguments_is_answered_with_a_measurement() -> None:
    arguments = section(_page(), "arguments")
    answers = re.findall(r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>", arguments, re.DOTALL)
    assert len(answers) == 6
    for argument, answer in answers:
        assert re.search(r"\d", answer), f"{argument} is not answered with a figure"
    spawn = the_row(_made(), "spawn")
    assert words.duration(spawn["p50_us"]) in answers[0][1]
    assert words.times(spawn["ratio_to_shm"]) in answers[0][1]


def test_published_figures_stand_only_under_their_label() -> None:
    page = _page()
    label = PUBLISHED["label"]
    for chart in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert chart.count('class="published"') == len(re.findall(rf">{label}: ", chart))
    assert page.count('class="published"') >= 8
    published = section(page, "published")
    assert label in published
    for line in PUBLISHED["figures"]:
        elsewhere = re.sub(rf">{label}: .*?<", "", page.replace(published, ""))
        assert line["in_process"] not in elsewhere
        assert line["in_process"] in published


def texts_of(value: Any) -> Any:
    """The same with every text replaced by a hostile one, but for those that name a kind of thing."""
    fixed = {"kind", "direction", "workload", "load", "what", "state", "peer"}
    if isinstance(value, dict):
        return {key: item if key in fixed else texts_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [texts_of(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def test_hostile_text_stays_text(results: Results) -> None:
    hostile: Results = texts_of(results)
    for row in hostile["rows"]:
        row["peer"] = row["peer"] if row["peer"] in {"shm", "spawn"} else f"{row['peer']}{HOSTILE}\x00\ud800"
    text = report.render(hostile)
    page = Page(text)
    assert list(references(text)) == []
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in Page(_page()).elements}
    assert "<script>alert(1)</script>" in page.text
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    for name in report.README_CHARTS:
        ET.fromstring(report.render_svg(hostile, name))


def nothing_measured(results: Results) -> None:
    for row in results["rows"]:
        row["histogram"], row["p50_us_rounds"], row["calls"] = [], [], 0
        for name in bench_results.BLANK_TIMES:
            cast("dict[str, Any]", row)[name] = None


def only(results: Results, **wanted: str) -> None:
    results["rows"] = rows_of(results, **wanted)
    if not rows_of(results, peer="shm"):
        for row in results["rows"]:
            row["ratio_to_shm"] = row["ratio_to_shm_ci"] = None
    results.update({"http": [], "starts": [], "memory": [], "figures": [], "idle_cpu_percent": None})


@pytest.mark.parametrize(
    ("change", "present", "absent"),
    [
        (lambda found: found.update(bench_results.empty()), {"conditions"}, {"latency", "rows", "memory", "beaten"}),
        (nothing_measured, {"memory", "http"}, {"latency", "rows", "cpu", "cold"}),
        (
            lambda found: only(found, workload="predict"),
            {"latency", "rows", "cpu"},
            {"payload", "idle", "cold", "http"},
        ),
        (lambda found: only(found, peer="shm"), {"latency", "rows", "payload", "throughput"}, {"http", "beaten"}),
        (lambda found: only(found, peer="c-ring"), {"latency", "payload"}, {"throughput", "beaten"}),
        (lambda found: only(found, peer="pymport"), {"unmeasured"}, {"latency", "rows"}),
        (lambda found: only(found, direction="ts->py"), {"latency", "payload"}, {"http"}),
    ],
    ids=["nothing", "nothing measured", "predict", "shm", "a floor", "skipped", "one direction"],
)
def test_what_a_run_did_not_measure_is_named_in_one_line_and_has_no_section(
    results: Results, change: Any, present: set[str], absent: set[str]
) -> None:
    change(results)
    text = report.render(results)
    assert Page(text).open == []
    (line,) = re.findall(r'<p class="absent">(.*?)</p>', text)
    for name in present:
        assert heading_of(name) not in html.unescape(line)
        assert section(text, name)
        assert f'href="#{name}"' in text
    for name in absent:
        assert heading_of(name) in html.unescape(line)
        assert f'id="{name}"' not in text
        assert f'href="#{name}"' not in text
    assert "<code>make bench</code> measures all" in line


def heading_of(name: str) -> str:
    """A section's heading, as it stands within a sentence."""
    found = re.search(rf'<a href="#{name}">(.*?)</a>', _page())
    assert found, f"the page has no section {name}"
    return html.unescape(found[1][0].lower() + found[1][1:])


@pytest.mark.parametrize(
    ("workloads", "opened", "folded"),
    [
        (None, {"latency", "payload", "idle"}, {"throughput", "cpu", "cold", "http", "memory"}),
        ({"predict", "first-call", "batch"}, {"latency", "cpu", "cold"}, set()),
    ],
    ids=["whole", "quick"],
)
def test_the_first_six_charts_are_open_and_further_ones_are_folded(
    results: Results, workloads: set[str] | None, opened: set[str], folded: set[str]
) -> None:
    if workloads is not None:
        results["rows"] = [row for row in results["rows"] if row["workload"] in workloads]
        results.update({"http": [], "starts": [], "memory": []})
    text = report.render(results)
    behind_a_click = set(re.findall(r'</summary>\s*<section id="(\w+)"', text))
    shown = set(re.findall(r'<section id="(\w+)"', text))
    assert opened <= shown - behind_a_click
    assert folded <= behind_a_click


def test_a_whole_run_names_nothing_that_it_did_not_measure() -> None:
    assert 'class="absent"' not in _page()
    assert "Not measured" not in _page()


def test_an_argument_that_nothing_was_measured_about_is_only_named(results: Results) -> None:
    only(results, workload="predict")
    arguments = section(report.render(results), "arguments")
    assert re.findall("<dt>(.*?)</dt>", arguments) == ["Process spawning overhead", "IPC complexity"]
    assert "Not measured in this run: memory duplication; no shared state" in arguments


def test_a_run_in_which_all_went_well_says_so(results: Results) -> None:
    said = "Nothing was skipped, and nothing failed."
    assert said not in _page()
    results["rows"] = [row for row in results["rows"] if not row["skipped"] and not row["failed"]]
    results["http"] = [row for row in results["http"] if not row["failed"]]
    text = report.render(results)
    assert said in section(text, "conditions")
    assert 'id="unmeasured"' not in text
    assert "skipped and failed" not in text


def test_a_run_of_one_round_has_no_intervals_and_a_report() -> None:
    results = bench_results.synthetic(rounds=1)
    assert the_row(results, "shm")["p50_us_ci"] is None
    assert words.duration(the_row(results, "shm")["p50_us"]) in page_answer(results)


def test_an_interrupted_run_says_so(results: Results) -> None:
    assert "interrupted" not in page_answer(results)
    results["meta"]["complete"] = False
    assert "interrupted" in page_answer(results)


def test_what_was_measured_on_is_all_there() -> None:
    conditions = section(_page(), "conditions")
    meta = _made()["meta"]
    for name in ("cpu", "kernel", "governor", "host", "commit", "started", "finished", "pinning", "command"):
        assert html.escape(str(meta[name]), quote=True) in conditions
    for name, version in meta["versions"].items():
        assert name in conditions
        assert version in conditions
    for name, us in meta["clock_us"].items():
        assert f"{name}</td>" in conditions
        assert words.number(us) in conditions


def test_the_page_is_written_beside_the_results(tmp_path: Path) -> None:
    file = report.write_report(_made(), tmp_path)
    assert file == tmp_path / "report.html"
    assert file.read_text(encoding="utf-8") == _page()


# The charts of the README.


@pytest.mark.parametrize("name", report.README_CHARTS)
def test_a_chart_for_the_readme_is_a_whole_picture_for_light_and_dark(name: str) -> None:
    text = report.render_svg(_made(), name)
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme:dark" in text
    assert list(references(text)) == []
    shown = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for peer in ("shm", "uds-msgpack", "pythonmonkey", "zeromq"):
        assert shown.count(peer) == len(DIRECTIONS)
    assert any(text and text.endswith("Python calls TypeScript") for text in shown)
    assert any(text and text.endswith("TypeScript calls Python") for text in shown)


def test_a_chart_that_there_is_not_is_an_error(results: Results) -> None:
    with pytest.raises(KeyError):
        report.render_svg(results, "pie")
    only(results, workload="predict")
    report.render_svg(results, "latency")
    with pytest.raises(ValueError, match="no rows for the payload chart"):
        report.render_svg(results, "payload")


# Colours have enough contrast (WCAG 2.1, 1.4.3), and are apart for the colour-blind, too.


def rgb(colour: str) -> tuple[float, float, float]:
    """Linear, 0 to 1."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return red, green, blue


def luminance(colour: str) -> float:
    red, green, blue = rgb(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    darker, lighter = sorted((luminance(a), luminance(b)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [look.LIGHT, look.DARK], ids=["light", "dark"])
def test_every_colour_can_be_read_on_its_ground(scheme: dict[str, str]) -> None:
    for ground in ("paper", "card"):
        for name in ("ink", "soft", *look.LOOKS):
            assert contrast(scheme[name], scheme[ground]) >= 4.5, f"{name} on {ground}"


# What happens to linear RGB, by Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color
# Vision Deficiency" (2009), at full severity.
COLOUR_BLIND = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
    "none": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
}


def lab(colour: str, sight: str) -> tuple[float, float, float]:
    """CIE L*a*b* (D65) of a colour as somebody with that sight sees it."""
    seen = [
        min(max(sum(m * c for m, c in zip(line, rgb(colour), strict=True)), 0.0), 1.0) for line in COLOUR_BLIND[sight]
    ]
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(m * c for m, c in zip(line, seen, strict=True)) for line in to_xyz]
    white = (0.9505, 1.0, 1.089)
    x, y, z = (
        v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (a / b for a, b in zip(xyz, white, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("sight", COLOUR_BLIND)
@pytest.mark.parametrize("scheme", [look.LIGHT, look.DARK], ids=["light", "dark"])
def test_kinds_of_peers_differ_in_colour_for_everyone_or_else_in_their_mark(scheme: dict[str, str], sight: str) -> None:
    for a, b in itertools.combinations(look.LOOKS, 2):
        here, there = lab(scheme[a], sight), lab(scheme[b], sight)
        distance = sum((x - y) ** 2 for x, y in zip(here, there, strict=True)) ** 0.5
        marks = [(look.LOOKS[kind].mark, look.LOOKS[kind].hollow) for kind in (a, b)]
        assert marks[0] != marks[1] or distance > 20, f"{a} and {b}"
        # The three that the page is about have to be told apart at a glance.
        if {a, b} <= {"bridge", "out-of-process", "in-process"}:
            assert distance > 20, f"{a} and {b}: {distance:.0f}"


# Axes.


@settings(deadline=None)
@given(st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=5), st.floats(1.0, 3.0))
def test_an_axis_has_two_ticks_and_a_label_whatever_lies_along_it(values: list[float], margin: float) -> None:
    scale = svg.Scale(*svg.around(values, margin), 0.0, 400.0)
    assert all(-1e-6 <= scale(value) <= 400 + 1e-6 for value in values)
    ticks = list(scale.ticks(words.tick, lambda _: 14.0))
    assert len(ticks) >= len("12")
    assert any(label for _, label in ticks)


@pytest.mark.parametrize("us", [0.27, 2.8, 30.0])
def test_a_run_of_two_like_times_has_a_chart_wherever_they_lie_between_ticks(results: Results, us: float) -> None:
    only(results, peer="c-ring", workload="echo", direction="py->ts")
    del results["rows"][2:]
    for row in results["rows"]:
        row["p50_us"] = us
    assert "<figure>" in section(report.render(results), "payload")


# Labels.


@settings(deadline=None)
@given(st.lists(st.floats(0, 400), min_size=1, max_size=25))
def test_labels_on_a_line_keep_their_distance_and_their_order(wanted: list[float]) -> None:
    places = svg.spread(wanted, 14.0, 0.0, 400.0)
    in_order = sorted(places)
    assert all(b - a > 14.0 - 1e-6 for a, b in itertools.pairwise(in_order))
    assert in_order[0] >= -1e-6
    assert in_order[-1] <= 400 + 1e-6
    for i, j in itertools.combinations(range(len(wanted)), 2):
        if wanted[i] < wanted[j]:
            assert places[i] < places[j]


def test_a_label_is_where_it_is_wanted_or_its_group_is_in_the_middle() -> None:
    assert svg.spread([10.0, 300.0, 100.0], 14.0, 0.0, 400.0) == pytest.approx([10.0, 300.0, 100.0])
    assert svg.spread([100.0, 300.0, 103.0, 97.0], 14.0, 0.0, 400.0) == pytest.approx([100.0, 300.0, 114.0, 86.0])
    assert svg.spread([399.0, 398.0], 14.0, 0.0, 400.0) == pytest.approx([400.0, 386.0])
    assert svg.spread([100.0, 110.0], 14.0, 0.0, 400.0) == pytest.approx([98.0, 112.0])


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(20, 780), st.floats(20, 380)), min_size=1, max_size=22))
def test_labels_beside_points_cover_neither_each_other_nor_a_point(points: list[tuple[float, float]]) -> None:
    widths = [30.0 + 11 * (i % 7) for i in range(len(points))]
    bounds = svg.Box(0, 0, 800, 400)
    labels = svg.place_labels(points, widths, 14.0, bounds)
    boxes = [
        svg.Box(label.x, label.y - 7, label.x + width, label.y + 7)
        for label, width in zip(labels, widths, strict=True)
        if label is not None
    ]
    for a, b in itertools.combinations(boxes, 2):
        assert not a.meets(b)
    assert not any(box.holds(*point) for box in boxes for point in points)
    assert all(bounds.contains(box) for box in boxes)


def test_points_with_room_around_them_all_have_a_label_at_once() -> None:
    points = [(100.0 * i, 100.0) for i in range(1, 7)]
    labels = svg.place_labels(points, [50.0] * 6, 14.0, svg.Box(0, 0, 800, 400))
    assert all(label is not None and not label.far for label in labels)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (4.2134, "4.21"),
        (0.27961, "0.280"),
        (9.9961, "10.0"),
        (99.96, "100"),
        (12345.6, "12,300"),
        (999_600, "1,000,000"),
        (0.00123, "0.00123"),
    ],
)
def test_a_number_has_three_digits_that_count(value: float | None, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("us", "text"), [(0.28, "0.280 µs"), (999, "999 µs"), (1234, "1.23 ms"), (52_500, "52.5 ms"), (2.1e6, "2.10 s")]
)
def test_a_duration_has_the_unit_that_suits_it(us: float, text: str) -> None:
    assert words.duration(us) == text


# In a real browser.

LOOK_AT_IT = """
function box(element) {
  const r = element.getBoundingClientRect();
  // The box of a line of text is taller than its letters.
  const slack = r.height * 0.2;
  return { left: r.left + 0.5, right: r.right - 0.5, top: r.top + slack, bottom: r.bottom - slack };
}
function meet(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
addEventListener("load", () => {
  const found = { texts: 0, charts: 0, overlaps: [], outside: [], covered: [], fetched: [], wide: 0 };
  for (const chart of document.querySelectorAll("svg.chart:not(.sign)")) {
    if (!chart.checkVisibility()) continue;
    found.charts += 1;
    const frame = chart.getBoundingClientRect();
    const texts = [...chart.querySelectorAll("text")].filter((t) => t.textContent.trim());
    found.texts += texts.length;
    texts.forEach((text, i) => {
      const here = box(text);
      if (here.left < frame.left || here.right > frame.right || here.top < frame.top || here.bottom > frame.bottom)
        found.outside.push(text.textContent);
      for (const other of texts.slice(i + 1))
        if (meet(here, box(other))) found.overlaps.push(text.textContent + " | " + other.textContent);
      for (const mark of chart.querySelectorAll(".mark"))
        if (meet(here, mark.getBoundingClientRect())) found.covered.push(text.textContent);
    });
  }
  found.fetched = performance.getEntriesByType("resource").map((entry) => entry.name);
  found.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  found.height = document.documentElement.scrollHeight;
  found.opened = [...document.querySelectorAll("details[open] > section")].map((section) => section.id);
  found.tables = [...document.querySelectorAll(".scroll")].filter((t) => t.checkVisibility()).map((t) => ({
    title: t.getAttribute("aria-label"),
    hidden: t.scrollWidth - t.clientWidth,
    hint: parseFloat(getComputedStyle(t, "::before").height),
  }));
  found.ground = getComputedStyle(document.body).backgroundColor;
  parent.postMessage(JSON.stringify(found), "*");
});
"""
FRAME = """<!DOCTYPE html><pre id="found"></pre><script>
addEventListener("message", (event) => { document.getElementById("found").textContent = event.data; });
</script><iframe src="page.html%s" style="border:0;width:%dpx;height:900px"></iframe>
"""


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
    "--virtual-time-budget=20000",
)


@pytest.fixture
def browser() -> str:
    """A Chromium, or the test is skipped; where SHM_POLYGLOT_REQUIRE_BROWSER=1 is set, it fails."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        message = f"none of {', '.join(BROWSERS)} is installed: apt-get install chromium"
        if os.environ.get(REQUIRE_BROWSER) == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found


def look_at(
    browser: str, page: str, folder: Path, width: int, *, dark: bool = False, at: str = "", unfolded: bool = False
) -> dict[str, Any]:
    """What a browser makes of a page in a window of that width: at that anchor, with all open that can be opened."""
    if unfolded:
        page = re.sub("<details(?! open)", "<details open", page)
    script = f"<script>{LOOK_AT_IT}</script>"
    (folder / "page.html").write_text(page.replace("</body>", f"{script}</body>"), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME % (f"#{at}" if at else "", width), encoding="utf-8")
    command = [
        browser,
        *FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--dump-dom",
        f"file://{folder / 'frame.html'}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    shown = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert shown, f"the page did not answer: exit code {done.returncode}\n{done.stdout[:2000]}\n{done.stderr[-2000:]}"
    found: dict[str, Any] = json.loads(html.unescape(shown[1]))
    return found


@pytest.mark.parametrize("width", [1280, 800, 375])
def test_no_label_of_the_page_covers_another_or_stands_out(browser: str, tmp_path: Path, width: int) -> None:
    found = look_at(browser, _page(), tmp_path, width, unfolded=True)
    assert found["charts"] == _page().count("<figure>") > 10
    assert found["texts"] >= 500
    assert found["overlaps"] == []
    assert found["outside"] == []
    assert found["covered"] == []
    assert found["wide"] <= 0
    assert found["fetched"] == []


@pytest.mark.parametrize("width", [1280, 375])
def test_a_table_that_does_not_fit_says_that_it_scrolls_and_no_other_does(
    browser: str, tmp_path: Path, width: int
) -> None:
    found = look_at(browser, _page(), tmp_path, width, unfolded=True)["tables"]
    assert len(found) == len(re.findall("<table", _page()))
    for shown in found:
        assert (shown["hidden"] > 0) is (shown["hint"] > 0), shown
    assert {shown["hint"] > 0 for shown in found} == {True, False}


def test_on_a_telephone_every_table_that_is_open_to_the_eye_fits(browser: str, tmp_path: Path) -> None:
    found = look_at(browser, _page(), tmp_path, 375)
    assert found["wide"] <= 0
    assert {"The goals", "What was skipped, and what failed"} <= {shown["title"] for shown in found["tables"]}
    assert [shown for shown in found["tables"] if shown["hidden"] > 0] == []


def test_the_page_is_folded_to_less_than_a_third(browser: str, tmp_path: Path) -> None:
    folded, unfolded = (
        look_at(browser, _page(), tmp_path, 1280, unfolded=unfolded)["height"] for unfolded in (False, True)
    )
    assert folded < 10_000
    assert folded < unfolded / 3


def test_a_link_to_a_section_that_is_folded_opens_it(browser: str, tmp_path: Path) -> None:
    assert look_at(browser, _page(), tmp_path, 1280)["opened"] == []
    assert look_at(browser, _page(), tmp_path, 1280, at="throughput")["opened"] == ["throughput"]


def test_the_page_follows_the_colour_scheme(browser: str, tmp_path: Path) -> None:
    grounds = [look_at(browser, _page(), tmp_path, 1000, dark=dark)["ground"] for dark in (False, True)]
    expected = [[int(scheme["paper"][i : i + 2], 16) for i in (1, 3, 5)] for scheme in (look.LIGHT, look.DARK)]
    assert [[int(n) for n in re.findall(r"\d+", ground)] for ground in grounds] == expected


@pytest.mark.parametrize("name", report.README_CHARTS)
def test_no_label_of_a_chart_in_the_readme_covers_another(browser: str, tmp_path: Path, name: str) -> None:
    picture = report.render_svg(_made(), name)
    found = look_at(browser, f"<!DOCTYPE html><html><body>{picture}</body></html>", tmp_path, 1000)
    assert found["charts"] == 1
    assert (found["overlaps"], found["outside"], found["covered"]) == ([], [], [])


def test_a_label_that_covers_another_would_be_noticed(browser: str, tmp_path: Path) -> None:
    page = (
        '<!DOCTYPE html><html><body><svg class="chart" width="200" height="100"><text x="10" y="20">one</text>'
        '<text x="14" y="22">two</text><text x="150" y="50">far outside it</text>'
        '<path class="mark" d="M10 80h20v-20h-20z"/><text x="12" y="76">x</text></svg></body></html>'
    )
    found = look_at(browser, page, tmp_path, 1000)
    assert found["overlaps"] == ["one | two"]
    assert found["outside"] == ["far outside it"]
    assert found["covered"] == ["x"]


# In the terminal.


def printed(renderable: Any, width: int) -> str:
    """As it stands in a terminal of that width."""
    console = Console(width=width, force_terminal=False, file=io.StringIO())
    with console.capture() as shown:
        console.print(renderable)
    return shown.get()


def test_the_table_has_every_row_and_all_columns_in_120_characters() -> None:
    text = printed(table.table(_made(), 120), 120)
    for row in rows_of(_made(), workload="predict"):
        if row["p50_us"] is not None:
            assert re.search(rf"^{row['peer']} .* {re.escape(words.number(row['p50_us']))} ", text, re.MULTILINE)
    for heading in ("who waits how", "cores", "p50", "p95", "p99", "p99.9", "calls/s", "CPU µs", "× shm"):
        assert f" {heading}" in text.splitlines()[1]
    assert "left out" not in text
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 72])
def test_a_narrow_terminal_loses_columns_and_no_characters(width: int) -> None:
    text = printed(table.table(_made(), width), width)
    assert max(map(len, text.splitlines())) <= width
    assert "left out for want of width: p99.9" in text
    shm = next(line for line in text.splitlines() if line.startswith("shm "))
    assert words.number(the_row(_made(), "shm")["p50_us"]) in shm
    assert "1.00×" in shm
    # The only ellipsis is that of a long reason.
    assert not any("…" in line for line in text.splitlines() if "failed" not in line)


def test_the_table_sets_each_goal_beside_what_was_measured() -> None:
    text = printed(table.table(_made(), 120), 120)
    goals = text[text.index("The goals") :].splitlines()
    assert goals[1].split()[:2] == ["ratio", "goal"]
    for line, goal in zip(goals[3:], _made()["figures"], strict=False):
        assert line.startswith(goal["figure"])
        assert line.split(goal["figure"])[1].split()[:3] == [*goal["asked"].split(), words.number(goal["measured"])]


def test_the_table_names_what_was_skipped_and_what_failed() -> None:
    text = " ".join(printed(table.table(_made(), 120), 120).split())
    assert f"pymport (py->ts, ts->py) skipped: {bench_results.SKIPPED['pymport']}" in text
    assert "node-calls-python (py->ts, ts->py) failed: the caller ended, SIGSEGV Fatal error: <none>" in text
    assert "GraalVM (GET /hello) failed: no answer within 60 s" in text


def test_what_a_peer_says_is_no_markup(results: Results) -> None:
    the_row(results, "shm")["failed"] = "[bold red]not markup[/bold red] \x1b[2Jgone"
    assert "[bold red]not markup[/bold red] gone" in printed(table.table(results, 120), 120)


def test_an_empty_run_has_a_table_that_says_so() -> None:
    assert "Nothing was measured." in printed(table.table(bench_results.empty(), 80), 80)
    assert "Nothing was measured." in printed(table.http_table([], 80), 80)


def test_the_table_of_services_shows_answers_that_differ() -> None:
    text = printed(table.http_table(_made()["http"], 120), 120)
    lines = [line for line in text.splitlines() if line.startswith("Node with Pyodide")]
    assert len(lines) == 9
    assert all("DIFFER" in line for line in lines)
    assert not any("DIFFER" in line for line in text.splitlines() if line.startswith("this bridge"))
    assert "GraalVM (GET /hello) failed: no answer within 60 s" in " ".join(text.split())
