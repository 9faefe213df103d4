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
    return _REMEDIES.get(_errno_of(error), str(error))


def is_of_descriptors(error: Exception) -> bool:
    """Whether this process, or its machine, has no file descriptors left."""
    return _errno_of(error) in (errno.EMFILE, errno.ENFILE)


def _errno_of(error: Exception) -> int:
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    return error.errno or 0 if isinstance(error, OSError) else 0
