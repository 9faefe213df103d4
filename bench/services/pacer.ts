/**
 * The thread that says when a request is due, so that the thread that sends them need not poll: that would take a core
 * from the services that are measured. A timer of Node's is no good, it is up to a millisecond late.
 */

import { parentPort } from "node:worker_threads";

const NS_PER_MS = 1e6;
/** The kernel wakes a thread some 60 us late; from here on it polls. */
const POLL_MS = 0.08;

/** When requests are due, in milliseconds of `now`. */
export interface Schedule {
  start: number;
  step: number;
  count: number;
  /** One shared number: no more are due once it is not 0. */
  ended: Int32Array;
}

/** Milliseconds of a clock that every thread has the same of. */
export function now(): number {
  return Number(process.hrtime.bigint()) / NS_PER_MS;
}

parentPort?.on("message", ({ start, step, count, ended }: Schedule) => {
  for (let number = 0; number < count && Atomics.load(ended, 0) === 0; number++) {
    const due = start + number * step;
    const sleep = due - now() - POLL_MS;
    if (sleep > 0) Atomics.wait(ended, 0, 0, sleep);
    while (now() < due);
    parentPort?.postMessage(null);
  }
});
// It is ready.
parentPort?.postMessage(null);
