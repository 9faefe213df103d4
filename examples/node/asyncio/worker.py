import asyncio

import shm_protocol


class Meeting:
    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def attend(self, name: str, size: int) -> str:
        """Answers once so many have called."""
        everybody = asyncio.get_running_loop().create_future()
        self._waiting.append(everybody)
        if len(self._waiting) == size:
            for one in self._waiting:
                one.set_result(None)
            self._waiting = []
        await everybody
        return f"{name} was there"

    async def never(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            print("nobody waits any more", flush=True)


if __name__ == "__main__":
    asyncio.run(shm_protocol.serve_async(expose={"meeting": Meeting()}))
