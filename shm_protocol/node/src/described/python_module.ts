/** What a Python module has: its own Python reads the source, without running it; else a description that is carried tells. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

import { notStartable, pythonFor, pythonMissing } from "../python_command";
import { readCarried } from "./carried";
import type { ModuleDescription } from "./description";

const PROGRAM = "import sys; sys.path.append(sys.argv[1]); from described.python_source import main; main()";
const ENOUGH_BYTES = 64 * 1024 * 1024;

/**
 * Describe a file.
 *
 * @throws SyntaxError for what Python cannot read, Error for a file that is not there or a Python that cannot be run, where
 * no description is carried.
 */
export function describePython(file: string): ModuleDescription {
  const told = existsSync(file) ? readByPython(file) : new Error(`there is no file ${file}`);
  if (!(told instanceof Error)) return told;
  const carried = readCarried(file);
  if (carried === undefined) throw told;
  return carried;
}

/** What it tells, or why no Python can be run. */
function readByPython(file: string): ModuleDescription | Error {
  const python = pythonFor(file);
  const args = ["-P", "-S", "-E", "-c", PROGRAM, folderOfDescriber(), file];
  const { status, signal, stdout, stderr, error } = spawnSync(python, args, { encoding: "utf8", maxBuffer: ENOUGH_BYTES, stdio: ["ignore", "pipe", "pipe"] });
  if (error !== undefined) return new Error(notStartable(python, error));
  const told = status === 0 ? parsed(stdout) : undefined;
  if (told !== undefined) return told;
  const said = stderr.trim();
  if (said.startsWith("SyntaxError: ")) throw new SyntaxError(said.slice("SyntaxError: ".length));
  if (said.includes("Unknown option: -P")) return new Error(pythonMissing(python, "it is older than 3.11"));
  if (status === 0 || said === "") return new Error(pythonMissing(python, `it answers as no Python does, with ${signal ?? `exit code ${status ?? "unknown"}`}`));
  throw new Error(`${file} cannot be described by the Python ${python}: ${said}`);
}

/** Undefined: some other program has written it. */
function parsed(written: string): ModuleDescription | undefined {
  try {
    return JSON.parse(written) as ModuleDescription;
  } catch {
    return undefined;
  }
}

/** The folder that the package `described` lies in: in this package, in a checkout in Python's. */
function folderOfDescriber(): string {
  const root = join(__dirname, "..", "..");
  const found = [join(root, "python"), join(root, "..", "python", "shm_protocol"), join(root, "..", "..", "..", "python", "shm_protocol")]
    .find((folder) => existsSync(join(folder, "described", "python_source.py")));
  if (found === undefined) throw new Error(`the folder python is missing in ${dirname(root)}: install @shm-polyglot/protocol again`);
  return found;
}
