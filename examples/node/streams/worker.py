import itertools
from collections.abc import Iterator

import shm_protocol


@shm_protocol.expose
def words(sentence: str) -> Iterator[str]:
    """A stream: a generator, or any other iterator."""
    yield from sentence.split()


@shm_protocol.expose
def count_for_ever() -> Iterator[int]:
    try:
        yield from itertools.count(1)
    finally:
        print("nobody counts any more", flush=True)


@shm_protocol.expose
def longest() -> str:
    """Reads a stream of its caller's."""
    call = shm_protocol.current_call()
    assert call is not None
    return max(call.connection.stream("source.lines"), key=len, default="")


if __name__ == "__main__":
    shm_protocol.serve()
