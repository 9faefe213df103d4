"""What a process or its machine can run out of, in words that say what to do."""

from __future__ import annotations

import errno

_REMEDIES = {
    errno.EMFILE: "this process has no file descriptors left (EMFILE): close some, or raise `ulimit -n`",
    errno.ENFILE: "the machine has no file descriptors left (ENFILE): raise the sysctl fs.file-max",
    errno.ENOMEM: "this process can have no more memory (ENOMEM): raise its limit, or lower SHM_POLYGLOT_RING_BYTES",
}


def describe(error: Exception) -> str:
    """The error with its remedy, where it is a shortage, else as it is."""
    number = errno.ENOMEM if isinstance(error, MemoryError) else getattr(error, "errno", None)
    return _REMEDIES.get(number, str(error)) if number is not None else str(error)
