"""A /dev/shm of its own for a test: small, and nobody else's.

def body() -> None:
    with Services() as services:
        ...
        own_dev_shm.resize("64m")

own_dev_shm.run("256k", body)
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import pytest

T = TypeVar("T")

PLACE: Final = b"/dev/shm"
CLONE_NEWNS: Final = 0x00020000  # <linux/sched.h>
MS_RDONLY: Final = 1  # <linux/mount.h>
MS_REMOUNT: Final = 32
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18


def run(size: str, body: Callable[[], T]) -> T:
    """Runs `body` where /dev/shm is an empty tmpfs of `size`, e.g. "64m", for the processes that it starts, too.

    It runs in a thread, because a mount namespace is a thread's: the rest of this process keeps what it has. Skips the
    test where this user may not mount.
    """

    def in_namespace() -> T:
        try:
            _check(_libc.unshare(CLONE_NEWNS), "unshare")
            # Else the mount would be seen outside, too.
            _check(_libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount --make-rprivate /")
        except PermissionError as error:
            pytest.skip(f"only root may have a /dev/shm of its own: {error}")
        _mount(size, 0)
        return body()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(in_namespace).result()


def resize(size: str) -> None:
    """Makes the /dev/shm of `run` larger or smaller, from within `body`."""
    _mount(size, MS_REMOUNT)


def make_read_only() -> None:
    """Lets nobody write into the /dev/shm of `run` any more, from within `body`."""
    _mount("64m", MS_REMOUNT | MS_RDONLY)


def free_bytes() -> int:
    """What is free in the /dev/shm that the calling thread sees."""
    status = os.statvfs(PLACE)
    return status.f_bavail * status.f_frsize


_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def _mount(size: str, flags: int) -> None:
    _check(_libc.mount(b"tmpfs", PLACE, b"tmpfs", flags, f"size={size},mode=1777".encode()), f"mount of {size}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
