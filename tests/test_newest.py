"""`make test-newest` where what it needs cannot be had."""

from __future__ import annotations

from pathlib import Path

import newest
import pytest


def test_where_the_newest_python_cannot_be_had_it_fails_and_says_that_nothing_was_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Where nothing has been downloaded, and there is no Maven.
    monkeypatch.setenv("PATH", str(tmp_path))
    assert newest.main(tmp_path) == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert "newest: nothing was tested, for CPython 3." in said.err
    assert said.err.endswith("is missing: apt-get install maven\n")
