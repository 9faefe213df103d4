/** What modules import that `shm-polyglot types --stubs` has written, for tools that know no import hooks. */

import "./node_version";

import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import type { ModuleDescription } from "./described/description";
import { stubsOf } from "./stub_modules";

/**
 * The stubs of a Python file. A bundler may have moved the module that asks for them, so the file is looked for beside it
 * first, and then from the folder in which the program runs.
 *
 * @param module the URL of the generated module; undefined where a bundler has made CommonJS of it.
 * @param beside the Python file, from there.
 * @param fromFolder the Python file, from the folder in which the module was generated.
 * @throws Error where it is at neither place.
 */
export function generatedStubs(module: string | undefined, beside: string, fromFolder: string, described: ModuleDescription): Record<string, unknown> {
  const places = [resolve(fromFolder)];
  if (module?.startsWith("file:") === true) places.unshift(resolve(dirname(fileURLToPath(module)), beside));
  const file = places.find((place) => existsSync(place));
  if (file === undefined) {
    throw new Error(`${fromFolder} is at none of ${places.join(", ")}: start the program in the folder in which \`shm-polyglot types --stubs\` has run`);
  }
  return stubsOf(file, { ...described, file });
}
