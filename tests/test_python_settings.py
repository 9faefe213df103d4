"""What the environment may set for the Python side."""

import subprocess
import sys

import pytest
from services import ROOT

from python_side import settings


def test_everything_has_a_default() -> None:
    assert settings.load({}) == settings.Settings("127.0.0.1", 5000, 2, 5.0, 10.0, 512)


def test_the_environment_is_taken() -> None:
    environ = {
        "SHM_POLYGLOT_PYTHON_HOST": "::1",
        "SHM_POLYGLOT_PYTHON_PORT": "8080",
        "WEB_CONCURRENCY": "4",
        "SHM_POLYGLOT_CALL_TIMEOUT": "0.5",
        "SHM_POLYGLOT_REQUEST_TIMEOUT": "1.5",
        "SHM_POLYGLOT_MEMORY_LIMIT_MIB": "100",
    }
    assert settings.load(environ) == settings.Settings("::1", 8080, 4, 0.5, 1.5, 100)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("SHM_POLYGLOT_PYTHON_PORT", "0", "a whole number from 1 to 65535"),
        ("SHM_POLYGLOT_PYTHON_PORT", "http", "a whole number from 1 to 65535"),
        ("WEB_CONCURRENCY", "1.5", "a whole number from 1 to 256"),
        ("SHM_POLYGLOT_CALL_TIMEOUT", "", "a number from 0.001 to 3600"),
        ("SHM_POLYGLOT_CALL_TIMEOUT", "nan", "a number from 0.001 to 3600"),
        ("SHM_POLYGLOT_MEMORY_LIMIT_MIB", "-1", "a whole number from 1 to 1048576"),
    ],
)
def test_a_bad_value_is_named_with_its_range(name: str, value: str, kind: str) -> None:
    with pytest.raises(settings.SettingError) as raised:
        settings.load({name: value})
    assert str(raised.value) == f"{name}={value!r}: must be {kind}"


def test_gunicorn_ends_with_one_line_that_says_what_is_wrong() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "python_side/gunicorn_conf.py"],
        cwd=ROOT,
        env={"SHM_POLYGLOT_PYTHON_PORT": "http"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr == "error: SHM_POLYGLOT_PYTHON_PORT='http': must be a whole number from 1 to 65535\n"
