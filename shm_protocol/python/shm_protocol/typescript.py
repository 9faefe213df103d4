"""Import TypeScript as if it were Python.

    import shm_protocol.typescript
    from node_side import typescript_utils

    typescript_utils.slugify("Hello, World")

Importing this module lets Python's imports find `typescript_utils.ts` (also `.mts` and `.cts`) where it would look for
`typescript_utils.py`, or a description of it that is carried, `typescript_utils.ts.json`. Python's own modules come
first. Functions are called as Python's own are: what they promise has been awaited, and generators are iterators. They
run in the Node that listens and exposes the file, else in one that starts at the first call; see load, and call_by.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from .options import DEFAULT_TIMEOUT_S

if TYPE_CHECKING:
    from .client import Client

SUFFIXES: Final = (".ts", ".mts", ".cts")

__all__ = ["TypeScriptFinder", "TypeScriptLoader", "call_by"]


def call_by(client: Client, *, timeout: float | None = DEFAULT_TIMEOUT_S) -> None:
    """Have this client make the calls of imported functions in this process, and nobody else: they run in the Node that
    it connects to, no other is looked for, and none is started. What has been called before goes on as it is.

    timeout: seconds for each call, None: for ever. In a gunicorn worker its own client, shm_protocol.gunicorn.bridge(),
    goes before it, with the worker's time-out.
    """
    from .sources import use

    use(client, timeout)


class TypeScriptLoader:
    """Makes a module of a TypeScript file, without starting anything where it has been described before."""

    def __init__(self, path: str) -> None:
        self.path: Final = path

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's own kind of module."""

    def exec_module(self, module: ModuleType) -> None:
        """Give it what TypeScript's has. Raises ImportError, and SyntaxError where the file does not compile."""
        # Whatever calls TypeScript is needed now, and not before.
        from .described.carried import Unusable
        from .described.typescript_source import CannotDescribe
        from .errors import PeerUnavailable
        from .loading import describe_again, described_or_run
        from .routes import Route
        from .stubs import fill

        path = Path(self.path).resolve()
        # A second time it is importlib.reload.
        route = Route(path, fresh="__all__" in vars(module))
        try:
            fill(module, described_or_run(path, route), route, describe_again(path, route))
        except SyntaxError:
            raise
        except (CannotDescribe, Unusable, PeerUnavailable, OSError) as error:
            raise ImportError(str(error), name=module.__name__, path=self.path) from error

    def __repr__(self) -> str:
        return f"<TypeScriptLoader of {self.path}>"


class TypeScriptFinder:
    """Finds `name.ts` where `name.py` would be found."""

    @classmethod
    def find_spec(
        cls,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG003
    ) -> ModuleSpec | None:
        """As importlib asks for it."""
        tail = fullname.rpartition(".")[2]
        for folder in sys.path if path is None else path:
            # What else is in there is for finders of its own.
            if type(folder) is not str:
                continue
            for suffix in SUFFIXES:
                file = os.path.join(folder or os.curdir, tail + suffix)  # noqa: PTH118  # asked for every import that fails
                # Or its description, which stands for it: see described/carried.py.
                if os.path.isfile(file) or os.path.isfile(f"{file}.json"):  # noqa: PTH113
                    loader = TypeScriptLoader(os.path.abspath(file))  # noqa: PTH100
                    spec = ModuleSpec(fullname, loader, origin=loader.path)  # type: ignore[arg-type]  # as they are called
                    spec.has_location = True
                    return spec
        return None


if TypeScriptFinder not in sys.meta_path:
    # Behind Python's own: they win.
    sys.meta_path.append(TypeScriptFinder)
