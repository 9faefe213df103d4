"""What the README of an example says: which commands to run, and what they print.

Commands stand in blocks of `console`, each behind a `$ `, with what it prints below. A line that is `…` stands for any
lines, a `…` in a line for any text. A command whose last line is `…` goes on: it is left running, and the next ones are
for another terminal. Of such a command each line that is shown is promised, in any order. Ports are those of the
defaults; where a command that goes on shows one, the next ones use the one that it has really printed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ANY: Final = "…"
_BLOCK: Final = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PORT: Final = re.compile(r"(?<=:)\d{4}\b")
_INSTALL: Final = "## Install\n"


@dataclass(frozen=True, slots=True)
class Command:
    """words: as the shell takes them. output: the lines below. installs: it is one of those that install."""

    words: str
    output: tuple[str, ...]
    installs: bool

    @property
    def goes_on(self) -> bool:
        """Whether it runs until Ctrl-C."""
        return self.output[-1:] == (ANY,)

    def promised_lines(self) -> list[tuple[str, str | None]]:
        """Patterns of the lines of a command that goes on, each with the port that is its only group, if it has one."""
        found: list[tuple[str, str | None]] = []
        for line in self.output:
            if line != ANY:
                port = _PORT.search(line)
                pattern = _pattern(line)
                found.append((_PORT.sub(r"(\\d+)", pattern, count=1), port[0]) if port else (pattern, None))
        return found

    def promised_output(self) -> str:
        """A pattern of all that a command prints. Whether the last line has an end, and what empty ones
        follow it, is not seen in a README.
        """
        lines = (r"(?:.*\n)*?" if line == ANY else f"{_pattern(line)}\n" for line in self.output)
        return f"{''.join(lines)}".removesuffix("\n") + r"\n*"

    def with_ports(self, ports: Mapping[str, str]) -> str:
        """The words, with the ports that there really are for those that the README has."""
        return _PORT.sub(lambda found: ports.get(found[0], found[0]), self.words)


def read(readme: Path) -> list[Command]:
    """All commands, in order."""
    text = readme.read_text()
    start = text.index(_INSTALL)
    end = text.index("\n## ", start + 1)
    return [
        Command(words, output, start < block.start() < end)
        for block in _BLOCK.finditer(text)
        for words, output in _commands(block[1])
    ]


def _commands(block: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    first, *others = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert not first, f"a block begins with {first!r} instead of a command"
    for text in others:
        words, *output = text.rstrip("\n").split("\n")
        yield words, tuple(output)


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split(ANY))
