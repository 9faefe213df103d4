/** The Python that a caller in Node starts. */

import path from "node:path";

import { calleeCommand } from "../pinning";

export const ROOT = path.join(__dirname, "..", "..");

/** The Python with those arguments, on the core that is the callee's. */
export function pythonCommand(...arguments_: string[]): [program: string, ...arguments_: string[]] {
  const python = process.env["BENCH_PYTHON"] ?? path.join(ROOT, ".venv", "bin", "python");
  const [program = python, ...rest] = calleeCommand([python, ...arguments_]);
  return [program, ...rest];
}
