/** What can be exposed, and which functions of it then are (PROTOCOL.md section 9). */

import { types } from "node:util";

import { describe } from "./thrown";

/** A function that the other side may call. */
// `never` parameters: any function is one of these, and only whoever calls it knows what it passes.
export type ExposedFunction = (...args: never[]) => unknown;

/** A module's namespace, an object with functions, an instance of a class, or a function. */
export type Exposable = object | ExposedFunction;

/** What is exposed, by its name for the other side: `{ typescript_utils }` exposes `typescript_utils.slugify` and so on. */
export type Exposables = Readonly<Record<string, Exposable>>;

/** What is exposed under one name: a function and its `this`. */
export interface Entry {
  readonly run: ExposedFunction;
  readonly self: object | undefined;
}

/** Of an object: a Proxy may have a chain of prototypes that never ends. */
const MAX_CLASSES = 1000;

/** The prototypes of the language's own classes, and the platform's global ones, of this realm: what they define is nobody's to expose. */
const BUILT_IN: ReadonlySet<object> = new Set(builtInPrototypes());

function* builtInPrototypes(): Generator<object> {
  const generators = [function* () { /* none */ }, async function* () { /* none */ }].map(({ prototype }) => Object.getPrototypeOf(prototype) as object);
  // What a program has assigned to the global object is enumerable.
  const globals = Object.values(Object.getOwnPropertyDescriptors(globalThis)).filter((property) => property.enumerable === false);
  const classes = globals.map(({ value }) => (typeof value === "function" ? (value as { prototype?: unknown }).prototype : undefined));
  for (const prototype of [...generators, ...classes]) {
    for (let holder = prototype; typeof holder === "object" && holder !== null; holder = Object.getPrototypeOf(holder)) yield holder;
  }
}

/** What is exposed of `exposable` under `key`, with its full names. @throws TypeError where that is nothing. */
export function functionsOf(key: string, exposable: unknown): [string, Entry][] {
  if (typeof exposable === "function") {
    if (isClass(exposable)) throw new TypeError(`expose: ${key} is a class; expose an instance or its functions`);
    return [[key, { run: exposable as ExposedFunction, self: undefined }]];
  }
  if (typeof exposable !== "object" || exposable === null) {
    throw new TypeError(`expose: ${key} is ${exposable === null ? "null" : typeof exposable}, not a function or an object`);
  }
  // An object is its functions' `this`, as it is for whoever calls `object.name()`; a module is not.
  const isModule = isModuleLike(exposable);
  const found = isModule ? bindingsOf(key, exposable) : methodsOf(key, exposable);
  const functions: [string, Entry][] = [];
  for (const [name, value] of found) {
    if (typeof value !== "function" || name.startsWith("_") || name === "constructor" || isClass(value)) continue;
    functions.push([`${key}.${name}`, { run: value as ExposedFunction, self: isModule ? undefined : exposable }]);
  }
  if (isModule) functions.push(...membersOf(key, [...found]));
  if (functions.length === 0) throw new TypeError(`expose: ${key} has no public functions`);
  return functions;
}

/**
 * A module's classes, and the methods of its objects: of those that are written as they are, and of instances of classes that it exports.
 * What else is in a module, such as a connection to a database, is not meant.
 */
function membersOf(key: string, exported: [string, unknown][]): [string, Entry][] {
  const classes = exported.map(([, value]) => (typeof value === "function" && isClass(value) ? (value.prototype as unknown) : undefined));
  const plain: unknown[] = [Object.prototype, null];
  const members: [string, Entry][] = [];
  for (const [name, value] of exported) {
    if (typeof value === "function" && isClass(value) && !name.startsWith("_")) members.push(...classOf(`${key}.${name}`, value));
    if (typeof value !== "object" || value === null || name.startsWith("_") || types.isProxy(value)) continue;
    const prototype: unknown = Object.getPrototypeOf(value);
    if (!plain.includes(prototype) && !classes.includes(prototype)) continue;
    for (const [method, run] of methodsOf(`${key}.${name}`, value)) {
      if (typeof run !== "function" || method.startsWith("_") || method === "constructor" || isClass(run)) continue;
      members.push([`${key}.${name}.${method}`, { run: run as ExposedFunction, self: value }]);
    }
  }
  return members;
}

