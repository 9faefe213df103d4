"""The two libraries are one floor plan twice: rooms, public names, limits, and what each fault is told as.

Where they differ the difference stands here, with its reason. A new one has to be put right, or given a reason too.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import faults
import pytest
import shm_protocol

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "shm_protocol" / "python" / "shm_protocol"
NODE = ROOT / "shm_protocol" / "node" / "src"

Told = dict[str, dict[str, dict[str, str]]]

ROOMS_OF_PYTHON = {
    "_codec": "Python's own encoder and decoder, compiled",
    "_memory": "the addon's second half: Python's bindings are modules of their own",
    "_direct_calls": "a call without the interpreter's detours, compiled",
    "arguments": "of keyword arguments TypeScript has none",
    "awaitable": "a TypeScript function is awaited anyhow",
    "attendance": "a worker dials, and dials again",
    "backoff": "Python dials",
    "between_calls": "for a thread that serves; in Node there is one, with a loop",
    "cli": "the commands, which call both sides",
    "child_loop": "asyncio",
    "child_serving": "what is to be awaited goes to child_loop; in Node it is awaited where it is",
    "client": "many threads, and connections that it dials: Node's counterpart is the bridge",
    "client_asyncio": "the same for an event loop; Node has nothing but one",
    "connection_asyncio": "see client_asyncio",
    "decorated": "TypeScript has no decorators of functions: bridge.expose()",
    "dialing": "Python dials, Node accepts: rendezvous",
    "dotted_names": "Node imports asynchronously, or from where it stands",
    "direct_calls": "the door to _direct_calls where nothing is compiled",
    "exits": "an exception that ends the program, where Node has process.exit()",
    "forks": "Node does not fork",
    "flask": "its extension, for Python's servers",
    "gunicorn": "its worker: Node serves HTTP itself",
    "link": "messages on a transport for whoever blocks; Node's transports call back",
    "node_command": "Python runs Node",
    "node_package": "Python runs Node's scripts",
    "pooled_references": "see client: a thread waits for the one connection that something came by",
    "routes": "where a TypeScript file runs",
    "module_members": "objects and classes of a module: TypeScript exports instances as they are",
    "parent": "as child_watch",
    "sibling_modules": "Node tells modules apart by their files",
    "serving_asyncio": "see client_asyncio",
    "serving_traced": "in Node a function of serving's, chosen once a connection",
    "transports/descriptors": "the dialer opens the second socket, the acceptor's addon takes it over in rendezvous",
    "transports/segment_names": "the dialer makes the segment",
    "values/brief": "values in messages; Node has unencodable",
    "values/ext_types": "datetimes and NumPy arrays; Node has value_types",
    "values/reduced": "subclasses of built-in types, which JavaScript has not",
    "vetted_asyncio": "see client_asyncio",
    "typescript": "Python's imports",
    "wake": "a thread that waits is woken; Node never waits",
    "worker": "dials, and may be many: Node's counterpart is the bridge",
    "worker_asyncio": "see client_asyncio",
}
ROOMS_OF_NODE = {
    "abort_signal": "a type that not every project declares",
    "addon": "Node has no import of compiled modules by name",
    "bridge": "all connections of a process: Python has clients",
    "bridge_events": "an EventEmitter, Node's way of telling",
    "buffer_stats": "as channel_stats",
    "channel_stats": "a type of its own: in Python a dict",
    "child_modules": "in Python in child",
    "child_watch": "as parent",
    "clock": "a program's fake timers would be the library's as well",
    "connection_info": "a type of its own: in Python in client",
    "describe": "TypeScript's compiler is Node's: the script that Python runs",
    "generated_stubs": "what generated modules import: for Python stub files are types alone",
    "heard": "a rejection that nobody hears of ends Node; Python only says so",
    "held_loop": "one thread serves everybody",
    "last_lines": "in Python in children",
    "listener": "Node accepts, Python dials",
    "manifest": "package.json, by which Node tells what a file is",
    "meta": "a type of its own: in Python a dict",
    "node_version": "of Python that is too old pip tells",
    "other_listener": "Node accepts: of two that would the second names the first",
    "package_info": "in Python in handshake",
    "poller": "one turn of the loop for all channels",
    "python_command": "Node runs Python",
    "register": "Node's import hooks: typescript",
    "register_hooks": "see register",
    "remote_module": "as routes",
    "rendezvous": "Node accepts: dialing",
    "stub_modules": "see register",
    "thrown": "anything can be thrown",
    "ts_node": "see register",
    "value_types": "JavaScript has no types for arrays with a shape",
    "values/string_cache": "V8 makes a new string of each",
    "values/unencodable": "as values/brief",
    "values/views": "typed arrays are views",
    "workers": "of several workers Node chooses one; Python calls whom it has dialed",
}

NAMES_OF_PYTHON = {
    "AsyncClient": "asyncio",
    "AsyncWorker": "asyncio",
    "Client": "dials: Bridge",
    "ClientStream": "a stream that gives its connection back",
    "ConfigError": "a RangeError",
    "Connection": "a worker runs its own: attach()",
    "Peer": "in ConnectionInfo",
    "Settings": "options of listen()",
    "Stream": "ValueStream, because Node has streams",
    "Worker": "dials: Bridge",
    "attach": "dials: listen()",
    "connect": "dials: listen()",
    "connectAsync": "asyncio",
    "aio": "asyncio",
    "empty": "as NumPy calls it: sharedArray()",
    "expose": "a decorator; TypeScript's are for classes and what is in them, so it is bridge.expose()",
    "serve": "dials: listen()",
    "serveAsync": "asyncio",
}
NAMES_OF_NODE = {
    "Bridge": "accepts: Client, Connection",
    "disposable": "Python counts references: an array is let go of at once",
    "dispose": "see disposable",
    "isHandle": "isinstance(value, Handle)",
    "listen": "accepts: connect(), attach(), serve()",
    "sharedArray": "empty(), as NumPy calls it",
    "withOptions": "of a stub: in Python load(timeout=)",
}

LIMITS_OF_PYTHON = {
    "DEFAULT_RING_BYTES": "the dialer makes the segment",
    "MAX_BYTES": "V8 has no longer strings or arrays",
    "MAX_EXCEPTIONS": "of a traceback",
    "MAX_FRAMES": "of a traceback",
    "MAX_NOTES": "of a traceback",
    "MAX_PART_BYTES": "as MAX_TEXT_BYTES",
    "MAX_ID": "Number.MAX_SAFE_INTEGER",
    "MAX_INT": "an int has no limit of its own",
    "MAX_REFERENCE_ID": "as MAX_ID",
    "MAX_QUEUED": "whoever blocks has a queue",
    "MAX_READ_AHEAD": "whoever blocks reads ahead",
    "MAX_SERVE_READY": "whoever has a loop of his own calls it",
    "MAX_SERVING_DEPTH": "a thread's stack",
    "MAX_TEXT_BYTES": "of a traceback",
    "MAX_TIMEOUT_S": "what a clock's arithmetic holds",
    "MAX_TOLD_MESSAGE": "Number.MAX_SAFE_INTEGER",
    "MIN_INT": "as MAX_INT",
}
LIMITS_OF_NODE = {
    "MAX_ANSWER_BYTES": "Node accepts: of the answer to other_listener",
    "MAX_BASES": "as MAX_CLASSES",
    "MAX_CAUSES_CHARACTERS": "of a stack",
    "MAX_CLAIMS": "Node accepts",
    "MAX_CLASSES": "a Proxy has prototypes without end, a class of Python's a list of its bases",
    "MAX_DEPTH": "of a stack",
    "MAX_ERRORS": "of a stack",
    "MAX_GREETING": "Node accepts",
    "MAX_LEVELS": "as MAX_LOOKED_AT",
    "MAX_LOOKED_AT": "what is let go of",
    "MAX_MAX_CONNECTIONS": "a client's are threads",
    "MAX_PART_CHARACTERS": "as MAX_TEXT_CHARACTERS",
    "MAX_SHOWN_BIGINT": "of what util.inspect shows",
    "MAX_SHOWN_CHARACTERS": "in messages",
    "MAX_SHOWN_PROPERTIES": "of what util.inspect shows",
    "MAX_TYPE_DEPTH": "of TypeScript's types, as its compiler tells them",
    "MAX_TEXT_CHARACTERS": "as MAX_TEXT_BYTES, but of what fits into a message as much as fits is told",
}
UNEQUAL_LIMITS = {"DEFAULT_MAX_CONNECTIONS": "of a client, one for each thread; of a bridge, one for each peer"}

SPELLINGS = (
    (r"^[\w.é]*: (?=(args|result|method|the message|item)\b)", ""),  # the call: a promise's stack may not show it
    (r"'", '"'),
    (r"timeoutMs", "timeout"),
    (r"milliseconds", "seconds"),
    (r"at most (3153600000|9007199254740991)", "at most so many"),
    (r", or (None|Infinity)| or None", ""),
    (r"\b(a|an) (bigint|int) of", "an integer of"),
    (r"\ba (datetime|Date) ", "a time "),
    (r"\ba (dict|Map) ", "a map "),
    (r"; a key must be None, bool, int, float, str or bytes", ""),  # what TypeScript's types say
    (r"\ba str(ing)? with a lone surrogate( at index \d+)?", "a string with a lone surrogate"),  # V8 tells no index
    (r"an object of class (\w+\.)*", "an object of class "),
    (r"a NumPy array|a typed array", "an array"),
    (r"has at least (\d+) bytes", r"has \1 bytes"),  # TypeScript stops where it is too much
    (r"\b1000\d\d bytes", "100000 bytes"),
    (r"the (client|bridge) has been closed", "the peer has been closed"),
    (r"(\[0\]){3,}[^:]*: ", "[0]…: "),  # long paths are cut in other places
    (r'expose: "?x{257}"?: ', "expose: x…: "),
)


def rooms(folder: Path, patterns: tuple[str, ...]) -> set[str]:
    found = {path.relative_to(folder) for pattern in patterns for path in folder.rglob(pattern)}
    names = {path.with_suffix("").as_posix() for path in found if ".d" not in path.suffixes}
    return {re.sub(r"/__init__$", "", name) for name in names} - {"__init__", "__main__", "index", "transports"}


def test_the_rooms_have_the_same_names() -> None:
    whole = ("cli/", "described/", "flask/", "gunicorn/")
    python = {name.split("/")[0] if name.startswith(whole) else name for name in rooms(PYTHON, ("*.py", "*.pyx"))}
    python = (python - {"_binding"}) | {"binding"}
    node = {name.split("/")[0] if name.startswith(whole) else name for name in rooms(NODE, ("*.ts",))}
    assert python - node == set(ROOMS_OF_PYTHON)
    assert node - python == set(ROOMS_OF_NODE)


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest) if rest and not name.isupper() else name


def exported() -> dict[str, bool]:
    """What index.ts exports, and whether it is a type."""
    text = re.sub(r"/\*.*?\*/", "", (NODE / "index.ts").read_text(), flags=re.DOTALL)
    names: dict[str, bool] = {}
    for is_type, block in re.findall(r"export (type )?\{(.*?)\}", text, re.DOTALL):
        for name in filter(None, (part.strip() for part in block.split(","))):
            names[name.removeprefix("type ")] = bool(is_type) or name.startswith("type ")
    return names


def test_the_public_names_are_the_same() -> None:
    python = {camel(name) for name in shm_protocol.__all__ if name != "__version__"}
    node = exported()
    assert len(node) > 20
    assert python - set(node) == set(NAMES_OF_PYTHON)
    # Types have no names in Python but where somebody makes one.
    assert {name for name, is_type in node.items() if not is_type} - python == set(NAMES_OF_NODE)


def members_in_python(module: str, name: str) -> set[str]:
    kind = getattr(importlib.import_module(f"shm_protocol.{module}"), name)
    own = {
        key
        for one in inspect.getmro(kind)[:-1]
        for key in {**vars(one), **dict.fromkeys(vars(one).get("__slots__", ()))}
    }
    return {camel(key) for key in own if not key.startswith("_")}


def members_in_typescript(name: str) -> set[str]:
    for path in NODE.rglob("*.ts"):
        match = re.search(
            rf"^export (?:class|interface) {name}\b.*?\{{\n(.*?)^\}}", path.read_text(), re.DOTALL | re.MULTILINE
        )
        if match is not None:
            members = re.findall(
                r"^  (?:static |async |get |readonly |override )*(\w+)(?:<.*?>)?[(?:!]", match[1], re.MULTILINE
            )
            return {member for member in members if member != "constructor"}
    raise AssertionError(f"{name} is nowhere")


def test_current_call_tells_the_same() -> None:
    python = {{"remaining": "remainingMs"}.get(name, name) for name in members_in_python("current_call", "CurrentCall")}
    node = members_in_typescript("CurrentCall")
    # What is called back on: the bridge knows itself. JavaScript is told of a cancel by a signal; Python asks.
    assert (python - node, node - python) == ({"connection", "cancelled"}, {"signal"})


def test_clients_and_bridges_call_by_the_same_names() -> None:
    python, node = members_in_python("client", "Client"), members_in_typescript("Bridge")
    assert {"call", "stream", "notify", "close", "connections"} <= python & node
    # The side that accepts knows its workers, and where it listens.
    assert node - python == {"listen", "workers", "leastBusyWorker", "functions", "exchange"}
    # One client has one transport; the rest is for its streams, connections and forks, and no user's.
    of_pool = {"afterForkInChild", "closeIdle", "dialFirst", "discard", "release"}
    of_pool |= {"endTurn", "isMine", "leased", "stirred", "take"}
    assert python - node == {"transport", "callWith", "streamWith", "streamOn"} | of_pool


def test_remote_errors_are_made_of_the_same_in_the_same_order() -> None:
    taken = list(inspect.signature(shm_protocol.RemoteError).parameters)
    match = re.search(r"class RemoteError .*?constructor\((.*?)\) \{", (NODE / "errors.ts").read_text(), re.DOTALL)
    assert match is not None
    # Every Error has a `stack`.
    names = [{"remoteStack": "stack"}.get(name, name) for name in re.findall(r"(?:^|, )(\w+)", match[1])]
    assert names == taken == ["type", "message", "data", "stack"]


def limits_of_python() -> dict[str, float]:
    found: dict[str, float] = {}
    for path in PYTHON.rglob("*.py"):
        if {"cli", "flask", "gunicorn"} & set(path.relative_to(PYTHON).parts) or path.name == "__main__.py":
            continue
        for name in re.findall(
            r"^((?:MAX|MIN|DEFAULT)_\w+|POLL_NS|LATENCY_BUCKETS)\b.* = ", path.read_text(), re.MULTILINE
        ):
            module = ".".join(path.relative_to(PYTHON.parent).with_suffix("").parts)
            assert name not in found, f"{name} has two meanings"
            found[name] = getattr(importlib.import_module(module.removesuffix(".__init__")), name)
    return found


def limits_of_node() -> dict[str, float]:
    found: dict[str, float] = {}
    for path in NODE.rglob("*.ts"):
        pattern = r"^(?:export )?const ((?:MAX|MIN|DEFAULT)_\w+|POLL_NS|LATENCY_BUCKETS) = (.+);$"
        for name, value in re.findall(pattern, path.read_text(), re.MULTILINE):
            # Products and powers of literals: the same in Python but for the suffix of a bigint.
            found[name] = eval(re.sub(r"\b(\d+)n\b", r"\1", value), {})  # our own source
    return found


def test_the_limits_have_the_same_names_and_values() -> None:
    python, node = limits_of_python(), limits_of_node()
    python["DEFAULT_TIMEOUT_MS"] = python.pop("DEFAULT_TIMEOUT_S") * 1000
    assert set(python) - set(node) == set(LIMITS_OF_PYTHON)
    assert set(node) - set(python) == set(LIMITS_OF_NODE)
    assert {name for name in set(python) & set(node) if python[name] != node[name]} == set(UNEQUAL_LIMITS)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What is said of each fault, by language."""
    directory = tmp_path_factory.mktemp("faults")
    environment = {
        **os.environ,
        "SHM_POLYGLOT_DIR": str(directory / "run"),
        "TS_NODE_PROJECT": str(ROOT / "tests" / "tsconfig.json"),
        "TS_NODE_TRANSPILE_ONLY": "1",
    }
    here = Path(__file__).parent
    command = ["node", "-r", "ts-node/register", str(here / "faults.ts")]
    with (
        (directory / "log").open("wb") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        ) as node,
    ):
        assert node.stdin is not None
        assert node.stdout is not None
        try:
            assert node.stdout.readline() == b"ready\n", (directory / "log").read_text()
            with subprocess.Popen([sys.executable, str(here / "faults.py")], env=environment, stderr=log) as worker:
                assert node.stdout.readline() == b"provoked\n", (directory / "log").read_text()
                client = shm_protocol.connect(directory / "run" / "node.sock", name="peer")
                provoked = faults.provoke(client)
                client.close()
                provoked["after the end"] = faults.said(lambda: client.call("functions.echo", 1))
                python = {"provoked": provoked, "refused": faults.refusals()}
                node.stdin.close()
                answer = json.loads(node.stdout.readline())
                worker.terminate()
        finally:
            node.kill()
    return {"python": python, "typescript": answer}


