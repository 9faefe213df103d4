/**
 * The Node side of the pairing tests: listens, and exposes functions that show what a call does.
 *
 * `driver.attempt` makes Node call Python. It does so outside of the call that asked for it, so that what is tested is a
 * call of Node's own, not a nested one.
 */

import { EventEmitter, on } from "node:events";
import { existsSync } from "node:fs";

import { type Bridge, BridgeError, type CallOptions, currentCall, listen, type NotifyOptions, RemoteError, type StreamOptions, type Value } from "@shm-polyglot/protocol";

import { arraysOf } from "./arrays";
import { errorFunctions, told } from "./node_errors";
import { tableFunctions } from "./tables";

interface Job {
  run: () => Promise<unknown>;
  resolve: (value: unknown) => void;
  reject: (reason: unknown) => void;
}

let bridge: Bridge;
const jobs = new EventEmitter();

async function runJobs(): Promise<void> {
  for await (const [job] of on(jobs, "job") as AsyncIterable<[Job]>) job.run().then(job.resolve, job.reject);
}

function outsideOfTheCall<T>(run: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    jobs.emit("job", { run, resolve, reject });
  });
}

class Refusal extends Error {
  override name = "Refusal";
  constructor(
    message: string,
    readonly data: Value,
  ) {
    super(message);
  }
}

function describe(value: unknown): string {
  if (Object.is(value, -0)) return "number -0";
  if (typeof value === "object" && value !== null) return value.constructor.name;
  return `${typeof value} ${String(value)}`;
}

function whatWentWrong(error: unknown): Record<string, unknown> {
  if (error instanceof RemoteError) {
    return { code: error.code, type: error.type, message: error.message, data: error.data, stack: error.stack };
  }
  if (error instanceof BridgeError) return { code: error.code, message: error.message };
  return { code: (error as Error).name, message: (error as Error).message };
}

async function abortOnceThere(path: string, method: string, args: unknown[], isStream: boolean): Promise<unknown> {
  const controller = new AbortController();
  const { signal } = controller;
  const read = async (): Promise<unknown> => {
    const items: unknown[] = [];
    for await (const item of bridge.stream(method, args, { signal })) items.push(item);
    return items;
  };
  const answer = isStream ? read() : bridge.call(method, args, { signal });
  const watching = setInterval(() => { if (existsSync(path)) controller.abort(); }, 2);
  try {
    return { value: await answer };
  } catch (error) {
    return { error: whatWentWrong(error) };
  } finally {
    clearInterval(watching);
  }
}

const never = new Promise<never>(() => undefined);
const cancelled: string[] = [];
const held: (() => void)[] = [];

const functions = {
  echo: (value: unknown) => value,
  /** A call made while serving, which is cancelled. */
  abortNested: (path: string, method: string, args: unknown[]) => abortOnceThere(path, method, args, false),
  all: (...args: unknown[]) => args,
  *each(...args: unknown[]) { yield* args; },
  describe,
  specials: () => [undefined, -0, 2 ** 53 - 1, 2n ** 63n, -(2n ** 63n), NaN, new Map([[1, "one"]]), { absent: undefined }],
  tellUnsendable: (method: string) => bridge.call(method, [], { kwargs: { limits: [1, () => undefined] } }),
  unsendable: () => ({ items: [1, 2, 3, () => undefined] }),
  surrogate: () => ["\ud800"],
  text: (length: number) => "x".repeat(length),
  bytes: (length: number) => new Uint8Array(length).fill(7),
  fail: (message: string) => {
    throw new Refusal(message, { limit: 3 });
  },
  failLater: async (message: string) => {
    await Promise.resolve();
    throw new RangeError(message);
  },
  hang: () => never,
  /** Unanswered until `release`. */
  hold: (value: unknown) => new Promise((resolve) => held.push(() => { resolve(value); })),
  release: () => { for (const answer of held.splice(0)) answer(); },
  after: (ms: number, value: unknown) => new Promise((resolve) => setTimeout(() => { resolve(value); }, ms)),
  hangUntilCancelled: (name: string) =>
    new Promise((_, reject) => {
      currentCall()?.signal.addEventListener("abort", () => {
        cancelled.push(name);
        reject(new Error("cancelled"));
      });
    }),
  cancelled: () => cancelled,
  context: () => {
    const call = currentCall();
    return { method: call?.method, chain: call?.chain, remainingMs: call?.remainingMs, traceparent: call?.traceparent };
  },
  /** Down the chain: TypeScript calls Python's `down`, which calls this, `depth` times altogether. */
  down: async (depth: number): Promise<unknown> => (depth === 0 ? currentCall()?.chain : await bridge.call("worker.down", [depth - 1])),
  callBack: (method: string, args: Value[], kwargs: Record<string, unknown> = {}) => bridge.call(method, args, { kwargs }),
  async *count(to: number) {
    for (let number = 0; number < to; number++) yield await Promise.resolve(number);
  },
  *countForever() {
    try {
      for (let number = 0; ; number++) yield number;
    } finally {
      cancelled.push("countForever");
    }
  },
  *countThenFail(to: number) {
    for (let number = 0; number < to; number++) yield number;
    throw new Refusal("no more", null);
  },
  exit: () => process.exit(3),
  /** Milliseconds since 1970, as the clock on the wall has it. */
  timeOfDay: () => Date.now(),
  /** Holds the event loop. */
  block: (ms: number) => {
    for (const end = performance.now() + ms; performance.now() < end; );
    return "done";
  },
  /** Answers, and leaves a promise behind that rejects and that nobody awaits. */
  forgetRejection: (message: string) => {
    void Promise.reject(new Refusal(message, null));
    return "answered";
  },
  /** Takes memory until there is none. */
  hoard: () => {
    const hoarded: number[][] = [];
    for (;;) hoarded.push(new Array<number>(100_000).fill(1.5));
  },
};

