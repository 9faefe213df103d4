"""A project of a user's own: an empty folder elsewhere, with a WSGI app, modules to expose, and a Node script.

    with OwnProject(tmp_path) as project:
        project.write("myapp/ml.py", "def shout(text): return text.upper()")
        project.start_node()
        project.start_gunicorn("app:app")
        assert project.call("ml.shout", "x") == "X"

It has nothing of this repository but what is installed: the Python package, and the one for Node in `node_modules`.
"""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import http_client
from http_client import Answer
from services import HANG_S, ROOT, children

UNSET: Final = {"PYTHONPATH", "GUNICORN_CMD_ARGS", "WEB_CONCURRENCY"}

GUNICORN: Final = (
    *("-k", "shm_protocol.gunicorn.BridgeWorker", "--bind", "127.0.0.1:0"),
    # It would be in the home directory.
    "--no-control-socket",
)

NODE: Final = """
const { existsSync } = require("node:fs");
const { listen } = require("@shm-polyglot/protocol");
let bridge;
// Calls a function, and cancels that once the file is there.
async function giveUp(method, path) {
  const controller = new AbortController();
  const watching = setInterval(() => { if (existsSync(path)) controller.abort(); }, 2);
  try {
    return await bridge.call(method, [path], { signal: controller.signal });
  } catch (error) {
    return error.code;
  } finally {
    clearInterval(watching);
  }
}
const text = { shout: (text) => text.toUpperCase(), never: () => new Promise(() => undefined), giveUp };
listen({ expose: { text } }).then((listening) => {
  bridge = listening;
  bridge.on("connect", ({ role }) => console.log(JSON.stringify({ role })));
  console.log(JSON.stringify({ role: "listener" }));
  require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
    const [method, ...args] = JSON.parse(line);
    (method === "giveUp" ? giveUp(...args) : bridge.call(method, args)).then(
      (result) => console.log(JSON.stringify({ result })),
      (error) => console.log(JSON.stringify({ error: `${error.code ?? error.name}: ${error.message}` })),
    );
  }).on("close", () => process.exit());
});
"""


class OwnProject:
    """The folder, and the two programs that run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if name not in UNSET}
        self.environment["SHM_POLYGLOT_DIR"] = str(folder / "run")
        self._roles = queue.Queue[str]()
        self._answers = queue.Queue[dict[str, Any]]()
        self._node: subprocess.Popen[str] | None = None
        self._gunicorn: subprocess.Popen[str] | None = None
        self._log = folder / "gunicorn.log"
        (folder / "node_modules" / "@shm-polyglot").mkdir(parents=True)
        (folder / "node_modules" / "@shm-polyglot" / "protocol").symlink_to(ROOT / "shm_protocol" / "node")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.log())
        if self._gunicorn is not None:
            self._end(self._gunicorn)
        if self._node is not None:
            assert self._node.stdin is not None
            assert self._node.stdout is not None
            # Its end of file ends it.
            self._node.stdin.close()
            self._node.wait(HANG_S)
            self._reader.join(HANG_S)
            self._node.stdout.close()

    def write(self, path: str, text: str) -> Path:
        """Writes a file of the project."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def start_node(self) -> None:
        """Starts the Node script, and waits until it listens."""
        self._node = subprocess.Popen(
            ["node", self.write("node.js", NODE)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._node.stdout,), daemon=True)
        self._reader.start()
        assert self._roles.get(timeout=HANG_S) == "listener"

    def start_gunicorn(self, *arguments: str, **environment: str) -> None:
        """Starts gunicorn with this worker. `gunicorn.conf.py` is its configuration, if there is one."""
        with self._log.open("w") as log:
            self._gunicorn = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *GUNICORN, *arguments],
                cwd=self.folder,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def wait_for_end(self) -> int:
        """Waits until gunicorn ends by itself, and gives its exit code."""
        assert self._gunicorn is not None
        return self._gunicorn.wait(HANG_S)

    def signal_gunicorn(self, number: signal.Signals) -> None:
        """As `kill`, to the arbiter."""
        assert self._gunicorn is not None
        self._gunicorn.send_signal(number)

    def press_ctrl_c(self) -> None:
        """As a terminal does, to the arbiter and all of its workers."""
        assert self._gunicorn is not None
        os.killpg(self._gunicorn.pid, signal.SIGINT)

    @property
    def gunicorn_pid(self) -> int:
        """The arbiter's."""
        assert self._gunicorn is not None
        return self._gunicorn.pid

    def worker_pids(self) -> list[int]:
        """The workers', oldest first."""
        return children(self.gunicorn_pid)

    def log(self) -> str:
        """What gunicorn and the app have written."""
        return self._log.read_text() if self._log.exists() else ""

    def get(self, path: str) -> Answer:
        """Asks the app."""
        found: list[str] = []

        def listens() -> bool:
            found[:] = re.findall(r"Listening at: (http://\S+)", self.log())[:1]
            return bool(found)

        self.wait_until(listens, "gunicorn listens")
        return http_client.get(f"{found[0]}{path}")

    def wait_attached(self) -> None:
        """Waits until one more worker has attached to Node."""
        while self._roles.get(timeout=HANG_S) != "worker":
            pass

    def call(self, method: str, *args: Any) -> Any:
        """Has Node call the app. Gives the result, or what Node says of the error."""
        assert self._node is not None
        assert self._node.stdin is not None
        self._node.stdin.write(json.dumps([method, *args]) + "\n")
        self._node.stdin.flush()
        told = self._answers.get(timeout=HANG_S)
        return told.get("result", told.get("error"))

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Fails with the log if it does not come true, or if gunicorn ends."""
        end = time.monotonic() + HANG_S
        while not condition():
            assert self._gunicorn is not None
            assert self._gunicorn.poll() is None, f"gunicorn has ended\n{self.log()}"
            assert time.monotonic() < end, f"never true: {what}\n{self.log()}"
            time.sleep(0.02)

    def _end(self, gunicorn: subprocess.Popen[str]) -> None:
        gunicorn.terminate()
        try:
            gunicorn.wait(HANG_S)
        except subprocess.TimeoutExpired:
            os.killpg(gunicorn.pid, signal.SIGKILL)
            gunicorn.wait()
            raise AssertionError(f"gunicorn does not end\n{self.log()}") from None

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            told = json.loads(line)
            if "role" in told:
                self._roles.put(told["role"])
            else:
                self._answers.put(told)
