/**
 * What the other side may call: a flat table from name to function, computed once when something is exposed. A call
 * looks its name up and nothing else: no attribute is traversed and nothing is imported by name.
 */

import { types } from "node:util";

import { isMethodName } from "./frames";

/** A function of the table; methods are bound to their object. */
// `never` parameters: any function is one of these, and only the table's caller knows what it passes.
export type ExposedFunction = (...args: never[]) => unknown;

/** A module's namespace, an object with functions, an instance of a class, or a function. */
export type Exposable = object | ExposedFunction;

/** What is exposed, by its name for the other side: `{ typescript_utils }` exposes `typescript_utils.slugify` and so on. */
export type Exposables = Readonly<Record<string, Exposable>>;

/** What begins so is the library's own. */
const BUILT_IN = "shm_polyglot.";

/** An entry of the table. */
export interface Entry {
  readonly run: ExposedFunction;
  /** With more arguments than this a call is answered with an error, and the function not run. */
  readonly mostArguments: number;
}

export class ExposedFunctions {
  private readonly functions = new Map<string, Entry>();

  /** The entry of that name, or undefined. */
  get(name: string): Entry | undefined {
    return this.functions.get(name);
  }

  /** The names of what was added, sorted. */
  names(): string[] {
    return [...this.functions.keys()].filter((name) => !name.startsWith(BUILT_IN)).sort();
  }

  /** Expose a function of the library's own. `name` is without the prefix. */
  addBuiltIn(name: string, run: ExposedFunction): void {
    this.functions.set(BUILT_IN + name, entryOf(run, undefined));
  }

  /**
   * Expose functions. A function is exposed under its key; of a module or plain object its own functions whose names
   * do not begin with `_`, as `key.name`; of an instance of a class the methods of that class, bound to the instance.
   *
   * @throws TypeError for what has nothing to expose, or a name that is taken or cannot be called. Then nothing has
   * been exposed.
   */
  add(exposables: Exposables): void {
    const found: [string, Entry][] = [];
    for (const [key, exposable] of Object.entries(exposables)) found.push(...functionsOf(key, exposable));
    for (const [name] of found) {
      if (!isMethodName(name) || !name.isWellFormed()) {
        throw new TypeError(`expose: ${JSON.stringify(name)} is no name of 1 to 256 bytes of UTF-8`);
      }
      if (name.startsWith(BUILT_IN)) throw new TypeError(`expose: ${name}: what begins with ${BUILT_IN} is the library's own`);
      if (this.functions.has(name)) throw new TypeError(`expose: ${name} is exposed already`);
    }
    for (const [name, entry] of found) this.functions.set(name, entry);
  }
}

/** What is wrong with a call of `method` that has `given` arguments, more than its function takes. */
export function tooManyArguments(method: string, { mostArguments }: Entry, given: number): string {
  const takes = mostArguments === 0 ? "no arguments" : `${mostArguments} argument${mostArguments === 1 ? "" : "s"}`;
  return `${method} takes ${takes}, and was given ${given}`;
}

function functionsOf(key: string, exposable: unknown): [string, Entry][] {
  if (typeof exposable === "function") {
    if (isClass(exposable)) throw new TypeError(`expose: ${key} is a class; expose an instance or its functions`);
    return [[key, entryOf(exposable, undefined)]];
  }
  if (typeof exposable !== "object" || exposable === null) {
    throw new TypeError(`expose: ${key} is ${exposable === null ? "null" : typeof exposable}, not a function or an object`);
  }
  const functions = isNamespace(exposable) ? ownFunctions(exposable) : methodsOfClass(exposable);
  if (functions.length === 0) throw new TypeError(`expose: ${key} has no public functions`);
  return functions.map(([name, entry]) => [`${key}.${name}`, entry]);
}

function isNamespace(object: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(object);
  return types.isModuleNamespaceObject(object) || prototype === null || prototype === Object.prototype;
}

function ownFunctions(object: object): [string, Entry][] {
  const functions: [string, Entry][] = [];
  // The object is its functions' `this`, as it is for who calls `object.name()`.
  const self = types.isModuleNamespaceObject(object) ? undefined : object;
  for (const [name, value] of Object.entries(object) as [string, unknown][]) {
    if (typeof value !== "function" || name.startsWith("_") || isClass(value)) continue;
    functions.push([name, entryOf(value, self)]);
  }
  return functions;
}

function methodsOfClass(instance: object): [string, Entry][] {
  const functions: [string, Entry][] = [];
  const prototype = Object.getPrototypeOf(instance) as object;
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
    // Through the descriptor: a getter must not run.
    const value: unknown = property.value;
    if (typeof value !== "function" || name === "constructor" || name.startsWith("_") || isClass(value)) continue;
    functions.push([name, entryOf(value, instance)]);
  }
  return functions;
}

function entryOf(callable: object, self: object | undefined): Entry {
  const exposed = callable as ExposedFunction;
  return { run: self === undefined ? exposed : exposed.bind(self), mostArguments: mostArgumentsOf(exposed) };
}

/** The beginning of `f(a, b) {`, `(a, b) =>` or `a =>`: nothing but names in the list, and nothing odd before it. */
const PLAIN_PARAMETERS = new RegExp(
  String.raw`^[^(=/"'\x60\[]*\(\s*(?:NAME(?:\s*,\s*NAME)*\s*,?\s*)?\)|^(?:async\s+)?NAME\s*=>`.replaceAll(
    "NAME",
    String.raw`[\p{ID_Start}$_][\p{ID_Continue}$]*`,
  ),
  "u",
);

/**
 * How many arguments a function can make use of; Infinity unless that is certain. `length` alone does not tell: it leaves
 * out what has a default, and rest parameters. The least cannot be known: nothing is left of TypeScript's `name?: string`.
 */
function mostArgumentsOf(callable: ExposedFunction): number {
  const source = Function.prototype.toString.call(callable);
  // "[native code]" is all that a built-in function shows, and a bound one.
  const isPlain = PLAIN_PARAMETERS.test(source) && !source.includes("arguments") && !source.includes("[native code]");
  return isPlain ? callable.length : Infinity;
}

function isClass(callable: object): boolean {
  return Function.prototype.toString.call(callable).startsWith("class");
}
