from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import fmean

import shm_protocol
from fastapi import FastAPI


class Measurements:
    def __init__(self) -> None:
        self._values: list[float] = []

    async def add(self, value: float) -> float:
        """Gives the mean so far."""
        self._values.append(value)
        return fmean(self._values)


measurements = Measurements()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    # Either side may be started first, and restarted while the other runs. At the end it answers what has been asked.
    async with shm_protocol.AsyncWorker(expose={"measurements": measurements}):
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/measurements")
async def add(value: float) -> dict[str, float]:
    return {"mean": await measurements.add(value)}
