/** The packages that embed CPython in Node, as bench/native_peers.py has built them. */

import { createRequire } from "node:module";
import path from "node:path";

const TOOLS = path.join(__dirname, "node_modules", ".native-python", "bin");

/** A package, with the Python that it was built for the first to be found: both look for theirs on the PATH. */
export function embedding(name: string): unknown {
  process.env["PATH"] = [TOOLS, process.env["PATH"]].join(path.delimiter);
  return createRequire(__filename)(name) as unknown;
}
