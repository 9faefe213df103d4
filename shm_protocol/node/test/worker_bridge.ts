/** A bridge in a worker thread, for worker_threads.test.ts. It listens at the path in `workerData`. */

import { isMainThread, parentPort, threadId, workerData } from "node:worker_threads";

import { listen } from "../src/bridge";
import { MemoryLog } from "./pair";

/** What the test may ask for by a message. */
export interface Order {
  /** Call `f` of the worker that is attached with this, and post the answer. */
  call?: string;
  /** End the bridge; then nothing keeps the thread alive. */
  close?: true;
}

async function main(): Promise<void> {
  const port = parentPort;
  if (port === null) throw new Error("this is for worker threads");
  const expose = {
    echo: (value: string) => `${value} of ${threadId}`,
    exit: () => process.exit(0),
    isMainThread: () => isMainThread,
    never: () => new Promise(() => undefined),
  };
  const bridge = await listen({ path: workerData as string, log: new MemoryLog(), expose });
  port.on("message", (order: Order) => {
    if (order.call !== undefined) void bridge.call("f", [order.call]).then((answer) => { port.postMessage(answer); });
    if (order.close === true) void bridge.close().then(() => { port.close(); });
  });
  port.postMessage("ready");
}

void main();
