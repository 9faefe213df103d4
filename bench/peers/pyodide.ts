/** Pyodide: CPython in WebAssembly. Values are converted as its documentation advises, in_pyodide.py has how. */

import { createRequire } from "node:module";

import type { FunctionName } from "../workload";
import { inDirection, ROOT, type Half } from "./in_node";
import type { Caller } from "./interface";

// What is used of the package, whose own types are `any` here.
interface Proxy {
  destroy(): void;
}

type PythonFunction = (argument: unknown) => unknown;

interface InNode extends Proxy {
  clock_us: () => number;
}

interface InPyodide extends Proxy {
  function_named: (name: string) => PythonFunction;
  measure: Half["measure"];
}

interface Pyodide {
  mountNodeFS(folder: string, hostFolder: string): void;
  pyimport(name: "sys"): Proxy & { path: Proxy & { append(folder: string): void } };
  pyimport(name: "bench.peers.in_node"): InNode;
  pyimport(name: "bench.peers.in_pyodide"): InPyodide;
  toPy(value: object): Proxy;
}

const { loadPyodide } = createRequire(__filename)("pyodide") as { loadPyodide: () => Promise<Pyodide> };

const PROJECT = "/project";

export async function start(): Promise<Caller> {
  const pyodide = await loadPyodide();
  pyodide.mountNodeFS(PROJECT, ROOT);
  pyodide.pyimport("sys").path.append(PROJECT);
  const python = pyodide.pyimport("bench.peers.in_pyodide");
  const { measure, function_named } = python;
  const functions = new Map<FunctionName, PythonFunction>();

  function functionNamed(name: FunctionName): PythonFunction {
    const known = functions.get(name) ?? function_named(name);
    functions.set(name, known);
    return known;
  }

  function call(name: FunctionName, argument: unknown): unknown {
    const function_ = functionNamed(name);
    // None is TypeScript's undefined.
    if (argument === null) return function_(undefined) ?? null;
    if (typeof argument !== "object") return function_(argument);
    const converted = pyodide.toPy(argument);
    try {
      return function_(converted);
    } finally {
      converted.destroy();
    }
  }

  return inDirection(
    { call, stop: () => undefined },
    { measure, clockUs: () => pyodide.pyimport("bench.peers.in_node").clock_us() },
  );
}
