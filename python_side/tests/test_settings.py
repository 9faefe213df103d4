"""What the environment may set for the Python side."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from python_side import settings

ROOT = Path(__file__).resolve().parents[2]
HANG_S = 200.0


def test_everything_has_a_default() -> None:
    assert settings.load({}) == settings.Settings("127.0.0.1", 5000, 2, 5.0, 512)


def test_the_environment_is_taken() -> None:
    environ = {
        "SHM_POLYGLOT_PYTHON_HOST": "::1",
        "SHM_POLYGLOT_PYTHON_PORT": "8080",
        "WEB_CONCURRENCY": "4",
        "SHM_POLYGLOT_CALL_TIMEOUT": "0.5",
        "SHM_POLYGLOT_MEMORY_LIMIT_MIB": "100",
    }
    assert settings.load(environ) == settings.Settings("::1", 8080, 4, 0.5, 100)


def test_each_value_of_the_table_is_taken_or_refused_with_the_sentence_that_typescript_gives() -> None:
    cases = json.loads((ROOT / "tests" / "showcase_settings.json").read_text())
    assert len(cases) > 100
    for case in cases:
        if case["variable"] == "SHM_POLYGLOT_NODE_PORT":
            continue  # read by TypeScript, and by up.py
        if case["variable"] == "SHM_POLYGLOT_REQUEST_TIMEOUT":
            continue  # the worker's: test_worker_settings.py
        expected = case.get("error")
        if expected is None:
            settings.load({case["variable"]: case["value"]})
            continue
        with pytest.raises(settings.SettingError) as raised:
            settings.load({case["variable"]: case["value"]})
        assert str(raised.value) == expected


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("SHM_POLYGLOT_PYTHON_PORT", "http", "an integer from 1 to 65535"),
        # One that is no number at all gunicorn itself has refused before it reads its configuration.
        ("WEB_CONCURRENCY", "0", "an integer from 1 to 256"),
        ("SHM_POLYGLOT_RING_BYTES", "5000", "a power of two from 4096 to 268435456"),
        ("SHM_POLYGLOT_DIR", "run", "an absolute path"),
    ],
)
def test_gunicorn_ends_with_one_line_that_says_what_is_wrong(variable: str, value: str, told: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "python_side/gunicorn_conf.py"],
        cwd=ROOT,
        env={variable: value},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert (result.returncode, result.stderr) == (1, f'error: {variable}="{value}": must be {told}\n')


def test_gunicorn_with_a_configuration_of_its_own_ends_likewise() -> None:
    worker = "shm_protocol.gunicorn.BridgeWorker"
    result = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-k", worker, "-b", "127.0.0.1:0", "python_side.app:app"],
        cwd=ROOT,
        env={"SHM_POLYGLOT_RING_BYTES": "5000"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert result.returncode == 1
    assert 'SHM_POLYGLOT_RING_BYTES="5000": must be a power of two from 4096 to 268435456' in result.stderr
    assert "Traceback" not in result.stderr
