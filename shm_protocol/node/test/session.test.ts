import assert from "node:assert/strict";
import { suite, test } from "node:test";

import { currentCall, type CurrentCall } from "../src/current_call";
import {
  Busy,
  CallTimeout,
  CallTooDeep,
  Cancelled,
  ConnectionClosed,
  EncodeError,
  MessageTooLarge,
  PeerGone,
  RemoteError,
  UnknownMethod,
} from "../src/errors";
import * as frames from "../src/frames";
import type { Meta } from "../src/meta";
import { MAX_OUTSTANDING, type SessionCallOptions } from "../src/session";
import type { Value } from "../src/value_types";
import { Encoder } from "../src/values";
import { End, Pair } from "./pair";

const FOREVER: SessionCallOptions = { timeoutMs: Infinity };

interface Outcome {
  value?: unknown;
  error?: Error & { code?: string };
}

/** What became of a promise: its value or its error. */
function outcome(promise: Promise<unknown>): Outcome {
  const seen: Outcome = {};
  promise.then(
    (value) => { seen.value = value; },
    (error: unknown) => { seen.error = error as Error; },
  );
  return seen;
}

function message(encode: (encoder: Encoder) => void): Buffer {
  const encoder = new Encoder();
  encode(encoder);
  return Buffer.from(encoder.buffer.subarray(0, encoder.position));
}

const request = (id: number, method: string, args: unknown[] = [], meta?: Meta): Buffer =>
  message((encoder) => { frames.encodeRequest(encoder, 1_000_000, id, method, args, meta); });

