from collections.abc import Callable

import shm_protocol

subscribed: list[shm_protocol.Callback] = []


@shm_protocol.expose
def resize(pictures: list[str], on_progress: Callable[[str, float], None]) -> int:
    """A function of TypeScript's is called as any other, until this one has returned."""
    for number, picture in enumerate(pictures, start=1):
        on_progress(picture, number / len(pictures))
    return len(pictures)


@shm_protocol.expose
def keep(numbers: list[int], accept: Callable[[int], bool]) -> list[int]:
    return [number for number in numbers if accept(number)]


@shm_protocol.expose
def subscribe(listener: shm_protocol.Callback) -> None:
    """For longer it has to be held."""
    subscribed.append(listener.hold())


@shm_protocol.expose
def publish(news: str) -> int:
    for listener in subscribed:
        listener(news)
    return len(subscribed)


if __name__ == "__main__":
    shm_protocol.serve()
