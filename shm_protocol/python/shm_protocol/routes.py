"""Where the functions of a TypeScript file run, and how they are called there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from . import config, forks
from .children import NodeChild, load_in_child
from .client import Client, ClientStream
from .errors import PeerGone, PeerUnavailable, UnknownMethod
from .options import DEFAULT_CREDIT, DEFAULT_TIMEOUT_S
from .sources import find_served
from .streams import Stream


class Place(NamedTuple):
    """Where a file's functions run, as `key.function`. child: the process, where it is this program's own. options: of
    each call, such as `timeout`.
    """

    client: Client
    key: str
    child: NodeChild | None
    options: dict[str, Any]

    @property
    def timeout(self) -> float | None:
        """Seconds for each call; None: for ever."""
        timeout: float | None = self.options.get("timeout", DEFAULT_TIMEOUT_S)
        return timeout

    def explained(self, error: PeerGone) -> PeerGone:
        """With what the child wrote last, where it is one and has ended."""
        epitaph = "" if self.child is None else self.child.epitaph()
        return PeerGone(f"{error}: {epitaph}") if epitaph else error


class Route:
    """Calls the functions of one file: in the Node that listens and exposes it, else in a child of this program.

    Which of the two it is, is decided by the first call that finds either. A child that has ended is started again by
    the next; a Node that listens is nobody's to start.

    options: of each call, such as `timeout`. in_child: whoever listens. fresh: in a child, the file as it is now, also
    where it has been loaded before.
    """

    def __init__(self, file: Path, *, in_child: bool = False, fresh: bool = False, **options: Any) -> None:
        self.file: Final = file
        self._in_child: Final = in_child
        self._was_served = False
        self._options: Final = options
        self._fresh = fresh
        self.place: Place | None = None
        self._finding = threading.Lock()
        forks.register(self)

    def call(self, name: str, args: Sequence[object], *, handles: bool = False) -> Any:
        """What the function gives. handles: it may be an object that stays there. Raises what Client.call does, and
        PeerUnavailable where the file cannot be run.
        """
        while True:
            place = self.place or self.find()
            try:
                if handles:
                    return place.client.call_with(f"{place.key}.{name}", args, place.timeout, None, handles=True)
                return place.client.call(f"{place.key}.{name}", *args, **place.options)
            except (PeerUnavailable, UnknownMethod) as error:
                # Where it had ended before, nothing has been sent.
                self.forget_if_ended(place, error)
            except PeerGone as error:
                raise place.explained(error) from None

    def stream(self, name: str, args: Sequence[object], as_object: Callable[[Any], Any] | None = None) -> ItemStream:
        """The same for what gives an iterator. as_object: an item may be a Handle, and this is made of it."""
        while True:
            place = self.place or self.find()
            try:
                handles = as_object is not None
                stream = place.client.stream_with(
                    f"{place.key}.{name}", args, None, DEFAULT_CREDIT, None, handles=handles
                )
                return ItemStream(stream, place, as_object)
            except (PeerUnavailable, UnknownMethod) as error:
                self.forget_if_ended(place, error)
            except PeerGone as error:
                raise place.explained(error) from None

    def find(self) -> Place:
        """Where it runs; a child is started where nobody does. Raises PeerUnavailable."""
        # Not within the lock: whoever waits for a Node that is not there is not waited for by all.
        served = self._served()
        with self._finding:
            if self.place is None:
                self.place = served or self._in_own_child()
                self._was_served = self.place.child is None
            return self.place

    def after_fork_in_child(self) -> None:
        """See forks.py: it has a child of its own, and whoever held the lock is not here."""
        self.place = None
        self._finding = threading.Lock()

    def _served(self) -> Place | None:
        served = None if self._in_child else find_served(self.file)
        if served is None:
            return None
        return Place(served.client, served.key, None, {**served.options, **self._options})

    def _in_own_child(self) -> Place:
        if self._was_served:
            raise PeerUnavailable(f"{self.file}: the Node that listens no longer exposes it")
        # A child would refuse it, and be one that has ended.
        config.watches()
        if not config.starts_children():
            whose = "" if self._in_child else ", and none that listens exposes it"
            raise PeerUnavailable(f"{self.file}: {config.CHILD}=0 lets this program start no Node{whose}")
        child, key, _ = load_in_child(self.file, fresh=self._fresh)
        self._fresh = False
        return Place(child.client, key, child, self._options)

    def forget_if_ended(self, place: Place, error: PeerUnavailable | UnknownMethod) -> None:
        """Called where a call was not made. Raises that error, but where it was because a child had ended before."""
        has_ended = place.child is not None and place.child.has_ended()
        # Of a Node that listens: another may have taken its place, with other keys.
        if has_ended or (place.child is None and isinstance(error, UnknownMethod)):
            with self._finding:
                if self.place is place:
                    self.place = None
        if not has_ended:
            raise error


class ItemStream(Iterator[Any]):
    """What a generator of TypeScript's gives, item by item. It can be closed, and is at the end of a `with`."""

    def __init__(self, stream: ClientStream | Stream, place: Place, as_object: Callable[[Any], Any] | None) -> None:
        self._stream: Final = stream
        self._place: Final = place
        self._as_object: Final = as_object

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            item = next(self._stream)
        except PeerGone as error:
            raise self._place.explained(error) from None
        return item if self._as_object is None else self._as_object(item)

    def close(self) -> None:
        """Want no more: the generator is ended. Safe to call twice."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
