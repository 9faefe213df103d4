"""`.d.py.ts` from a description: tsc finds what is wrong with a program that imports it, and nothing wrong else."""

import json
import re
import subprocess
from pathlib import Path

import descriptions as d
import pytest
from services import ROOT
from shm_protocol.described import declarations, generated_files, python_source

HANG_S = 120.0
COMPILERS = {
    "5.9": ROOT / "node_modules/typescript/bin/tsc",
    "6": ROOT / "tests/type_checkers/node_modules/typescript-6/bin/tsc",
}
RESOLUTIONS = {"node16": "node16", "nodenext": "nodenext", "bundler": "esnext"}

RIGHT = """\
import * as ml from "./ml.py";
import {
  count_up, counter, delete as remove, each, find, greet, labels, log_in, mapped, Model, model, NAME, type Number,
  paint, parse, type Point, type Prediction, predict, scale, total, train, type string as Whole,
} from "./ml.py";
import { NdArray } from "@shm-polyglot/protocol";

declare const console: { log(...told: unknown[]): void };

export async function main(): Promise<void> {
  const prediction: Prediction = await predict("text");
  const sentiment: "positive" | "negative" = prediction.sentiment;
  const absent: string | null | undefined = prediction["a-key"];
  const greeting: string = await greet("Ada");
  await greet("Ada", 2);
  await greet("Ada", undefined, { locale: "de" });
  const ok: boolean = await log_in(undefined, { key: "k" });
  await total(1, 2, 3);
  await total(1, 2, { start: 3 });
  await labels({ size: 1, colour: "red" });
  const scaled = await scale(new Float64Array(2), 2);
  const data: Float64Array = scaled instanceof NdArray ? scaled.data : scaled;
  await scale(new NdArray(new Float64Array(4), [2, 2]), 2);
  for await (const number of count_up(3)) number.toFixed();
  await each((item) => item.toFixed(), (a: string, b: Date) => `${a}${String(b)}`);
  const texts: string[] = await mapped((n) => n.toFixed());
  await mapped(async (n) => Promise.resolve(String(n)));
  const parsed: number = (await parse("1")) + (await parse(new Uint8Array(1)));
  const point: Point | null = await find("x");
  const x: number | undefined = point?.x;
  const colour: "red" | "green" = await paint(ml.Colour.RED);
  await paint("green");
  const when: Date = await ml.now();
  const names: ReadonlyMap<number, string> = await ml.by_id();
  const counts: { [word: string]: number } = await ml.count_words(["a"] as const);
  using made = await new Model("path", { seed: 1 });
  const trained = await train(made);
  trained.dispose();
  const other: Prediction = await trained.predict("x");
  const loaded = await Model.load("path");
  const fresh = await loaded.new();
  for await (const item of fresh.items()) item.toFixed();
  const instance: Prediction = await model.predict("text");
  const count: number = await counter.count();
  const name: 'a "name"' = NAME;
  const first: number | undefined = ml.RATES[0];
  const either: Number = 1.5;
  const whole: Whole = await ml.named("promise", 3);
  const removed: string = await remove("a", "b", "c");
  const odd: unknown = await ml.odd({});
  const doubled: number = await (await ml.doubling())(2);
  const nothing: void = await ml.nothing();
  console.log(
    sentiment, absent, greeting, ok, data, texts, parsed, x, colour, when, names, counts, other, instance, count, name,
    first, either, whole, removed, odd, nothing, doubled,
  );
}
"""

WRONG = """\
declare const console: { log(...told: unknown[]): void };
import * as ml from "./ml.py";
import { missing } from "./ml.py"; // TS2305
await ml.predict(1); // TS2345
await ml.greet("Ada", 2, { lokale: "de" }); // TS2561
await ml.greet("Ada", 2, { locale: "fr" }); // TS2322
await ml.greet("Ada", { locale: "de" }); // TS2345
await ml.log_in("Ada"); // TS2554
await ml.log_in("Ada", {}); // TS2345
await ml.labels({ colour: "red" }); // TS2345
await ml.scale(new Float32Array(1), 1); // TS2345
await ml.paint("blue"); // TS2345
ml.predict("text").sentiment; // TS2339
const text: string = await ml.by_id(); // TS2322
const maybe: ml.Point = await ml.find("x"); // TS2322
await ml.parse(1); // TS2769
await ml.mapped((n: string) => n); // TS2345
await ml.train(ml.model); // TS2345
await (await new ml.Model("path")).predct("x"); // TS2551
(await ml.doubling())("1"); // TS2345
await ml.model.predct("x"); // TS2551
await ml.model.predict(); // TS2554
ml.NAME = "other"; // TS2540
await ml.predict; for (const n of ml.count_up(1)) console.log(n); // TS2488
await ml.odd(1).then((odd) => odd.size); // TS18046
console.log(missing, text, maybe);
"""

