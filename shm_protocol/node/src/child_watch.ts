/**
 * A thread beside a child's own, which may be in a loop without end: when the program that started it has ended, however
 * it did, so does the child.
 */

import { rmSync } from "node:fs";
import { Socket } from "node:net";
import { parentPort, workerData } from "node:worker_threads";

/** So long the child may take to end by itself. */
const GRACE_MS = 500;

const { parent: fd, folder } = workerData as { parent: number; folder: string };
const parent = new Socket({ fd, readable: true, writable: false });
parent.resume();
parent.on("error", () => undefined);
parent.on("close", () => {
  parentPort?.postMessage("ended");
  setTimeout(() => {
    rmSync(folder, { recursive: true, force: true });
    process.kill(process.pid, "SIGKILL");
  }, GRACE_MS);
});
