"""SECURITY.md names files that are there."""

import re

from services import ROOT

TEXT = (ROOT / "SECURITY.md").read_text()


def test_every_file_that_security_md_names_is_there() -> None:
    names = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.\w+)`", TEXT))
    assert len(names) > 30
    missing = {name for name in names if not (ROOT / name).exists()}
    assert not missing


def test_every_rule_names_what_enforces_it_and_what_tests_it() -> None:
    rules = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", TEXT.partition("## What is enforced")[2], re.MULTILINE)
    rules = [rule for rule in rules if set(rule[0]) != {"-"}]
    assert len(rules) > 12
    for rule, enforced, tested in rules[1:]:
        assert "`" in enforced or enforced in ("the same", "the lock files"), rule
        assert "`" in tested, rule
