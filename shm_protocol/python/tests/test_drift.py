"""A process that exposes a module says where the declarations beside it do not fit it."""

import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from shm_protocol.described import declarations, drift, generated_files, python_source
from shm_protocol.exposed import Exposed

WRITTEN = """
import functools
from typing import overload

class Model:
    def fit(self, rows, /, *, epochs=1): ...
    async def train(self): ...

class Unused:
    def __init__(self, path): ...

model = Model()

def predict(text, times=1): ...
def total(*numbers, start=0.0, **others): ...
@overload
def parse(text: str) -> int: ...
@overload
def parse(text: bytes) -> float: ...
def parse(text): ...
def evaluate(rows): ...
"""


@pytest.fixture
def warned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[str], list[str]]]:
    """What is logged when a module is exposed that has become this, beside declarations of WRITTEN."""
    file = tmp_path / "ml.py"
    file.write_text(WRITTEN)
    target = generated_files.target_of(file, tmp_path, None)
    generated_files.write(target, generated_files.headed(file, declarations.written(python_source.describe(file))[0]))

    def expose(source: str) -> list[str]:
        file.write_text(source)
        Exposed({"ml": imported(file)})
        return [
            record.getMessage().replace(f"{tmp_path}/", "")
            for record in caplog.records
            if record.levelno == logging.WARNING
        ]

    yield expose
    sys.modules.pop("ml", None)


def imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def test_declarations_that_fit_are_no_matter(warned: Callable[[str], list[str]]) -> None:
    assert warned(WRITTEN) == []


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("predict(text, times=1)", 'predict(text, times=1, *, locale="en")', 'predict gained a parameter "locale"'),
        ("predict(text, times=1)", "predict(text)", 'predict lost a parameter "times"'),
        ("predict(text, times=1)", "predict(text, times)", "predict takes (text, times), not (text, times=)"),
        ("predict(text, times=1)", "predict(text, n=1)", "predict takes (text, n=), not (text, times=)"),
        ("rows, /, *, epochs=1", "rows, /, *, epochs=1, rate=1", 'model.fit gained a parameter "rate"'),
        ("def evaluate(rows)", "def evaluate_all(rows)", "evaluate is gone; evaluate_all is not declared"),
    ],
)
def test_what_has_changed_is_told_in_one_line(
    warned: Callable[[str], list[str]], before: str, after: str, told: str
) -> None:
    assert before in WRITTEN
    assert warned(WRITTEN.replace(before, after)) == [f"ml.d.py.ts is stale: {told}; run `shm-polyglot types`"]


def test_of_many_changes_the_first_are_told_and_how_many_there_are(warned: Callable[[str], list[str]]) -> None:
    [line] = warned("".join(f"def f{number}(): ...\n" for number in range(20)))
    assert line.count(";") == 5
    assert "is not declared and 19 more; run" in line


def test_a_decorator_that_changes_what_a_function_takes_is_not_taken_for_an_edit(
    warned: Callable[[str], list[str]],
) -> None:
    [line] = warned(
        f"{WRITTEN}\ndef _with(function):\n    return lambda rows, columns: 1\nevaluate = _with(evaluate)\n"
    )
    assert line == (
        'ml.d.py.ts tells what ml.py says, and not what runs: evaluate gained a parameter "columns"; a decorator, or '
        "what puts another function in its place, shows only then"
    )


def test_user_code_that_raises_when_it_is_looked_at_is_left_out(tmp_path: Path) -> None:
    class Hostile:
        @property
        def __signature__(self) -> object:
            raise SystemExit("looked at")

        def __call__(self) -> None: ...

    file = tmp_path / "ml.d.py.ts"
    file.write_text(generated_files.headed(tmp_path / "ml.py", "// takes: f(x)\n// takes: g(x)\n"))
    told = drift.drift_of(file, str(tmp_path / "ml.py"), {"f": Hostile(), "g": lambda: 1})
    assert told == f'{file} is stale: g lost a parameter "x"; run `shm-polyglot types`'


def test_declarations_that_somebody_has_written_are_his(warned: Callable[[str], list[str]], tmp_path: Path) -> None:
    (tmp_path / "ml.d.py.ts").write_text("export declare function other(): void;\n")
    assert warned(WRITTEN) == []


def test_declarations_that_cannot_be_read_stop_nobody(warned: Callable[[str], list[str]], tmp_path: Path) -> None:
    (tmp_path / "ml.d.py.ts").unlink()
    (tmp_path / "ml.d.py.ts").mkdir()
    assert warned(WRITTEN) == ["ml.d.py.ts cannot be held against what runs: Is a directory"]
    (tmp_path / "ml.d.py.ts").rmdir()
