"""The kept inputs of the fuzzers, run again without any fuzzer; and `python -m fuzz` itself.

TypeScript replays its part in shm_protocol/node/test/fuzz.test.ts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from services import HANG_S

from fuzz import corpora, decoders
from fuzz.compare import differences
from fuzz.engines import CORE, ROOT, compile_codec, compile_typescript

HARNESSES = ("segment", "altered", "raced", "descriptors")

BROKEN = {
    "a length that is not held against the end of the data": (
        "altered",
        "ring.c",
        "header.length > to_end - SHM_RECORD_HEADER_BYTES || ",
        "",
    ),
    "a tail that is believed": (
        "segment",
        "ring.c",
        "tail - consumer->local_head > consumer->capacity || ",
        "",
    ),
    "a header that is read again after it was checked": (
        "altered",
        "ring.c",
        "        consumer->peeked = record_bytes(header.length);",
        "        memcpy(&header, consumer->data + position, 8); consumer->peeked = record_bytes(header.length);",
    ),
    "a message that grows without limit": (
        "altered",
        "channel.c",
        "    if (needed > channel->max_message)\n        return -EMSGSIZE;\n",
        "",
    ),
    "a capacity that does not fit the file": (
        "segment",
        "segment.c",
        " || segment->bytes != shm_segment_bytes(capacity)",
        "",
    ),
}


def build(harness: str, folder: Path, core: Path = CORE) -> Path:
    """The replay program of one harness, over the core or a copy of it."""
    program = folder / "replay" / harness
    command = ["make", "-C", str(CORE / "fuzz"), f"BUILD={folder}", f"CORE={core}", str(program)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=HANG_S)
    return program


def replay(program: Path, harness: str, mutations: int) -> subprocess.CompletedProcess[str]:
    command = [str(program), "--mutations", str(mutations), str(corpora.path_of(harness))]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)


@pytest.mark.parametrize("harness", HARNESSES)
def test_the_core_has_an_answer_to_every_kept_input_and_to_mutations_of_it(harness: str, tmp_path: Path) -> None:
    done = replay(build(harness, tmp_path), harness, 20)
    assert done.returncode == 0, done.stderr
    kept = len(corpora.read(harness))
    assert kept > 10
    assert done.stdout == f"{21 * kept} executions\n"


@pytest.mark.parametrize(("harness", "file", "right", "wrong"), BROKEN.values(), ids=BROKEN.keys())
def test_the_kept_inputs_find(harness: str, file: str, right: str, wrong: str, tmp_path: Path) -> None:
    core = tmp_path / "core"
    core.mkdir()
    for source in [*CORE.glob("*.c"), *CORE.glob("*.h")]:
        shutil.copy(source, core)
    text = (core / file).read_text()
    assert text.count(right) == 1
    (core / file).write_text(text.replace(right, wrong))
    done = replay(build(harness, tmp_path / "build", core), harness, 0)
    assert done.returncode != 0
    assert "the input, as a line of a corpus:" in done.stderr


@pytest.mark.parametrize("name", decoders.CHECKS)
def test_python_makes_of_every_kept_input_what_was_recorded(name: str) -> None:
    kept = corpora.read(name)
    assert {outcome.partition(":")[0] for outcome in kept.values()} == {decoders.TAKEN, decoders.REFUSED}
    assert {data: decoders.recorded(name, data) for data in kept} == kept


def test_python_and_typescript_make_the_same_of_mutations_of_the_kept_inputs() -> None:
    compile_typescript()
    for name in decoders.SHARED:
        kept = corpora.read(name)
        assert differences(name, kept, 5) == (6 * len(kept), [])


def test_the_compiled_decoder_reads_nothing_but_the_message(tmp_path: Path) -> None:
    """Under AddressSanitizer, which has to see Python's allocations one by one."""
    module = tmp_path / "_codec.so"
    compile_codec(module, ["gcc", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"])
    found = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": found.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        "FUZZ_CODEC": str(module),
    }
    command = [sys.executable, "-m", "fuzz.decoders", "--mutations", "5"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{6 * sum(len(corpora.read(name)) for name in decoders.CHECKS)} executions\n"


def run_fuzz(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path or os.environ["PATH"]}
    command = [sys.executable, "-m", "fuzz", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False
    )


def test_a_fuzzer_that_is_missing_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    done = run_fuzz("core-segment", "--executions", "1", path=str(tmp_path))
    assert done.returncode == 2
    assert "core-segment       not run: clang is not installed" in done.stdout
    assert "apt-get install clang" in done.stdout


def test_a_target_that_does_not_exist_is_answered_with_those_that_do() -> None:
    done = run_fuzz("core-everything")
    assert done.returncode == 2
    assert "no target matches core-everything; there are core-segment, core-altered" in done.stderr


def test_fuzzers_that_run_side_by_side_lose_no_counts(tmp_path: Path) -> None:
    totals = tmp_path / "build" / "executions.json"
    program = f"""
import pathlib, sys
from fuzz.running import count
for _ in range(200):
    count(pathlib.Path({str(totals)!r}), "both", 1)
    count(pathlib.Path({str(totals)!r}), sys.argv[1], 2)
"""
    children = [subprocess.Popen([sys.executable, "-c", program, name], cwd=ROOT) for name in ("one", "other")]
    assert [child.wait(timeout=HANG_S) for child in children] == [0, 0]
    assert json.loads(totals.read_text()) == {"both": 400, "one": 400, "other": 400}


def test_the_corpora_are_small_and_in_order() -> None:
    for path in corpora.FOLDER.iterdir():
        name = path.stem
        before = path.read_bytes()
        assert len(before) < 200_000
        lines = before.decode("ascii").splitlines()
        assert lines == sorted(lines, key=lambda line: (len(line.split(" ")[0]), line)), name
