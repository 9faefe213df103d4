/**
 * What the other side may call: a flat table from name to function, computed once when something is exposed. A call
 * looks its name up and nothing else: no attribute is traversed and nothing is imported by name.
 */

import { type Entry, type Exposables, type ExposedFunction, functionsOf } from "./exposables";
import { isMethodName, MAX_EXPOSED } from "./frames";
import { checkIsObject } from "./options";
import { fileOf, pathOf, type Source, sourceOf } from "./sources";

/** What begins so is the library's own. */
const BUILT_IN = "shm_polyglot.";

export class Exposed {
  private readonly functions = new Map<string, Entry>();
  /** Without the library's own. */
  private count = 0;
  /** What may be modules, by their keys. */
  private readonly modules = new Map<string, object>();
  private readonly files = new Map<string, string>();

  /** The entry of that name, or undefined. */
  get(name: string): Entry | undefined {
    return this.functions.get(name);
  }

  /** The names of what was added, sorted. */
  names(): string[] {
    return [...this.functions.keys()].filter((name) => !name.startsWith(BUILT_IN)).sort();
  }

  /** All names, the library's own too, in no order. */
  everyName(): Iterable<string> {
    return this.functions.keys();
  }

  /** Expose a function of the library's own. `name` is without the prefix. */
  addBuiltIn(name: string, run: ExposedFunction): void {
    this.functions.set(BUILT_IN + name, { run, self: undefined });
  }

  /** Which files stand behind the modules that are exposed. */
  sources(): Source[] {
    const found: Source[] = [];
    for (const [key, module] of this.modules) {
      const file = this.files.get(key) ?? fileOf(module);
      if (file !== undefined) found.push(sourceOf(key, file));
    }
    return found;
  }

  /** Say which files stand behind keys. @throws TypeError for one that is not exposed, and a file that is not there. */
  nameFiles(files: Readonly<Record<string, string>>): void {
    for (const [key, given] of Object.entries(files)) {
      const file = pathOf(given);
      if (file === undefined) throw new TypeError(`files: ${key}: there is no file ${given}`);
      if (!this.modules.has(key)) throw new TypeError(`files: ${key} is not exposed`);
      this.files.set(key, file);
    }
  }

  /**
   * Expose functions. A function is exposed under its key. Of an object, as `key.name`: its own enumerable properties that
   * are functions, and the methods of its class and of those that it extends, down to but without Object's own; where a
   * name is defined more than once the nearest counts, whatever it is. Left out are names that begin with `_`,
   * `constructor`, classes, symbols, and accessors, which are never run.
   *
   * @throws TypeError for what has nothing to expose, for a name that is taken or cannot be called, and for more than
   * {@link MAX_EXPOSED} functions. Then nothing has been exposed.
   */
  add(exposables: Exposables): void {
    this.exchange(undefined, exposables);
  }

  /** The same in place of what was exposed under `key`. @throws as add */
  exchange(key: string | undefined, exposables: Exposables): void {
    const old = key === undefined ? [] : this.names().filter((name) => name === key || name.startsWith(`${key}.`));
    const isOld = new Set(old);
    const found: [string, Entry][] = [];
    checkIsObject("expose", exposables);
    for (const [own, exposable] of Object.entries(exposables)) found.push(...functionsOf(own, exposable));
    for (const [name] of found) {
      if (!isMethodName(name) || !name.isWellFormed()) {
        throw new TypeError(`expose: ${JSON.stringify(name)}: a name must be 1 to 256 bytes of UTF-8`);
      }
      if (name.startsWith(BUILT_IN)) throw new TypeError(`expose: ${name}: what begins with ${BUILT_IN} is the library's own`);
      if (this.functions.has(name) && !isOld.has(name)) throw new TypeError(`expose: ${name} is exposed already`);
    }
    const count = this.count + found.length - old.length;
    if (count > MAX_EXPOSED) throw new TypeError(`expose: ${count} functions: at most ${MAX_EXPOSED} are allowed`);
    this.count = count;
    for (const name of old) this.functions.delete(name);
    for (const [name, entry] of found) this.functions.set(name, entry);
    for (const [own, exposable] of Object.entries(exposables)) {
      if (typeof exposable === "object") this.modules.set(own, exposable);
    }
  }
}
