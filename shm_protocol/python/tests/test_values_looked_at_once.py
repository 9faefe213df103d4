"""A value whose code is run to encode it is looked at once: what can be read only once is sent whole or refused."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from shm_protocol import EncodeError, _codec
from shm_protocol.values import decode, encoder


class Once(list[Any]):
    """It gives what an iterator gives, which is then at its end."""

    def __init__(self, items: Iterator[Any]) -> None:
        super().__init__([1])
        self.left = items

    def __iter__(self) -> Iterator[Any]:
        return self.left


class OnceByKey(dict[str, Any]):
    def __init__(self, pairs: Iterator[tuple[str, Any]]) -> None:
        super().__init__(a=1)
        self.left = pairs

    def items(self) -> Any:
        return self.left


def fails(*items: Any) -> Iterator[Any]:
    yield from items
    raise RuntimeError("in the middle")


@dataclasses.dataclass
class Flaky:
    number: int
    was_asked: ClassVar[bool] = False

    def __getattribute__(self, name: str) -> Any:
        if name == "number" and not type(self).was_asked:
            type(self).was_asked = True
            raise RuntimeError("not yet")
        return super().__getattribute__(name)


def flaky() -> object:
    return dataclasses.make_dataclass("Flaky", [], bases=(Flaky,))(1)


RAISED = "looking at it raised RuntimeError: in the middle"


@pytest.fixture(params=[_codec.Encoder, encoder.Encoder], ids=["compiled", "python"])
def pack(request: pytest.FixtureRequest) -> Callable[[object], bytes]:
    made: Callable[[object], bytes] = request.param().pack
    return made


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: [0, Once(fails(1, 2))], f"value[1]: {RAISED}"),
        (lambda: {"k": [OnceByKey(fails(("a", 1)))]}, f"value.k[0]: {RAISED}"),
        (lambda: [Once(iter([1, 2])), object()], "value[1]: an object cannot be encoded"),
        (lambda: [Once(iter([1, object()]))], "value[0][1]: an object cannot be encoded"),
        (lambda: [Once(iter([Once(iter([2**64]))]))], "value[0][0][0]: an int of more than 64 bits"),
        (lambda: [OnceByKey(iter([("a", 1), ("b", {1})]))], "value[0].b: a set cannot be encoded"),
        (lambda: [flaky()], "value[0]: looking at it raised RuntimeError: not yet"),
    ],
)
def test_what_cannot_be_encoded_the_first_time_is_refused(
    pack: Callable[[object], bytes], make: Callable[[], object], why: str
) -> None:
    with pytest.raises(EncodeError, match=f"^{re.escape(why)}"):
        pack(make())


def test_what_can_be_read_once_is_sent_whole(pack: Callable[[object], bytes]) -> None:
    value = [Once(iter([1, Once(iter([2]))])), OnceByKey(iter([("a", 1), ("b", Once(iter([3])))]))]
    assert decode(pack(value)) == [[1, [2]], {"a": 1, "b": [3]}]
