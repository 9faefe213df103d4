"""What a TypeScript module has, as its compiler tells it; and how long what was told is kept."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from shm_protocol.described import typescript_source
from shm_protocol.described.description import Module, Overload
from shm_protocol.described.typescript_source import NoCompiler, NotTypeScript, describe

ROOT = Path(__file__).resolve().parents[1]

SHAPES = """/** Of another file. */
export interface Point { x: number; y: number; label?: string }
export class Store {
  private secret() {}
  get(key: string): Point | undefined { return undefined }
  static open(): Store { return new Store() }
}
"""

MODULE = """/** The module's own text. */
import { Store, type Point } from "./shapes.js";
export { Store };
export type { Point };
export enum Colour { Red = "red", Green = "green" }
export type Id = string;
export type Answer = Point | "none";
export interface Options { locale: string; style?: "plain" | "rich"; within?: Point }
export interface Tree { children: Tree[] }
export const LIMIT = 10;
export const NAMES = ["a", "b"] as const;
export const started = Date.now();
export let counter = 0;
export const store = new Store();
export const api = { ping(): string { return "pong" }, depth: 3 };
/**
 * Doubles.
 * @param value what is doubled
 * @returns twice that
 * @throws RangeError beyond 2^53
 */
export function double(value: number): number { return value * 2 }
export const later = async (text: string, count = 3, big?: bigint): Promise<{ text: string; count: number }> =>
  ({ text, count });
export function format(value: number, { locale }: Options): string { return String(value) + locale }
export async function* numbers(upTo: number): AsyncGenerator<number> { yield upTo }
export function* words(...parts: string[]): Generator<string | null> { yield* parts }
export function many(a: Uint8Array, b: Float32Array, c: Date, d: Map<string, number>, e: Record<string, boolean>,
  f: [string, number], g: readonly Point[],
  h: (n: number) => Promise<string>, i: unknown, j: Colour, k: Iterable<number>): void {}
export function parse(text: string): number;
export function parse(text: string, strict: true): number | null;
export function parse(): number | null { return null }
export function find(): Store { return store }
export function generic<T extends Point>(value: T): T[] { return [value] }
export function walk(tree: Tree): Answer { return "none" }
export default function main(): Id { return "" }
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "shapes.ts").write_text(SHAPES)
    file = tmp_path / "module.ts"
    file.write_text(MODULE)
    return file


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Module:
    folder = tmp_path_factory.mktemp("module")
    (folder / "shapes.ts").write_text(SHAPES)
    (folder / "module.ts").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return describe(folder / "module.ts")


def overloads(module: Module, name: str) -> list[Overload]:
    return next(one["overloads"] for one in module["functions"] if one["name"] == name)


def types_of(overload: Overload) -> list[Any]:
    return [parameter["type"] for parameter in overload["params"]]


def test_each_function_is_described_as_it_is_called_and_what_it_promises_is_what_it_gives(module: Module) -> None:
    names = "double later format numbers words many parse find generic walk default"
    assert {one["name"] for one in module["functions"]} == set(names.split())
    [double] = [one for one in module["functions"] if one["name"] == "double"]
    assert double["doc"] == "Doubles.\n\nvalue: what is doubled\nReturns twice that\nRaises RangeError beyond 2^53"
    assert not double["async"]
    [later] = overloads(module, "later")
    assert [(p["name"], p["type"]["kind"], p["optional"], p.get("default")) for p in later["params"]] == [
        ("text", "str", False, None),
        ("count", "float", True, 3),
        ("big", "int", True, None),
    ]
    assert later["result"] == {"kind": "ref", "name": "LaterResult"}
    assert next(one for one in module["functions"] if one["name"] == "later")["async"]
    assert overloads(module, "numbers")[0]["result"] == {"kind": "iterator", "item": {"kind": "float"}, "async": True}
    [words] = overloads(module, "words")
    assert [(p["kind"], p["type"]) for p in words["params"]] == [("var", {"kind": "str"})]
    assert [len(one["params"]) for one in overloads(module, "parse")] == [1, 2]


