/** The other process: where Python's workers attach, how long calls may take, and what is counted of them. */

import { type Bridge, type CallOptions, type ConnectionInfo, listen, withOptions } from "@shm-polyglot/protocol";

import { bridgeLog } from "./bridge_log";
import { segment } from "./in_turns";
import type { Metrics } from "./metrics";
import * as typescript_utils from "./typescript_utils";

type Calls<Args extends unknown[], Result> = (...args: Args) => Promise<Result>;

/** Python's side, as far as it is there. */
export class PythonWorkers {
  private callsOfEnded = 0;

  private constructor(
    private readonly bridge: Bridge,
    private readonly metrics: Metrics,
    private readonly timeoutMs: number,
  ) {
    bridge.on("disconnect", (connection) => {
      this.callsOfEnded += connection.served;
    });
  }

  /** Workers may attach from now on, and call typescript_utils. `timeoutMs`: how long a call to Python may take. */
  static async open(metrics: Metrics, timeoutMs: number): Promise<PythonWorkers> {
    // What this server imports runs in workers. Without one it says so: a Python of its own would have a model of its own.
    process.env["SHM_POLYGLOT_CHILD"] ??= "0";
    const bridge = await listen({
      expose: { typescript_utils: { ...typescript_utils, segment } },
      files: { typescript_utils: require.resolve("./typescript_utils") },
      log: bridgeLog,
    });
    return new PythonWorkers(bridge, metrics, timeoutMs);
  }

  /** The same function of Python's, but timed, and with a deadline. What it does may be done twice, if nothing else is said. */
  calls<Args extends unknown[], Result>(
    python: Calls<Args, Result>,
    options: CallOptions = { idempotent: true },
  ): Calls<Args, Result> {
    const call = withOptions(python, { timeoutMs: this.timeoutMs, ...options });
    return async (...args) => {
      const start = performance.now();
      const result = await call(...args);
      this.metrics.recordCall(performance.now() - start);
      return result;
    };
  }

  /** Options for calls that are all to go to the worker that has least to do now. */
  toOneWorker(): CallOptions {
    const connection = this.bridge.leastBusyWorker("ml_service.predict");
    return connection === undefined ? {} : { connection };
  }

  /** The calls that Python has made to this process, also over connections that have ended. */
  get callsServed(): number {
    return this.bridge.connections.reduce((sum, connection) => sum + connection.served, this.callsOfEnded);
  }

  get isAttached(): boolean {
    return this.workers.length > 0;
  }

  /** Whether a gunicorn is attached. */
  get servesWsgi(): boolean {
    return this.workers.some(({ name }) => name.startsWith("gunicorn "));
  }

  /** Of the workers that are attached. */
  get languages(): string[] {
    // A worker says e.g. `python 3.12.1`.
    return [...new Set(this.workers.map(({ language }) => language.replace(/ .*/, "")))];
  }

  /** Whether Python's connections go through shared memory; with the socket transport they do not. */
  get sharesMemory(): boolean {
    return this.bridge.connections.some((connection) => connection.transport === "shm");
  }

  /** Workers have their answers first. */
  close(): Promise<void> {
    return this.bridge.close();
  }

  private get workers(): ConnectionInfo[] {
    return this.bridge.connections.filter(({ role }) => role === "worker");
  }
}
