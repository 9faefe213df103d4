"""The container files keep to what every builder and both generations of Compose understand."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILES = (ROOT / "node_side" / "Dockerfile", ROOT / "python_side" / "Dockerfile")
BASES = {"node:22-bookworm-slim", "python:3.12-slim-bookworm", "debian:bookworm-slim"}


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_a_dockerfile_builds_with_and_without_buildkit(file: Path) -> None:
    text = file.read_text()
    # A `# syntax=` line makes BuildKit fetch a frontend; the other two are unknown to the legacy builder.
    assert not re.search(r"^#\s*syntax\s*=", text, re.MULTILINE | re.IGNORECASE)
    assert not re.search(r"^RUN\s+--mount", text, re.MULTILINE)
    assert "<<" not in text
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) <= BASES


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_a_dockerfile_ends_as_the_user_of_the_compose_file(file: Path) -> None:
    users = re.findall(r"^USER (\S+)", file.read_text(), re.MULTILINE)
    in_compose = re.findall(r'^    user: "(\S+)"', (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    assert {users[-1]} == set(in_compose)


def test_the_compose_file_says_nothing_that_one_generation_refuses() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    # `version` is a warning to one and a choice to the other; the rest is Compose 2 only.
    for key in ("version", "name", "include"):
        assert not re.search(rf"^{key}:", text, re.MULTILINE)
    assert "start_interval" not in text
