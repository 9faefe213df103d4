"""`.pyi` from a description: mypy and pyright find what is wrong with a program that imports it, and nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path

import descriptions as d
import pytest
from services import ROOT
from shm_protocol.described import generated_files, stub_files, typescript_source
from shm_protocol.described.description import Module, Type

HANG_S = 120.0

OPTIONS: Type = d.ref("Options")
UTILS: Module = d.module(
    language="typescript",
    file="/project/utils.ts",
    doc='What JavaScript does better: """Intl""".',
    types=[
        {
            "name": "Options",
            "doc": "How it is written.",
            "shape": "interface",
            "fields": [
                {"name": "locale", "type": d.STR, "optional": False, "doc": "Such as `de-DE`."},
                {"name": "style", "type": d.literal("decimal", "currency"), "optional": True, "doc": None},
            ],
        },
        {
            "name": "Tree",
            "doc": None,
            "shape": "interface",
            "fields": [
                {"name": "from", "type": d.STR, "optional": False, "doc": None},
                {"name": "leaves", "type": d.list_of(d.ref("Tree")), "optional": True, "doc": None},
            ],
        },
        {"name": "Id", "doc": None, "shape": "alias", "type": d.union(d.STR, d.FLOAT)},
        {
            "name": "Colour",
            "doc": None,
            "shape": "enum",
            "members": [{"name": "None", "value": "none"}, {"name": "Red", "value": "red"}],
        },
        {"name": "Level", "doc": None, "shape": "enum", "members": [{"name": "Low", "value": 0}]},
        # Python has types of these names.
        {"name": "list", "doc": None, "shape": "alias", "type": d.STR},
        {"name": "Sequence", "doc": None, "shape": "alias", "type": d.STR},
    ],
    classes=[
        {
            "name": "Formatter",
            "doc": "Formats.",
            "init": d.taking(d.given("locale", d.STR)),
            "methods": [
                d.function("format", d.taking(d.given("value", d.FLOAT), result=d.STR)),
                d.function("str", d.taking(result=d.list_of(d.STR))),
            ],
            "static": [d.function("of", d.taking(d.given("locale", d.STR), result=d.handle("Formatter")))],
        }
    ],
    instances=[
        {
            "name": "german",
            "class": "Formatter",
            "methods": [d.function("format", d.taking(result=d.STR))],
            "doc": "De.",
        }
    ],
    constants=[
        {"name": "MAX", "type": d.FLOAT, "value": 10, "doc": "At most."},
        {"name": "RATE", "type": d.FLOAT, "value": 0.5, "doc": None},
    ],
    functions=[
        d.function("slugify", d.taking(d.given("text", d.STR), result=d.STR), doc='A "slug"'),
        d.function(
            "format_number",
            d.taking(
                d.given("value", d.FLOAT),
                d.given("locale", d.STR, "keyword"),
                d.given("style", d.literal("decimal", "currency"), "keyword", optional=True),
                result=d.STR,
            ),
            d.taking(d.given("value", d.FLOAT), d.given("options", OPTIONS), result=d.STR),
            doc="A number as text.",
        ),
        d.function("lambda", d.taking(d.given("from", d.STR), result=d.STR)),
        d.function("count_up", d.taking(d.given("to", d.FLOAT), result=d.iterator(d.FLOAT))),
        d.function("mapped", d.taking(d.given("of", d.callable_of([d.FLOAT], d.STR)), result=d.list_of(d.STR))),
        d.function("grow", d.taking(result=d.ref("Tree"))),
        d.function("find", d.taking(d.given("id", d.ref("Id")), result=d.union(d.NONE, d.STR))),
        d.function("paint", d.taking(d.given("colour", d.ref("Colour")), result=d.ref("Colour"))),
        d.function("scale", d.taking(d.given("values", d.FLOATS), result=d.FLOATS)),
        d.function("joined", d.taking(d.given("texts", d.list_of(d.STR)), result=d.STR)),
        d.function("sum", d.taking(d.given("numbers", d.FLOAT, "var"), result=d.FLOAT)),
        d.function("size", d.taking(d.given("of", d.BYTES), d.given("at", d.DATETIME, optional=True), result=d.FLOAT)),
        d.function("counted", d.taking(result=d.dict_of(d.STR, d.FLOAT))),
        d.function("odd", d.taking(d.given("of", d.unknown("T[]")), result=d.ANY)),
    ],
)

RIGHT = """\
from datetime import UTC, datetime
from typing import Literal, assert_type

