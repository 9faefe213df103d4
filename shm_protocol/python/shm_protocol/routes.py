"""Where the functions of a TypeScript file run, and how they are called there."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from . import forks
from .children import Loaded, NodeChild, load_in_child
from .client import ClientStream
from .errors import PeerGone, PeerUnavailable
from .options import DEFAULT_TIMEOUT_S
from .streams import Stream

CHILD: Final = "SHM_POLYGLOT_CHILD"


class Route:
    """Calls the functions of one file. A child that has ended is started again by the next call.

    timeout: seconds for each call, None: for ever. fresh: the file as it is now, also where it has been loaded before.
    """

    def __init__(self, file: Path, *, timeout: float | None = DEFAULT_TIMEOUT_S, fresh: bool = False) -> None:
        self.file: Final = file
        self._timeout: Final = timeout
        self._fresh = fresh
        self._loaded: Loaded | None = None
        self._loading = threading.Lock()
        forks.register(self)

    def call(self, name: str, args: Sequence[object]) -> Any:
        """What the function gives. Raises what Client.call does, and PeerUnavailable where the file cannot be run."""
        while True:
            child, key, _ = self._loaded or self.load()
            try:
                return child.client.call(f"{key}.{name}", *args, timeout=self._timeout)
            except PeerUnavailable:
                # Where it had ended before, nothing has been sent.
                self._forget_if_ended(child)
            except PeerGone as error:
                raise _explained(error, child) from None

    def stream(self, name: str, args: Sequence[object]) -> ItemStream:
        """The same for what gives an iterator."""
        while True:
            child, key, _ = self._loaded or self.load()
            try:
                return ItemStream(child.client.stream(f"{key}.{name}", *args), child)
            except PeerUnavailable:
                self._forget_if_ended(child)
            except PeerGone as error:
                raise _explained(error, child) from None

    def load(self) -> Loaded:
        """The file in a child, loaded now if it is not. Raises PeerUnavailable."""
        with self._loading:
            if self._loaded is None:
                if os.environ.get(CHILD) == "0":
                    raise PeerUnavailable(
                        f"{self.file}: no Node that exposes it listens, and {CHILD}=0 lets this program start none"
                    )
                self._loaded = load_in_child(self.file, fresh=self._fresh)
                self._fresh = False
            return self._loaded

    def after_fork_in_child(self) -> None:
        """See forks.py: it has a child of its own, and whoever held the lock is not here."""
        self._loaded = None
        self._loading = threading.Lock()

    def _forget_if_ended(self, child: NodeChild) -> None:
        """Called where a call was not made. Raises what is being handled where the child goes on."""
        if not child.has_ended():
            raise  # noqa: PLE0704  # what the caller handles
        with self._loading:
            if self._loaded is not None and self._loaded.child is child:
                self._loaded = None


class ItemStream(Iterator[Any]):
    """What a generator of TypeScript's gives, item by item. It can be closed, and is at the end of a `with`."""

    def __init__(self, stream: ClientStream | Stream, child: NodeChild) -> None:
        self._stream: Final = stream
        self._child: Final = child

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._stream)
        except PeerGone as error:
            raise _explained(error, self._child) from None

    def close(self) -> None:
        """Want no more: the generator is ended. Safe to call twice."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _explained(error: PeerGone, child: NodeChild) -> PeerGone:
    epitaph = child.epitaph()
    return PeerGone(f"{error}: {epitaph}") if epitaph else error
