from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import shm_protocol
from fastapi import Depends, FastAPI, HTTPException
from shm_protocol import AsyncClient, BridgeError, RemoteError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # It connects at its first call: either side may be started first.
    app.state.node = await shm_protocol.connect_async(lazy=True)
    yield
    app.state.node.close()


app = FastAPI(lifespan=lifespan)


async def connected() -> AsyncClient:
    """The client; another one where Node has ended meanwhile."""
    if app.state.node.closed:
        app.state.node = await shm_protocol.connect_async(lazy=True)
    node: AsyncClient = app.state.node
    return node


@app.get("/words")
async def words(text: str, language: str, node: Annotated[AsyncClient, Depends(connected)]) -> list[str]:
    try:
        found: list[str] = await node.call("segmenter.words", text, language, timeout=10)
    except RemoteError as error:
        raise HTTPException(422, error.message) from error
    except BridgeError as error:
        raise HTTPException(503, str(error)) from error
    return found
