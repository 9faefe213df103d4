/**
 * The Node side of the tests of callbacks and handles. `functions` is what Python calls; a scenario of `driver.run` is what Node
 * does of its own accord, outside of the call that asked for it.
 */

import { EventEmitter, on } from "node:events";

import { type Bridge, BridgeError, type Callback, type Handle, isHandle, listen, RemoteError, type RemoteMethod, type Value } from "@shm-polyglot/protocol";

let bridge: Bridge;
const kept: Callback[] = [];
const values: Value[] = [];

class Counter {
  private count = 0;
  constructor(readonly name: string) {}
  add(by = 1): number {
    this.count += by;
    return this.count;
  }
  itself(): this {
    return this;
  }
  child(): Counter {
    return new Counter(`${this.name}'s child`);
  }
  *upTo(to: number): Generator<number> {
    for (let number = 0; number < to; number++) yield number;
  }
  *children(to: number): Generator<Counter> {
    for (let number = 0; number < to; number++) yield new Counter(String(number));
  }
  async apply(callback: Callback, ...args: unknown[]): Promise<Value> {
    return await callback(...args);
  }
}

const theCounter = new Counter("the counter");

function whatWentWrong(error: unknown): string {
  const code = error instanceof BridgeError ? error.code : "";
  return `${error instanceof RemoteError ? error.type : code || (error as Error).name}: ${(error as Error).message}`;
}

async function outcome(run: () => unknown): Promise<unknown> {
  try {
    return await run();
  } catch (error) {
    return whatWentWrong(error);
  }
}

const functions = {
  heapUsed: () => {
    (globalThis as { gc?: () => void }).gc?.();
    return process.memoryUsage().heapUsed;
  },
  apply: (callback: Callback, ...args: unknown[]) => callback(...args),
  each: async (callback: Callback, to: number) => {
    const results: Value[] = [];
    for (let number = 0; number < to; number++) results.push(await callback(number));
    return results;
  },
  eachAtOnce: (callback: Callback, to: number) => Promise.all(Array.from({ length: to }, (_, number) => callback(number))),
  /** Nobody awaits what it calls. */
  eachUnawaited: (callback: Callback, to: number) => {
    for (let number = 0; number < to; number++) void callback(number).then((value) => values.push(value));
    return "done";
  },
  values: () => values.splice(0),
  collect: async (callback: Callback, to: number) => {
    const items: Value[] = [];
    for await (const item of callback.stream(to)) items.push(item);
    return items;
  },
  async *eachLater(callback: Callback, to: number): AsyncGenerator<Value> {
    for (let number = 0; number < to; number++) yield await callback(number);
  },
  keep: (callback: Callback) => { kept.push(callback); },
  hold: (callback: Callback) => { kept.push(callback.hold()); },
  callKept: (...args: unknown[]) => outcome(() => kept.at(-1)?.(...args)),
  release: () => { kept.pop()?.release(); },
  /** It is over for this program while Python runs what it has been given. */
  exitMeanwhile: (callback: Callback) => {
    void callback(process.pid).catch(() => undefined);
    return new Promise(() => undefined);
  },
  giveBack: (callback: Callback) => callback,
  applyNamed: (value: unknown, { done }: { done: Callback }) => done(value),
  keepAndHang: (callback: Callback) => {
    kept.push(callback);
    return new Promise(() => undefined);
  },
  fails: (callback: Callback) => callback(1),
  counter: (name: string) => new Counter(name),
  counters: function* (to: number) { for (let number = 0; number < to; number++) yield new Counter(String(number)); },
  theCounter: () => theCounter,
  isTheCounter: (value: { deep: unknown[] }) => value.deep[0] === theCounter,
  closures: () => {
    let count = 0;
    return { add: () => ++count };
  },
  addOne: () => (number: number) => number + 1,
  describe: (value: unknown) => typeof value,
  table: () => tables("client"),
  collectGarbage: async () => {
    (globalThis as { gc?: () => void }).gc?.();
    await new Promise((resolve) => setImmediate(resolve));
  },
};

interface Connected {
  role: string;
  session: { lending: { counts: { lent: number; held: number } } };
}

/** Of all clients together, or of all workers. */
function tables(role = "worker"): unknown {
  const live = [...(bridge as unknown as { live: Set<Connected> }).live].filter((connection) => connection.role === role);
  const counts = live.map(({ session }) => session.lending.counts);
  return { lent: counts.reduce((sum, { lent }) => sum + lent, 0), held: counts.reduce((sum, { held }) => sum + held, 0) };
}

interface Model {
  readonly [method: string]: RemoteMethod;
}

function make(name: string): Promise<Handle<Model>> {
  return bridge.call<Handle<Model>>("py.make", [name], { handles: true });
}