const driver = {
  /** `{ value }`, or `{ error }` as Node sees it. */
  attempt: (method: string, args: unknown[], options: CallOptions = {}) =>
    outsideOfTheCall(async () => {
      try {
        return { value: await bridge.call(method, args, options) };
      } catch (error) {
        return { error: whatWentWrong(error) };
      }
    }),
  /** An error and all that is in it. */
  attemptErrors: (method: string) =>
    outsideOfTheCall(async () => {
      try {
        return await bridge.call(method);
      } catch (error) {
        return told(error);
      }
    }),
  /** As `attempt`, many at once: one result for each argument. */
  attemptAll: (method: string, args: unknown[]) =>
    outsideOfTheCall(async () => {
      const results = await Promise.allSettled(args.map((arg) => bridge.call(method, [arg])));
      return results.map((result) =>
        result.status === "fulfilled" ? { value: result.value } : { error: whatWentWrong(result.reason) },
      );
    }),
  /** Cancel the call as soon as it is sent. */
  abort: (method: string, args: unknown[]) =>
    outsideOfTheCall(async () => {
      const controller = new AbortController();
      const call = bridge.call(method, args, { signal: controller.signal });
      controller.abort();
      try {
        return { value: await call };
      } catch (error) {
        return { error: whatWentWrong(error) };
      }
    }),
  /** Cancel the call, or the stream, as soon as the function has made a file. */
  abortOnceThere: (path: string, method: string, args: unknown[], isStream = false) => outsideOfTheCall(() => abortOnceThere(path, method, args, isStream)),
  /** The first `take` items of a stream, and then no more. */
  collect: (method: string, args: unknown[], take: number, credit: number, options: StreamOptions = {}) =>
    outsideOfTheCall(async () => {
      const items: unknown[] = [];
      try {
        for await (const item of bridge.stream(method, args, { ...options, credit })) {
          items.push(item);
          if (items.length === take) break;
        }
        return { items };
      } catch (error) {
        return { items, error: whatWentWrong(error) };
      }
    }),
  notify: (method: string, args: unknown[], options: NotifyOptions = {}) =>
    outsideOfTheCall(() => {
      bridge.notify(method, args, options);
      return Promise.resolve();
    }),
  workers: () => bridge.workers,
  connections: () =>
    bridge.connections.map(({ name, role, transport, lateAnswers, outstanding, beingServed }) => ({
      name,
      role,
      transport,
      lateAnswers,
      outstanding,
      beingServed,
    })),
};

async function main(): Promise<void> {
  void runJobs();
  const maxMessage = Number(process.argv[2]);
  bridge = await listen({ expose: { functions: { ...functions, ...errorFunctions }, driver, arrays: arraysOf(() => bridge), tables: tableFunctions }, ...(maxMessage > 0 ? { maxMessage } : {}) });
  console.log("ready");
}

void main();
