"""Arrays that are made in shared memory: what cannot be is refused at once, and says which argument and what limit."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import shm_protocol
from shm_protocol import pool


@contextlib.contextmanager
def limited(which: int, at_most: int) -> Iterator[None]:
    """Meanwhile this process has less."""
    before = resource.getrlimit(which)
    resource.setrlimit(which, (at_most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(which, before)


@pytest.mark.parametrize("shape", [None, 1.5, "x", (2, "x"), (2.0,), ...], ids=repr)
def test_what_is_no_size_is_refused(shape: Any) -> None:
    with pytest.raises(TypeError, match=r"^shape=.*: must be a size or a sequence of sizes$"):
        shm_protocol.empty(shape)


@pytest.mark.parametrize("shape", [-1, (2, -1), 2**32, 2**62, (0, 2**32), (1,) * 9], ids=repr)
def test_a_shape_that_cannot_be_sent_is_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"^shape=\(.*\): at most 8 sizes from 0 to 4294967295$"):
        shm_protocol.empty(shape)


@pytest.mark.parametrize("shape", [(2**32 - 1,) * 2, (0, 2**32 - 1, 2**32 - 1)], ids=repr)
def test_a_shape_of_more_than_numpy_holds_is_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"^shape=.*, whose sizes other than 0 come to more than 2\^63 - 1 bytes$"):
        shm_protocol.empty(shape)


@pytest.mark.parametrize(
    "dtype", ["float16", "bool", "complex128", "U5", "M8[s]", [("a", "i4")], "longdouble"], ids=repr
)
def test_a_dtype_that_cannot_be_sent_is_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match=r"^dtype=.*: cannot be sent; int8, uint8, .* can be$"):
        shm_protocol.empty(3, dtype)


def test_other_dtypes_are_refused_with_the_name_of_the_argument() -> None:
    with pytest.raises(TypeError, match=r"^dtype=object: has Python objects in it"):
        shm_protocol.empty(3, object)
    with pytest.raises(TypeError, match=r"^dtype='nosuch': is no dtype of NumPy's: "):
        shm_protocol.empty(3, "nosuch")


@pytest.mark.parametrize("shape", [0, 3, np.int32(3), (), [2, 3], np.array([2, 3]), (np.uint8(2), 0)], ids=repr)
@pytest.mark.parametrize("dtype", [float, "uint8", ">f8", np.int64])
def test_the_others_are_as_numpys(shape: Any, dtype: Any) -> None:
    made, like = shm_protocol.empty(shape, dtype), np.empty(shape, dtype)
    assert (made.shape, made.dtype) == (like.shape, like.dtype)


def test_what_cannot_be_sent_can_be_made_by_a_view() -> None:
    halves = shm_protocol.empty(3, "uint16").view("float16")
    halves[:] = 0.5
    assert halves.tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("which", "at_most", "said"),
    [
        (resource.RLIMIT_FSIZE, 1 << 20, r"\(EFBIG\): raise `ulimit -f`"),
        (resource.RLIMIT_NOFILE, 3, r"\(EMFILE\): close some, or raise `ulimit -n`"),
        (resource.RLIMIT_AS, 1 << 20, r"\(ENOMEM\): let go of some, or raise its limit"),
    ],
    ids=["ulimit -f", "ulimit -n", "ulimit -v"],
)
def test_a_limit_of_the_process_is_named(monkeypatch: pytest.MonkeyPatch, which: int, at_most: int, said: str) -> None:
    monkeypatch.setattr(pool, "_pools", [pool.Pool(0)])
    with (
        limited(which, at_most),
        pytest.raises(OSError, match=r"8000000 bytes of shared memory cannot be had: .*" + said),
    ):
        shm_protocol.empty(1_000_000)
    assert len(shm_protocol.empty(1_000_000)) == 1_000_000
