import itertools
from collections.abc import Iterator

import shm_protocol


def lines() -> Iterator[str]:
    """Read by TypeScript, line by line: neither side ever has all of them."""
    for number in range(1, 100_001):
        yield f"line {number}"


with shm_protocol.connect(wait=10, expose={"source": {"lines": lines}}) as node:
    for word in node.stream("text.words", "from TypeScript to Python"):
        print(word)

    # Left early, a stream ends at the other side as well.
    with node.stream("text.countForEver") as numbers:
        print(*itertools.islice(numbers, 5))

    # The other way round: TypeScript reads a stream of ours while it answers.
    print(node.call("text.longest"))
