/** Which Python runs a file. */

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

import { ofStart } from "./transports/shortages";

/**
 * `$SHM_POLYGLOT_PYTHON`, else that of the virtual environment that is active (`$VIRTUAL_ENV`), else of the nearest folder
 * `.venv` from the file upward, else `python3`.
 */
export function pythonFor(file: string, environment: NodeJS.ProcessEnv = process.env): string {
  const asked = environment["SHM_POLYGLOT_PYTHON"];
  if (asked) return asked;
  const active = environment["VIRTUAL_ENV"];
  if (active) {
    const python = join(active, "bin", "python");
    if (existsSync(python)) return python;
  }
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    const python = join(folder, ".venv", "bin", "python");
    if (existsSync(python)) return python;
    if (folder === dirname(folder)) return "python3";
  }
}

/** What to do where a Python could not be started. */
export function notStartable(python: string, error: Error): string {
  const shortage = ofStart(error);
  return shortage === undefined ? pythonMissing(python, error.message) : `the Python ${python} cannot be started: ${shortage}`;
}

/** What to do where a Python cannot be run. */
export function pythonMissing(python: string, why: string): string {
  return `the Python ${python} cannot be run (${why}): install Python 3.11 or newer, or set SHM_POLYGLOT_PYTHON to one`;
}
