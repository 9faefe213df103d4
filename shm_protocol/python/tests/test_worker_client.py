"""The way to TypeScript of a function that TypeScript has called."""

import subprocess
from pathlib import Path

import pytest
import shm_protocol
from gunicorn.config import Config
from shm_protocol.exposed import Exposed
from shm_protocol.gunicorn import settings
from shm_protocol.gunicorn.worker_client import WorkerClient

ROOT = Path(__file__).resolve().parents[3]
HANG_S = 200.0

# With one connection, the worker's: there is no other way back.
NODE = """
const { listen } = require("./shm_protocol/node");
listen({ maxConnections: 1, expose: { f: { echo: (value) => value } } }).then((node) => {
  console.log("listening");
  node.on("connect", () => {
    node.call("m.back").then(console.log, (error) => console.log(String(error))).finally(() => process.exit());
  });
});
"""


def test_a_function_calls_back_by_the_connection_its_call_came_by_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHM_POLYGLOT_DIR", str(tmp_path / "run"))
    client = WorkerClient(settings.load(Config()), Exposed(), name="handlers")
    node = subprocess.Popen(["node", "-e", NODE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert node.stdout is not None
        assert node.stdout.readline() == "listening\n"
        back = {"back": lambda: client.call("f.echo", "hello", timeout=HANG_S)}
        with shm_protocol.attach(expose={"m": back}) as connection, pytest.raises(shm_protocol.PeerGone):
            connection.serve()
        assert node.communicate(timeout=HANG_S)[0] == "hello\n"
    finally:
        node.kill()
        node.communicate()
        client.close()
