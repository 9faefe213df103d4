/** A Python process that is kept, and lines of JSON over its standard input and output. */

import { spawn } from "node:child_process";
import { once } from "node:events";

import { unwrap, wrap } from "../json_value";
import { InOrder } from "./in_order";
import type { Caller } from "./interface";
import { receiveLines } from "./lines";
import { pythonCommand, ROOT } from "./python_command";

export async function start(): Promise<Caller> {
  const [program, ...arguments_] = pythonCommand("-m", "bench.peers.stdio_callee");
  const child = spawn(program, arguments_, { cwd: ROOT, stdio: ["pipe", "pipe", "inherit"] });
  const answers = new InOrder();
  function fail(error: Error): void {
    answers.fail(error);
  }
  receiveLines(child.stdout, (line) => {
    answers.answer(unwrap(JSON.parse(line)));
  });
  child.on("error", fail);
  child.stdin.on("error", fail);
  child.on("close", (code, signal) => {
    fail(new Error(`the child has ended: ${signal ?? `exit code ${code ?? ""}`}`));
  });
  // The child says that it is ready as if it answered a call.
  await answers.next();
  return {
    call: (function_, argument) => {
      child.stdin.write(`${JSON.stringify([function_, wrap(argument)])}\n`);
      return answers.next();
    },
    stop: async () => {
      child.stdin.end();
      if (child.exitCode === null && child.signalCode === null) await once(child, "close");
    },
  };
}
