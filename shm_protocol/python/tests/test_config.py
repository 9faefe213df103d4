"""Settings: defaults, the environment, arguments, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from shm_protocol import ConfigError, Settings, config


def test_the_defaults() -> None:
    assert config.load(environment={}) == Settings(
        path=Path(f"/tmp/shm-polyglot-{os.getuid()}/node.sock"),
        transport="auto",
        spin_us=None,
        ring_bytes=256 * 1024,
        max_message=64 * 1024 * 1024,
    )


def test_the_environment() -> None:
    environment = {
        "SHM_POLYGLOT_DIR": "/run/x",
        "SHM_POLYGLOT_TRANSPORT": "socket",
        "SHM_POLYGLOT_SPIN_US": "0",
        "SHM_POLYGLOT_RING_BYTES": "4096",
        "SHM_POLYGLOT_MAX_MESSAGE": "1024",
    }
    assert config.load(environment=environment) == Settings(Path("/run/x/node.sock"), "socket", 0, 4096, 1024)


def test_arguments_win_over_the_environment() -> None:
    environment = {"SHM_POLYGLOT_DIR": "/run/x", "SHM_POLYGLOT_TRANSPORT": "bad", "SHM_POLYGLOT_RING_BYTES": "bad"}
    settings = config.load("/a/b.sock", transport="shm", ring_capacity=8192, max_message=2048, environment=environment)
    assert settings == Settings(Path("/a/b.sock"), "shm", None, 8192, 2048)


def test_empty_variables_are_as_if_they_were_not_there() -> None:
    names = ("DIR", "SPIN_US", "RING_BYTES", "MAX_MESSAGE")
    assert config.load(environment={f"SHM_POLYGLOT_{name}": "" for name in names}) == config.load(environment={})


def test_the_runtime_directory_is_used_if_it_is_there(tmp_path: Path) -> None:
    assert config.default_directory({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "shm-polyglot"
    assert config.default_directory({"XDG_RUNTIME_DIR": str(tmp_path / "no")}) == Path(
        f"/tmp/shm-polyglot-{os.getuid()}"
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SHM_POLYGLOT_TRANSPORT", "tcp"),
        ("SHM_POLYGLOT_TRANSPORT", ""),
        ("SHM_POLYGLOT_SPIN_US", "-1"),
        ("SHM_POLYGLOT_SPIN_US", "1.5"),
        ("SHM_POLYGLOT_SPIN_US", "1000001"),
        ("SHM_POLYGLOT_SPIN_US", "²"),
        ("SHM_POLYGLOT_RING_BYTES", "4095"),
        ("SHM_POLYGLOT_RING_BYTES", "5000"),
        ("SHM_POLYGLOT_RING_BYTES", str(2**29)),
        ("SHM_POLYGLOT_RING_BYTES", "9" * 5000),
        ("SHM_POLYGLOT_RING_BYTES", "256k"),
        ("SHM_POLYGLOT_MAX_MESSAGE", "1023"),
        ("SHM_POLYGLOT_MAX_MESSAGE", str(2**32)),
    ],
)
def test_a_variable_that_cannot_be_is_named_with_its_value_and_what_is_allowed(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{variable}='?{value}'?: must be ") as caught:
        config.load(environment={variable: value})
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("transport", "tcp"), ("ring_capacity", 5000), ("ring_capacity", 2.5), ("max_message", 0), ("max_message", True)],
)
def test_an_argument_that_cannot_be_is_named(argument: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{argument}="):
        config.load(**{argument: value}, environment={})


def test_a_private_directory_is_taken(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    config.check_directory(tmp_path)


@pytest.mark.parametrize("mode", [0o701, 0o750, 0o777])
def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(PermissionError, match="chmod 700"):
        config.check_directory(tmp_path)


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666, 0o777])
def test_a_socket_that_others_may_connect_to_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "node.sock"
    path.touch(0o600)
    config.check_socket(path)
    path.chmod(mode)
    with pytest.raises(PermissionError, match=f"mode {mode:04o}: others may connect; chmod 600 {path}"):
        config.check_socket(path)


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="belongs to the user"):
        config.check_directory(tmp_path)
