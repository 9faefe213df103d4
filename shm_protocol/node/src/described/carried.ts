/** `ml.py.json`: a description that is carried to where nothing can read the module's source. Python's `described/carried.py` writes it. */

import { readFileSync } from "node:fs";

import type { ModuleDescription } from "./description";

/** Behind the name of the source, `.py` and all. */
export const ENDING = ".json";

/** Of another layout a description is of no use. */
const LAYOUT = 1;

/** What is carried of this source; undefined where nothing is. @throws Error for what no description is that this version reads. */
export function readCarried(source: string): ModuleDescription | undefined {
  const place = source + ENDING;
  let text: string;
  try {
    text = readFileSync(place, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const found = parsed(text);
  if (found?.layout === LAYOUT && typeof found.module === "object") return { ...found.module, file: source };
  throw new Error(
    `${place} is no description that this version of @shm-polyglot/protocol reads: write it again with ` +
      "`shm-polyglot types --carried`, where its source is",
  );
}

function parsed(text: string): { layout?: unknown; module?: ModuleDescription } | null {
  try {
    return JSON.parse(text) as { layout?: unknown; module?: ModuleDescription } | null;
  } catch {
    return null;
  }
}
