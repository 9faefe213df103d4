"""Tasks that have a part of their work done by TypeScript."""

from datetime import datetime
from pathlib import Path

import shm_protocol
from celery import Celery
from shm_protocol import PeerUnavailable

# Files instead of a server, for trying it out. With Redis or RabbitMQ, its address is all that stands here.
FILES = Path(__file__).parent / "celery_files"
QUEUE, RESULTS = FILES / "queue", FILES / "results"
for folder in (QUEUE, RESULTS):
    folder.mkdir(parents=True, exist_ok=True)

app = Celery("tasks", broker="filesystem://", backend=RESULTS.as_uri())
app.conf.broker_transport_options = {"data_folder_in": QUEUE, "data_folder_out": QUEUE, "control_folder": FILES}

# Celery reads this file before it forks its processes, so nothing is connected here: each of them connects at its own
# first call, and keeps that connection for all of its tasks.
node = shm_protocol.connect(lazy=True)


# Nobody listened: the call was not made, so the task may be tried again. Of PeerGone that cannot be said.
@app.task(autoretry_for=(PeerUnavailable,), default_retry_delay=1, max_retries=60)
def remind(name: str, due: datetime, language: str) -> str:
    text: str = node.call("letters.reminder", name, due, language, timeout=10)
    return text