def test_the_fields_of_a_last_object_are_keyword_arguments_as_well(module: Module) -> None:
    by_name, by_place = overloads(module, "format")
    assert [(p["name"], p["kind"], p["optional"]) for p in by_name["params"]] == [
        ("value", "either", False),
        ("locale", "keyword", False),
        ("style", "keyword", True),
        ("within", "keyword", True),
    ]
    assert types_of(by_name)[2] == {"kind": "literal", "values": ["plain", "rich"]}
    assert [(p["name"], p["type"]) for p in by_place["params"]] == [
        ("value", {"kind": "float"}),
        ("options", {"kind": "ref", "name": "Options"}),
    ]


def test_every_type_that_can_be_sent_has_its_term(module: Module) -> None:
    assert types_of(overloads(module, "many")[0]) == [
        {"kind": "bytes"},
        {"kind": "array", "dtype": "float32"},
        {"kind": "datetime"},
        {"kind": "dict", "key": {"kind": "str"}, "value": {"kind": "float"}},
        {"kind": "dict", "key": {"kind": "str"}, "value": {"kind": "bool"}},
        {"kind": "tuple", "items": [{"kind": "str"}, {"kind": "float"}]},
        {"kind": "list", "item": {"kind": "ref", "name": "Point"}},
        {"kind": "callable", "params": [{"kind": "float"}], "result": {"kind": "str"}},
        {"kind": "any"},
        {"kind": "ref", "name": "Colour"},
        {"kind": "list", "item": {"kind": "float"}},
    ]


def test_types_constants_classes_and_instances_are_told_and_what_is_left_out_has_a_reason(module: Module) -> None:
    types: dict[str, Any] = {one["name"]: one for one in module["types"]}
    assert types["Colour"]["members"] == [{"name": "Red", "value": "red"}, {"name": "Green", "value": "green"}]
    assert [(f["name"], f["optional"]) for f in types["Point"]["fields"]] == [
        ("x", False),
        ("y", False),
        ("label", True),
    ]
    assert types["Id"] == {"name": "Id", "doc": None, "shape": "alias", "type": {"kind": "str"}}
    assert types["Answer"]["type"]["kind"] == "union"
    [children] = types["Tree"]["fields"]
    assert children["type"] == {"kind": "list", "item": {"kind": "ref", "name": "Tree"}}
    assert {one["name"]: one["value"] for one in module["constants"]} == {"LIMIT": 10, "NAMES": ["a", "b"]}
    [store] = module["classes"]
    assert (store["name"], [one["name"] for one in store["methods"]]) == ("Store", ["get"])
    assert [one["name"] for one in store["static"]] == ["open"]
    assert [(one["name"], one["class"]) for one in module["instances"]] == [("store", "Store"), ("api", None)]
    assert overloads(module, "find")[0]["result"] == {"kind": "handle", "name": "Store"}
    assert {one["name"] for one in module["skipped"]} == {"started", "counter"}
    assert module["doc"] == "The module's own text."


HELD = """
export class Square { area(): number { return 1 } close(): void {} }
interface Box { square: Square; next?: Box }
export function one(): Square | null { return null }
export function taken(squares: Square[]): void {}
export function* each(): Generator<Square> {}
export async function several(): Promise<Square[]> { return [] }
export function boxed(): Box { throw new Error() }
export function mapped(): Map<string, Square> { return new Map() }
export const enum Only { One = "one" }
export async function fails(): Promise<never> { throw new Error() }
export function only(which: Only): Only { return which }
export const tools = { once(): void {}, more: { twice(): void {} }, level: 1 };
"""


