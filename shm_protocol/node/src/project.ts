/** The folder of the project that a process belongs to. It is told to the peer for people: nothing is decided by it. */

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

export const MAX_PROJECT_CHARACTERS = 256;

const MANIFESTS = ["package.json", "pyproject.toml"];

/**
 * The nearest folder with a `package.json` or a `pyproject.toml`, from the working folder up to below the home folder; the
 * working folder where there is none. Undefined where that has been removed. Of a long one the end is told.
 */
export function projectFolder(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  let working: string;
  try {
    working = process.cwd();
  } catch {
    return undefined;
  }
  const told = Array.from(nearest(working, environment["HOME"]).toWellFormed());
  return told.length <= MAX_PROJECT_CHARACTERS ? told.join("") : `…${told.slice(1 - MAX_PROJECT_CHARACTERS).join("")}`;
}

function nearest(working: string, home: string | undefined): string {
  for (let folder = working; folder !== home; folder = dirname(folder)) {
    if (MANIFESTS.some((name) => existsSync(join(folder, name)))) return folder;
    if (folder === dirname(folder)) break;
  }
  return working;
}

/** A project, or a name, that somebody else has told: in quotes, and printable in any terminal. */
export function shown(told: string): string {
  // Whatever moves the cursor, hides or turns text round: other than what is drawn.
  return JSON.stringify(told).replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu, (character) =>
    Array.from(character.split(""), (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join(""));
}
