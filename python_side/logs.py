"""Each log record is one line on stderr, with its level and the process it comes from; a stack is part of the line."""

import logging
import os
import time
from typing import ClassVar, Final

FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)s [%(process_name)s] %(name)s: %(message)s"
DATE_FORMAT: Final = "%Y-%m-%dT%H:%M:%S"


class OneLineFormatter(logging.Formatter):
    r"""Writes the line ends of messages and stacks as `\n`."""

    process_name: ClassVar[str | None] = None
    """What this process is called, such as `worker 3`; without a name it goes by its pid."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(FORMAT, DATE_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        record.process_name = self.process_name or f"pid {os.getpid()}"
        return super().format(record).replace("\r", "\\r").replace("\n", "\\n")


def set_process_name(name: str) -> None:
    """Says what this process is called in the log from now on."""
    OneLineFormatter.process_name = name


def configure(level: int = logging.INFO) -> None:
    """Sends what the app and the library log to stderr, unless the program has set up logging already."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter())
    root.addHandler(handler)
    root.setLevel(level)
