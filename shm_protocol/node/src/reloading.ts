/**
 * What a child that watches does: modules whose files have been edited are loaded again, and calls and connection stay.
 *
 * Only children do so, and only with SHM_POLYGLOT_WATCH=1. What fails when it is loaded again leaves all as it was.
 */

import { statSync } from "node:fs";
import { createRequire } from "node:module";
import { sep } from "node:path";

/** An editor is done with a file when two looks find the same. */
const LOOK_EVERY_MS = 200;

const { cache } = createRequire(__filename);

/** What is looked at, and loaded again. */
export interface Reloadable {
  /** The files that have been loaded. */
  files(): string[];
  /** Load some again. Rejects with what one of them throws, and then all are as they were. */
  reload(files: readonly string[]): Promise<void>;
}

/** Looks at the files that have been loaded, and at those that they require. */
export class FileWatch {
  private readonly known = new Map<string, string>();
  private readonly seen = new Map<string, string>();
  private isLoading = false;

  constructor(private readonly modules: Reloadable, private readonly tell: (line: string) => void) {}

  /** Begin. It does not keep the process running. */
  start(): void {
    setInterval(() => {
      this.look();
      const changed = this.changed();
      if (changed.size > 0 && !this.isLoading) void this.loadAgain(changed);
    }, LOOK_EVERY_MS).unref();
  }

  /** Know what has just been loaded as it is now. */
  look(): void {
    for (const file of this.modules.files().flatMap((loaded) => [...requiredBy(loaded)])) {
      const state = stateOf(file);
      if (state !== undefined && !this.known.has(file)) this.known.set(file, state);
    }
  }

  private changed(): Set<string> {
    const changed = new Set<string>();
    if (this.isLoading) return changed;
    for (const [file, known] of this.known) {
      const state = stateOf(file);
      // It is away while an editor puts another in its place.
      if (state === undefined || state === known) {
        this.seen.delete(file);
      } else if (this.seen.get(file) === state) {
        this.seen.delete(file);
        this.known.set(file, state);
        changed.add(file);
      } else {
        this.seen.set(file, state);
      }
    }
    return changed;
  }

  private async loadAgain(changed: ReadonlySet<string>): Promise<void> {
    const told = [...changed].sort().join(", ");
    this.isLoading = true;
    const taken = takeFromCache(changed);
    try {
      await this.modules.reload(this.modules.files().filter((file) => taken.has(file) || changed.has(file)));
      this.tell(`${told}: loaded again`);
    } catch (error) {
      for (const [file, module] of taken) cache[file] = module;
      this.tell(`${shown(error)}\nshm-polyglot: ${told}: not loaded again, goes on as it was`);
    } finally {
      this.isLoading = false;
    }
  }
}

/** A file and what it requires, however far, but for installed packages. Of an ECMAScript module nobody says what it imports. */
function requiredBy(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found;
  found.add(file);
  for (const child of cache[file]?.children ?? []) {
    if (!child.filename.includes(`${sep}node_modules${sep}`)) requiredBy(child.filename, found);
  }
  return found;
}

/** These modules, and all that require them, are to be loaded anew. Gives what they were. */
function takeFromCache(changed: ReadonlySet<string>): Map<string, NodeJS.Module> {
  const taken = new Map<string, NodeJS.Module>();
  for (const [file, module] of Object.entries(cache)) {
    if (module === undefined) continue;
    if ([...requiredBy(file)].some((required) => changed.has(required))) taken.set(file, module);
  }
  for (const file of taken.keys()) Reflect.deleteProperty(cache, file);
  return taken;
}

/** When it was changed, as it says and in truth, for a tool may set the first; its size, and which it is. */
function stateOf(file: string): string | undefined {
  const status = statSync(file, { bigint: true, throwIfNoEntry: false });
  return status && `${status.mtimeNs} ${status.ctimeNs} ${status.size} ${status.ino}`;
}

function shown(error: unknown): string {
  return error instanceof Error ? (error.stack ?? String(error)) : String(error);
}
