"""Whole services are started, loaded and weighed; one that fails is reported, and nothing is left running."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import jsonschema
import pytest
from required import require
from services import pids, read

from bench import services
from bench.services import memory, running
from bench.services.build import BuildFailed
from bench.services.client import ask
from bench.services.endpoints import BATCH, HEALTH, PREDICT
from bench.services.http_rows import Http
from bench.services.load import Generator
from bench.services.memory import Memory, pss_mib
from bench.services.running import Running
from bench.services.starts import Starts
from bench.services.table import PAIR, SERVICES, Program, Service

ROOT: Final = Path(__file__).resolve().parents[2]
SCHEMA: Final = json.loads((ROOT / "bench" / "results.schema.json").read_text())
SERVER: Final = (sys.executable, "-m", "bench.tests.contract_server", "{port}")
HANG_S: Final = 200.0
MARK: Final = "BENCH_TEST_MARK"


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """In the environment of every process that the test starts; fails if one of them lives on."""
    value = uuid.uuid4().hex
    monkeypatch.setenv(MARK, value)
    yield value
    assert living(value) == []


def living(mark: str) -> list[int]:
    return [pid for pid in pids() if f"{MARK}={mark}".encode() in read(pid, "environ").split(b"\0")]


def service(name: str, *command: str, crossing: bool = False) -> Service:
    """One of a single program, by default the contract's server of these tests."""
    program = Program(command or SERVER, (HEALTH, PREDICT, BATCH), crossing=PREDICT if crossing else None)
    return Service(name, (program,))


WELL: Final = service("well")
BROKEN: Final = {
    "ended with exit code 1": service("ends", sys.executable, "-c", "raise SystemExit(1)"),
    "ended with SIGKILL": service("dies", "sh", "-c", "kill -9 $$"),
    "no-such-program": service("absent", "no-such-program"),
    "prediction.confidence: 0.123, not 0.8": service("lies", *SERVER, "wrong_every=1", crossing=True),
    "gets no right answer: ConnectionRefusedError": service(
        "deaf", sys.executable, "-c", "import signal; signal.pause()"
    ),
}

FILLS_MEMORY: Final = """
import mmap, sys
size = 1 << int(sys.argv[1])
memory = mmap.mmap(-1, 1 << 28)
memory[:size] = b"x" * size
print("filled", flush=True)
input()
"""


def quiet(_: str) -> None:
    """No progress."""