/** A promise and how to settle it. */
function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: Error) => void } {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

suite("calls", () => {
  test("a sync and an async function are answered", async () => {
    const pair = new Pair({}, { add: (a: number, b: number) => a + b, later: async (x: string) => Promise.resolve(`${x}!`) });
    const sum = outcome(pair.near.session.call("add", [1, 2], FOREVER));
    const later = outcome(pair.near.session.call("later", ["hi"], FOREVER));
    assert.equal(pair.near.session.outstanding, 2);
    await pair.run();
    assert.deepEqual([sum.value, later.value], [3, "hi!"]);
    assert.equal(pair.near.session.outstanding, 0);
    assert.equal(pair.far.serving.served, 2);
    assert.equal(pair.far.session.beingServed, 0);
  });

  test("answers find their calls in whatever order they come", async () => {
    const first = deferred<string>();
    const second = deferred<string>();
    const pair = new Pair({}, { first: () => first.promise, second: () => second.promise });
    const a = outcome(pair.near.session.call("first", [], FOREVER));
    const b = outcome(pair.near.session.call("second", [], FOREVER));
    await pair.run();
    second.resolve("2");
    await pair.run();
    assert.deepEqual([a.value, b.value], [undefined, "2"]);
    first.resolve("1");
    await pair.run();
    assert.equal(a.value, "1");
  });

  test("both sides use the same ids for calls of their own", async () => {
    const pair = new Pair({ name: () => "near" }, { name: () => "far" });
    const a = outcome(pair.near.session.call("name", [], FOREVER));
    const b = outcome(pair.far.session.call("name", [], FOREVER));
    await pair.run();
    assert.deepEqual([a.value, b.value], ["far", "near"]);
  });

  test("requests are started in the order sent", async () => {
    const order: number[] = [];
    const pair = new Pair({}, { f: (x: number) => { order.push(x); } });
    for (let x = 0; x < 10; x++) void pair.near.session.call("f", [x], FOREVER);
    await pair.run();
    assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test("what a function throws comes as a RemoteError, and is logged with method and stack", async () => {
    class Custom extends Error {
      data = { field: "x" };
    }
    const pair = new Pair({}, {
      sync: () => { throw new Custom("no"); },
      async: async () => Promise.reject(new TypeError("bad")),
    });
    const sync = outcome(pair.near.session.call("sync", [], FOREVER));
    const asynchronous = outcome(pair.near.session.call("async", [], FOREVER));
    await pair.run();
    assert.ok(sync.error instanceof RemoteError);
    assert.deepEqual([sync.error.type, sync.error.message, sync.error.data], ["Custom", "no", { field: "x" }]);
    assert.match(sync.error.remoteStack, /Error: no\n/);
    assert.ok(asynchronous.error instanceof RemoteError && asynchronous.error.type === "TypeError");
    assert.deepEqual(pair.far.log.lines.map(({ level, fields }) => [level, fields["method"], fields["error"]]), [
      ["error", "sync", "Custom: no"],
      ["error", "async", "TypeError: bad"],
    ]);
    assert.ok(pair.far.log.lines.every(({ fields }) => String(fields["stack"]).includes("session.test")));
  });

  test("data of an error that cannot be encoded is left out", async () => {
    const pair = new Pair({}, { f: () => { throw Object.assign(new Error("no"), { data: new Set() }); } });
    const call = outcome(pair.near.session.call("f", [], FOREVER));
    await pair.run();
    assert.ok(call.error instanceof RemoteError);
    assert.deepEqual([call.error.message, call.error.data], ["no", null]);
  });

  test("an unknown method is an UnknownMethod", async () => {
    const pair = new Pair({}, {});
    const call = outcome(pair.near.session.call("no.such", [], FOREVER));
    await pair.run();
    assert.ok(call.error instanceof UnknownMethod);
    assert.match(call.error.message, /no\.such/);
  });

  test("no name reaches what is not exposed", async () => {
    const pair = new Pair({}, { f: (x: unknown) => x, m: { g: () => 1 } });
    const names = [
      "f.call", "f.constructor", "f.__proto__", "f.bind", "m", "m.g.call", "m.__proto__", "m.constructor.constructor", "__proto__",
      "constructor", "process.exit", "require", "eval", "fs.readFileSync", "node:fs.readFileSync", "../f", "F", "f ", "f\0",
    ];
    const calls = names.map((name) => outcome(pair.near.session.call(name, ["x"], FOREVER)));
    await pair.run();
    for (const [index, name] of names.entries()) assert.ok(calls[index]?.error instanceof UnknownMethod, name);
    assert.equal(pair.far.serving.served, 0);
  });

  test("more arguments than a function names are given to it, as in any call of JavaScript", async () => {
    const pair = new Pair({}, { one: (...args: unknown[]) => args.length, comment: (x: unknown) => /* arguments */ x });
    const calls = ["one", "comment"].map((name) => outcome(pair.near.session.call(name, [1, 2, 3], FOREVER)));
    await pair.run();
    assert.deepEqual(calls.map(({ value }) => value), [3, 1]);
  });

  test("fewer arguments than a function names are given to it: TypeScript's optional parameters leave no trace", async () => {
    const pair = new Pair({}, { greet: (name: string, greeting?: string) => `${greeting ?? "Hello"}, ${name}` });
    const greeted = outcome(pair.near.session.call("greet", ["World"], FOREVER));
    await pair.run();
    assert.equal(greeted.value, "Hello, World");
  });

  test("an argument that cannot be encoded fails the call, names its path, and uses no id", async () => {
    const pair = new Pair({}, { f: () => 1 });
    const bad = outcome(pair.near.session.call("f", [{ items: [0, 0, 0, new Set()] }], FOREVER));
    const good = outcome(pair.near.session.call("f", [], FOREVER));
    await pair.run();
    assert.ok(bad.error instanceof EncodeError);
    assert.match(bad.error.message, /^f: args\[0\]\.items\[3\]: /);
    assert.equal(good.value, 1);
    assert.equal(pair.far.error, undefined);
  });

  test("a result that cannot be encoded is an EncodeError at the caller, with its path", async () => {
    const pair = new Pair({}, { f: () => ({ a: [new Set()] }) });
    const call = outcome(pair.near.session.call("f", [], FOREVER));
    await pair.run();
    assert.ok(call.error instanceof EncodeError);
    assert.match(call.error.message, /f: result\.a\[0\]: an object of class Set/);
  });

  test("a message too large fails at the sender, a result too large at the caller", async () => {
    const pair = new Pair({}, { big: () => "x".repeat(1_000_001) });
    await assert.rejects(pair.near.session.call("f", ["x".repeat(1_000_001)], FOREVER), MessageTooLarge);
    const call = outcome(pair.near.session.call("big", [], FOREVER));
    await pair.run();
    assert.ok(call.error instanceof MessageTooLarge);
  });

  test("an error too large for a message is cut, not lost", async () => {
    const pair = new Pair({}, { f: () => { throw Object.assign(new Error("m".repeat(2_000_000)), { data: "d".repeat(2_000_000) }); } });
    const call = outcome(pair.near.session.call("f", [], FOREVER));
    await pair.run();
    assert.ok(call.error instanceof RemoteError);
    assert.match(call.error.message, /^m+$/);
    assert.ok(call.error.message.length > 999_000 && call.error.message.length < 1_000_000);
  });

  test("arguments whose getter calls something itself arrive, after that call", async () => {
    const seen: unknown[] = [];
    const pair = new Pair({}, { f: (x: unknown) => { seen.push(x); } });
    const args = [{ get a(): number { void pair.near.session.call("f", ["inner"], FOREVER); return 1; } }];
    const outer = outcome(pair.near.session.call("f", args, FOREVER));
    await pair.run();
    assert.equal(pair.far.error, undefined);
    assert.deepEqual(seen, ["inner", { a: 1 }]);
    assert.equal(outer.value, null);
  });
});

suite("limits", () => {
  test("call 1025 is Busy at the caller, and the others are answered", async () => {
    const gate = deferred<null>();
    const pair = new Pair({}, { wait: () => gate.promise });
    const calls = Array.from({ length: MAX_OUTSTANDING }, () => outcome(pair.near.session.call("wait", [], FOREVER)));
    assert.throws(() => pair.near.session.call("wait", [], FOREVER), Busy);
    await pair.run();
    gate.resolve(null);
    await pair.run();
    assert.ok(calls.every((call) => call.value === null));
  });

  test("a peer that makes more than 1024 calls is answered Busy", async () => {
    const far = new End({ now: 0 }, "near", { wait: () => new Promise(() => undefined) });
    for (let id = 1; id <= MAX_OUTSTANDING + 1; id++) far.receive(request(id, "wait"));
    assert.equal(far.sent.length, 1);
    const near = new Pair({}, {}).near;
    const calls = Array.from({ length: MAX_OUTSTANDING }, () => outcome(near.session.call("wait", [], FOREVER)));
    near.receive(message((encoder) => { frames.encodeErrorResponse(encoder, 1000, 1, { code: "Busy", message: "full" }); }));
    await Promise.resolve();
    assert.ok(calls[0]?.error instanceof Busy);
  });

  test("nothing is added to an output that is congested", async () => {
    const pair = new Pair({}, { f: () => 1 });
    pair.near.congested = true;
    assert.throws(() => pair.near.session.call("f", [], FOREVER), Busy);
    assert.throws(() => { pair.near.session.notify("f", [], undefined); }, Busy);
    pair.far.congested = true;
    pair.near.congested = false;
    const call = outcome(pair.near.session.call("f", [], FOREVER));
    await pair.run();
    assert.ok(call.error instanceof Busy);
  });

  test("a chain of 32 is answered with a CallTooDeep that names it; one of 31 is served", async () => {
    const pair = new Pair({}, { f: () => 1 });
    const chain = Array.from({ length: 32 }, (_, index) => `m.f${index}`);
    const deep = outcome(pair.near.session.call("f", [], { timeoutMs: Infinity, meta: { chain } }));
    const fine = outcome(pair.near.session.call("f", [], { timeoutMs: Infinity, meta: { chain: chain.slice(1) } }));
    await pair.run();
    assert.ok(deep.error instanceof CallTooDeep);
    assert.match(deep.error.message, /m\.f0 -> m\.f1 -> .* -> m\.f31 -> f/);
    assert.equal(fine.value, 1);
  });
});

suite("deadlines and cancellation", () => {
  test("no answer in time is a CallTimeout; the callee is told; the late answer is dropped and counted", async () => {
    const gate = deferred<string>();
    let signal: AbortSignal | undefined;
    const pair = new Pair({}, { slow: () => { signal = currentCall()?.signal; return gate.promise; }, next: () => "next" });
    const slow = outcome(pair.near.session.call("slow", [], { timeoutMs: 50 }));
    await pair.run();
    pair.pass(49);
    await pair.run();
    assert.deepEqual(Object.keys(slow), []);
    pair.pass(2);
    const next = outcome(pair.near.session.call("next", [], FOREVER));
    await pair.run();
    assert.ok(slow.error instanceof CallTimeout);
    assert.ok(signal?.aborted === true && signal.reason instanceof Cancelled);
    assert.equal(next.value, "next");
    gate.resolve("late");
    await pair.run();
    // The callee knew, and sent nothing.
    assert.equal(pair.near.session.lateAnswers, 0);
  });

  test("an answer that crosses the cancel is dropped and counted, and given to nobody", async () => {
    const pair = new Pair({}, { f: () => "first", g: () => "second" });
    const first = outcome(pair.near.session.call("f", [], { timeoutMs: 10 }));
    for (const sent of pair.near.sent.splice(0)) pair.far.receive(sent);
    pair.pass(11);
    const second = outcome(pair.near.session.call("g", [], FOREVER));
    await pair.run();
    assert.ok(first.error instanceof CallTimeout);
    assert.equal(second.value, "second");
    assert.equal(pair.near.session.lateAnswers, 1);
  });

  test("a call is counted once, when it ends: with its time, and whether it failed; a stream is not", async () => {
    const slow = deferred<null>();
    const fail = (): never => { throw new Error("no"); };
    const pair = new Pair({}, { slow: () => slow.promise, fail, two: () => [1, 2].values() });
    outcome(pair.near.session.call("slow", [], FOREVER));
    outcome(pair.near.session.call("fail", [], FOREVER));
    outcome(pair.near.session.call("slow", [], { timeoutMs: 10 }));
    const controller = new AbortController();
    outcome(pair.near.session.call("slow", [], { ...FOREVER, signal: controller.signal }));
    const stream = pair.near.session.stream("two", [], 5, FOREVER);
    await pair.run();
    assert.deepEqual(pair.near.ended, [[0, true]]);
    pair.pass(11);
    pair.pass(4);
    controller.abort();
    slow.resolve(null);
    await pair.run();
    const items: Value[] = [];
    for await (const item of stream) items.push(item);
    assert.deepEqual(items, [1, 2]);
    assert.deepEqual(pair.near.ended, [[0, true], [11, true], [15, true], [15, false]]);
    assert.deepEqual(pair.far.ended, []);
  });

  test("only the deadlines that have passed fail, and the next wake-up is for the earliest left", async () => {
    const pair = new Pair({}, { never: () => new Promise(() => undefined) });
    const calls = [30, 10, 20].map((timeoutMs) => outcome(pair.near.session.call("never", [], { timeoutMs })));
    await pair.run();
    assert.equal(pair.near.wakesAt, 1010);
    pair.pass(15);
    await pair.run();
    assert.deepEqual(calls.map((call) => call.error?.code), [undefined, "CallTimeout", undefined]);
    assert.equal(pair.near.wakesAt, 1020);
  });

  test("the served function sees what is left of the deadline, and its signal when it has passed", async () => {
    const pair = new Pair({}, { wait: () => { seen = currentCall(); signal = seen?.signal; return new Promise(() => undefined); } });
    let seen: CurrentCall | undefined;
    let signal: AbortSignal | undefined;
    const left = (): number | undefined => seen?.remainingMs;
    void pair.near.session.call("wait", [], { timeoutMs: Infinity, meta: { deadlineMs: 100, traceparent: "00-ab" } });
    await pair.run();
    pair.clock.now += 40;
    assert.deepEqual([seen?.method, left(), seen?.traceparent, seen?.chain], ["wait", 60, "00-ab", []]);
    const reason = (): unknown => signal?.reason;
    assert.equal(reason(), undefined);
    pair.pass(61);
    assert.ok(reason() instanceof CallTimeout);
    assert.equal(left(), 0);
  });

  test("what a function throws once its deadline has passed is a CallTimeout, also where its answer comes first", async () => {
    const wait = (): Promise<never> => new Promise((_, reject) => {
      const signal = currentCall()?.signal;
      signal?.addEventListener("abort", () => { reject(new Error("stopped")); });
    });
    const pair = new Pair({}, { wait });
    const call = outcome(pair.near.session.call("wait", [], { timeoutMs: Infinity, meta: { deadlineMs: 100 } }));
    await pair.run();
    pair.pass(101);
    await pair.run();
    assert.match(String(call.error), /^CallTimeout: wait: its deadline had passed when it threw Error: stopped$/);
  });

  test("aborting the signal of a call cancels it at both ends", async () => {
    let served: AbortSignal | undefined;
    const pair = new Pair({}, { wait: () => { served = currentCall()?.signal; return new Promise(() => undefined); } });
    const controller = new AbortController();
    const call = outcome(pair.near.session.call("wait", [], { timeoutMs: Infinity, signal: controller.signal }));
    await pair.run();
    controller.abort(new Error("enough"));
    await pair.run();
    assert.ok(call.error instanceof Cancelled);
    assert.equal((call.error.cause as Error).message, "enough");
    assert.ok(served?.aborted);
    assert.equal(pair.near.session.outstanding, 0);
    assert.throws(() => pair.near.session.call("wait", [], { timeoutMs: 1, signal: controller.signal }), Cancelled);
  });

  test("a signal of another make that throws, or that fires while it is listened to, leaves nothing behind", async () => {
    const pair = new Pair({}, { ping: () => "pong" });
    const controller = new AbortController();
    const aborting = { get a() { controller.abort(); return 1; } };
    const make = (hooks: object): AbortSignal => {
      const signal = { aborted: false, addEventListener: (): void => undefined, removeEventListener: (): void => undefined };
      return Object.defineProperties(signal, Object.getOwnPropertyDescriptors(hooks)) as unknown as AbortSignal;
    };
    const boom = (): never => { throw new Error("of its own"); };
    const fires = (_: string, listener: () => void): void => { listener(); };
    const tried: [AbortSignal, RegExp | "pong"][] = [
      [make({ addEventListener: boom }), /of its own/],
      [make({ addEventListener: fires }), /ping: the caller cancelled/],
      [make({ addEventListener: fires, get reason() { return boom(); } }), /ping: the caller cancelled/],
      [make({ removeEventListener: boom }), "pong"],
      [controller.signal, /ping: the caller cancelled/],
    ];
    for (const [signal, expected] of tried) {
      const call = outcome(pair.near.session.call("ping", [signal === controller.signal ? aborting : 1], { timeoutMs: Infinity, signal }));
      await pair.run();
      if (expected === "pong") assert.equal(call.value, "pong");
      else assert.match(String(call.error), expected);
      assert.equal(pair.near.session.outstanding, 0);
      assert.deepEqual([pair.near.error, pair.far.error], [undefined, undefined]);
    }
  });

  test("a signal that is first looked at after the cancel is aborted already", async () => {
    const gate = deferred<null>();
    let aborted: boolean | undefined;
    const pair = new Pair({}, { wait: async () => { await gate.promise; aborted = currentCall()?.signal.aborted; } });
    void outcome(pair.near.session.call("wait", [], { timeoutMs: 10 }));
    await pair.run();
    pair.pass(11);
    await pair.run();
    gate.resolve(null);
    await pair.run();
    assert.equal(aborted, true);
  });
});

suite("the call being served", () => {
  test("it follows the code through awaits, and calls do not mix", async () => {
    const pair = new Pair({}, {
      show: async (): Promise<string> => {
        await new Promise((resolve) => setImmediate(resolve));
        return currentCall()?.traceparent ?? "";
      },
    });
    const calls = ["a", "b"].map((traceparent) =>
      outcome(pair.near.session.call("show", [], { timeoutMs: Infinity, meta: { traceparent } })));
    await pair.run();
    assert.deepEqual(calls.map((call) => call.value), ["a", "b"]);
    assert.equal(currentCall(), undefined);
  });
});

suite("notifications", () => {
  test("the function runs and nothing is answered; what it throws is logged", async () => {
    const seen: unknown[] = [];
    const pair = new Pair({}, { note: (x: Value) => { seen.push(x); }, bad: async () => Promise.reject(new Error("no")) });
    pair.near.session.notify("note", [5], undefined);
    pair.near.session.notify("bad", [], undefined);
    pair.near.session.notify("unknown", [], undefined);
    await pair.run();
    assert.deepEqual(seen, [5]);
    assert.deepEqual(pair.far.log.lines.map(({ message: text, fields }) => [text, fields["method"]]), [
      ["a notification was dropped", "unknown"],
      ["a served call failed", "bad"],
    ]);
    assert.equal(pair.far.session.beingServed, 0);
  });

  test("one with a chain of 32 is dropped", async () => {
    const pair = new Pair({}, { f: () => assert.fail("it was called") });
    pair.near.session.notify("f", [], { chain: new Array<string>(32).fill("g") });
    await pair.run();
    assert.match(String(pair.far.log.lines[0]?.fields["reason"]), /32 nested calls/);
  });
});

suite("streams", () => {
  function* count(to: number): Generator<number> {
    for (let x = 1; x <= to; x++) yield x;
  }

  async function collect(stream: AsyncIterable<Value>): Promise<Value[]> {
    const items: Value[] = [];
    for await (const item of stream) items.push(item);
    return items;
  }

  test("all items come in order, with any credit", async () => {
    for (const credit of [1, 2, 3, 64, 65536]) {
      const pair = new Pair({}, { count });
      const items = outcome(collect(pair.near.session.stream("count", [200], credit, FOREVER)));
      await pair.run();
      assert.deepEqual(items.value, [...count(200)]);
      assert.equal(pair.near.session.outstanding, 0);
      assert.equal(pair.far.session.beingServed, 0);
    }
  });

  test("async generators, async iterables and functions that promise a generator are streams too", async () => {
    const pair = new Pair({}, {
      generator: async function* () { yield await Promise.resolve("a"); yield "b"; },
      iterable: () => ({ async *[Symbol.asyncIterator](): AsyncGenerator<string> { yield await Promise.resolve("c"); } }),
      promised: async () => Promise.resolve(count(2)),
    });
    const streams = ["generator", "iterable", "promised"].map((method) => outcome(collect(pair.near.session.stream(method, [], 8, FOREVER))));
    await pair.run();
    assert.deepEqual(streams.map(({ value }) => value), [["a", "b"], ["c"], [1, 2]]);
  });

  test("no more items are sent than granted", async () => {
    const pair = new Pair({}, { count });
    const stream = pair.near.session.stream("count", [100], 4, FOREVER);
    await pair.run();
    let sent = 0;
    const step = await stream.next();
    assert.equal(step.value, 1);
    for (const message of pair.far.sent) sent += message.length;
    assert.equal(sent, 0);
    const rest = outcome(collect(stream));
    await pair.run();
    assert.deepEqual(rest.value, [...count(100)].slice(1));
  });

  test("leaving the loop early stops the generator", async () => {
    let stopped = false;
    const pair = new Pair({}, { endless: function* () { try { for (;;) yield 1; } finally { stopped = true; } } });
    const stream = pair.near.session.stream("endless", [], 4, FOREVER);
    const loop = outcome((async () => { for await (const item of stream) return item; return null; })());
    await pair.run();
    assert.equal(loop.value, 1);
    assert.ok(stopped);
    assert.equal(pair.near.session.outstanding, 0);
    assert.equal(pair.far.session.beingServed, 0);
    assert.equal(pair.near.error, undefined);
  });

  test("what the generator throws comes after the items before it", async () => {
    const pair = new Pair({}, { f: function* () { yield 1; throw new RangeError("no"); } });
    const stream = pair.near.session.stream("f", [], 8, FOREVER);
    await pair.run();
    assert.deepEqual(await stream.next(), { value: 1, done: false });
    await assert.rejects(stream.next(), (error) => error instanceof RemoteError && error.type === "RangeError");
    assert.deepEqual(await stream.next(), { value: undefined, done: true });
    assert.equal(pair.far.log.lines.length, 1);
  });

  test("an item that cannot be encoded ends the stream with an EncodeError, and the generator", async () => {
    let stopped = false;
    const pair = new Pair({}, { f: function* () { try { yield { a: new Set() }; } finally { stopped = true; } } });
    const items = outcome(collect(pair.near.session.stream("f", [], 8, FOREVER)));
    await pair.run();
    assert.ok(items.error instanceof EncodeError);
    assert.match(items.error.message, /item\.a: /);
    assert.ok(stopped);
  });

  test("a call to a generator is an EncodeError, and the generator is closed", async () => {
    const pair = new Pair({}, { count });
    const call = outcome(pair.near.session.call("count", [3], FOREVER));
    await pair.run();
    assert.ok(call.error instanceof EncodeError);
    assert.match(call.error.message, /stream/);
    assert.equal(pair.far.session.beingServed, 0);
  });

  test("a stream of a function that gives a value is a TypeError; of one that gives nothing it is empty", async () => {
    const pair = new Pair({}, { value: () => [1, 2], nothing: () => undefined });
    const value = outcome(collect(pair.near.session.stream("value", [], 8, FOREVER)));
    const nothing = outcome(collect(pair.near.session.stream("nothing", [], 8, FOREVER)));
    await pair.run();
    assert.ok(value.error instanceof TypeError);
    assert.deepEqual(nothing.value, []);
  });

  test("a stream waits while the output is congested", async () => {
    const pair = new Pair({}, { count });
    const items = outcome(collect(pair.near.session.stream("count", [10], 64, FOREVER)));
    for (const sent of pair.near.sent.splice(0)) pair.far.receive(sent);
    pair.far.congested = true;
    await pair.run();
    assert.equal(items.value, undefined);
    pair.far.congested = false;
    pair.far.session.onRoom();
    await pair.run();
    assert.deepEqual(items.value, [...count(10)]);
  });

  test("a deadline ends a stream that stalls", async () => {
    const pair = new Pair({}, { stall: async function* () { yield 1; await new Promise(() => undefined); } });
    const stream = pair.near.session.stream("stall", [], 8, { timeoutMs: 100 });
    await pair.run();
    assert.deepEqual(await stream.next(), { value: 1, done: false });
    const next = outcome(stream.next());
    pair.pass(101);
    await pair.run();
    assert.ok(next.error instanceof CallTimeout);
  });

  test("an abort ends a stream", async () => {
    const controller = new AbortController();
    const pair = new Pair({}, { stall: async function* () { yield 1; await new Promise(() => undefined); } });
    const stream = pair.near.session.stream("stall", [], 8, { timeoutMs: Infinity, signal: controller.signal });
    await pair.run();
    await stream.next();
    const next = outcome(stream.next());
    controller.abort();
    await pair.run();
    assert.ok(next.error instanceof Cancelled);
  });

  test("several takers at once get the items in their order", async () => {
    const pair = new Pair({}, { count });
    const stream = pair.near.session.stream("count", [2], 8, FOREVER);
    const steps = outcome(Promise.all([stream.next(), stream.next(), stream.next()]));
    await pair.run();
    assert.deepEqual(steps.value, [{ value: 1, done: false }, { value: 2, done: false }, { value: undefined, done: true }]);
  });
});

suite("a peer that breaks the protocol", () => {
  const never = { wait: () => new Promise<never>(() => undefined), count: function* () { for (;;) yield 1; } };
  const cases: [string, Buffer[], RegExp][] = [
    ["an answer for a call that was never made", [message((e) => { frames.encodeResponse(e, 1000, 1, null); })], /a response for call 1, which was never made/],
    ["an error for call 0", [message((e) => { frames.encodeErrorResponse(e, 1000, 0, { code: "Busy", message: "" }); })], /call 0/],
    ["an item for a call that was never made", [message((e) => { frames.encodeItem(e, 1000, 7, null); })], /an item for call 7/],
    ["a cancel for a call that was never made", [message((e) => { frames.encodeCancel(e, 3); })], /a cancel for call 3/],
    ["credit for a call that was never made", [message((e) => { frames.encodeCredit(e, 3, 1); })], /credit for call 3/],
    ["an id that comes twice", [request(1, "wait"), request(1, "wait")], /id 1 after one with id 1/],
    ["id 0", [request(0, "wait")], /id 0/],
    ["more than 65536 items of credit", [request(1, "count", [], { stream: 65536 }), message((e) => { frames.encodeCredit(e, 1, 65536); })], /credit of 131072 items/],
    ["bytes that are no frame", [Buffer.from("c1", "hex")], /frame/],
  ];
  for (const [name, messages, expected] of cases) {
    test(`${name} is a ProtocolError`, () => {
      const end = new End({ now: 0 }, "peer", never);
      for (const bytes of messages) end.receive(bytes);
      assert.match(end.error?.message ?? "", expected);
      end.session.end("over", false);
    });
  }

  test("an item for a call that is no stream, and one without credit", () => {
    const end = new End({ now: 0 }, "peer", {});
    void outcome(end.session.call("f", [], FOREVER));
    end.receive(message((e) => { frames.encodeItem(e, 1000, 1, 5); }));
    assert.match(end.error?.message ?? "", /which is not a stream/);
    end.session.stream("g", [], 1, FOREVER);
    end.receive(message((e) => { frames.encodeItem(e, 1000, 2, 5); }));
    end.receive(message((e) => { frames.encodeItem(e, 1000, 2, 6); }));
    assert.match(end.error?.message ?? "", /no credit left/);
  });

  test("an item after the stream was left is late, no error", () => {
    const end = new End({ now: 0 }, "peer", {});
    const stream = end.session.stream("g", [], 8, FOREVER);
    void stream.return();
    end.receive(message((e) => { frames.encodeItem(e, 1000, 1, 5); }));
    assert.equal(end.error, undefined);
    assert.equal(end.session.lateAnswers, 1);
  });
});

suite("the end", () => {
  test("everything outstanding fails with PeerGone at once, and so does what comes after", async () => {
    const pair = new Pair({}, { wait: () => new Promise(() => undefined) });
    const call = outcome(pair.near.session.call("wait", [], FOREVER));
    const item = outcome(pair.near.session.stream("wait", [], 8, FOREVER).next());
    await pair.run();
    pair.near.session.end("far is gone", false);
    await pair.run();
    assert.ok(call.error instanceof PeerGone && item.error instanceof PeerGone);
    assert.equal(call.error.message, "wait: far is gone");
    assert.throws(() => pair.near.session.call("wait", [], FOREVER), PeerGone);
    assert.equal(pair.near.session.outstanding, 0);
  });

  test("after an end from this side, calls fail with ConnectionClosed", () => {
    const pair = new Pair({}, {});
    pair.near.session.end("closed", true);
    assert.throws(() => pair.near.session.call("f", [], FOREVER), ConnectionClosed);
    assert.throws(() => pair.near.session.stream("f", [], 1, FOREVER), ConnectionClosed);
    assert.throws(() => { pair.near.session.notify("f", [], undefined); }, ConnectionClosed);
  });

  test("what is being served is told that its caller is gone, and its answer goes nowhere", async () => {
    const gate = deferred<number>();
    let signal: AbortSignal | undefined;
    let stopped = false;
    const pair = new Pair({}, {
      wait: () => { signal = currentCall()?.signal; return gate.promise; },
      endless: function* () { try { for (;;) yield 1; } finally { stopped = true; } },
    });
    void outcome(pair.near.session.call("wait", [], FOREVER));
    pair.near.session.stream("endless", [], 2, FOREVER);
    await pair.run();
    pair.far.session.onPeerEnd();
    pair.far.session.end("near is gone", false);
    gate.resolve(1);
    await pair.run();
    assert.ok(signal?.reason instanceof PeerGone);
    assert.ok(stopped);
    assert.equal(pair.far.session.beingServed, 0);
    assert.deepEqual(pair.far.log.lines, []);
  });

  test("answers that a dead peer had sent are still taken, its requests are not", async () => {
    let called = false;
    const end = new End({ now: 0 }, "peer", { f: () => { called = true; } });
    const call = outcome(end.session.call("g", [], FOREVER));
    end.session.onPeerEnd();
    end.receive(request(1, "f"));
    end.receive(message((e) => { frames.encodeResponse(e, 1000, 1, "in time"); }));
    end.session.end("gone", false);
    await Promise.resolve();
    assert.equal(call.value, "in time");
    assert.equal(called, false);
  });
});

test("what an older peer does not know is refused with both versions", () => {
  new End({ now: 0 }, "peer", {}).session.requireMinor(2, "m.f", "keyword arguments");
  assert.throws(() => { new End({ now: 0 }, "peer", {}, 1_000_000, 1).session.requireMinor(2, "m.f", "keyword arguments"); }, {
    code: "EncodeError",
    message: "m.f: keyword arguments need protocol 1.2, the peer speaks 1.1",
  });
});

suite("leaving", () => {
  const leave = message(frames.encodeLeave);

  test("a peer that leaves is answered once, behind the calls made before", () => {
    const end = new End({ now: 0 }, "peer", {});
    void outcome(end.session.call("m.f", [], FOREVER));
    end.receive(leave);
    assert.equal(end.left, 1);
    assert.equal(end.sent.length, 2);
    assert.deepEqual(end.sent[1], leave);
  });

  test("a second leave breaks the protocol", () => {
    const end = new End({ now: 0 }, "peer", {});
    end.receive(leave);
    end.receive(leave);
    assert.match(String(end.error), /second leave/);
  });

  test("a call made before is still answered", async () => {
    const pair = new Pair({}, { f: () => 1 });
    const call = outcome(pair.near.session.call("f", [], FOREVER));
    pair.near.receive(leave);
    await pair.run();
    assert.deepEqual(call, { value: 1 });
  });
});
