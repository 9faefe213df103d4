"""What the bench compares with is installed as far as it can be had."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import setup

ENTRY = re.compile(r"^([\w-]+)==", re.MULTILINE)


@pytest.mark.parametrize("name", setup.PYTHON_PACKAGES)
def test_a_package_by_itself_is_locked_with_all_but_what_only_the_others_need(name: str) -> None:
    whole = setup.LOCK.read_text()
    others = {block for other, blocks in setup.PYTHON_PACKAGES.items() if other != name for block in blocks}
    left = setup.lock_of(name, whole)
    assert set(ENTRY.findall(left)) == set(ENTRY.findall(whole)) - others
    assert name in ENTRY.findall(left)
    assert left.count("--hash=") > len(ENTRY.findall(left))


def test_one_package_that_does_not_install_does_not_keep_the_others_away(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []

    def run(*command: str) -> None:
        lock = Path(command[-1]).read_text()
        if "pminit==" in lock:
            raise setup.SetupFailed("pminit needs npm")
        installed.extend(name for name in setup.PYTHON_PACKAGES if f"\n{name}==" in lock)

    monkeypatch.setattr(setup, "run", run)
    setup.python_packages()
    assert installed == [name for name in setup.PYTHON_PACKAGES if name != "pythonmonkey"]
