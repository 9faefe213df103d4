/** node-calls-python: CPython's libpython in the Node process, by its synchronous API. It copies every value. */

import type { FunctionName } from "../workload";
import { embedding } from "./embedded_python";
import { inDirection, ROOT, type Stay } from "./in_node";
import type { Caller } from "./interface";

// What is used of the package, which may not be built.
interface Handle {
  readonly handler: string;
}

interface Interpreter {
  addImportPath(folder: string): void;
  importSync(module: string, allowReimport: boolean): Handle;
  createSync(module: Handle, constructor: string): Handle;
  callSync(of: Handle, function_: string, ...args: unknown[]): unknown;
}

export function start(): Promise<Caller> {
  const { interpreter: python } = embedding("node-calls-python") as { interpreter: Interpreter };
  python.addImportPath(ROOT);
  const half = python.importSync("bench.peers.in_node", false);
  const functions = python.createSync(half, "functions");

  function call(name: FunctionName, argument: unknown): unknown {
    const answer = python.callSync(functions, name, argument);
    // None comes as undefined, bytes as an ArrayBuffer.
    if (answer === undefined) return null;
    return answer instanceof ArrayBuffer ? new Uint8Array(answer) : answer;
  }

  return Promise.resolve(
    inDirection(
      { call, stop: () => undefined },
      {
        measure: (function_, case_, calls, seconds) =>
          python.callSync(half, "measure", function_, case_, calls, seconds) as Stay,
        clockUs: () => python.callSync(half, "clock_us") as number,
      },
    ),
  );
}
