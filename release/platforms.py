"""The platforms that something compiled is published for, by all the names they have."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Final

__all__ = ["PLATFORMS", "Platform", "is_own"]


@dataclass(frozen=True, slots=True)
class Platform:
    """One machine with one C library.

    node: as the addon looks for it, e.g. "linux-x64-glibc". zig: the compiler's target. wheel: the platform tags of a
    wheel, joined by dots. audited: the tag that auditwheel finds. extension: what CPython's files of this platform end
    with, e.g. "x86_64-linux-gnu". libc: what a library asks for. To zig every musl is libc.so, but to musllinux, as to
    Alpine, libc.musl-x86_64.so.1; musl itself takes both names for itself.
    """

    node: str
    zig: str
    wheel: str
    audited: str
    extension: str
    libc: str


def _glibc(node: str, machine: str) -> Platform:
    # 2.17 is manylinux2014's: whatever is not end-of-life has it.
    wheel = f"manylinux_2_17_{machine}.manylinux2014_{machine}"
    zig = f"{machine}-linux-gnu.2.17"
    return Platform(node, zig, wheel, f"manylinux_2_17_{machine}", f"{machine}-linux-gnu", "libc.so.6")


def _musl(node: str, machine: str) -> Platform:
    wheel = f"musllinux_1_2_{machine}"
    return Platform(node, f"{machine}-linux-musl", wheel, wheel, f"{machine}-linux-musl", f"libc.musl-{machine}.so.1")


PLATFORMS: Final = (
    _glibc("linux-x64-glibc", "x86_64"),
    _glibc("linux-arm64-glibc", "aarch64"),
    _musl("linux-x64-musl", "x86_64"),
    _musl("linux-arm64-musl", "aarch64"),
)


def is_own(target: Platform) -> bool:
    """Whether this process runs on it."""
    libc = "gnu" if platform.libc_ver()[0] == "glibc" else "musl"
    return target.extension == f"{platform.machine()}-linux-{libc}"
