/** Where this package is, and its version. */

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The package's folder: the compiled files are in `dist/`, in tests elsewhere below it. */
export const packageRoot = findRoot(__dirname);

/** The library's version, e.g. `"0.1.0"`. */
export const version = (JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string }).version;

function findRoot(directory: string): string {
  if (existsSync(join(directory, "package.json"))) return directory;
  const parent = dirname(directory);
  if (parent === directory) throw new Error(`no package.json above ${__dirname}`);
  return findRoot(parent);
}
