"""Settings: defaults, the environment, arguments, and what is refused."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pytest
from shm_protocol import ConfigError, Settings, config
from tagged import SHM_PROTOCOL


def test_the_defaults() -> None:
    assert config.read_settings(environment={}) == Settings(
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
    assert config.read_settings(environment=environment) == Settings(Path("/run/x/node.sock"), "socket", 0, 4096, 1024)


def test_arguments_win_over_the_environment() -> None:
    environment = {"SHM_POLYGLOT_DIR": "/run/x", "SHM_POLYGLOT_TRANSPORT": "bad", "SHM_POLYGLOT_RING_BYTES": "bad"}
    settings = config.read_settings(
        "/a/b.sock", transport="shm", ring_capacity=8192, max_message=2048, environment=environment
    )
    assert settings == Settings(Path("/a/b.sock"), "shm", None, 8192, 2048)


class Case(TypedDict):
    variable: str
    value: str
    error: NotRequired[str]


CASES: list[Case] = json.loads((SHM_PROTOCOL / "vectors" / "settings.json").read_text())
"""The same table is read by TypeScript's tests: both languages have the same opinion, in the same words."""


def test_each_value_of_the_table_is_taken_or_refused_with_the_sentence_that_typescript_gives() -> None:
    assert len(CASES) > 100
    for case in CASES:
        environment = {case["variable"]: case["value"]}
        expected = case.get("error")
        if expected is None:
            config.read_settings(environment=environment)
            continue
        with pytest.raises(ConfigError) as caught:
            config.read_settings(environment=environment)
        assert (str(caught.value), isinstance(caught.value, ValueError)) == (expected, True)


def test_an_empty_variable_is_as_if_it_were_not_there() -> None:
    assert config.read_settings(environment={case["variable"]: "" for case in CASES}) == config.read_settings(
        environment={}
    )


def test_the_runtime_directory_is_used_if_it_is_there(tmp_path: Path) -> None:
    assert config.default_directory({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "shm-polyglot"
    assert config.default_directory({"XDG_RUNTIME_DIR": str(tmp_path / "no")}) == Path(
        f"/tmp/shm-polyglot-{os.getuid()}"
    )
    assert config.default_directory({"XDG_RUNTIME_DIR": "."}) == config.default_directory({})


class Hostile:
    """Whose every look raises."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]  # neither can it be hashed


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("transport", "tcp"),
        ("transport", ""),
        ("transport", Hostile()),
        ("ring_capacity", 5000),
        ("ring_capacity", 2.5),
        ("ring_capacity", 10**5000),
        ("ring_capacity", Hostile()),
        ("max_message", 0),
        ("max_message", True),
        ("max_message", "4096"),
        ("max_message", math.nan),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_argument_that_cannot_be_is_named(argument: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{argument}=.*: must be "):
        config.read_settings(**{argument: value}, environment={})


def test_a_path_that_is_too_long_is_refused_with_both_numbers_and_what_to_set(tmp_path: Path) -> None:
    start = "/" + "é" * 20
    longest = Path(start + "d" * (config.MAX_SOCKET_PATH_BYTES - len(start.encode())))
    assert config.read_settings(longest, environment={}).path == longest
    with pytest.raises(ConfigError, match="has 108 bytes and must have at most 107: .*set SHM_POLYGLOT_DIR"):
        config.read_settings(f"{longest}d", environment={})


def test_a_path_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(ConfigError, match="zero byte"):
        config.read_settings("/tmp/a\0b", environment={})


@pytest.mark.parametrize("path", [3, b"/run/node.sock", ["/run"], True])
def test_a_path_that_is_none_is_a_type_error_that_names_it(path: Any) -> None:
    with pytest.raises(TypeError, match=r"^path=.*: must be a string or a path, that of the socket$"):
        config.read_settings(path, environment={})


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


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "node.sock"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match="is a symbolic link, which is not followed: remove it"):
        config.check_socket(link)


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="belongs to the user"):
        config.check_directory(tmp_path)
