"""The name that the worker class had when it was the showcase's own: configurations outside of this project have it."""

from shm_protocol.gunicorn import BridgeWorker

__all__ = ["BridgeWorker"]
