"""What is fuzzed: each target is one check, under the fuzzer of its language, with a corpus that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fuzz.decoders import DICTIONARY
from fuzz.engines import BUILD, Atheris, Engine, LibFuzzer, NodeLibFuzzer


@dataclass(frozen=True)
class Target:
    """One of them. The check has the name of its corpus; `bytes_max` is the largest input that is tried."""

    language: str
    corpus: str
    engine: Engine
    bytes_max: int
    about: str

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"{self.language}-{self.corpus}"

    @property
    def inputs(self) -> Path:
        """What the fuzzer has found worth keeping on this machine."""
        return BUILD / self.name / "inputs"

    @property
    def findings(self) -> Path:
        """Inputs that broke something."""
        return BUILD / self.name / "findings"

    def command(self, folders: Sequence[Path], *options: str) -> list[str]:
        """What to run: the fuzzer over these folders, of which it writes to the first."""
        common = (
            f"-max_len={self.bytes_max}",
            f"-artifact_prefix={self.findings}/",
            "-timeout=10",
            *(() if self.language == "core" else (f"-dict={DICTIONARY}",)),
        )
        program = self.engine.command(self.corpus).program
        return [*program, *map(str, folders), *common, *self.engine.options, *options]

    def environment(self) -> dict[str, str]:
        """What that needs besides this process's own."""
        return dict(self.engine.command(self.corpus).environment)


_CORE: Final = LibFuzzer()
_PYTHON: Final = Atheris()
_TYPESCRIPT: Final = NodeLibFuzzer()

_DECODERS: Final = (
    ("value", 2048, "bytes as a value"),
    ("frame", 2048, "bytes as a frame"),
    ("hello", 1024, "bytes as a dialer's hello"),
    ("answer", 1024, "bytes as an acceptor's answer"),
)

TARGETS: Final[Sequence[Target]] = (
    Target("core", "segment", _CORE, 4400, "arbitrary bytes as the whole segment"),
    Target("core", "altered", _CORE, 600, "a segment altered between and within the channel's steps"),
    Target("core", "raced", _CORE, 130, "a segment that another thread writes into meanwhile"),
    Target("core", "descriptors", _CORE, 400, "descriptors of any kind on the second socket"),
    *(Target("python", corpus, _PYTHON, size, about) for corpus, size, about in _DECODERS),
    Target("python", "result", _PYTHON, 2048, "bytes as the answer that a direct call waits for"),
    *(Target("typescript", corpus, _TYPESCRIPT, size, about) for corpus, size, about in _DECODERS),
)
