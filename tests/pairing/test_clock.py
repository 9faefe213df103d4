"""The clock is set back by a day while calls are under way: deadlines are the monotonic clock's, so nothing changes.

The clock of this machine is not ours to set, so both programs are given a C library whose time of day can be set.
"""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest
import shm_protocol
from peers import HERE, Pair

DAY_MS = 86_400_000
WAIT_S = 10
"""Each of the calls: within it all three have to be under way."""


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that sets the clock back."""
    library = tmp_path_factory.mktemp("clock") / "clock_set_back.so"
    source = HERE / "clock_set_back.c"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2"]
    subprocess.run([os.environ.get("CC", "cc"), *flags, str(source), "-o", str(library)], check=True)
    return library


def test_a_clock_set_back_by_a_day_moves_no_deadline_and_fails_no_call(
    transport: str, preloaded: Path, tmp_path: Path
) -> None:
    set_back, release = tmp_path / "set back", tmp_path / "released"
    with Pair(transport, {"LD_PRELOAD": str(preloaded), "CLOCK_SET_BACK": str(set_back)}) as pair:
        pair.add_worker()
        pair.add_worker()
        with pair.connect() as node, pair.connect() as other:
            before = [node.call("functions.timeOfDay"), node.call("driver.attempt", "worker.time_of_day", [])["value"]]
            held: list[object] = []
            thread = threading.Thread(
                target=lambda: held.append(other.call("functions.after", WAIT_S * 1000, "in time"))
            )
            thread.start()
            # Python waits for TypeScript, and TypeScript for Python, both until their deadlines.
            deadlines = (
                ["driver.attempt", "worker.call_node", ["functions.hang", [], WAIT_S]],
                ["driver.attempt", "worker.pid_once_there", [str(release)], {"timeoutMs": WAIT_S * 1000}],
            )
            timed_out: list[str] = []

            def await_deadline(method: str, *args: object) -> None:
                with pair.connect() as waiting:
                    error = waiting.call(method, *args)["error"]
                    timed_out.append(error.get("type", error["code"]))

            waits = [threading.Thread(target=await_deadline, args=call) for call in deadlines]
            for wait in waits:
                wait.start()
            pair.wait_until(
                lambda: sum(peer["outstanding"] for peer in node.call("driver.connections")) == 2, "both are under way"
            )
            set_back.touch()
            for each in (thread, *waits):
                each.join()
            assert (held, timed_out) == (["in time"], ["CallTimeout", "CallTimeout"])
            release.touch()

            after = [node.call("functions.timeOfDay"), node.call("driver.attempt", "worker.time_of_day", [])["value"]]
            # Within the hour: the clocks of both are really a day back.
            assert [round((now - then) / DAY_MS, 1) for then, now in zip(before, after, strict=True)] == [-1.0, -1.0]
            # Each side's own deadlines, and those that it passes on.
            never = str(tmp_path / "not there yet")
            answer = node.call("driver.attempt", "worker.pid_once_there", [never], {"timeoutMs": 20})
            assert answer["error"]["code"] == "CallTimeout"
            Path(never).touch()
            answer = node.call("driver.attempt", "worker.call_node", ["functions.hang", [], 0.05])
            assert answer["error"]["type"] == "CallTimeout"
            assert 0 < node.call("functions.context", timeout=20)["remainingMs"] <= 20_000
            # A new connection: its name in /dev/shm is of the future, and no sweep takes it.
            pair.add_worker()
            set_back.unlink()
            assert node.call("functions.echo", "forward again") == "forward again"
            with pytest.raises(shm_protocol.CallTimeout):
                node.call("functions.hang", timeout=0.05)
