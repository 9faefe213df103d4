"""gunicorn's configuration, for `gunicorn -c python_side/gunicorn_conf.py`.

Every setting can be changed as usual, on the command line or in GUNICORN_CMD_ARGS.
"""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in sys.path:
    # gunicorn reads this file before it has set up its import path.
    sys.path.insert(0, ROOT)

import shm_protocol.gunicorn  # noqa: E402
from gunicorn.arbiter import Arbiter  # noqa: E402
from gunicorn.workers.base import Worker  # noqa: E402

from python_side import logs, settings  # noqa: E402

# Imported before the fork: the workers share the memory of the counters.
from python_side.counters import service as counters  # noqa: E402

try:
    _settings = settings.load()
    shm_protocol.config.read_settings()
except (settings.SettingError, shm_protocol.ConfigError) as error:
    sys.exit(f"error: {error}")

wsgi_app = "python_side.app:app"
chdir = ROOT
proc_name = "shm-polyglot"
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "shm_protocol.gunicorn.BridgeWorker"
# Imported by the workers, each of which has a model of its own.
shm_expose = {"ml_service": "python_side.exposed:ML_SERVICE", "benchmark": "python_side.exposed:BENCHMARK"}
shm_call_timeout = _settings.call_timeout
logger_class = "python_side.gunicorn_logger.OneLineLogger"
threads = 4
# RFC 9112 section 3 recommends to take 8000 bytes at least; this is the most that gunicorn has.
limit_request_line = 8190
keepalive = 5
timeout = 30
# No proxy of ours sends SCRIPT_NAME or PATH_INFO as a header, so whoever does is a client.
forwarder_headers = ""
# Nor does one tell the scheme, and a client's contradictory headers of that kind would be refused.
secure_scheme_headers: dict[str, str] = {}
graceful_timeout = 10
# It would be a thread in the process that forks, and a socket in the home directory.
control_socket_disable = True

logs.set_process_name("master")


def pre_fork(_server: Arbiter, worker: Worker) -> None:
    """In the master, before each fork."""
    counters.assign_slot(worker.age)


def post_fork(_server: Arbiter, worker: Worker) -> None:
    """In the new worker."""
    logs.set_process_name(f"worker {worker.age}")


def post_worker_init(_worker: Worker) -> None:
    """In the new worker, when it has loaded the app."""
    # Not above: it reads the settings that are checked there.
    from python_side import bridge

    bridge.use(shm_protocol.gunicorn.bridge())


def child_exit(_server: Arbiter, worker: Worker) -> None:
    """In the master, after it has reaped a worker."""
    counters.release_slot(worker.age)
