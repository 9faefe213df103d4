/** Which files stand behind modules: by that an import on the other side finds who runs a file (PROTOCOL.md section 7). */

import { readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

import { projectFolder } from "./project";

/** What is told of a module. Both paths are real; `project` is the one from this side's project folder, where it lies in it. */
export interface Source {
  key: string;
  file: string;
  project: string | null;
}

/**
 * The real path of a file, of which that or its URL is given; undefined where there is none. Of one that was compiled it is
 * that of its source, where that is there: its source map tells.
 */
export function pathOf(given: string): string | undefined {
  try {
    const file = realpathSync(given.startsWith("file:") ? fileURLToPath(given) : given);
    return /\.[cm]?js$/.test(file) ? (compiledFrom(file) ?? file) : file;
  } catch {
    return undefined;
  }
}

function compiledFrom(file: string): string | undefined {
  try {
    const { sourceRoot = "", sources } = JSON.parse(readFileSync(`${file}.map`, "utf8")) as { sourceRoot?: string; sources: string[] };
    const [source] = sources;
    // What was bundled has several.
    return sources.length === 1 && source !== undefined ? realpathSync(resolve(dirname(file), sourceRoot, source)) : undefined;
  } catch {
    return undefined;
  }
}

/** The real path of a file that need not be there, as long as its folder is. */
export function realPathOf(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return join(realpathSync(dirname(file)), basename(file));
  }
}

/** The file that a module in CommonJS was loaded from; of others Node does not tell it. */
export function fileOf(module: object): string | undefined {
  for (const loaded of Object.values(require.cache)) {
    if (loaded?.exports === module) return pathOf(loaded.filename);
  }
  return undefined;
}

export function sourceOf(key: string, file: string): Source {
  const folder = projectFolder();
  const real = folder === undefined ? undefined : pathOf(folder);
  const within = real !== undefined && file.startsWith(real.endsWith(sep) ? real : real + sep);
  return { key, file, project: within ? relative(real, file) : null };
}
