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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

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


def _load_instrumented() -> None:
    """In place of the package's compiled decoder the one at $FUZZ_PLAIN_VALUES, built for a sanitizer or a fuzzer."""
    path = os.environ.get("FUZZ_PLAIN_VALUES")
    if path is None:
        return
    name = "shm_protocol._plain_values"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"FUZZ_PLAIN_VALUES={path} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


_load_instrumented()
# What is the same value is for the tests of the vectors to know.
sys.path.append(str(Path(__file__).resolve().parents[1] / "shm_protocol" / "python" / "tests"))

from shm_protocol import ProtocolError, frames, handshake, values  # noqa: E402
from shm_protocol._plain_values import DECLINED, decode_plain  # noqa: E402
from tagged import is_same  # noqa: E402

from fuzz.canonical import describe  # noqa: E402  # after what it is to find


def value(data: bytes) -> str:
    """A value or a ProtocolError; and the compiled decoder agrees with msgpack, or declines."""
    plain = decode_plain(data)
    try:
        closely = values.decode_closely(data)
    except ProtocolError:
        if plain is not DECLINED:
            raise Finding(f"the compiled decoder takes what msgpack refuses: {plain!r}") from None
        return REFUSED
    if plain is not DECLINED and not is_same(plain, closely):
        raise Finding(f"the compiled decoder says {plain!r}, msgpack {closely!r}")
    return TAKEN


def frame(data: bytes) -> str:
    """A frame whose fields are what they must be, or a ProtocolError."""
    try:
        decoded = frames.decode(data)
    except ProtocolError:
        return REFUSED
    if not 0 <= decoded[0] <= frames.LEAVE:
        raise Finding(f"a frame of the type {decoded[0]!r} is taken")
    return TAKEN


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
        handshake.check_version(header)
        body = data[size : size + header.body_bytes]
        if len(body) < header.body_bytes:
            return REFUSED
        decode_body(body)
    except ProtocolError:
        return REFUSED
    return TAKEN


CHECKS: Final[Mapping[str, Callable[[bytes], str]]] = {
    "value": value,
    "frame": frame,
    "hello": hello,
    "answer": answer,
}
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
