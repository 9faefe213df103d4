"""What must hold of Python's decoders, whatever bytes they are given.

Each check says what became of the bytes: TAKEN, or REFUSED with the error that the protocol has for it. Whatever else
an exception says is a finding. `node/test/fuzz/decoders.ts` checks the same of TypeScript's.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.util
import os
import random
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Final

from fuzz import corpora

TAKEN: Final = "taken"
REFUSED: Final = "refused"

DICTIONARY: Final = Path(__file__).resolve().parent / "words.dict"
WORDS: Final = tuple(
    ast.literal_eval(f"b{line}") for line in DICTIONARY.read_text().splitlines() if not line.startswith("#")
)
"""What libFuzzer is told that inputs are made of."""


class Finding(Exception):
    """A decoder has done what it must not."""


class Refused(str):
    """What was said where something was refused."""

    __slots__ = ()


class _Instrumented(MetaPathFinder):
    """Finds in place of the package's compiled codec the one at $FUZZ_CODEC, built for a sanitizer or a fuzzer."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        """See MetaPathFinder."""
        if fullname != "shm_protocol._codec":
            return None
        return importlib.util.spec_from_file_location(fullname, os.environ["FUZZ_CODEC"])


if "FUZZ_CODEC" in os.environ:
    sys.meta_path.insert(0, _Instrumented())
# What is the same value is for the tests of the vectors to know.
sys.path.append(str(Path(__file__).resolve().parents[1] / "shm_protocol" / "python" / "tests"))

from frame_sinks import checked  # noqa: E402
from shm_protocol import EncodeError, ProtocolError, _codec, handshake, values  # noqa: E402
from shm_protocol.values import decoder  # noqa: E402
from tagged import is_same  # noqa: E402

from fuzz.canonical import describe  # noqa: E402  # after what it is to find

_ENCODER: Final = _codec.Encoder()

compared_one_in = 1
"""Of how many inputs one is read by the decoder in Python as well. A fuzzer that waits for that each time, in code that
reports its coverage, tries ten times fewer inputs of the compiled one, which is the one that is shipped."""


def value(data: bytes) -> str:
    """A value or a ProtocolError; the compiled decoder and the one in Python agree, and what was read is written so
    that it is read as the same.
    """
    found = _outcome(data, _codec.decode)
    # By what it is, so that a finding is found again.
    if zlib.crc32(data) % compared_one_in == 0 and not is_same(found, _outcome(data, decoder.decode)):
        raise Finding(f"compiled: {found!r}, in Python: {_outcome(data, decoder.decode)!r}")
    if type(found) is Refused:
        return REFUSED
    # Read to one level more than may be written.
    again = _outcome(found, _ENCODER.pack)
    if type(again) is not Refused and not is_same(_codec.decode(again), found):
        raise Finding(f"{found!r} is written as {again.hex()}")
    return TAKEN


def result(data: bytes) -> str:
    """The result in the answer to call 1, which the long way finds in it as well; or left to that."""
    found = _codec.read_result(data, 1)
    if found is _codec.DECLINED:
        # A longer form than needed, say: 1 as an int of 16 bits, and an array of 4 with a head of its own.
        return REFUSED
    frame = _outcome(data, _codec.decode)
    is_answer = type(frame) is list and len(frame) == 4 and is_same(frame[:3], [1, 1, None])
    if not is_answer or not is_same(found, frame[3]):
        raise Finding(f"the direct call takes {found!r}, out of {frame!r}")
    return TAKEN


def frame(data: bytes) -> str:
    """A frame whose fields are what they must be, or a ProtocolError."""
    try:
        checked(data)
    except ProtocolError:
        return REFUSED
    return TAKEN


def _outcome(given: Any, function: Callable[[Any], Any]) -> Any:
    try:
        return function(given)
    except (ProtocolError, EncodeError) as error:
        return Refused(error)


def hello(data: bytes) -> str:
    """A hello that has come whole, or a ProtocolError."""
    return _handshake(data, handshake.decode_hello)


def answer(data: bytes) -> str:
    """A welcome or refusal that has come whole, or a ProtocolError."""
    return _handshake(data, handshake.decode_answer)


def _handshake(data: bytes, decode_body: Callable[[bytes], object]) -> str:
    """As dialing.py reads one: first a header, then as many bytes as that says. What has not all come is refused."""
    size = handshake.HEADER.size
    if len(data) < size:
        return REFUSED
    try:
        header = handshake.decode_header(data[:size])
        body = data[size : size + header.body_bytes]
        if len(body) < header.body_bytes:
            return REFUSED
        decode_body(body)
    except ProtocolError:
        return REFUSED
    return TAKEN


SHARED: Final[Mapping[str, Callable[[bytes], str]]] = {
    "value": value,
    "frame": frame,
    "hello": hello,
    "answer": answer,
}
"""By the name of the corpus: what TypeScript checks as well."""

CHECKS: Final[Mapping[str, Callable[[bytes], str]]] = {**SHARED, "result": result}
"""By the name of the corpus."""


def recorded(name: str, data: bytes) -> str:
    """What a corpus says of an input: REFUSED; or TAKEN, and of a value what it is, shortened."""
    outcome = CHECKS[name](data)
    if name != "value" or outcome == REFUSED:
        return outcome
    return f"{TAKEN}:{hashlib.sha256(describe(values.decode(data)).encode()).hexdigest()[:8]}"


def mutations(data: bytes, count: int) -> Iterator[bytes]:
    """So many inputs that differ from this one in one to four bytes or words, always the same ones."""
    chance = random.Random(data)
    has_length = data.startswith(handshake.MAGIC) and len(data) >= handshake.HEADER.size
    for _ in range(count):
        mutated = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            at = chance.randint(0, len(mutated))
            match chance.randint(0, 3):
                case 0:
                    mutated.insert(at, chance.randrange(256))
                case 1:
                    del mutated[at : at + 1]
                case 2:
                    mutated[at : at + 1] = bytes([chance.randrange(256)])
                case _:
                    mutated[at : at + chance.randint(0, 1)] = chance.choice(WORDS)
        # A handshake whose length is wrong would be refused for that alone.
        if has_length and chance.randint(0, 3) > 0:
            mutated[8:12] = max(0, len(mutated) - handshake.HEADER.size).to_bytes(4, "little")
        yield bytes(mutated)


def main() -> None:
    """Replay the corpora without a fuzzer, and mutations of them. Raises the first finding."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.decoders", description=main.__doc__)
    parser.add_argument("--mutations", type=int, default=0, metavar="N", help="of each input")
    count = parser.parse_args().mutations
    executions = 0
    for name, check in CHECKS.items():
        for data, expected in corpora.read(name).items():
            found = recorded(name, data)
            if found != expected:
                raise Finding(f"{name} {data.hex()} is {found}, not {expected}")
            for mutated in mutations(data, count):
                check(mutated)
            executions += 1 + count
    print(f"{executions} executions")


if __name__ == "__main__":
    main()
