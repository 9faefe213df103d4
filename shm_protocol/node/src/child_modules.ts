/** The modules that a child has loaded, and what it exposes of them. */

import { AsyncLocalStorage } from "node:async_hooks";
import { createRequire } from "node:module";
import { basename, extname } from "node:path";
import { pathToFileURL } from "node:url";
import { types } from "node:util";

import { type Exposables, functionsOf } from "./exposables";
import { manifestOf } from "./manifest";

/** An export, as a module says itself: for a program that has no description of it. */
export interface Export {
  name: string;
  kind: "function" | "stream" | "class" | "object" | "value";
  /** Of an object. */
  methods: string[];
}

interface Loaded {
  /** Under which its functions are called. */
  key: string;
  exports: Export[];
}

/** What is to be shown of a module. */
interface Seen extends Loaded {
  exposed: Exposables;
}

export class Modules {
  private readonly loaded = new Map<string, Promise<Loaded>>();
  private readonly keys = new Set<string>();
  private editions = 0;

  /** `expose`: let the functions of one key be called, in place of those that were. */
  constructor(private readonly expose: (key: string, functions: Exposables) => void) {}

  /** What has been loaded. */
  files(): string[] {
    return [...this.loaded.keys()];
  }

  /** Load files again, each under the key that it has. Rejects with what one of them throws, and then all are as they were. */
  async reload(files: readonly string[]): Promise<void> {
    const seen = new Map<string, Seen>();
    for (const file of files) {
      // Whoever loads it for the first time is told why it cannot be.
      const before = await this.loaded.get(file)?.catch(() => undefined);
      if (before !== undefined) seen.set(file, look(before.key, (await staying(() => evaluate(file, ++this.editions))).module));
    }
    for (const [file, again] of seen) this.loaded.set(file, Promise.resolve(this.show(again)));
  }

  /** Load a file and expose what it has. fresh: as it is now, not as it was loaded before. Rejects with what it throws. */
  load(file: string, fresh: boolean): Promise<Loaded> {
    let found = fresh ? undefined : this.loaded.get(file);
    if (found === undefined) {
      found = this.loadNow(file, fresh);
      this.loaded.set(file, found);
      // The next one may find it mended.
      found.catch(() => this.loaded.delete(file));
    }
    return found;
  }

  private async loadNow(file: string, fresh: boolean): Promise<Loaded> {
    const { module } = await evaluate(file, fresh ? ++this.editions : 0);
    return this.show(look(this.unused(basename(file, extname(file)).replace(/\W/g, "_")), module));
  }

  private show({ key, exports, exposed }: Seen): Loaded {
    this.expose(key, exposed);
    return { key, exports };
  }

  private unused(wanted: string): string {
    let key = wanted;
    for (let number = 2; this.keys.has(key); number++) key = `${wanted}_${number}`;
    this.keys.add(key);
    return key;
  }
}

function look(key: string, module: object): Seen {
  const functions = new Set(methodsOf(key, module));
  const exposed: Record<string, Exposables[string]> = functions.size > 0 ? { [key]: module } : {};
  const exports: Export[] = [];
  for (const [name, value] of Object.entries(module) as [string, unknown][]) {
    if (name.startsWith("_") || name === "module.exports") continue;
    const object = typeof value === "object" && value !== null ? value : undefined;
    const methods = object === undefined ? [] : methodsOf(`${key}.${name}`, object);
    const isExposed = methods.some((method) => functions.has(`${name}.${method}`));
    if (object !== undefined && methods.length > 0 && !isExposed) exposed[`${key}.${name}`] = object;
    exports.push({ name, kind: methods.length > 0 ? "object" : functions.has(name) ? kindOf(value) : "value", methods });
  }
  return { key, exports, exposed };
}

/**
 * A module in CommonJS by require, which its runner's hooks serve; one that can only be imported by import. Within an object:
 * what exports a `then` would be awaited itself, by import as well.
 */
async function evaluate(file: string, edition: number): Promise<{ module: object }> {
  if (!isModule(file)) {
    const require = createRequire(file);
    try {
      if (edition > 0) Reflect.deleteProperty(require.cache, require.resolve(file));
      return { module: require(file) as object };
    } catch (error) {
      const code = (error as { code?: unknown } | undefined)?.code;
      // Nothing of it has run yet.
      if (code !== "ERR_REQUIRE_ESM" && code !== "ERR_REQUIRE_ASYNC_MODULE") throw error;
    }
  }
  const url = pathToFileURL(file).href + (edition > 0 ? `?edition=${edition}` : "");
  return (await import(`data:text/javascript,${encodeURIComponent(`export * as module from ${JSON.stringify(url)};`)}`)) as { module: object };
}

/** Of a module that is loaded again: its own body may not end the process, what it has begun by then may later. */
const again = new AsyncLocalStorage<{ isOver: boolean }>();

/** Rejects with an error where `run` would end the process, and that goes on. Whatever else runs meanwhile may end it. */
async function staying<T>(run: () => Promise<T>): Promise<T> {
  const own = { isOver: false };
  const ending: { exit: (code?: number | string | null) => never } = process;
  const { exit } = ending;
  const guarded = (code?: number | string | null): never => {
    if (again.getStore()?.isOver !== false) return exit.call(process, code);
    throw new Error(`process.exit(${code ?? ""}) while it is loaded`);
  };
  ending.exit = guarded;
  try {
    return await again.run(own, run);
  } finally {
    own.isOver = true;
    // Unless the module has put something else in its place.
    if (ending.exit === guarded) ending.exit = exit;
  }
}

function isModule(file: string): boolean {
  const suffix = extname(file);
  return suffix.startsWith(".m") || (!suffix.startsWith(".c") && manifestOf(file)?.["type"] === "module");
}

/** Of an exported object, whatever it is: it is exposed to the program of this very user alone. */
function methodsOf(key: string, value: object): string[] {
  try {
    return functionsOf(key, value).map(([name]) => name.slice(key.length + 1));
  } catch {
    // It has none.
    return [];
  }
}

function kindOf(exported: unknown): "stream" | "class" | "function" {
  if (typeof exported === "function" && /^class\b/.test(Function.prototype.toString.call(exported))) return "class";
  return types.isGeneratorFunction(exported) ? "stream" : "function";
}
