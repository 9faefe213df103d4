"""Questions, and the answers that follow from them: an answer that belongs to another question is a wrong one.

questions.ts is the same in TypeScript.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

import shm_protocol

TIMEOUT_VARIABLE: Final = "CHAOS_TIMEOUT_S"
TIMEOUT_S: Final = float(os.environ.get(TIMEOUT_VARIABLE, "2"))
"""The deadline of every question: far longer than an answer takes, so that only a peer that stands still misses it.

Programs may be given another by TIMEOUT_VARIABLE, see programs.py.
"""

IDLE_S: Final = 0.25
STALL_MS: Final = 20
DEPTH: Final = 4

SMALLEST_BLOCK: Final = 20 * 1024
BLOCK_SPREAD: Final = 280 * 1024
"""With rings of RING_BYTES a block is cut into fragments; under gunicorn one of BUFFER_BYTES lies beside it."""

RING_BYTES: Final = 64 * 1024
BUFFER_BYTES: Final = 128 * 1024

_U32: Final = 0xFFFF_FFFF

Call = Callable[..., Any]


def token(question: int) -> int:
    """The answer to a question, a number below 2**53: 32 bits that each depend on all of the question's."""
    mixed = (question & _U32) ^ ((question >> 32) * 0x85EB_CA6B & _U32)
    mixed = mixed * 0x9E37_79B1 & _U32
    return mixed ^ (mixed >> 15)


def block(question: int, size: int) -> bytes:
    """The answer, over and over. size: bytes, a multiple of 4."""
    return token(question).to_bytes(4, "little") * (size // 4)


def size_of(question: int) -> int:
    """How large a block a question is asked with."""
    return SMALLEST_BLOCK + token(question) % BLOCK_SPREAD // 4 * 4


def ask(call: Call, shape: str, question: int) -> bool:
    """Asks in the way that `shape` names, and tells whether the answer is right. Raises what `call` raises."""
    if shape == "mirror":
        size = size_of(question)
        return bool(call("peer.mirror", question, block(question + 1, size)) == block(question, size))
    if shape == "descend":
        expected = question
        for _ in range(DEPTH + 1):
            expected = token(expected)
        return bool(call("peer.descend", DEPTH, question) == expected)
    if shape == "stall":
        return bool(call("peer.stall", STALL_MS, question) == token(question))
    return bool(call("peer.answer", question) == token(question))


def pause_after(shape: str) -> float:
    """Seconds until the next question of a lane."""
    return {"idle": IDLE_S, "stall": STALL_MS / 1000}.get(shape, 0.0)


def answer(question: int) -> int:
    """The plain one."""
    return token(question)


def mirror(question: int, asked: bytes) -> bytes:
    """A block for a block. Raises ValueError if what arrives is not what was sent."""
    if asked != block(question + 1, len(asked)):
        raise ValueError(f"the block of question {question} does not belong to it")
    return block(question, len(asked))


def descend(depth: int, question: int) -> int:
    """Asks the caller, which asks back, `depth` times altogether."""
    if depth == 0:
        return token(question)
    current = shm_protocol.current_call()
    assert current is not None
    return token(current.connection.call("peer.descend", depth - 1, question, timeout=TIMEOUT_S))


def stall(milliseconds: float, question: int) -> int:
    """Stands still: this side reads nothing meanwhile."""
    time.sleep(milliseconds / 1000)
    return token(question)


PEER: Final = {"peer": {"answer": answer, "mirror": mirror, "descend": descend, "stall": stall}}
"""What every Python program of the matrix exposes."""