import numpy
import utils
from numpy.typing import NDArray
from utils import Colour, Formatter, Options, format_number, german, slugify


def main() -> None:
    assert_type(slugify("text"), str)
    assert_type(format_number(1, locale="de"), str)
    assert_type(format_number(1.5, locale="de", style="currency"), str)
    options: Options = {"locale": "de"}
    assert_type(format_number(2, options), str)
    assert_type(utils.lambda_("x"), str)
    for number in utils.count_up(3):
        assert_type(number, float)
    assert_type(utils.mapped(lambda n: f"{n:g}"), list[str])
    tree = utils.grow()
    assert_type(tree["from"], str)
    assert_type(utils.find("x"), str | None)
    assert_type(utils.find(3), str | None)
    assert_type(utils.paint("red"), Literal["none", "red"])
    utils.paint(Colour.Red)
    utils.paint(Colour.None_)
    scaled: NDArray[numpy.float64] = utils.scale(numpy.zeros(3))
    print(scaled)
    utils.joined(("a", "b"))
    assert_type(utils.sum(1, 2.5), float)
    utils.size(memoryview(b""), datetime.now(UTC))
    assert_type(utils.counted(), dict[str, float])
    with Formatter("de") as made:
        assert_type(made.format(1), str)
    Formatter.of("de").close()
    assert_type(made.str(), list[str])
    assert_type(german.format(), str)
    at_most: int = utils.MAX
    rate: float = utils.RATE
    print(at_most, rate, utils.odd([1]))
"""

WRONG = """\
import numpy
import utils
from utils import missing  # both
utils.slugify(1)  # both
utils.slugify(texts="x")  # both
utils.format_number(1)  # both
utils.format_number(1, locale=3)  # both
utils.format_number(1, {"style": "decimal"})  # both
utils.format_number(1, locale="de", style="percent")  # both
utils.format_number(1, lokale="de")  # both
number: int = utils.sum(1)  # both
utils.find(b"")  # both
text: str = utils.find(1)  # both
utils.paint("blue")  # both
utils.mapped(lambda n: n)  # both
utils.scale(numpy.zeros(3, numpy.float32))  # pyright
utils.scale([1.0])  # both
utils.joined([1])  # both
utils.size("text")  # both
utils.grow()["leafs"]  # both
utils.Formatter()  # both
utils.german.close()  # both
utils.Formatter("de").formatt(1)  # both
utils.MAX = 3  # mypy
utils.count_up(3)[0]  # both
"""
SHOP = """/** A module as people write it. */

/** What is sold. */
export interface Item {
  name: string;
  price: number;
  kind?: "book" | "food";
}

export enum Currency {
  Euro = "EUR",
  Dollar = "USD",
}

export const LIMIT = 3;

/** Looks for it. */
export async function find(name: string, options: { limit?: number; from?: string } = {}): Promise<Item | null> {
  return Promise.resolve(name === "" ? null : { name, price: options.limit ?? 1 });
}

export async function* items(): AsyncGenerator<Item> {
  yield Promise.resolve({ name: "x", price: 1 });
}

export const onSale = (tell: (name: string, price: number) => void): void => { tell("x", 1); };
export function convert(amount: number, to: Currency): { amount: number; currency: Currency } {
  return { amount, currency: to };
}
export function smooth(values: Float32Array): Float32Array { return values; }
export function parse(text: string): number;
export function parse(bytes: Uint8Array): string;
export function parse(from: string | Uint8Array): number | string { return from.length; }
export function counted(words: string[]) { return new Map(words.map((word) => [word, 1])); }

export function order(item: string, note?: string, count = 1, { gift }: { gift?: boolean } = {}): string {
  return `${item} ${note} ${count} ${gift}`;
}
export function close(): never { throw new Error("closed"); }
export function placed(item?: string, at?: { shelf: number }): string { return `${item} ${at?.shelf}`; }

