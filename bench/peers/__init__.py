"""What is compared, by name. How each makes the call is in the module of its name, here in Python or in TypeScript."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from bench.cases import CASES, DIRECTIONS, KIB, MIB, MOST_BYTES, OF_SIZES, Case, Direction
from bench.installed import ROOT, missing

Kind = Literal["floor", "bridge", "out-of-process", "in-process", "reference"]

Host = Literal["python", "node"]

DEFAULT_WARMUP_S: Final = 0.3

FROM_CALLER: Final[Mapping[Direction, Host]] = {"py->ts": "python", "ts->py": "node"}
FROM_PYTHON: Final[Mapping[Direction, Host]] = {"py->ts": "python", "ts->py": "python"}
FROM_NODE: Final[Mapping[Direction, Host]] = {"py->ts": "node", "ts->py": "node"}
TO_OTHER: Final[Mapping[Direction, Host]] = {"py->ts": "node", "ts->py": "python"}
PYTHON_ONLY: Final[Mapping[Direction, Host]] = {"py->ts": "python"}


@dataclass(frozen=True)
class Peer:
    """One way to make the call."""

    name: str
    """As printed, and as `--only` finds it."""
    kind: Kind
    """`reference`: between two processes of the same language, because it has no binding for the other."""
    module: str
    """`peers/<module>.py`, `.ts` or, for a floor between two processes, `.c`."""
    waits: str
    """Who polls and who blocks: a figure without it compares nothing."""
    cores: int
    """How many cores a call keeps occupied from its beginning to its end."""
    callers: Mapping[Direction, Host]
    """For each direction that it has, whose module is started to make the calls."""
    callees: Mapping[Direction, Host] = field(default_factory=dict)
    """For each direction, whose module the bench runs to be called. Not named: the caller makes its own callee."""
    pipelines: bool = True
    """Whether several calls may be under way at once: from Python a caller a thread, from TypeScript on one caller."""
    workloads: tuple[str, ...] = ()
    """The only ones that it does; empty: all."""
    untimed: Mapping[Direction, tuple[str, ...]] = field(default_factory=dict)
    """For a direction, the workloads that it cannot time; the note says why."""
    most_bytes: int = 4 * MIB
    """The largest payload that it can carry."""
    warmup_s: float = DEFAULT_WARMUP_S
    """How long it is called untimed after its first call, until its compilers have done their work."""
    most_rounds: int = sys.maxsize
    """For one that takes so long to warm up that more would cost the others theirs."""
    quick: bool = False
    """Whether `make bench-quick` measures it."""
    python_packages: tuple[str, ...] = ()
    """Modules that must be importable."""
    node_packages: tuple[str, ...] = ()
    """Packages that must be in a node_modules."""
    files: tuple[str, ...] = ()
    """What else must be there, from the root of the project."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings for both processes."""
    package: str = "bench.peers"
    """Where its Python module is."""
    note: str = ""
    """What a reader has to know to read the row fairly."""

    @property
    def in_c(self) -> bool:
        """Whether it is a program in C: two processes, one case, no direction."""
        return (ROOT / "bench" / "peers" / f"{self.module}.c").exists()

    def cases(self, direction: Direction) -> list[Case]:
        """Those that it can do in that direction."""
        return [
            case
            for case in CASES
            if direction in case.directions
            and (not self.workloads or case.workload in self.workloads)
            and (not case.peers or self.name in case.peers)
            and case.workload not in self.untimed.get(direction, ())
            and case.payload_bytes <= self.most_bytes
            and (self.pipelines or case.outstanding == 1)
            and not (self.in_c and case.payload_bytes == 0)
            # What does not wait for another process has nothing to park.
            and not (case.workload == "after-1s" and self.kind in ("in-process", "floor"))
        ]

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Those that it has, in the usual order."""
        return tuple(direction for direction in DIRECTIONS if direction in self.callers)

    def missing(self) -> str:
        """What of its needs is not installed, and how to install it; empty if nothing."""
        return missing(self.python_packages, self.node_packages, self.files)


WITHOUT_INTL: Final = tuple(dict.fromkeys(case.workload for case in CASES if case.directions == DIRECTIONS))
"""For those that stay in Python, which has nothing that would do the work of the others."""

BUNDLE: Final = "bench/build/workload.js"

NATIVE: Final = "bench/peers/node_modules/.native-python/{}.json"
"""Written when the package has been built for this Python; npm alone only unpacks it."""

PEERS: Final[tuple[Peer, ...]] = (
    # Floors: what nothing that makes such a call can be quicker than.
    Peer(
        "same-language",
        "floor",
        "same_language",
        "nobody waits",
        1,
        FROM_CALLER,
        pipelines=False,
        quick=True,
        workloads=WITHOUT_INTL,
        note="A plain call within the caller's language.",
    ),
    Peer(
        "c-ring",
        "floor",
        "c_ring",
        "both poll",
        2,
        PYTHON_ONLY,
        pipelines=False,
        quick=True,
        workloads=("predict", "echo"),
        most_bytes=KIB,
        note="C to C over the bridge's own rings: no language, no encoding.",
    ),
    Peer(
        "eventfd",
        "floor",
        "eventfd",
        "both block",
        1,
        PYTHON_ONLY,
        pipelines=False,
        quick=True,
        workloads=("predict",),
        note="C to C: a bare wake-up each way, no bytes.",
    ),
    Peer(
        "memcpy",
        "floor",
        "memcpy",
        "nobody waits",
        1,
        PYTHON_ONLY,
        pipelines=False,
        workloads=("echo", "string", "bytes", "array"),
        most_bytes=MOST_BYTES,
        note="C: the bytes copied there and back.",
    ),
    Peer(
        "memcpy-here",
        "floor",
        "memcpy_here",
        "nobody waits",
        1,
        FROM_CALLER,
        pipelines=False,
        workloads=("string", "bytes", "array"),
        most_bytes=MOST_BYTES,
        note="The bytes copied there and back by the caller's language, between buffers that it has had before.",
    ),
    # This bridge.
    Peer(
        "shm",
        "bridge",
        "shm",
        "poll <= 100 us, then park",
        2,
        FROM_CALLER,
        TO_OTHER,
        quick=True,
        most_bytes=MOST_BYTES,
    ),
    Peer(
        "shm-shared",
        "bridge",
        "shm_shared",
        "poll <= 100 us, then park",
        2,
        FROM_CALLER,
        TO_OTHER,
        pipelines=False,
        workloads=("array",),
        most_bytes=MOST_BYTES,
        note="An array that `shm_protocol.empty()` or `sharedArray()` made, once for all calls.",
    ),
    Peer(
        "shm-ring",
        "bridge",
        "shm",
        "poll <= 100 us, then park",
        2,
        FROM_CALLER,
        TO_OTHER,
        environment={"SHM_POLYGLOT_BUFFER_BYTES": "0"},
        pipelines=False,
        workloads=("bytes", "array"),
        most_bytes=max(OF_SIZES),
        note="Large bytes and arrays within their messages, as everything else is.",
    ),
    Peer(
        "shm-spin0",
        "bridge",
        "shm",
        "both park",
        1,
        FROM_CALLER,
        TO_OTHER,
        environment={"SHM_POLYGLOT_SPIN_US": "0"},
        quick=True,
    ),
    Peer(
        "shm-busy",
        "bridge",
        "shm",
        "both always poll",
        2,
        FROM_CALLER,
        TO_OTHER,
        environment={"SHM_POLYGLOT_SPIN_US": "1000000"},
    ),
    Peer(
        "shm-socket",
        "bridge",
        "shm",
        "both block",
        1,
        FROM_CALLER,
        TO_OTHER,
        environment={"SHM_POLYGLOT_TRANSPORT": "socket"},
        most_bytes=max(OF_SIZES),
    ),
    # Out of process, otherwise.
    Peer(
        "uds-msgpack",
        "out-of-process",
        "uds_msgpack",
        "both block",
        1,
        FROM_CALLER,
        TO_OTHER,
        quick=True,
        python_packages=("msgpack",),
        node_packages=("msgpackr",),
        most_bytes=MOST_BYTES,
        note="A Unix socket and MessagePack, by hand; an array as the bytes of an ext.",
    ),
    Peer(
        "uds-msgpack-busy",
        "out-of-process",
        "uds_msgpack_busy",
        "both always poll",
        2,
        FROM_CALLER,
        TO_OTHER,
        python_packages=("msgpack",),
        node_packages=("msgpackr",),
        note="The same, polled; several callers in Python poll under one GIL.",
    ),
    Peer(
        "zeromq",
        "out-of-process",
        "zeromq",
        "both block",
        2,
        FROM_CALLER,
        TO_OTHER,
        quick=True,
        python_packages=("zmq", "msgpack"),
        node_packages=("zeromq", "msgpackr"),
        note="ipc://, MessagePack; a thread for input and output on each side.",
    ),
    Peer(
        "grpc-uds",
        "out-of-process",
        "grpc_uds",
        "both block",
        2,
        FROM_CALLER,
        TO_OTHER,
        python_packages=("grpc", "msgpack"),
        node_packages=("@grpc/grpc-js", "msgpackr"),
        note="MessagePack in place of Protocol Buffers.",
    ),
    Peer(
        "http-keepalive",
        "out-of-process",
        "http_keepalive",
        "both block",
        1,
        FROM_CALLER,
        TO_OTHER,
        quick=True,
        note="JSON, by the standard libraries; bytes as base64.",
    ),
    Peer(
        "jspybridge",
        "out-of-process",
        "jspybridge",
        "both block",
        1,
        FROM_CALLER,
        pipelines=False,
        python_packages=("javascript",),
        node_packages=("pythonia", "esbuild"),
        note="An answer that is an object takes one more round trip, to be read; bytes as base64.",
    ),
    Peer(
        "stdio",
        "out-of-process",
        "stdio",
        "both block",
        1,
        FROM_CALLER,
        pipelines=False,
        node_packages=("esbuild",),
        note="A child kept running, JSON lines; bytes as base64.",
    ),
    Peer(
        "spawn",
        "out-of-process",
        "spawn",
        "a process a call",
        1,
        FROM_CALLER,
        pipelines=False,
        node_packages=("esbuild",),
        note="Plain JavaScript, and Python without site-packages; JSON.",
    ),
    Peer(
        "iceoryx2-py-py",
        "reference",
        "iceoryx2_py_py",
        "both always poll",
        2,
        PYTHON_ONLY,
        PYTHON_ONLY,
        pipelines=False,
        workloads=WITHOUT_INTL,
        python_packages=("iceoryx2", "msgpack"),
        note="Python to Python: it has no binding for Node.",
    ),
    Peer(
        "mp-pipe-py-py",
        "reference",
        "mp_pipe_py_py",
        "both block",
        1,
        PYTHON_ONLY,
        pipelines=False,
        workloads=WITHOUT_INTL,
        note="multiprocessing.Pipe, Python to Python.",
    ),
    # In one process.
    Peer(
        "pythonmonkey",
        "in-process",
        "pythonmonkey",
        "nobody waits",
        1,
        FROM_PYTHON,
        pipelines=False,
        quick=True,
        untimed=dict.fromkeys(DIRECTIONS, ("array",)),
        most_bytes=MOST_BYTES,
        python_packages=("pythonmonkey",),
        files=(BUNDLE,),
    ),
    Peer(
        "stpyv8",
        "in-process",
        "stpyv8",
        "nobody waits",
        1,
        FROM_PYTHON,
        pipelines=False,
        quick=True,
        python_packages=("STPyV8",),
        files=(BUNDLE,),
    ),
    Peer(
        "mini-racer",
        "in-process",
        "mini_racer",
        "blocks on a thread of its own",
        1,
        FROM_PYTHON,
        pipelines=False,
        untimed={"ts->py": ("first-call", "after-10ms", "after-1s")},
        python_packages=("py_mini_racer",),
        files=(BUNDLE,),
    ),
    Peer(
        "pyodide",
        "in-process",
        "pyodide",
        "nobody waits",
        1,
        FROM_NODE,
        pipelines=False,
        quick=True,
        node_packages=("pyodide",),
        note="CPython in WebAssembly; to_js and to_py copy every value, in the time; None becomes undefined.",
    ),
    Peer(
        "node-calls-python",
        "in-process",
        "node_calls_python",
        "nobody waits",
        1,
        FROM_NODE,
        pipelines=False,
        untimed=dict.fromkeys(DIRECTIONS, ("array",)),
        most_bytes=MOST_BYTES,
        node_packages=("node-calls-python",),
        files=(NATIVE.format("node-calls-python"),),
        note="Copies every value, which is in the time; None becomes undefined.",
    ),
    Peer(
        "pymport",
        "in-process",
        "pymport",
        "nobody waits",
        1,
        FROM_NODE,
        pipelines=False,
        node_packages=("pymport",),
        files=(NATIVE.format("pymport"),),
        note=(
            "Answers by toJS, which copies and is in the time; bytes go to Python uncopied. null is passed as Python's "
            "None object, around a bug in its reference counts."
        ),
    ),
    Peer(
        "graalvm",
        "in-process",
        "graalvm",
        "nobody waits",
        1,
        FROM_PYTHON,
        pipelines=False,
        warmup_s=30.0,
        most_rounds=2,
        files=("bench/build/graalvm", BUNDLE),
        note=(
            "Its compiler and garbage collector use the other core. Warm-up 30 s for predict, 1.5 s for each further "
            "case, whose code may not all be compiled yet; at most 2 rounds."
        ),
    ),
)
