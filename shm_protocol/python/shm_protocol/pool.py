"""Memory that is used again. What is handed over lies in memory of this process's own (_memory.pyx), and new memory
costs several times what copying into old one does: the kernel has to clear it, and both sides map it page by page. So
what nobody looks at any more is kept, as far as SHM_POLYGLOT_POOL_BYTES allows, and lent again.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Final, Protocol

from . import config, forks
from ._memory import Loan, Memory

_PAGE: Final = 4096
MAX_FREE: Final = 64
"""Memory that is kept, at most: each takes a descriptor, of which a process has a thousand."""
_numbers: Final = itertools.count(1)
"""Of this process's memory: each once, so that no peer can take one for another."""


class Knower(Protocol):
    """One who knows memory of the pool's by its number."""

    def withdraw(self, number: int) -> None:
        """That memory is not used again: whoever has it mapped is to let go of it. In any thread."""
        ...


class Pool:
    """The memory of this process that is not in use. Any thread may use it, and a finalizer in the middle of that.

    is_parents: this process is a fork of the one that it belongs to.
    """

    def __init__(self, most_free_bytes: int) -> None:
        self._most_free_bytes: Final = most_free_bytes
        self._free: Final[list[Memory]] = []
        self._knowers: Final[dict[int, weakref.ref[Knower]]] = {}
        self.is_parents = False
        forks.register(self)

    @property
    def free_bytes(self) -> int:
        """Bytes that are kept though nobody uses them."""
        return sum(memory.size for memory in tuple(self._free))

    def watch(self, knower: Knower) -> None:
        """Tell it of what is withdrawn, for as long as it lives and until `unwatch`."""
        self._knowers[id(knower)] = weakref.ref(knower)

    def unwatch(self, knower: Knower) -> None:
        """Tell it no more."""
        self._knowers.pop(id(knower), None)

    def lend(self, size: int) -> Loan:
        """Memory for `size` bytes, more than none; what is in it is anything. Raises OSError where there is none."""
        return Loan(self._taken(_rounded(size)) or Memory(next(_numbers), _rounded(size)), size, self._take_back)

    def _taken(self, size: int) -> Memory | None:
        # The one that came back last: of that the most is in the processor's cache.
        for memory in reversed(tuple(self._free)):
            if size <= memory.size <= 2 * size:
                try:
                    self._free.remove(memory)
                except ValueError:
                    continue  # another thread, or a finalizer, was quicker
                return memory
        return None

    def _take_back(self, memory: Memory, is_spoiled: bool) -> None:
        if self.is_parents:
            return
        if is_spoiled:
            self._withdraw(memory)
            return
        self._free.append(memory)
        while self.free_bytes > self._most_free_bytes or len(self._free) > MAX_FREE:
            try:
                self._withdraw(self._free.pop(0))
            except IndexError:
                return

    def _withdraw(self, memory: Memory) -> None:
        for reference in tuple(self._knowers.values()):
            knower = reference()
            if knower is not None:
                knower.withdraw(memory.number)

    def after_fork_in_child(self) -> None:
        """See forks.py: the memory is the parent's, who writes into it again when he likes."""
        self.is_parents = True
        self._free.clear()
        self._knowers.clear()


_pools: Final[list[Pool]] = []


def own_pool() -> Pool:
    """The pool of this process. Raises ConfigError for a setting that cannot be."""
    if not _pools or _pools[0].is_parents:
        _pools[:] = [Pool(config.pool_bytes())]
    return _pools[0]


def _rounded(size: int) -> int:
    """A size of which there are not too many: up to an eighth more. What is not touched takes no memory."""
    step = max(_PAGE, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step