export class Cart {
  constructor(private readonly owner: string) {}
  add(item: string, count = 1): Item { return { name: `${this.owner} ${item}`, price: count }; }
  copy(): Cart { return new Cart(this.owner); }
}
"""

RIGHT_SHOP = """\
from typing import Literal, Never, assert_type

import numpy
import shop

assert_type(shop.find("x"), shop.Item | None)
shop.find("x", limit=3, from_="y")
shop.find("x", {"limit": 3})
for item in shop.items():
    assert_type(item, shop.Item)
    assert_type(item.get("kind"), Literal["book", "food"] | None)
shop.onSale(lambda name, price: print(name, price))
assert_type(shop.convert(1, "EUR")["currency"], Literal["EUR", "USD"])
shop.convert(1, shop.Currency.Dollar)
shop.smooth(numpy.zeros(3, numpy.float32))
assert_type(shop.parse("1"), float)
assert_type(shop.parse(b"1"), str)
assert_type(shop.counted(["a"]), dict[str, float])
with shop.Cart("me") as cart, cart.copy() as copied:
    assert_type(copied.add("x"), shop.Item)
limit: int = shop.LIMIT
shop.order("x")
shop.order(item="x")
shop.order("x", "a note")
shop.order("x", note="a note", count=2, gift=True)
shop.order("x", "a note", gift=True)
shop.order("x", "a note", 2, {"gift": True})
shop.placed()
shop.placed("x", shelf=3)
shop.placed("x", {"shelf": 3})


def closed() -> Never:
    shop.close()
"""

WRONG_SHOP = """\
import shop
shop.find("x").name  # both
shop.find("x", limit="3")  # both
shop.find("x", limits=3)  # both
shop.onSale(lambda name: print(name))  # both
shop.convert(1, "GBP")  # both
shop.Cart()  # both
shop.Cart("me").add(3)  # both
shop.nothing()  # both
shop.order("x", count=2)  # both
shop.order("x", gift=True)  # both
shop.placed(shelf=3)  # both
shop.placed("x", {})  # both
"""

PROGRAMS = {"right.py": RIGHT, "right_shop.py": RIGHT_SHOP, "wrong.py": WRONG, "wrong_shop.py": WRONG_SHOP}
PLANTED = {
    (name, place): line.rpartition("  # ")[2]
    for name, program in PROGRAMS.items()
    for place, line in enumerate(program.splitlines(), start=1)
    if "  # " in line
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stubs")
    text, unknown = stub_files.written(UTILS)
    assert unknown == ["T[]"]
    (folder / "utils.pyi").write_text(generated_files.headed(folder / "utils.ts", text))
    (folder / "utils.ts").write_text("")
    (folder / "shop.ts").write_text(SHOP)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        told, unknown = stub_files.written(typescript_source.describe(folder / "shop.ts"))
    assert unknown == []
    (folder / "shop.pyi").write_text(generated_files.headed(folder / "shop.ts", told))
    for name, program in PROGRAMS.items():
        (folder / name).write_text(program)
    settings = {
        "typeCheckingMode": "strict",
        "reportMissingModuleSource": "none",
        "venvPath": str(ROOT),
        "venv": ".venv",
        # Of expressions whose values are what the tests are about.
        "reportUnusedExpression": "none",
        "reportUnknownMemberType": "none",
        "reportUnknownVariableType": "none",
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    return folder


def run(words: list[str], folder: Path) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.stderr == "", done.stderr
    return done.stdout


def test_mypy_finds_every_planted_error_and_no_other(project: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(project / ".mypy")]
    said = run([*command, *PROGRAMS], project)
    found = {(file, int(line)) for file, line in re.findall(r"^(\S+?):(\d+): error", said, re.MULTILINE)}
    assert found == {place for place, finder in PLANTED.items() if finder != "pyright"}, said


def test_pyright_finds_every_planted_error_and_no_other(project: Path) -> None:
    pyright = ROOT / "tests/type_checkers/node_modules/pyright/index.js"
    assert pyright.exists(), "first: make tests/type_checkers/node_modules/.packages"
    said = run(["node", str(pyright), "--outputjson"], project)
    found = {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1)
        for one in json.loads(said)["generalDiagnostics"]
        if one["severity"] == "error"
    }
    assert found == {place for place, finder in PLANTED.items() if finder != "mypy"}, said
