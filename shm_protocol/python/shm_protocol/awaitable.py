"""aio(): the same functions of TypeScript's for an event loop, which goes on while they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, ParamSpec, TypeVar, overload
from weakref import WeakKeyDictionary

from .client_asyncio import AsyncClient, connect_async
from .errors import PeerGone, PeerUnavailable, UnknownMethod
from .options import DEFAULT_CREDIT
from .routes import Place, Route
from .stubs import Called, TypeScriptObject, called, dress

P = ParamSpec("P")
T = TypeVar("T")


@overload
def aio(function: ModuleType) -> Any: ...
@overload
def aio(function: Callable[P, Iterator[T]]) -> Callable[P, AsyncIterator[T]]: ...  # type: ignore[overload-overlap]  # in this order
@overload
def aio(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]: ...
def aio(function: Any) -> Any:
    """The function as one that is awaited, of a generator one whose items are. Of a module, its twin, whose functions
    and methods are such.

    Each event loop has connections of its own, which end with asyncio.run(). A task that is cancelled tells TypeScript
    that it need not go on. Raises TypeError for what is not TypeScript's.
    """
    if isinstance(function, ModuleType):
        return _twin(function)
    call = called(function)
    if call is None or not isinstance(call.caller, Route):
        raise TypeError(f"aio: {function!r} is no function of a TypeScript module, and no such module")
    return _awaitable(function, call, call.caller)


def _twin(module: ModuleType) -> ModuleType:
    found: dict[str, object] = {}
    for name, value in list(vars(module).items()):
        if isinstance(value, TypeScriptObject):
            twin = TypeScriptObject(name, module.__name__, value.__doc__)
            for method, function in list(vars(value).items()):
                if called(function) is not None:
                    setattr(twin, method, aio(function))
            found[name] = twin
        else:
            found[name] = value if called(value) is None else aio(value)
    if all(called(value) is None and not isinstance(value, TypeScriptObject) for value in vars(module).values()):
        raise TypeError(f"aio: {module.__name__} has no functions of TypeScript's")
    made = ModuleType(module.__name__, module.__doc__)
    vars(made).update(found)
    return made


def _awaitable(function: Any, call: Called, route: Route) -> Any:
    if call.is_stream:

        async def items(*args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
            place, client = await _reach(route)
            try:
                name, sent = f"{place.key}.{call.name}", call.arguments.of(args, kwargs)
                async for item in client.stream_with(name, sent, None, DEFAULT_CREDIT, None, handles=call.handles):
                    yield item
            except PeerGone as error:
                raise await asyncio.to_thread(place.explained, error) from None

        return dress(items, function)

    async def one(*args: Any, **kwargs: Any) -> Any:
        return await _call(route, call, call.arguments.of(args, kwargs))

    return dress(one, function)


async def _call(route: Route, call: Called, args: Sequence[object]) -> Any:
    while True:
        place, client = await _reach(route)
        try:
            return await client.call_with(f"{place.key}.{call.name}", args, place.timeout, None, handles=call.handles)
        except (PeerUnavailable, UnknownMethod) as error:
            route.forget_if_ended(place, error)
        except PeerGone as error:
            raise await asyncio.to_thread(place.explained, error) from None


async def _reach(route: Route) -> tuple[Place, AsyncClient]:
    """Where the file runs, and this loop's client of that. Raises PeerUnavailable."""
    while True:
        place = route.place
        if place is None:
            place = await asyncio.to_thread(route.find)
        try:
            return place, await _client_of(place.client.path)
        except PeerUnavailable as error:
            route.forget_if_ended(place, error)


class _Clients:
    """Those of one loop, by the socket that they are connected to."""

    def __init__(self) -> None:
        self.connecting: Final[dict[Path, asyncio.Task[AsyncClient]]] = {}
        self.kept: Final[dict[Path, AsyncGenerator[None]]] = {}


_clients: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Clients]] = WeakKeyDictionary()


async def _client_of(path: Path) -> AsyncClient:
    clients = _clients.setdefault(asyncio.get_running_loop(), _Clients())
    task = clients.connecting.get(path)
    if task is None or (task.done() and (task.cancelled() or task.exception() is not None or task.result().closed)):
        task = clients.connecting[path] = asyncio.ensure_future(_connect(clients, path))
    # It is not only this caller's.
    return await asyncio.shield(task)


async def _connect(clients: _Clients, path: Path) -> AsyncClient:
    client = await connect_async(path)
    kept = clients.kept[path] = _until_the_loop_ends(client)
    await anext(kept)
    return client


async def _until_the_loop_ends(client: AsyncClient) -> AsyncGenerator[None]:
    """A loop that ends closes its generators."""
    try:
        yield
    finally:
        client.close()
