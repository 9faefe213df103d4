"""What may be set of a gunicorn worker, and by what."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from gunicorn.config import KNOWN_SETTINGS, Config
from shm_protocol import ConfigError, options
from shm_protocol.gunicorn import settings
from tagged import SHM_PROTOCOL

VARIABLES = ("SHM_POLYGLOT_CALL_TIMEOUT", "SHM_POLYGLOT_REQUEST_TIMEOUT", "SHM_POLYGLOT_MEMORY_LIMIT_MIB")


def loaded(environment: Mapping[str, str] | None = None, **set_in_file: object) -> settings.WorkerSettings:
    """As of a configuration file and an environment."""
    cfg = Config()
    for name, value in set_in_file.items():
        cfg.set(name, value)
    return settings.load(cfg, environment or {})


def test_everything_has_a_default() -> None:
    found = loaded(threads=3)
    assert (found.expose, found.max_connections, found.request_timeout, found.memory_limit_mib) == (None, 3, 10.0, 512)
    # The same object: a deadline that nobody has chosen is not told to the peer.
    assert found.call_timeout is options.DEFAULT_TIMEOUT_S
    assert found.bridge.transport == "auto"


def test_the_file_wins_and_the_environment_is_taken_for_the_rest() -> None:
    environment = {
        "SHM_POLYGLOT_DIR": "/theirs",
        "SHM_POLYGLOT_TRANSPORT": "shm",
        "SHM_POLYGLOT_SPIN_US": "7",
        "SHM_POLYGLOT_RING_BYTES": "8192",
        "SHM_POLYGLOT_MAX_MESSAGE": "2048",
        "SHM_POLYGLOT_EXPOSE": "ml=theirs",
        "SHM_POLYGLOT_CALL_TIMEOUT": "1.5",
        "SHM_POLYGLOT_MAX_CONNECTIONS": "5",
        "SHM_POLYGLOT_REQUEST_TIMEOUT": "2.5",
        "SHM_POLYGLOT_MEMORY_LIMIT_MIB": "100",
    }
    of_the_environment = loaded(environment)
    assert of_the_environment.bridge.path == Path("/theirs/node.sock")
    assert (of_the_environment.bridge.transport, of_the_environment.bridge.spin_us) == ("shm", 7)
    assert (of_the_environment.bridge.ring_bytes, of_the_environment.bridge.max_message) == (8192, 2048)
    assert (of_the_environment.expose, of_the_environment.expose_set_by) == ({"ml": "theirs"}, "SHM_POLYGLOT_EXPOSE")
    assert (of_the_environment.call_timeout, of_the_environment.max_connections) == (1.5, 5)
    assert (of_the_environment.request_timeout, of_the_environment.memory_limit_mib) == (2.5, 100)
    in_file = loaded(
        environment,
        shm_dir=Path("/ours"),
        shm_transport="socket",
        shm_spin_us=0,
        shm_ring_bytes=4096,
        shm_max_message=1024,
        shm_expose={"ml": "ours"},
        shm_call_timeout=3,
        shm_max_connections=1,
        shm_request_timeout=4,
        shm_memory_limit_mib=1,
    )
    assert in_file.bridge.path == Path("/ours/node.sock")
    assert (in_file.bridge.transport, in_file.bridge.spin_us) == ("socket", 0)
    assert (in_file.bridge.ring_bytes, in_file.bridge.max_message) == (4096, 1024)
    assert (in_file.expose, in_file.expose_set_by) == ({"ml": "ours"}, "shm_expose")
    assert (in_file.call_timeout, in_file.max_connections) == (3.0, 1)
    assert (in_file.request_timeout, in_file.memory_limit_mib) == (4.0, 1)


def test_a_variable_that_the_file_wins_over_is_not_looked_at() -> None:
    assert loaded({"SHM_POLYGLOT_RING_BYTES": "x"}, shm_ring_bytes=4096).bridge.ring_bytes == 4096
    assert loaded({"SHM_POLYGLOT_CALL_TIMEOUT": "x"}, shm_call_timeout=1).call_timeout == 1.0


def test_each_value_of_the_table_is_taken_or_refused_with_the_sentence_that_typescript_gives() -> None:
    table = json.loads((SHM_PROTOCOL.parent / "tests" / "showcase_settings.json").read_text())
    cases = [case for case in table if case["variable"] in VARIABLES]
    assert len(cases) > 50
    for case in cases:
        environment = {case["variable"]: case["value"]}
        if "error" not in case:
            loaded(environment)
            continue
        with pytest.raises(ConfigError) as raised:
            loaded(environment)
        # As of all its settings, the library shows the beginning of what is long.
        shown = case["value"] if len(case["value"]) <= 100 else f"{case['value'][:100]}..."
        assert str(raised.value) == case["error"].replace(case["value"], shown)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ml=myapp.ml", {"ml": "myapp.ml"}),
        (" ml = myapp.ml , a.b=x:y.z", {"ml": "myapp.ml", "a.b": "x:y.z"}),
    ],
)
def test_names_are_given_as_text_too(text: str, meant: dict[str, str]) -> None:
    assert loaded({"SHM_POLYGLOT_EXPOSE": text}).expose == loaded(shm_expose=text).expose == meant


@pytest.mark.parametrize("text", ["ml", "=x", "ml=", "ml=a,", ",", "ml=a=b", "ml=a ml=b"])
def test_a_text_that_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"SHM_POLYGLOT_EXPOSE=.*: must give what TypeScript may call a name each"):
        loaded({"SHM_POLYGLOT_EXPOSE": text})


def test_a_text_that_gives_one_name_twice_is_refused_with_that_name() -> None:
    with pytest.raises(ConfigError, match=r'^SHM_POLYGLOT_EXPOSE="ml=a, b=c,ml=b": gives ml twice$'):
        loaded({"SHM_POLYGLOT_EXPOSE": "ml=a, b=c,ml=b"})
    with pytest.raises(ConfigError, match=r'^shm_expose="ml=a,ml=a": gives ml twice$'):
        loaded(shm_expose="ml=a,ml=a")


def test_a_mapping_that_ends_the_program_when_it_is_looked_at_is_told() -> None:
    class Exits(dict[str, object]):
        def __iter__(self) -> Iterator[str]:
            raise SystemExit(3)

    with pytest.raises(ConfigError, match=r"^shm_expose: looking at it raised SystemExit: 3 \(.*, line \d+\)$"):
        loaded(shm_expose=Exits(ml="ml"))


def test_gunicorn_knows_each_setting_once_and_says_what_it_is_for() -> None:
    known = [kind for kind in KNOWN_SETTINGS if kind.section == settings.SECTION]
    assert len({kind.name for kind in known}) == len(known) == 10
    assert all(kind.short and kind.desc for kind in known)
