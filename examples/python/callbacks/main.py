import shm_protocol


def report(picture: str, share: float) -> None:
    print(f"{picture}: {share:.0%}")


def fail(number: int) -> bool:
    raise ValueError(f"not {number}")


with shm_protocol.connect(wait=10) as node:
    print(node.call("work.resize", ["sea.png", "sky.png"], report), "pictures")
    print(node.call("work.keep", [1, 2, 3, 4], lambda number: number % 2 == 0))

    # An exception goes through TypeScript, and is the error of the call.
    try:
        node.call("work.keep", [1], fail)
    except shm_protocol.RemoteError as error:
        print(error)

    node.call("work.subscribe", lambda news: print("heard:", news))
    node.call("work.publish", "it is held")
