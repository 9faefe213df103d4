"""The folder of a project: which it is, how it is shown, and when two are of different projects."""

from __future__ import annotations

from pathlib import Path

import pytest
from shm_protocol import project


@pytest.mark.parametrize("manifest", ["package.json", "pyproject.toml"])
def test_it_is_the_nearest_with_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: str) -> None:
    inner = tmp_path / "shop" / "src" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / manifest).touch()
    (tmp_path / "shop" / manifest).touch()
    monkeypatch.chdir(inner)
    assert project.project_folder({}) == str(tmp_path / "shop")


def test_it_is_the_working_folder_where_there_is_none_or_only_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "src").mkdir(parents=True)
    (home / "package.json").touch()
    monkeypatch.chdir(home / "src")
    assert project.project_folder({"HOME": str(home)}) == str(home / "src")


def test_of_a_long_one_the_end_is_told_and_one_that_is_gone_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / ("x" * 200) / ("y" * 200)
    inner.mkdir(parents=True)
    (inner / "package.json").touch()
    monkeypatch.chdir(inner)
    told = project.project_folder({})
    assert told is not None
    assert len(told) == project.MAX_PROJECT_CHARACTERS
    assert told.startswith("…")
    assert str(inner).endswith(told[1:])
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert project.project_folder({}) is None


def test_a_folder_whose_name_is_no_text_is_told_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "a\udcff"
    odd.mkdir()
    (odd / "package.json").touch()
    monkeypatch.chdir(odd)
    assert project.project_folder({}) == f"{tmp_path}/a\ufffd"


def test_what_is_shown_steers_no_terminal_and_turns_no_text_round() -> None:
    assert project.shown("/home/zoë/Läden 商店") == '"/home/zoë/Läden 商店"'
    assert project.shown('a"b\\c') == '"a\\"b\\\\c"'
    steering = "\x1b[2J\n\x9b1m\u202e\u200b\u2028\x7f"
    assert project.shown(steering) == '"\\u001b[2J\\n\\u009b1m\\u202e\\u200b\\u2028\\u007f"'


@pytest.mark.parametrize(
    ("own", "theirs", "two"),
    [
        ("/home/me/shop", "/home/me/blog", True),
        ("/home/me/shop", "/home/me/shop", False),
        ("/home/me/shop", "/home/me/shop/web", False),
        ("/home/me/shop/web", "/home/me/shop", False),
        ("/home/me/shop", "/home/me/shopping", True),
        ("/app", "/", False),
        ("/home/me/shop", None, False),
        (None, "/home/me/shop", False),
        ("/home/me/shop", "…s/long", False),
    ],
)
def test_two_projects_are_those_of_which_neither_holds_the_other(
    own: str | None, theirs: str | None, *, two: bool
) -> None:
    assert project.are_two(own, theirs) is two
    assert bool(project.whose(own, theirs, Path("/run/node.sock"))) is two


def test_whose_it_is_is_told_in_one_line_whatever_the_peer_calls_it() -> None:
    told = project.whose("/home/me/shop", "/tmp/\n\x1b[2Jevil", Path("/run/node.sock"))
    assert told.isprintable()
    assert '"/tmp/\\n\\u001b[2Jevil"' in told
    assert "SHM_POLYGLOT_DIR" in told
