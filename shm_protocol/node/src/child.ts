/**
 * `node child.js SOCKET FD`: a process that serves the functions of modules to the program that started it, at SOCKET, in
 * a folder of that program's. It loads what it is told to by `shm_polyglot.load`, each file once, so that modules that
 * import each other share their state. Its descriptor FD is a socket to that program, which is told one line of JSON there
 * when it may connect; when it closes, the program has ended, and so does this.
 */

// Before all else: what it loads may import Python, as the program's own files may.
import "./register";

import { rmSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { Worker } from "node:worker_threads";

import { Bridge } from "./bridge";
import { type Export, Modules } from "./child_modules";
import { watches } from "./config";
import { type Logger, stderrLogger } from "./log";
import { FileWatch } from "./reloading";

/** What the program is told anyhow is not told on stderr as well. */
const TOLD = new Set(["a served call failed", "a result could not be sent"]);

const log: Logger = {
  info: () => undefined,
  warn: (message, fields) => { stderrLogger.warn(message, fields); },
  error: (message, fields) => {
    if (!TOLD.has(message)) stderrLogger.error(message, fields);
  },
};

async function run(socket: string, parent: number): Promise<void> {
  // Beside all else: a module may never come to an end.
  const watch = new Worker(join(__dirname, "child_watch.js"), { execArgv: [], workerData: { parent, folder: dirname(socket) } });
  watch.unref();
  const modules = new Modules((key, functions) => { bridge.exchange(key, functions); });
  const files = new FileWatch(modules, (line) => { process.stderr.write(`shm-polyglot: ${line}\n`); });
  const load = async (file: string, fresh: boolean): Promise<{ key: string; exports: Export[] }> => {
    const loaded = await modules.load(file, fresh);
    if (watches()) files.look();
    return loaded;
  };
  const bridge = await Bridge.listen({ path: socket, name: "node child", log }, { builtIns: { load } });
  watch.on("message", () => {
    void bridge.close().finally(() => {
      rmSync(dirname(socket), { recursive: true, force: true });
      process.exit();
    });
  });
  if (watches()) files.start();
  writeSync(parent, `${JSON.stringify({ ready: true })}\n`);
}

const [, , socket, descriptor] = process.argv;
if (socket === undefined || descriptor === undefined) throw new Error("usage: node child.js SOCKET FD");
void run(socket, Number(descriptor));
