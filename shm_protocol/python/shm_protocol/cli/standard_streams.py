"""stdin, stdout and stderr of a command, also where they have been closed or nobody reads them any more."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final, TextIO

READER_GONE: Final = (errno.EPIPE, errno.EIO)
"""Of a pipe, and of a terminal that has hung up."""


class ReaderGone(Exception):
    """Nobody reads stdout any more."""


class CannotWrite(Exception):
    """stdout takes nothing, its disk may be full; the message says why."""


def open_closed() -> None:
    """Have /dev/null stand in for what is closed (`>&-`), for which Python has None. Its descriptor would go to the
    next file or socket that is opened, and with it what others mean for stdout.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            try:
                os.fstat(descriptor)
            except OSError:
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, descriptor)
                if null != descriptor:
                    os.close(null)
            setattr(sys, name, Path(os.devnull).open("r+"))  # noqa: SIM115  # for as long as the process runs


def write(text: str) -> None:
    """To stdout, at once. Raises ReaderGone and CannotWrite; there is no more of it then."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        discard(sys.stdout)
        if error.errno in READER_GONE:
            raise ReaderGone from None
        raise CannotWrite(f"stdout cannot be written to: {error.strerror}") from None


def complain(text: str) -> None:
    """To stderr. Where that takes nothing the exit code has to do."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def flush() -> None:
    """See to what others have written, as argparse does. Raises as `write` does."""
    complain("")
    write("")


def discard(stream: TextIO) -> None:
    """Have what is written from now on go nowhere, and what is left as well: at its end the interpreter would try
    again, and fail.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
