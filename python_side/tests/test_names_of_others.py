"""Programs outside of the project have names of the showcase's in their configurations and imports: they stay."""

import pytest
import shm_protocol.gunicorn
from shm_protocol.exposed import Exposed

from python_side import bridge_worker, exposed, gunicorn_conf


def test_the_worker_class_is_known_by_the_name_that_it_had_in_the_showcase() -> None:
    assert bridge_worker.BridgeWorker is shm_protocol.gunicorn.BridgeWorker


def test_what_stands_in_EXPOSED_when_a_worker_imports_it_is_what_the_worker_exposes(  # noqa: N802  # its name
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def theirs(text: str) -> str:
        return text

    monkeypatch.setitem(exposed.EXPOSED["ml_service"], "predict", theirs)
    functions = Exposed(gunicorn_conf.shm_expose).functions
    assert functions["ml_service.predict"] is theirs
    assert functions == {
        f"{group}.{name}": function for group, members in exposed.EXPOSED.items() for name, function in members.items()
    }