const scenarios: Record<string, (rounds: number) => unknown> = {
  /** Nobody disposes of the handles. */
  blocksOfWorker: () => bridge.call("py.blocks"),
  manyRounds: async (rounds) => {
    for (let round = 0; round < rounds; round++) {
      await bridge.call("py.apply", [(number: number) => number, round]);
      await (await make("m"))["predict"]?.("a");
    }
    return await bridge.call("py.table");
  },
  callback: () => bridge.call("py.apply", [(a: number, b: number) => a * b, 6, 7]),
  asynchronousCallback: () => bridge.call("py.apply", [async (a: number) => { await Promise.resolve(); return a + 1; }, 41]),
  each: () => bridge.call("py.each", [(number: number) => number * number, 5]),
  raises: () => outcome(() => bridge.call("py.apply", [() => { throw new RangeError("no"); }])),
  generator: () => bridge.call("py.collect", [function* (to: number) { for (let n = 0; n < to; n++) yield n; }, 3]),
  deeper: () => outcome(() => bridge.call("py.apply", [{ done: () => 1 }])),
  notification: () => outcome(() => { bridge.notify("py.keep", [() => 1]); }),
  aClass: () => outcome(() => bridge.call("py.apply", [Counter])),
  kept: async () => {
    const onDone = (): number => 1;
    await bridge.call("py.keep", [onDone]);
    return outcome(() => bridge.call("py.call_kept"));
  },
  held: async () => {
    const onDone = (a: number): number => a + 1;
    await bridge.call("py.hold", [onDone]);
    const called = await bridge.call("py.call_kept", [1]);
    const inThread = await bridge.call("py.call_kept_in_thread", [1]);
    await bridge.call("py.release");
    return [called, inThread, await outcome(() => bridge.call("py.call_kept", [1])), tables()];
  },
  forgotten: async () => {
    await bridge.call("py.hold", [() => 1]);
    const before = tables();
    await bridge.call("py.forget");
    await bridge.call("py.table");
    return [before, tables()];
  },
  stream: async () => {
    const items: unknown[] = [];
    for await (const item of bridge.stream("py.each_later", [(n: number) => n * 2, 5], { credit: 2 })) items.push(item);
    return [items, tables()];
  },
  nests: () => bridge.call("py.apply", [(n: number) => bridge.call("py.apply", [(m: number) => m * 10, n + 1]), 1]),
  identity: () => bridge.call("py.lend_and_ask", ["functions.giveBack"]),
  deep: async () => {
    const down = (depth: number): Promise<Value> => bridge.call("py.apply", [down, depth + 1]);
    return (await outcome(() => down(1)) as string).includes("more than 32 nested calls") ? "CallTooDeep" : "none";
  },
  keywords: () => bridge.call("py.apply_named", [(given: { locale: string }, ...rest: unknown[]) => [given.locale, rest.length + 3]]),
  handle: async () => {
    const model = await make("m");
    const first = await model["predict"]?.("a");
    const second = await model["predict"]?.("b");
    const child = (await model["child"]?.()) as unknown as Handle<Model>;
    const ofChild = await child["predict"]?.("c");
    model.dispose();
    child.dispose();
    const after = await outcome(() => model["predict"]?.("d"));
    await bridge.call("py.table");
    return [first, second, ofChild, isHandle(model), after, await bridge.call("py.table"), tables()];
  },
  itself: async () => {
    const model = await bridge.call<Handle<Model>>("py.model", [], { handles: true });
    const is = await bridge.call("py.is_model", [{ deep: [model] }]);
    model.dispose();
    return is;
  },
  private: async () => {
    const model = await make("m");
    const shown = [model["_secret"] === undefined, (model as { then?: unknown }).then === undefined, JSON.stringify(model)];
    const absent = await outcome(() => model["absent"]?.());
    model.dispose();
    return [...shown, absent];
  },
  withoutHandles: () => outcome(() => bridge.call("py.make", ["m"])),
  functionAsResult: async () => {
    const add = await bridge.call<Callback>("py.function", [], { handles: true });
    const result = await add(1);
    add.release();
    return [result, await outcome(() => add(1))];
  },
  streams: async () => {
    const model = await make("m");
    const numbers: unknown[] = [];
    for await (const item of model["items"]?.stream(3) ?? []) numbers.push(item);
    const names: unknown[] = [];
    for await (const item of model["children"]?.stream(3) ?? []) {
      const child = item as unknown as Handle<Model>;
      names.push(await child["predict"]?.("x"));
      child.dispose();
    }
    model.dispose();
    return [numbers, names];
  },
  /** Nobody disposes. */
  collected: async () => {
    for (let round = 0; round < 100; round++) await (await make("m"))["predict"]?.("a");
    for (let tries = 0; tries < 200; tries++) {
      (globalThis as { gc?: () => void }).gc?.();
      await new Promise((resolve) => setTimeout(resolve, 5));
      const { lent } = await bridge.call<{ lent: number }>("py.table");
      if (lent === 0) return "none";
    }
    return await bridge.call("py.table");
  },
};

const jobs = new EventEmitter();

const driver = {
  workers: () => bridge.workers,
  run: (name: string, rounds = 0) => new Promise((resolve, reject) => { jobs.emit("job", { name, rounds, resolve, reject }); }),
};

interface Job {
  name: string;
  rounds: number;
  resolve: (value: unknown) => void;
  reject: (reason: unknown) => void;
}

async function runJobs(): Promise<void> {
  for await (const [{ name, rounds, resolve, reject }] of on(jobs, "job") as AsyncIterable<[Job]>) {
    Promise.resolve(scenarios[name]?.(rounds)).then(resolve, reject);
  }
}

async function main(): Promise<void> {
  void runJobs();
  bridge = await listen({ expose: { functions, driver } });
  console.log("ready");
}

void main();