/** A class's constructor, and its static methods, also those that it inherits of others; of errors there is none, because they are thrown and not kept. */
function classOf(key: string, of: object): [string, Entry][] {
  if (types.isProxy(of) || (of as { prototype: unknown }).prototype instanceof Error) return [];
  const construct = (...args: never[]): unknown => Reflect.construct(of as new (...args: never[]) => unknown, args);
  const found: [string, Entry][] = [[key, { run: construct, self: undefined }]];
  const nearest = new Map<string, unknown>();
  for (let holder: unknown = of; isOwnClass(holder); holder = Object.getPrototypeOf(holder)) {
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(holder))) {
      if (!nearest.has(name)) nearest.set(name, property.value as unknown);
    }
  }
  for (const [name, value] of nearest) {
    if (typeof value !== "function" || name.startsWith("_") || isClass(value)) continue;
    found.push([`${key}.${name}`, { run: value as ExposedFunction, self: of }]);
  }
  return found;
}

/** A class, but none of the language's own. */
function isOwnClass(holder: unknown): holder is object {
  if (typeof holder !== "function" || types.isProxy(holder) || !isClass(holder)) return false;
  return !BUILT_IN.has(holder.prototype as object);
}

/** What is nearest under each name, from the object up its classes but the built-in ones, without running a getter. */
export function methodsOf(key: string, object: object): Map<string, unknown> {
  const found = new Map<string, unknown>();
  let classes = 0;
  for (let holder: object | null = object; holder !== null; holder = Object.getPrototypeOf(holder) as object | null) {
    if (isRootPrototype(holder)) break;
    if (++classes > MAX_CLASSES) throw new TypeError(`expose: ${key} has a chain of more than ${MAX_CLASSES} prototypes`);
    if (BUILT_IN.has(holder)) continue;
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(holder))) {
      // Methods of a class are not enumerable; a field that is not has been hidden.
      const isHidden = holder === object && property.enumerable !== true;
      if (!found.has(name)) found.set(name, isHidden ? undefined : (property.value as unknown));
    }
  }
  return found;
}

/** `Object.prototype`, of whatever realm. */
function isRootPrototype(holder: object): boolean {
  if (holder === Object.prototype) return true;
  return Object.getPrototypeOf(holder) === null && Object.hasOwn(holder, "isPrototypeOf") && Object.hasOwn(holder, "hasOwnProperty");
}

/**
 * A module's namespace, or what compilers and bundlers make of one: an object marked `__esModule`, or one that is nothing
 * but getters that cannot be redefined. These getters are the module's names, and there is no other way to what they stand for.
 */
function isModuleLike(object: object): boolean {
  if (types.isModuleNamespaceObject(object)) return true;
  if (types.isProxy(object)) return false;
  const prototype: unknown = Object.getPrototypeOf(object);
  if (prototype !== null && prototype !== Object.prototype) return false;
  if (Object.getOwnPropertyDescriptor(object, "__esModule")?.value === true) return true;
  // Somebody's object that has been frozen or sealed: bundlers leave theirs open, or without a prototype.
  if (prototype !== null && !Object.isExtensible(object)) return false;
  const properties = Object.values(Object.getOwnPropertyDescriptors(object));
  return properties.length > 0 && properties.every(isBinding);
}

function isBinding(property: PropertyDescriptor): boolean {
  return property.get !== undefined && property.set === undefined && property.configurable === false && property.enumerable === true;
}

/** @throws TypeError for a module that is still being loaded. */
function bindingsOf(key: string, module: object): [string, unknown][] {
  return Object.keys(module).map((name) => {
    try {
      return [name, (module as Record<string, unknown>)[name]];
    } catch (error) {
      throw new TypeError(`expose: ${key}.${name} has no value yet: expose a module once it is loaded: ${describe(error).split("\n", 1)[0]}`, {
        cause: error,
      });
    }
  });
}

/**
 * A class cannot be called. Its `prototype` cannot be replaced, a function's can; in a frozen object neither can, and one
 * with methods is then taken for a class.
 */
export function isClass(callable: object): boolean {
  if (types.isGeneratorFunction(callable)) return false;
  const property = Object.getOwnPropertyDescriptor(callable, "prototype");
  if (property === undefined || property.writable !== false) return false;
  const prototype: unknown = property.value;
  if (!Object.isFrozen(callable) || typeof prototype !== "object" || prototype === null) return true;
  return Object.getPrototypeOf(prototype) !== Object.prototype || Reflect.ownKeys(prototype).length > 1;
}
