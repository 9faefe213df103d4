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

export class ExposedFunctions {
  private readonly functions = new Map<string, ExposedFunction>();

  /** The function of that name, or undefined. */
  get(name: string): ExposedFunction | undefined {
    return this.functions.get(name);
  }

  /** The names, sorted. */
  names(): string[] {
    return [...this.functions.keys()].sort();
  }

  /**
   * Expose functions. A function is exposed under its key; of a module or plain object its own functions whose names
   * do not begin with `_`, as `key.name`; of an instance of a class the methods of that class, bound to the instance.
   *
   * @throws TypeError for what has nothing to expose, or a name that is taken or cannot be called. Then nothing has
   * been exposed.
   */
  add(exposables: Exposables): void {
    const found: [string, ExposedFunction][] = [];
    for (const [key, exposable] of Object.entries(exposables)) found.push(...functionsOf(key, exposable));
    for (const [name] of found) {
      if (!isMethodName(name) || !name.isWellFormed()) {
        throw new TypeError(`expose: ${JSON.stringify(name)} is no name of 1 to 256 bytes of UTF-8`);
      }
      if (this.functions.has(name)) throw new TypeError(`expose: ${name} is exposed already`);
    }
    for (const [name, exposed] of found) this.functions.set(name, exposed);
  }
}

function functionsOf(key: string, exposable: unknown): [string, ExposedFunction][] {
  if (typeof exposable === "function") {
    if (isClass(exposable)) throw new TypeError(`expose: ${key} is a class; expose an instance or its functions`);
    return [[key, exposable as ExposedFunction]];
  }
  if (typeof exposable !== "object" || exposable === null) {
    throw new TypeError(`expose: ${key} is ${exposable === null ? "null" : typeof exposable}, not a function or an object`);
  }
  const functions = isNamespace(exposable) ? ownFunctions(exposable) : methodsOfClass(exposable);
  if (functions.length === 0) throw new TypeError(`expose: ${key} has no public functions`);
  return functions.map(([name, exposed]) => [`${key}.${name}`, exposed]);
}

function isNamespace(object: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(object);
  return types.isModuleNamespaceObject(object) || prototype === null || prototype === Object.prototype;
}

function ownFunctions(object: object): [string, ExposedFunction][] {
  const functions: [string, ExposedFunction][] = [];
  for (const [name, value] of Object.entries(object) as [string, unknown][]) {
    if (typeof value !== "function" || name.startsWith("_") || isClass(value)) continue;
    // The object is its functions' `this`, as it is for who calls `object.name()`.
    functions.push([name, bound(value, object)]);
  }
  return functions;
}

function methodsOfClass(instance: object): [string, ExposedFunction][] {
  const functions: [string, ExposedFunction][] = [];
  const prototype = Object.getPrototypeOf(instance) as object;
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
    // Through the descriptor: a getter must not run.
    const value: unknown = property.value;
    if (typeof value !== "function" || name === "constructor" || name.startsWith("_") || isClass(value)) continue;
    functions.push([name, bound(value, instance)]);
  }
  return functions;
}

function bound(callable: object, object: object): ExposedFunction {
  const exposed = callable as ExposedFunction;
  return types.isModuleNamespaceObject(object) ? exposed : exposed.bind(object);
}

function isClass(callable: object): boolean {
  return Function.prototype.toString.call(callable).startsWith("class");
}
