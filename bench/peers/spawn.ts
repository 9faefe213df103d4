/** A Python process for every call: function and argument as JSON on its standard input, the answer on its output. */

import { spawn } from "node:child_process";
import path from "node:path";

import { unwrap, wrap } from "../json_value";
import type { Caller } from "./interface";
import { pythonCommand } from "./python_command";

const [program, ...arguments_] = pythonCommand("-I", "-S", path.join(__dirname, "spawn_callee.py"));

export function start(): Promise<Caller> {
  return Promise.resolve({
    call: (function_, argument) =>
      new Promise((resolve, reject) => {
        const child = spawn(program, arguments_, { stdio: ["pipe", "pipe", "inherit"] });
        const chunks: Buffer[] = [];
        child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
        child.on("error", reject);
        child.stdin.on("error", reject);
        child.on("close", (code, signal) => {
          if (code === 0) resolve(unwrap(JSON.parse(Buffer.concat(chunks).toString())));
          else reject(new Error(`the child has ended: ${signal ?? `exit code ${code ?? ""}`}`));
        });
        child.stdin.end(JSON.stringify([function_, wrap(argument)]));
      }),
    stop: () => undefined,
  });
}
