"""What the Python side of `test_exceptions.py` raises."""

from __future__ import annotations

import shm_protocol


class AgeError(Exception):
    """Of the same name on both sides."""

    def __init__(self, age: int, data: object) -> None:
        super().__init__(f"{age} is no age")
        self.data = data

    @property
    def least(self) -> object:
        """What has crossed as its data."""
        assert isinstance(self.data, dict)
        return self.data["least"]


class BabyError(AgeError):
    """Goes by the name of its nearest registered class."""


shm_protocol.register_error("AgeError", AgeError)


def raise_registered() -> None:
    """Raise one of a class derived from a registered one."""
    raise BabyError(-1, {"least": 0})


def raise_caused() -> None:
    """Raise one with a cause, which was raised while another was handled."""
    try:
        try:
            raise AgeError(200, {"least": 1})
        except AgeError:
            raise KeyError("middle")  # noqa: B904
    except KeyError as error:
        raise ValueError("outer") from error


def raise_suppressed() -> None:
    """Raise one that hides what was handled."""
    try:
        raise KeyError("hidden")
    except KeyError:
        raise ValueError("outer") from None


def raise_group() -> None:
    """Raise several at once."""
    inner = ExceptionGroup("inner", [KeyError("deep")])
    raise ExceptionGroup("several", [ValueError("first"), AgeError(300, {"least": 2}), inner])


def relay() -> object:
    """Let what TypeScript throws through."""
    call = shm_protocol.current_call()
    assert call is not None
    return call.connection.call("functions.throwCaused")


EXPOSED = (raise_caused, raise_group, raise_registered, raise_suppressed, relay)
