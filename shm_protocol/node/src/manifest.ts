/** The package.json that Node goes by for a file. */

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Of the nearest folder, from the file's upward; undefined where there is none that can be read. */
export function manifestOf(file: string): Record<string, unknown> | undefined {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    try {
      const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as unknown;
      return typeof manifest === "object" && manifest !== null ? (manifest as Record<string, unknown>) : undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || folder === dirname(folder)) return undefined;
    }
  }
}