def valid(part: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as results.json has them, once they are found to be what its schema wants."""
    written = json.loads(json.dumps(rows))
    jsonschema.validate(written, {**SCHEMA["properties"][part], "$defs": SCHEMA["$defs"]})
    return [row for row in written if isinstance(row, dict)]


# The JVM's may take a minute to start on a machine that is busy with other tests.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("tried", SERVICES, ids=lambda tried: tried.name)
def test_every_service_gives_the_answers_of_the_contract(tried: Service, mark: str) -> None:
    require(tried.missing())
    tried.prepare()
    with Running(tried) as started:
        started.await_ready()
        for program in tried.programs:
            for endpoint in program.endpoints:
                assert endpoint.difference(ask(started.url(program), endpoint)) == ""
        assert set(started.main_pids) <= set(started.pids()) <= set(living(mark))


def test_a_replaced_worker_is_another_process_and_answers(mark: str) -> None:
    PAIR.prepare()
    with Running(PAIR) as started:
        started.await_ready()
        node, flask = PAIR.programs
        before = set(started.pids())
        started.replace_worker(flask)
        between = set(started.pids())
        started.replace_worker(node)
        after = set(started.pids())
        assert len(before - between) == len(between - before) == 1
        assert len(between - after) == len(after - between) == 1
        assert len(before & between & after) == 1
        for program in (node, flask):
            assert program.crossing is not None
            assert program.crossing.difference(ask(started.url(program), program.crossing)) == ""


def test_starts_are_timed_by_program_and_restarts_only_where_a_call_crosses(mark: str) -> None:
    starts = Starts([WELL, PAIR])
    for number in range(2):
        starts.round(number, quiet)
    rows = valid("starts", starts.to_json())
    assert [(row["service"], row["what"]) for row in rows] == [
        ("well", "first HTTP answer"),
        *(
            (f"this bridge: {program}", what)
            for program in ("Node", "Flask")
            for what in ("first HTTP answer", "first cross-language answer", "restart of one worker")
        ),
    ]
    assert all(len(row["ms_rounds"]) == 2 and not row["failed"] and not row["skipped"] for row in rows)
    for http, crossing in ((rows[1], rows[2]), (rows[4], rows[5])):
        assert all(a <= b for a, b in zip(http["ms_rounds"], crossing["ms_rounds"], strict=True))


def test_a_slow_service_takes_part_in_so_many_rounds_and_no_more(mark: str) -> None:
    starts = Starts([dataclasses.replace(WELL, name="slow", most_rounds=1), WELL])
    assert starts.seconds(0) > starts.seconds(1) > 0
    for number in range(2):
        starts.round(number, quiet)
    assert [len(row["ms_rounds"]) for row in valid("starts", starts.to_json())] == [1, 2]


def test_loads_are_measured_with_the_processor_time_of_the_service(mark: str) -> None:
    http = Http([WELL], seconds=0.1)
    http.round(0, quiet)
    rows = valid("http", http.to_json())
    assert [row["rate_per_s"] for row in rows] == [
        None,
        *HEALTH.rates_per_s,
        *[None, *PREDICT.rates_per_s],
        None,
        *BATCH.rates_per_s,
    ]
    for row in rows:
        assert (row["rounds"], row["errors"], row["agrees"], row["failed"]) == (1, 0, True, None)
        assert row["cpu_us_per_request"] > 0
        if row["rate_per_s"]:
            assert row["requests"] == round(0.1 * row["rate_per_s"])


@pytest.mark.parametrize("message", BROKEN)
def test_a_service_that_fails_says_how_and_the_next_is_measured(
    message: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    def wait_briefly_for(name: str) -> None:
        monkeypatch.setattr(running, "START_GUARD_S", 0.5 if name == "deaf" else HANG_S)

    broken = BROKEN[message]
    starts = Starts([broken, WELL])
    starts.round(0, wait_briefly_for)
    failed, *_, well = valid("starts", starts.to_json())
    assert message in failed["failed"]
    assert well["ms"] > 0
    http = Http([broken, WELL], seconds=0.05)
    http.round(0, wait_briefly_for)
    rows = valid("http", http.to_json())
    assert all(message in row["failed"] for row in rows if row["service"] == broken.name)
    assert all(row["rounds"] == 1 and not row["failed"] for row in rows if row["service"] == "well")


def test_a_service_that_dies_under_load_is_reported_and_the_next_is_measured(mark: str) -> None:
    http = Http([service("dies", *SERVER, "exit_at=300"), WELL], seconds=0.2)
    http.round(0, quiet)
    rows = valid("http", http.to_json())
    died = [row for row in rows if row["service"] == "dies"]
    assert any("ended with exit code 3" in (row["failed"] or "") for row in died)
    assert any("had ended before" in (row["skipped"] or "") for row in died)
    assert all(row["rounds"] == 1 and not row["failed"] for row in rows if row["service"] == "well")


def test_a_service_that_is_not_installed_is_skipped_with_the_command_that_installs_it() -> None:
    absent = dataclasses.replace(WELL, name="absent", python_packages=("no_such_package",))
    for part in (Http([absent]), Starts([absent]), Memory([absent])):
        part.round(0, quiet)
        for row in part.to_json():
            assert row["skipped"] == "not installed: no_such_package; install with `make bench-setup`"


def test_a_service_that_does_not_compile_is_reported(mark: str) -> None:
    def fail() -> None:
        raise BuildFailed("line 1: syntax error")

    starts = Starts([dataclasses.replace(WELL, name="ill", prepare=fail), WELL])
    starts.round(0, quiet)
    ill, well = valid("starts", starts.to_json())
    assert ill["failed"] == "line 1: syntax error"
    assert well["ms"] > 0


def test_ctrl_c_ends_the_service_and_keeps_what_was_measured(mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    http = Http([WELL], seconds=0.05)
    run, loads = Generator.run, iter(range(100))

    def run_three(*arguments: Any) -> Any:
        if next(loads) == 3:
            raise KeyboardInterrupt
        return run(*arguments)

    monkeypatch.setattr(Generator, "run", run_three)
    with pytest.raises(KeyboardInterrupt):
        http.round(0, quiet)
    assert living(mark) == []
    rows = valid("http", http.to_json())
    # The first of the four was the warming up.
    assert [row["rounds"] for row in rows] == [1, 1] + [0] * 7
    assert all("ended before" in row["skipped"] for row in rows[2:])


def test_a_step_that_is_interrupted_leaves_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for part in (Http, Starts, Memory):
        monkeypatch.setattr(part, "round", interrupt)
    found = SimpleNamespace(http=[], starts=[], memory=[], idle_cpu_percent=None)
    for name, seconds, measure in services.steps(3, found):
        assert seconds > 0
        if name != "idle":
            with pytest.raises(KeyboardInterrupt):
                measure(quiet)
    for part_name in ("http", "starts", "memory"):
        assert valid(part_name, getattr(found, part_name))


def test_memory_is_weighed_idle_and_loaded_with_every_number_of_workers(
    mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "REQUESTS", 100)
    weighed = Memory([PAIR], most_workers=2)
    weighed.round(0, quiet)
    rows = valid("memory", weighed.to_json())
    assert [(row["workers"], row["state"], row["processes"]) for row in rows] == [
        # Node, gunicorn's master, and its workers.
        (1, "idle", 3),
        (1, "after 10,000 requests", 3),
        (2, "idle", 4),
        (2, "after 10,000 requests", 4),
    ]
    assert all(row["pss_mib"] > 0 and not row["failed"] for row in rows)


def test_memory_after_requests_that_were_not_answered_rightly_is_not_weighed(
    mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "REQUESTS", 100)
    weighed = Memory([service("lies", *SERVER, "wrong_every=20")])
    weighed.round(0, quiet)
    idle, loaded = valid("memory", weighed.to_json())
    assert idle["pss_mib"] > 0
    assert loaded["pss_mib"] is None
    assert "of 100 POST /api/predict are answered rightly" in loaded["failed"]


def test_the_weight_of_a_process_grows_by_what_it_fills() -> None:
    """32 MiB that are filled count, the rest of what was asked for does not."""
    weights = []
    for bits in (12, 25):
        with subprocess.Popen(
            [sys.executable, "-c", FILLS_MEMORY, str(bits)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            weights.append(pss_mib([process.pid]))
            process.communicate(b"\n", timeout=HANG_S)
    assert 30 < weights[1] - weights[0] < 40


def test_a_process_that_has_gone_cannot_be_weighed() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait(HANG_S)
    with pytest.raises(OSError, match=str(process.pid)):
        pss_mib([process.pid])


def test_processes_end_when_the_block_is_left_by_ctrl_c(mark: str) -> None:
    PAIR.prepare()
    with pytest.raises(KeyboardInterrupt), Running(PAIR) as started:
        started.await_ready()
        assert len(living(mark)) == 3
        raise KeyboardInterrupt
    assert not Path(f"/proc/{started.main_pids[0]}").exists()
