"""What a process or its machine can run out of, in words that say what to do."""

from __future__ import annotations

import errno

_REMEDIES = {
    errno.EMFILE: "this process has no file descriptors left (EMFILE): close some, or raise `ulimit -n`",
    errno.ENFILE: "the machine has no file descriptors left (ENFILE): raise the sysctl fs.file-max",
    errno.ENOMEM: "this process can have no more memory (ENOMEM): raise its limit, or lower SHM_POLYGLOT_RING_BYTES",
}


_REMEDIES_OF_MEMORY = {
    errno.EFBIG: "files of this process, which memory counts as, may not be so large (EFBIG): raise `ulimit -f`",
    errno.ENOMEM: "this process can have no more memory (ENOMEM): let go of some, or raise its limit",
}
"""Of memory that is handed over; others are above."""

_REMEDIES_OF_A_RECEIVER = {
    errno.EMFILE: "the receiving process has no file descriptors left (EMFILE): close some, or raise `ulimit -n`",
    errno.ENOMEM: "the receiving process can have no more memory (ENOMEM): let go of some, or raise its limit",
    errno.EAGAIN: "the receiving process may lock no more memory (EAGAIN): raise `ulimit -l`",
    errno.EACCES: "the receiving process is forbidden to have the descriptor (EACCES)",
}
"""Its caller reads them as well."""


def describe(error: Exception) -> str:
    """The error with its remedy, where it is a shortage, else as it is."""
    return _REMEDIES.get(_errno_of(error), str(error))


def of_memory(error: OSError) -> str:
    """Why memory that is to be handed over cannot be had."""
    return _REMEDIES_OF_MEMORY.get(error.errno or 0) or _REMEDIES.get(error.errno or 0) or str(error.strerror)


def of_receiver(error: Exception) -> str | None:
    """Why a buffer that was sent cannot be received now, where that is no fault of the sender's."""
    return _REMEDIES_OF_A_RECEIVER.get(_errno_of(error))


def is_of_descriptors(error: Exception) -> bool:
    """Whether this process, or its machine, has no file descriptors left."""
    return _errno_of(error) in (errno.EMFILE, errno.ENFILE)


def _errno_of(error: Exception) -> int:
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    return error.errno or 0 if isinstance(error, OSError) else 0
