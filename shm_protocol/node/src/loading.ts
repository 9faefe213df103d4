/** `load`: a Python file from a program, without an import. */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { describePython } from "./described/python_module";
import { RemoteModule } from "./remote_module";
import { makeStubs } from "./stubs";

/** A URL, as `new URL` makes one: its type need not be known to the project. */
export interface FileUrl {
  /** E.g. `"file:///app/ml.py"`. */
  readonly href: string;
}

/**
 * Load a Python file, and give what an import of it gives: its functions, objects and constants by name. It runs in a
 * Python child of this program, which is started where there is none yet, and ends with the program.
 *
 * ```ts
 * const ml = await load<typeof import("./ml.py")>("./ml.py");
 * await ml.predict("I love this");
 * ```
 *
 * @typeParam T what the file has, as its declarations tell it.
 * @param file a path from the current folder, or a URL: `new URL("./ml.py", import.meta.url)` is one beside this file.
 * @throws RemoteError, with Python's stack, for what the file raises when it is imported. SyntaxError for what is no Python.
 * PeerUnavailable where no Python can be run that has shm_protocol. Error for a file that is not there.
 */
export async function load<T = Record<string, (...args: unknown[]) => Promise<unknown>>>(file: string | FileUrl): Promise<T> {
  const given = typeof file === "string" ? file : file.href;
  const path = given.startsWith("file:") ? fileURLToPath(given) : resolve(given);
  if (!existsSync(path)) {
    throw new Error(`${path} is not there: load takes a path from the current folder, or new URL("./ml.py", import.meta.url)`);
  }
  const module = new RemoteModule(path, true);
  const stubs = makeStubs(describePython(path), module);
  await module.load();
  return stubs as T;
}
