"""How a project's Node side is run, by what the project has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shm_protocol.node_command import CannotRunNode, Node, choose, entries, find_node

OLD = Node("/bin/node", "20.1.0", strips_types=False)
NEW = Node("/bin/node", "24.1.0", strips_types=True)


class Project:
    """A folder with a package.json that asks for `asked_for`, and with `installed` in node_modules."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, object] = {}

    def has(self, *installed: str, asked_for: tuple[str, ...] = (), kind: str = "commonjs") -> Project:
        for name in installed:
            package = self.folder / "node_modules" / name
            package.mkdir(parents=True)
            (package / "package.json").write_text(json.dumps({"version": "1.2.3"}))
        manifest = {"type": kind, "devDependencies": dict.fromkeys(asked_for, "*")}
        (self.folder / "package.json").write_text(json.dumps(manifest))
        return self

    def told(self, name: str, node: Node) -> str:
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
        return choose(file, node, reload=False).told


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_node_that_is_too_old_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho '[\"18.20.8\", false]'\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRunNode) as raised:
        find_node()
    assert str(raised.value) == f"Node 20 or newer is needed ({node} is 18.20.8)"


@pytest.mark.parametrize("name", ["server.js", "server.mjs", "server.cjs"])
def test_javascript_is_run_as_it_is(project: Project, name: str) -> None:
    assert project.has("tsx", asked_for=("tsx",)).told(name, OLD) == "JavaScript, Node 20.1.0"


@pytest.mark.parametrize("node", [OLD, NEW])
@pytest.mark.parametrize("runner", ["tsx", "ts-node"])
def test_what_the_project_asks_for_runs_typescript(project: Project, runner: str, node: Node) -> None:
    project.has("tsx", "ts-node", asked_for=(runner,))
    assert project.told("server.ts", node) == f"{runner} 1.2.3, Node {node.version}"
    assert project.told("deeper/server.ts", node) == f"{runner} 1.2.3, Node {node.version}"


def test_without_a_wish_node_that_can_runs_typescript_itself(project: Project) -> None:
    assert project.has("tsx").told("server.ts", NEW) == "TypeScript as Node runs it itself, Node 24.1.0"


def test_without_a_wish_and_with_an_old_node_what_is_installed_runs_typescript(project: Project) -> None:
    assert project.has("ts-node").told("server.ts", OLD) == "ts-node 1.2.3, Node 20.1.0"


def test_where_nothing_runs_typescript_it_is_told_what_to_install(project: Project) -> None:
    with pytest.raises(CannotRunNode, match="^nothing here runs TypeScript: npm install --save-dev tsx, or Node 22.18"):
        project.has().told("server.ts", OLD)


def test_what_is_asked_for_and_not_installed_is_told(project: Project) -> None:
    with pytest.raises(CannotRunNode, match="package.json asks for tsx, which is not installed: npm install"):
        project.has(asked_for=("tsx",)).told("server.ts", NEW)


@pytest.mark.parametrize(
    ("name", "kind", "option"),
    [
        ("server.ts", "commonjs", "/ts-node/dist/bin.js"),
        ("server.ts", "module", "/ts-node/esm.mjs"),
        ("server.mts", "commonjs", "/ts-node/esm.mjs"),
        ("server.cts", "module", "/ts-node/dist/bin.js"),
    ],
)
def test_ts_node_is_told_of_modules(project: Project, name: str, kind: str, option: str) -> None:
    project.has("ts-node", kind=kind).told(name, OLD)
    words = choose(project.folder / name, OLD, reload=False).words
    assert any(word.endswith(option) for word in words)
    assert words[-1] == str(project.folder / name)


def test_a_package_json_that_cannot_be_read_is_left_to_node(project: Project) -> None:
    project.has("tsx")
    (project.folder / "package.json").write_text("{")
    assert project.told("server.ts", NEW) == "TypeScript as Node runs it itself, Node 24.1.0"


def test_reload_is_node_s_own_watch(project: Project) -> None:
    project.has().told("server.js", OLD)
    assert choose(project.folder / "server.js", OLD, reload=True).words[1] == "--watch"


def test_typescript_and_the_name_server_come_first(tmp_path: Path) -> None:
    for name in ("index.ts", "server.js", "server.ts", "app.ts"):
        (tmp_path / name).touch()
    assert [file.name for file in entries(tmp_path)] == ["server.ts", "server.js", "index.ts"]
