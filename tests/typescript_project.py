"""A project of somebody's with TypeScript in it, which runs with what the repository has installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
HANG_S: Final = 120.0

SHARED: Final = "let count = 0;\nexport const next = (): number => ++count;\n"

UTILS: Final = """import { next } from "./shared";
export enum Colour { Red = "red", Green = "green" }
export interface Options { locale: string; times?: number }
export const LIMIT = 3;
export const started = Date.now();
/** Doubles. */
export function double(value: number): number { return value * 2 }
export async function later(text: string, times = 2): Promise<string> { await null; return text.repeat(times) }
export async function* numbers(upTo: number): AsyncGenerator<number> {
  try { for (let n = 1; n <= upTo; n++) yield n } finally { closed += 1 }
}
let closed = 0;
export function closings(): number { return closed }
export function format(value: number, { locale, times = 1 }: Options): string {
  return `${value}${locale}`.repeat(times);
}
export function all(options: { deep?: boolean }): string { return JSON.stringify(options) }
export function middle(a: string, b?: string, c?: { d: number }): string { return JSON.stringify([a, b, c]) }
export function fail(why: string): never { throw new RangeError(why) }
export function lambda(from: string): string { return from }
export const counter = { next, of: "an object" };
export class Store {
  private readonly items = new Map<string, number>();
  static of(key: string, value: number): Store { return new Store({ key, value }); }
  constructor(first?: { key: string; value: number }) { if (first) this.items.set(first.key, first.value) }
  put(key: string, { value = 1 }: { value?: number } = {}): Store { this.items.set(key, value); return this }
  get(key: string): number | undefined { return this.items.get(key) }
  *keys(): Generator<string> { yield* this.items.keys() }
}
export function opened(isOpen: boolean): Store | null { return isOpen ? new Store() : null }
export function size(store: Store): number { return [...store.keys()].length }
export const pid = (): number => process.pid;
export function say(what: string): void { console.log(what); console.error(`error: ${what}`) }
export function end(code: number): void {
  for (let line = 1; line <= 30; line++) process.stderr.write(`line ${line}\\n`);
  process.exit(code);
}
export function spin(): void { for (;;); }
export const environment = (name: string): string | null => process.env[name] ?? null;
"""


def make(folder: Path) -> Path:
    """A project in this folder. Returns its folder of modules."""
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    (folder / "package.json").write_text(json.dumps({"devDependencies": {"ts-node": "*"}}))
    options = {"module": "commonjs", "target": "es2022", "strict": True}
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    modules = folder / "node_side"
    modules.mkdir()
    (modules / "shared.ts").write_text(SHARED)
    (modules / "utils.ts").write_text(UTILS)
    (modules / "other.ts").write_text('export { next as step } from "./shared";\n')
    return modules


def run(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python program in that folder, to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