def test_what_cannot_cross_is_not_promised(tmp_path: Path) -> None:
    file = tmp_path / "held.ts"
    file.write_text(HELD)
    module = describe(file)
    results = {one["name"]: one["overloads"][0]["result"] for one in module["functions"]}
    square = {"kind": "handle", "name": "Square"}
    assert results == {
        "one": {"kind": "union", "options": [square, {"kind": "none"}]},
        "taken": {"kind": "none"},
        "each": {"kind": "iterator", "item": square, "async": False},
        "several": {"kind": "unknown", "text": "Promise<Square[]>"},
        "boxed": {"kind": "unknown", "text": "Box"},
        "mapped": {"kind": "unknown", "text": "Map<string, Square>"},
        "fails": {"kind": "union", "options": []},
        "only": {"kind": "ref", "name": "Only"},
    }
    assert types_of(overloads(module, "taken")[0]) == [{"kind": "list", "item": square}]
    assert [one["name"] for one in module["classes"][0]["methods"]] == ["area"]
    assert {one["name"] for one in module["skipped"]} == {"Square.close", "tools.more"}
    [only] = [one for one in module["types"] if one["name"] == "Only"]
    assert only == {"name": "Only", "doc": None, "shape": "enum", "members": [{"name": "One", "value": "one"}]}


def test_it_is_made_again_when_the_file_or_one_that_it_imports_has_changed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = describe(file)
    with monkeypatch.context() as patch:
        patch.setattr(typescript_source, "_ask", lambda _: pytest.fail("it had been told already"))
        assert describe(file) == first
    shapes = file.with_name("shapes.ts")
    shapes.write_text(SHAPES.replace("label?", "colour?"))
    fields = next(one for one in describe(file)["types"] if one["name"] == "Point")
    assert "colour" in json.dumps(fields)


def test_a_cache_that_is_spoilt_or_cannot_be_written_is_none(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = describe(file)
    [kept] = (tmp_path / "cache" / "shm-polyglot" / "descriptions").iterdir()
    written = json.loads(kept.read_bytes())
    asked: list[Path] = []

    def ask(file: Path) -> tuple[Module, list[tuple[str, str]]]:
        """What the compiler has told, without its half second each time."""
        asked.append(file)
        return written["module"], written["sources"]

    monkeypatch.setattr(typescript_source, "_ask", ask)
    for spoilt in (b"", b"{", b"[]", b'{"layout": 1}', b"\xff", b'{"layout": 1, "module": 3, "sources": 4}'):
        kept.write_bytes(spoilt)
        assert describe(file) == first
        assert json.loads(kept.read_bytes()) == written
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    assert describe(file) == first
    assert asked == [file] * 7


def test_several_at_once_are_told_the_same(file: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(describe, [file] * 3))
    assert found[0] == found[1] == found[2]
    assert len(list((tmp_path / "cache" / "shm-polyglot" / "descriptions").iterdir())) == 1


def test_what_does_not_compile_is_told_with_its_place(file: Path) -> None:
    file.write_text("export function f( {\n")
    with pytest.raises(NotTypeScript, match=r"module\.ts\(\d,\d+\): error TS\d+"):
        describe(file)


def test_without_a_compiler_that_can_be_asked_it_says_what_to_install(file: Path, tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "@shm-polyglot" / "protocol"
    shutil.copytree(ROOT / "shm_protocol" / "node" / "dist", package / "dist")
    with pytest.raises(NoCompiler, match=r"there is no TypeScript: npm install --save-dev typescript@5\.9"):
        describe(file)
    seven = tmp_path / "node_modules" / "typescript"
    seven.mkdir()
    (seven / "package.json").write_text('{"name": "typescript", "version": "7.0.2"}')
    with pytest.raises(NoCompiler, match=r"there is only typescript 7\.0\.2 in .*node_modules: npm install"):
        describe(file)


def test_the_module_may_have_no_exports(file: Path) -> None:
    file.write_text("console.log(1);\n")
    assert describe(file)["functions"] == []