SHOP = '''"""A module as people write it."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypedDict, overload

import numpy as np
from numpy.typing import NDArray

CURRENCY = "EUR"
RATES: dict[str, float] = {"USD": 1.1}


class Kind(enum.StrEnum):
    BOOK = "book"
    FOOD = "food"


@dataclass
class Item:
    """What is sold."""

    name: str
    price: float
    kind: Kind = Kind.BOOK
    tags: list[str] = field(default_factory=list)


class Options(TypedDict, total=False):
    limit: int


class Cart:
    """What somebody wants."""

    def __init__(self, owner: str, *, currency: Literal["EUR", "USD"] = "EUR") -> None: ...
    def add(self, item: str, count: int = 1) -> Item: ...
    def copy(self) -> Cart: ...
    async def watch(self) -> AsyncIterator[Item]:
        yield Item("x", 1)


cart = Cart("all")


def find(name: str | None = None, /, *, options: Options | None = None) -> list[Item] | None:
    """Looks for it. */ is no end."""


async def price(item: str, at: datetime) -> float: ...
def items() -> Iterator[Item]: ...
def smooth(values: NDArray[np.float32], window: int) -> np.ndarray: ...
def on_sale(tell: Callable[[str, float], None]) -> bool: ...
@overload
def parse(text: str) -> int: ...
@overload
def parse(text: bytes) -> tuple[int, str]: ...
def parse(text): ...
def untyped(a, b=2): ...
'''

RIGHT_SHOP = """\
import { NdArray } from "@shm-polyglot/protocol";
import * as shop from "./shop.py";

export async function main(): Promise<void> {
  const currency: "EUR" = shop.CURRENCY;
  const rate: number | undefined = shop.RATES["USD"];
  const found: shop.Item[] | null = await shop.find(undefined, { options: { limit: 3 } });
  const kind: shop.Kind | undefined = found?.[0]?.kind;
  const price: number = await shop.price("x", new Date());
  for await (const item of shop.items()) item.tags.join();
  const smoothed = await shop.smooth(new Float32Array(3), 2);
  const shape: readonly number[] = smoothed instanceof NdArray ? smoothed.shape : [smoothed.length];
  await shop.on_sale((name, price) => name.repeat(price));
  const [number, text]: [number, string] = await shop.parse(new Uint8Array());
  using cart = await new shop.Cart("me", { currency: "USD" });
  using copied = await cart.copy();
  const added: shop.Item = await copied.add("x");
  for await (const item of shop.cart.watch()) item.price.toFixed();
  const unknown: unknown = await shop.untyped(1);
  export_all([currency, rate, kind === shop.Kind.BOOK, price, shape, number, text, added, unknown]);
}

declare function export_all(all: unknown[]): void;
"""

WRONG_SHOP = """\
import * as shop from "./shop.py";
await shop.find({ limit: 3 }); // TS2345
await shop.find("x", { options: { limits: 3 } }); // TS2561
await shop.smooth(new Float64Array(3), 2); // TS2345
await new shop.Cart("me", { currency: "GBP" }); // TS2322
await shop.on_sale((name: number) => name); // TS2345
(await shop.find()).length; // TS2531
(await shop.cart.add("x")).prize; // TS2551
await shop.price("x", "today"); // TS2345
"""

PROGRAMS = {"right.ts": RIGHT, "right_shop.ts": RIGHT_SHOP, "wrong.ts": WRONG, "wrong_shop.ts": WRONG_SHOP}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("declared")
    text, _ = declarations.written(d.SAMPLE)
    (folder / "ml.d.py.ts").write_text(generated_files.headed(folder / "ml.py", text))
    (folder / "ml.py").write_text("")
    (folder / "shop.py").write_text(SHOP)
    told, unknown = declarations.written(python_source.describe(folder / "shop.py"))
    assert unknown == []
    (folder / "shop.d.py.ts").write_text(generated_files.headed(folder / "shop.py", told))
    for name, program in PROGRAMS.items():
        (folder / name).write_text(program)
    (folder / "package.json").write_text('{"type": "module"}')
    library = folder / "node_modules" / "@shm-polyglot"
    library.mkdir(parents=True)
    (library / "protocol").symlink_to(ROOT / "shm_protocol" / "node")
    return folder


def compile_with(version: str, resolution: str, folder: Path) -> list[str]:
    """What tsc says of the project's files."""
    compiler = COMPILERS[version]
    assert compiler.exists(), "first: make tests/type_checkers/node_modules/.packages"
    options = {
        "target": "es2022",
        "lib": ["es2023", "esnext.disposable"],
        "module": RESOLUTIONS[resolution],
        "moduleResolution": resolution,
        "types": [],
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "noUncheckedIndexedAccess": True,
        "allowArbitraryExtensions": True,
        "verbatimModuleSyntax": True,
        "erasableSyntaxOnly": True,
        "skipLibCheck": False,
        "noEmit": True,
    }
    config = folder / f"tsconfig.{version}.{resolution}.json"
    config.write_text(json.dumps({"compilerOptions": options, "files": list(PROGRAMS)}))
    command = ["node", str(compiler), "-p", str(config), "--pretty", "false"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=HANG_S, check=False)
    return [line for line in done.stdout.splitlines() if not line.startswith(" ")]


@pytest.mark.parametrize(
    ("version", "resolution"),
    [("5.9", "node16"), ("5.9", "bundler"), ("6", "nodenext"), ("6", "bundler")],
)
def test_tsc_finds_every_planted_error_and_no_other(version: str, resolution: str, project: Path) -> None:
    planted = {
        f"{name}:{place}: {line.partition('// ')[2]}"
        for name, program in PROGRAMS.items()
        for place, line in enumerate(program.splitlines(), start=1)
        if "// TS" in line
    }
    said = compile_with(version, resolution, project)
    found = {re.sub(r"\((\d+),\d+\): error (TS\d+): .*", r":\1: \2", line) for line in said}
    assert found == planted, "\n".join(said)