def spelled(sentence: str) -> str:
    for pattern, replacement in SPELLINGS:
        sentence = re.sub(pattern, replacement, sentence)
    return sentence


def test_each_fault_is_told_in_the_same_sentence(told: Told) -> None:
    python, typescript = told["python"]["provoked"], told["typescript"]["provoked"]
    assert len(python) > 30
    assert set(python) == set(typescript) - {"too many calls"}
    assert not [fault for fault, sentence in {**python, **typescript}.items() if sentence.startswith("no error")]
    assert {fault: spelled(sentence) for fault, sentence in python.items()} == {
        fault: spelled(sentence) for fault, sentence in typescript.items() if fault != "too many calls"
    }


def test_each_message_that_breaks_the_protocol_is_refused_in_the_same_sentence(
    told: Told,
) -> None:
    python, typescript = told["python"]["refused"], told["typescript"]["refused"]
    assert len(python) > 150
    assert set(python) == set(typescript)
    # TypeScript reads while it decodes and tells where it was; Python has decoded all of it and tells the value.
    short = {name: spelled(re.sub(r", before byte \d+$", "", sentence)) for name, sentence in typescript.items()}
    unlike = {name: (python[name], said) for name, said in short.items() if not spelled(python[name]).startswith(said)}
    assert unlike == {}
