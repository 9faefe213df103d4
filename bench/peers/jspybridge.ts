/** JSPyBridge, from Node: `pythonia` starts Python and gives its objects as proxies, functions too. */

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { unwrap, wrap } from "../json_value";
import type { FunctionName } from "../workload";
import type { Caller } from "./interface";
import { pythonCommand, ROOT } from "./python_command";

/** What is used of pythonia: its own types say `any`. */
interface Pythonia {
  python: {
    (module: string): Promise<Callee>;
    setFastMode(on: boolean): void;
    exit(): void;
  };
  com: { proc: ChildProcess };
}

interface Callee {
  FUNCTIONS: Promise<Record<FunctionName, (argument: unknown) => Promise<unknown>>>;
  call_with_bytes(function_: string, argument: unknown): Promise<object>;
}

/** A program that is Python on the callee's core: JSPyBridge takes no arguments for it. */
function pythonProgram(address: string): string {
  const program = path.join(address, "python");
  const words = pythonCommand().map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  fs.writeFileSync(program, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`, { mode: 0o755 });
  return program;
}

export async function start(address: string): Promise<Caller> {
  process.env["PYTHON_BIN"] = pythonProgram(address);
  process.env["PYTHONPATH"] = ROOT;
  // It starts Python when it is loaded.
  const { python, com } = createRequire(__filename)("pythonia") as Pythonia;
  // Without it, Python would send the `repr` of every object too, for console.log.
  python.setFastMode(true);
  const callee = await python("bench.peers.jspybridge_callee");
  const functions = await callee.FUNCTIONS;
  return {
    call: async (function_, argument) => {
      // Bytes would come as a proxy for an object that stays here: nothing of them would have been sent.
      if (argument instanceof Uint8Array) return unwrap(await valueOf(callee.call_with_bytes(function_, wrap(argument))));
      return valueOf(functions[function_](argument));
    },
    stop: async () => {
      const { proc } = com;
      python.exit();
      if (proc.exitCode === null && proc.signalCode === null) await once(proc, "exit");
    },
  };
}

/** An object comes as a proxy, which is a function: to have its value is one message more there and back. */
async function valueOf(answer: Promise<unknown>): Promise<unknown> {
  const value = await answer;
  return typeof value === "function" ? value.valueOf() : value;
}
